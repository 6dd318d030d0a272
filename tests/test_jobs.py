"""Which file becomes which."""

from pathlib import Path

import pytest

from coscale.errors import DataError, SettingsError
from coscale.jobs import plan


def down(inputs: list[Path], out: Path | None = None) -> list[tuple[Path, Path]]:
    return plan(inputs, out, beside=".x2.png", inside=".x2.png", allowed=(".png",))


def up(inputs: list[Path], out: Path | None = None) -> list[tuple[Path, Path]]:
    return plan(inputs, out, beside=".restored.png", inside=".png", allowed=(".png", ".jpg"))


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_one_file(tmp_path: Path) -> None:
    photo, lr = tmp_path / "a.b.jpg", tmp_path / "a.b.x2.png"
    assert down([photo]) == [(photo, lr)]
    assert up([lr]) == [(lr, tmp_path / "a.b.restored.png")]
    assert up([photo]) == [(photo, tmp_path / "a.b.restored.png")]


def test_out_is_a_file_or_a_folder(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    assert down([photo], Path("b.png")) == [(photo, Path("b.png"))]
    assert down([photo], Path("b")) == [(photo, Path("b/a.x2.png"))]
    assert down([photo], tmp_path) == [(photo, tmp_path / "a.x2.png")]
    assert up([Path("a.x2.png"), Path("c.png")], Path("b")) == [
        (Path("a.x2.png"), Path("b/a.png")),
        (Path("c.png"), Path("b/c.png")),
    ]


def test_folders_keep_their_subfolders(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.JPG", tmp_path / "in/sub/b.png", tmp_path / "in/notes.txt")
    assert down([tmp_path / "in"], tmp_path / "out") == [
        (tmp_path / "in/a.JPG", tmp_path / "out/a.x2.png"),
        (tmp_path / "in/sub/b.png", tmp_path / "out/sub/b.x2.png"),
    ]


def test_results_inside_the_input_folder_are_no_inputs(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "small/a.x2.png")
    assert down([tmp_path], tmp_path / "small") == [(tmp_path / "a.png", tmp_path / "small/a.x2.png")]


def test_no_two_inputs_become_one_file(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg", tmp_path / "in/a.png", tmp_path / "in/b.png")
    names = [target.name for _, target in down([tmp_path / "in"], tmp_path / "out")]
    assert names == ["a.jpg.x2.png", "a.png.x2.png", "b.x2.png"]


def test_uses_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="with --out"):
        down([tmp_path])
    with pytest.raises(SettingsError, match="input folder itself"):
        down([tmp_path], tmp_path)
    with pytest.raises(SettingsError, match=r"must end in \.png"):
        down([tmp_path / "a.jpg"], Path("b.jpg"))
    with pytest.raises(DataError, match="no images"):
        down([tmp_path], tmp_path / "out")
