"""The examples run, and show what they say."""

import contextlib
import io
import re
import runpy
import sys
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
LONGER = {"demo", "upscaler"}  # a minute, and a checkpoint of the user's


def output(name: str, folder: Path) -> str:
    """What an example prints, run as a program in ``folder``, but in this process, which has torch already."""
    out, err = io.StringIO(), io.StringIO()
    program = str(EXAMPLES / f"{name}.py")
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", [program]),
    ):
        runpy.run_path(program, run_name="__main__")
    assert not err.getvalue()
    return out.getvalue()


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def test_in_five_lines(tmp_path: Path) -> None:
    assert "128 x 128" in output("in_five_lines", tmp_path)
    with Image.open(tmp_path / "demo" / "restored.png") as restored:
        assert restored.size == (256, 256)


def test_arrays(tmp_path: Path) -> None:
    text = output("arrays", tmp_path)
    assert "(127, 125, 3) uint8 -> (64, 63, 3) uint8 -> (127, 125, 3) uint8" in text
    assert "(2, 3, 127, 125) -> (2, 3, 64, 63) -> (2, 3, 127, 125), torch.float32" in text
    with_method, without = numbers(text)[-2:]
    assert with_method > without + 0.5


def test_own_objective(tmp_path: Path) -> None:
    (plain, _), (ours, rest), (weighted, less) = (
        numbers(line) for line in output("own_objective", tmp_path).splitlines()[1:]
    )
    assert plain < ours < weighted
    assert less < rest


@pytest.mark.parametrize("name", ["own_rescaler", "your_network"])
def test_own_networks(tmp_path: Path, name: str) -> None:
    alone, ours = numbers(output(name, tmp_path))
    assert ours > alone + 0.2


def test_adversarial(tmp_path: Path) -> None:
    (plain,), (better, gap), (worse, other) = (
        numbers(line) for line in output("adversarial", tmp_path).splitlines()[1:]
    )
    assert worse < plain < better
    assert min(gap, other) > 45


def test_each_is_tested_short_and_in_the_gallery() -> None:
    gallery = (EXAMPLES.parent / "docs" / "gallery.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"../examples/{path.name}" in gallery
        most = 80 if path.stem == "own_method" else 40  # which is a whole method
        assert path.stem in LONGER or len(path.read_text().splitlines()) < most
        assert path.stem in LONGER or f'"{path.stem}"' in Path(__file__).read_text()


def test_own_method(tmp_path: Path) -> None:
    plain, descent, ours = numbers(output("own_method", tmp_path))
    assert plain < descent < ours


def test_own_storage(tmp_path: Path) -> None:
    assert "which give the same small image" in output("own_storage", tmp_path)
