"""coscale train and coscale weights, as a user runs them."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coscale.image import Photo, write
from coscale.rescalers import find
from coscale.weights.load import bundled
from tests.command import coscale, fails
from tests.golden import fill
from tests.patience import PATIENCE, until

CURVES = {"curves.png"}  # where the extra "report" is installed; tests/test_train.py looks at them


@pytest.fixture
def photos(tmp_path: Path, butterfly: Photo) -> Path:
    for i, (top, left) in enumerate(((0, 0), (0, 128), (128, 0))):
        write(tmp_path / "photos" / f"{i}.png", Photo(butterfly.colour[..., top : top + 128, left : left + 128]))
    return tmp_path / "photos"


def options(photos: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("light-x2", "--data", photos, "--out", out, "--batch", 2, "--patch", 16, "--eager", *more)


def test_train(photos: Path, tmp_path: Path) -> None:
    done = coscale("train", *options(photos, tmp_path / "run", "--steps", 3))
    assert done.returncode == 0, done.stderr
    assert "step 3 of 3" in done.stdout
    files = {path.name for path in (tmp_path / "run").iterdir()} - CURVES
    assert files == {"light-x2.safetensors", "checkpoint.pt", "log.jsonl", "run.json"}
    again = coscale("train", *options(photos, tmp_path / "run", "--steps", 3))
    assert "going on from step 3" in again.stdout
    weights = tmp_path / "run" / "light-x2.safetensors"
    begun = coscale("train", *options(photos, tmp_path / "next", "--steps", 1, "--lr", 1e-9, "--start", weights))
    assert begun.returncode == 0, begun.stderr
    before, after = (load_file(path) for path in (weights, tmp_path / "next" / "light-x2.safetensors"))
    for name, value in before.items():
        assert torch.allclose(value, after[name], atol=1e-6)


def steps_done(out: Path) -> int:
    """Those that the checkpoint of a run holds, none before there is one."""
    path = out / "checkpoint.pt"
    return torch.load(path, weights_only=True)["course"]["step"] if path.exists() else 0


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_is_done(photos: Path, tmp_path: Path, stop: signal.Signals) -> None:
    out = tmp_path / "run"
    arguments = [*map(str, options(photos, out, "--steps", 10**6))]
    # A report after each window: the second one keeps what the first window did.
    code = (
        "from coscale.train import loop; from functools import partial; loop.WINDOW = 2\n"
        "loop.train = partial(loop.train, report_seconds=0)\n"
        "from coscale.cli import main; main()"
    )
    command = ["-c", code, "train", *arguments]
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: steps_done(out), lambda: process.poll() is None)
        process.send_signal(stop)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 1
    assert said.strip() == "coscale: interrupted; what was finished is kept, and nothing half-written is left"
    assert {path.name for path in out.iterdir()} - CURVES == {"checkpoint.pt", "log.jsonl"}
    assert steps_done(out) > 0


def test_bad_uses_of_train(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert "there is no recipe 'irn-x3'" in fails("train", "irn-x3", "--data", photos, "--out", out)
    assert "is no folder" in fails("train", *options(tmp_path / "nothing", out))
    (tmp_path / "empty").mkdir()
    assert "fewer than 2 usable images" in fails("train", *options(tmp_path / "empty", out))
    assert "cannot be divided" in fails("train", *options(photos, out, "--patch", 17), status=2)
    assert "give it or --steps" in fails("train", *options(photos, out, "--minutes", 1, "--steps", 9), status=2)
    assert "has no tensor of" in fails("train", *options(photos, out, "--start", bundled(find("irn-x2-4b"))))
    assert not out.exists()


def test_weights_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    verified = coscale("weights", "verify", "irn-x2-4b")
    assert verified.returncode == 0, verified.stderr
    assert "irn-x2-4b: as shipped" in verified.stdout
    monkeypatch.setenv("COSCALE_WEIGHTS", str(tmp_path / "kept"))
    torch.save(fill(find("irn-x2").build()).state_dict(), tmp_path / "IRN_x2.pth")
    done = coscale("weights", "import", tmp_path / "IRN_x2.pth")
    assert "it is irn-x2" in done.stdout
    down = coscale("downscale", photos / "0.png", "--rescaler", "irn-x2", "--method", "none", "--json")
    assert json.loads(down.stdout)["output"].endswith("0.x2.png")
    assert "--overwrite" in fails("weights", "import", tmp_path / "IRN_x2.pth")
    assert "does not exist" in fails("weights", "import", tmp_path / "nothing.pth")
    assert len(coscale("weights", "verify", "irn-x3", "bicubic-x2").stderr.splitlines()) == 3
