"""The command for a machine with a GPU, rehearsed without one: what it leaves, and that it goes on after every end."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import lease
from bench.gpu import PACKAGES
from bench.lease import Lease
from bench.pack import deflated, inflated, read_packs, write_pack
from bench.readme import ROOT
from coscale.image import Photo
from coscale.quantize import to_uint8
from coscale.rescalers import Light
from coscale.train import loop, recipes
from coscale.train.data import Dataset
from coscale.train.loop import Stepper

NAME = "light-x2"


def images(count: int, side: int = 96) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(count, 3, side, side, generator=generator).cumsum(2).div(side)
    return list(to_uint8(smooth))


def dataset() -> Dataset:
    validation = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Dataset(images(6), to_uint8(validation) / 255, {"photos": 6}, "f", images(2, 48))


@pytest.mark.parametrize("side", [1, 2, 37])
def test_pixels_survive_packing(side: int, butterfly: Photo) -> None:
    noise = torch.randint(256, (3, side, side + 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    photo = to_uint8(butterfly.colour[0])
    for image in (noise, photo):
        size, data = deflated(image)
        assert torch.equal(inflated(size, data), image)
    assert len(deflated(photo)[1]) < 0.7 * photo.numel()


def test_a_pack_keeps_to_its_limit_and_parts_share_the_photos(tmp_path: Path) -> None:
    data, generator = dataset(), torch.Generator().manual_seed(0)
    limit = 2**20 + 40_000 + data.validation.numel() + 20_000
    counts = []
    for part in (1, 2):
        path = tmp_path / f"photos-{part}.pt"
        count, size = write_pack(data, path, limit, part, 2, generator, least=16)
        assert size == path.stat().st_size < limit
        counts.append(count)
    assert counts == [3, 3]
    back = read_packs(sorted(tmp_path.glob("photos-*.pt")))
    assert len(back.images) == 6
    assert torch.equal(back.validation, data.validation)
    assert all(map(torch.equal, back.drawn, data.drawn))
    assert all(min(image.shape[1:]) >= 16 for image in back.images)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_pack(dataset(), tmp_path / "gpu" / "photos-1.pt", 2**22, 1, 1, torch.Generator(), least=32)
    small(monkeypatch)
    return tmp_path / "gpu"


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and waits that take no time."""
    monkeypatch.setitem(recipes.RECIPES, NAME, replace(recipes.find(NAME), batch=2, patch=16))
    monkeypatch.setattr(lease, "REHEARSAL_PATCH", 16)
    monkeypatch.setattr(lease, "SPARE_MINUTES", 0.0)
    monkeypatch.setattr(lease, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(lease, "convolution_peak", lambda *_: 1e9)
    monkeypatch.setattr(loop, "WINDOW", 2)
    monkeypatch.setattr(loop, "can_draw", lambda: False)


def call(folder: Path, out: Path, minutes: float = 0.03) -> list[str]:
    said: list[str] = []
    Lease(folder, out, "cpu", "graph", said.append).run(minutes, NAME)
    return said


def test_what_a_call_leaves_and_how_the_next_goes_on(folder: Path, tmp_path: Path) -> None:
    said = call(folder, tmp_path / "out")
    assert sum("goes on without a CUDA graph" in line for line in said) == 3  # the probe, the trunk, the branch
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["light-x2.pth", "light-x2.state-0", "log.jsonl", "run.json"]
    assert all(path.stat().st_size < 16 * 2**20 for path in (tmp_path / "out").iterdir())
    Light(2).load_state_dict(torch.load(tmp_path / "out" / "light-x2.pth", weights_only=True))
    trunk = torch.load(folder / "runs" / NAME / "trunk" / "checkpoint.pt", weights_only=True)["course"]
    said = call(folder, tmp_path / "out")
    assert f"going on from step {trunk['step']}" in said

    # On another machine, with what came back beside the photos.
    other = tmp_path / "other"
    other.mkdir()
    for path in (folder / "photos-1.pt", *(tmp_path / "out").glob("*.state-*")):
        (other / path.name).write_bytes(path.read_bytes())
    steps = torch.load(folder / "runs" / NAME / "trunk" / "checkpoint.pt", weights_only=True)["course"]["step"]
    assert f"going on from step {steps}" in call(other, tmp_path / "out2")


def test_a_state_that_is_too_large_is_not_left(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PART", 2**20)
    said = call(folder, tmp_path / "out")
    assert any("too much to be left" in line for line in said)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["light-x2.pth", "log.jsonl", "run.json"]


def test_where_memory_runs_out_the_batch_is_halved(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lease.BATCHES, "cpu", (2, 4))
    step, calls = Stepper.step, itertools.count()

    def full(self: Stepper) -> Tensor:
        if self.state.recipe.batch == 4 or (self.state.recipe.batch == 2 and next(calls) > 3):
            raise torch.OutOfMemoryError("of 80 GiB")
        return step(self)

    monkeypatch.setattr(Stepper, "step", full)
    said = call(folder, tmp_path / "out")
    assert "a batch of 4 does not fit" in said
    assert "out of memory; goes on with a batch of 1" in said
    assert (tmp_path / "out" / "light-x2.pth").exists()


CHILD = """
import sys
from pathlib import Path
import pytest
from tests.test_gpu import call, small
small(pytest.MonkeyPatch())
call(Path(sys.argv[1]), Path(sys.argv[2]), minutes=60)
"""


def test_a_call_that_is_killed_has_left_weights_and_the_next_goes_on(folder: Path, tmp_path: Path) -> None:
    out, trunk = tmp_path / "out", folder / "runs" / NAME / "trunk"
    process = subprocess.Popen([sys.executable, "-c", CHILD, folder, out], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        for _ in forever():
            assert process.poll() is None
            if (out / "light-x2.pth").exists() and (trunk / "checkpoint.pt").exists():
                break
    finally:
        process.kill()
        process.wait()
    Light(2).load_state_dict(torch.load(out / "light-x2.pth", weights_only=True))
    step = torch.load(trunk / "checkpoint.pt", weights_only=True)["course"]["step"]
    assert f"going on from step {step}" in call(folder, out)


def forever() -> Iterator[None]:
    while True:
        yield
        time.sleep(0.05)


OF_PYTORCH = (
    *("torch", "torchgen", "functorch", "filelock", "typing_extensions.py", "sympy", "mpmath", "networkx", "jinja2"),
    *("markupsafe", "fsspec", "setuptools", "_distutils_hack"),
)


def test_nothing_but_pytorch_is_needed(folder: Path, tmp_path: Path) -> None:
    """And the few packages that a pack brings along: what a process sees that has no others, and no NumPy."""
    installed, alone = Path(torch.__file__).parents[1], tmp_path / "alone"
    alone.mkdir()
    brought = [path.name for name in PACKAGES for path in installed.glob(f"{name}*")]
    for name in (*OF_PYTORCH, *brought):
        if (installed / name).exists():
            (alone / name).symlink_to(installed / name)
    options = ["--device", "cpu", "--minutes", "0", "--recipe", NAME, "--folder", folder, "--out", tmp_path / "out"]
    code = "import sys, bench.lease, bench.gpu; bench.lease.REHEARSAL_PATCH = 16; bench.gpu.main()"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(alone)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += ['src']; {code}", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "validation:" in done.stdout
    assert (tmp_path / "out" / "light-x2.pth").exists()
    without = subprocess.run([sys.executable, "-S", "-c", "import numpy"], env=environment, capture_output=True)
    assert b"ModuleNotFoundError" in without.stderr


def test_without_photos_or_gpu_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="write them with --pack"):
        call(tmp_path, tmp_path / "out")
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="there is no GPU here; give --device cpu"):
            Lease(tmp_path, tmp_path, "cuda", "graph", print)
