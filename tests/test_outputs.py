"""Which file becomes which."""

from pathlib import Path

import pytest

from coscale.errors import DataError, SettingsError
from coscale.outputs import plan_outputs


def down(inputs: list[Path], out: Path | None = None) -> list[tuple[Path, Path]]:
    return plan_outputs(inputs, out, beside=".x2.png", inside=".x2.png", allowed=(".png",))


def up(inputs: list[Path], out: Path | None = None) -> list[tuple[Path, Path]]:
    return plan_outputs(inputs, out, beside=".restored.png", inside=".png", allowed=(".png", ".jpg"))


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


def test_an_input_given_twice_is_one(tmp_path: Path) -> None:
    assert len(down([tmp_path / "a.png", tmp_path / "a.png"])) == 1


def test_several_folders_keep_their_names(tmp_path: Path) -> None:
    touch(tmp_path / "one/p.png", tmp_path / "two/p.png")
    targets = [target for _, target in down([tmp_path / "one", tmp_path / "two"], tmp_path / "out")]
    assert targets == [tmp_path / "out/one/p.x2.png", tmp_path / "out/two/p.x2.png"]


@pytest.mark.parametrize("names", [("one/a.png", "two/a.png"), ("a.png", "a.jpg", "a.jpg.png")])
def test_names_that_still_meet_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    paths = [tmp_path / name for name in names]
    touch(*paths)
    with pytest.raises(SettingsError, match="would both become"):
        down(paths, tmp_path / "out")


def test_results_above_the_input_folder(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.png")
    assert down([tmp_path / "in"], tmp_path) == [(tmp_path / "in/a.png", tmp_path / "a.x2.png")]


def test_a_restored_photo_does_not_take_its_originals_name(tmp_path: Path) -> None:
    assert up([tmp_path / "a.x2.png"], tmp_path)[0][1].name == "a.restored.png"
    assert up([tmp_path / "a.x2.png"], tmp_path / "new")[0][1].name == "a.png"


def test_no_input_is_replaced_by_its_result(tmp_path: Path) -> None:
    lr = tmp_path / "a.x2.png"
    touch(lr)
    with pytest.raises(SettingsError, match="replaced by its own result"):
        down([lr])
    with pytest.raises(SettingsError, match="replaced by its own result"):
        up([lr], lr)


def test_only_scales_are_taken_for_scales(tmp_path: Path) -> None:
    assert down([tmp_path / "clip.x264.jpg"])[0][1].name == "clip.x264.x2.png"


def test_uses_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="with --out"):
        down([tmp_path])
    with pytest.raises(SettingsError, match="input folder itself"):
        down([tmp_path], tmp_path)
    with pytest.raises(SettingsError, match=r"must end in \.png"):
        down([tmp_path / "a.jpg"], Path("b.jpg"))
    with pytest.raises(DataError, match="no images"):
        down([tmp_path], tmp_path / "out")
