"""Images from stdin and to stdout, where nothing else may stand."""

import io
import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from coscale.cli import cli
from coscale.cli.streams import check_streams
from coscale.errors import SettingsError
from coscale.files import STREAM
from coscale.image import from_bytes
from coscale.lrfile import lr_from_bytes
from tests.command import fails

PLAIN = ("--method", "none", "--rescaler", "bicubic-x2")


def run(*arguments: object, given: bytes = b"") -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments], input=given)


def test_down_and_up_through_pipes(butterfly_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "-").write_text("a file of that name is of no concern")
    monkeypatch.chdir(tmp_path)
    for form, kind in ((), "PNG"), (("--format", "webp"), "WEBP"):
        small = run("downscale", "-", "-o", "-", *PLAIN, *form, given=butterfly_path.read_bytes())
        assert small.exit_code == 0, small.stderr
        assert Image.open(io.BytesIO(small.stdout_bytes)).format == kind
        lr, origin = lr_from_bytes(small.stdout_bytes)
        assert lr.size == (128, 128)
        assert origin is not None
        assert origin.making is not None
        assert "stdin -> stdout  256 x 256" in small.stderr
    usual = run("downscale", butterfly_path, "-o", "a.x2.webp", *PLAIN)
    assert usual.exit_code == 0
    assert Path("a.x2.webp").read_bytes() == small.stdout_bytes
    for form, kind in ((), "PNG"), (("--format", "jpg", "--quality", 50), "JPEG"):
        large = run("upscale", "-", "-o", "-", *form, given=small.stdout_bytes)
        assert large.exit_code == 0, large.stderr
        assert Image.open(io.BytesIO(large.stdout_bytes)).format == kind
        assert from_bytes(large.stdout_bytes).size == (256, 256)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["-", "a.x2.webp"]


def test_one_end_may_be_a_file(butterfly_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    done = run("downscale", "-", "-o", path, "--json", *PLAIN, given=butterfly_path.read_bytes())
    assert json.loads(done.stdout)["output"] == str(path)
    large = run("upscale", path, "-o", "-", "--json")
    assert from_bytes(large.stdout_bytes).size == (256, 256)
    assert json.loads(large.stderr)["input"] == str(path)
    measured = run("downscale", butterfly_path, "-o", "-", "--measure", *PLAIN)
    assert lr_from_bytes(measured.stdout_bytes)[1] is not None
    assert "PSNR" in measured.stderr


def test_what_went_wrong_is_on_stderr_alone(butterfly_path: Path, tmp_path: Path) -> None:
    data = butterfly_path.read_bytes()
    for given, said in (
        (b"", "stdin is empty"),
        (b"no image", "stdin is not a JPEG"),
        (data[:900], "stdin is damaged"),
    ):
        done = run("downscale", "-", "-o", "-", *PLAIN, given=given)
        assert done.exit_code == 1
        assert done.stdout_bytes == b""
        assert said in str(done.exception)
    done = run("upscale", "-", "-o", "-", given=data)
    assert "stdin does not say which rescaler made it" in str(done.exception)
    warned = run("downscale", "-", "-o", "-", *PLAIN, given=data + b"")
    assert from_bytes(warned.stdout_bytes).size == (128, 128)


def test_wrong_usage_is_one_line(butterfly_path: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (("-",), "give --out with a file, or with - for stdout"),
        (("-", butterfly_path, "-o", tmp_path), "have one image"),
        ((tmp_path, "-o", "-"), "have one image"),
        (("-", "-o", tmp_path), "is a folder, and an image from stdin has no name"),
        (("-", "-o", tmp_path / "a.heic"), "must end in"),
    ):
        for command in ("downscale", "upscale"):
            assert said in fails(command, *arguments, status=2)


def test_terminals_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = mock.Mock(isatty=lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert "stdin is a terminal" in fails("downscale", "-", "-o", "a.png", *PLAIN, status=2)
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(SettingsError, match="stdout is a terminal"):
        check_streams([(Path("a.png"), STREAM)])
    check_streams([(Path("a.png"), Path("b.png"))])


def test_a_process_of_its_own(butterfly_path: Path) -> None:
    command = [sys.executable, "-m", "coscale", "downscale", "-", "-o", STREAM, *PLAIN]
    with butterfly_path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True)
    assert done.returncode == 0
    assert lr_from_bytes(done.stdout)[1] is not None
    assert done.stderr.decode().startswith("stdin -> stdout")
