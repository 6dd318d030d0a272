"""The core without any extra: it imports, it works, and what needs an extra says which."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch

from bench.mutations import png_of
from tests import extras
from tests.extras import PACKAGES

EXTRAS = (*(name for names in PACKAGES.values() for name in names), "einops", "torchvision")
BLOCKER = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {EXTRAS!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
RUN = """
import json, pkgutil, sys
import coscale
from coscale.cli import cli
from coscale.errors import CoscaleError

for module in pkgutil.walk_packages(coscale.__path__, "coscale."):
    # The page's own modules are imported by the command alone, once it has looked for what they need.
    if not module.name.endswith("__main__") and not module.name.startswith("coscale.serve."):
        __import__(module.name)
said = []
for arguments in json.loads(sys.argv[1]):
    try:
        cli.main(arguments, standalone_mode=False)
        said.append("done")
    except CoscaleError as error:
        said.append(str(error))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, butterfly_path: Path) -> dict[str, str]:
    """What each command says where there is no extra, by the extra that it needs, or "core"."""
    folder = tmp_path_factory.mktemp("extras")
    (folder / "sitecustomize.py").write_text(BLOCKER)
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)  # 16 x 16 pixels of 16-bit RGB
    pixels = zlib.compress(bytes(16 * (1 + 16 * 6)))
    (folder / "deep.png").write_bytes(png_of([(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]))
    (folder / "network.onnx").write_bytes(b"\x08\x0a\x12\x00")  # the beginning of any
    torch.save({"layers.0.weight": torch.zeros(3)}, folder / "network.pth")
    photo, lr = str(butterfly_path), str(folder / "lr.png")
    commands = {
        "core": ["downscale", photo, "-o", lr, "--rescaler", "bicubic-x2", "--method", "hcd", "--hr-steps", "1"],
        "core, back": ["upscale", lr, "-o", str(folder / "back.png")],
        "core, WebP": [
            "downscale",
            photo,
            "-o",
            str(folder / "lr.webp"),
            "--rescaler",
            "bicubic-x2",
            "--method",
            "none",
        ],
        "jxl": ["downscale", photo, "--format", "jxl"],
        "small": ["downscale", photo, "--small"],
        "16bit": ["downscale", str(folder / "deep.png"), "--rescaler", "bicubic-x2"],
        "report": ["reproduce", "table1", "--data", str(folder), "-o", str(folder / "out")],
        "rates": ["reproduce", "rates", "--data", str(folder), "-o", str(folder / "out")],
        "serve": ["serve", "--port", "0"],
        "ray": ["batch", photo, str(folder / "batch"), "--engine", "ray", "--rescaler", "bicubic-x2"],
        "parquet": ["batch", photo, str(folder / "batch"), "--manifest", str(folder / "m.parquet")],
        "export": ["export", "light-x2", "-o", str(folder / "x.onnx")],
        "onnx": ["downscale", photo, "--upscaler", str(folder / "network.onnx")],
        "sr": ["downscale", photo, "--upscaler", str(folder / "network.pth")],
        "hub": ["downscale", photo, "--rescaler", "hf:someone/pair"],
        "hub, card": ["card", "light-x2", "-o", str(folder / "card")],
    }
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", RUN, json.dumps(list(commands.values()))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("extra", ["core", "core, back", "core, WebP"])
def test_the_core_works_alone(said: dict[str, str], extra: str) -> None:
    assert said[extra] == "done"


@pytest.mark.parametrize(
    "extra",
    ["16bit", "jxl", "small", "report", "rates", "serve", "ray", "parquet", "export", "onnx", "sr", "hub", "hub, card"],
)
def test_a_missing_extra_is_named(said: dict[str, str], extra: str) -> None:
    assert f"coscale[{extra.partition(',')[0]}]" in said[extra]
    assert "\n" not in said[extra]


def test_what_a_missing_extra_does_to_its_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is to be tested, its absence is an error as soon as the tests are collected."""
    monkeypatch.setitem(PACKAGES, "ray", ("no_such_package",))
    monkeypatch.setattr(extras, "WHICH", "installed")
    assert not extras.needs().args[0]
    assert extras.needs("ray").args[0]
    with pytest.raises(pytest.skip.Exception, match="no_such_package is not installed"):
        extras.skip_without("ray")
    monkeypatch.setattr(extras, "WHICH", "all")
    for mark in (extras.needs, extras.skip_without):
        with pytest.raises(ModuleNotFoundError, match="no_such_package of ray is not installed"):
            mark("ray")
    monkeypatch.setattr(extras, "WHICH", "none")
    monkeypatch.setitem(PACKAGES, "ray", ("pytest",))
    assert not extras.needs().args[0]
    assert extras.needs("ray").args[0]
