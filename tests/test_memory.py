"""What a gradient will take, and the refusal of what does not fit; and that nothing of a photo stays."""

import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch

from coscale import memory, tiles
from coscale.choices import ObjectiveName
from coscale.collaborate import HCD, Coscale
from coscale.errors import CoscaleWarning, MemoryNeededError
from coscale.image import Photo
from coscale.pipeline import encode_photo
from coscale.rescalers import IRN, Bfloat16, Grey, Light, Rescaler, Reversible, find
from coscale.weights.load import load

CPU = torch.device("cpu")


def test_bytes_per_pixel() -> None:
    irn = load("irn-x2-4b").rescaler
    whole = memory.bytes_per_pixel(irn, 3, CPU)
    # 4 couplings keep the inputs and the features of 3 dense blocks, in g and in f, at a quarter of the pixels.
    inputs = (9 + 128) + 2 * (3 + 128)
    assert whole > 1.2 * 2 * 4 * inputs * 4 / 4
    assert memory.bytes_per_pixel(irn, 3, CPU, both=False) == pytest.approx(whole / 2, rel=0.05)
    # In bfloat16 each convolution keeps its whole input, of half the bytes.
    concatenated = (9 + 41 + 73 + 105 + 137) + 2 * (3 + 35 + 67 + 99 + 131)
    assert memory.bytes_per_pixel(Bfloat16(irn), 3, CPU) > 1.2 * 2 * 4 * concatenated * 2 / 4


def test_bytes_per_pixel_without_a_gradient() -> None:
    light, irn = (load(name).rescaler for name in ("light-x2", "irn-x2-4b"))
    # Light holds at most the sum and the two results of 64 channels of a residual block, at a quarter of the pixels.
    held = memory.bytes_per_pixel_alone(light, 3, CPU)
    assert 1.2 * 2 * 64 * 4 / 4 < held < 1.2 * (4 * 64 * 4 / 4 + 100)
    assert held < memory.bytes_per_pixel(light, 3, CPU, both=False) / 1.5
    # IRN at most one dense block's.
    assert memory.bytes_per_pixel_alone(irn, 3, CPU) < memory.bytes_per_pixel(irn, 3, CPU, both=False) / 4


def test_reversible_gradients_take_what_one_block_takes() -> None:
    irn = IRN((8,)).requires_grad_(False)
    whole, lean = (memory.bytes_per_pixel(r, 3, CPU, both=False) for r in (irn, Reversible(irn)))
    assert lean < whole / 5
    assert memory.bytes_per_pixel(Bfloat16(Grey(Reversible(irn))), 1, CPU, both=False) < whole / 3


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, crop: torch.Tensor) -> None:
    pair = load("irn-x2-4b")
    assert memory.free_memory(CPU) > 1e8
    monkeypatch.setattr(tiles, "free_memory", lambda _: 1e6)
    with pytest.raises(MemoryNeededError, match="the smallest tile"):
        encode_photo(Photo(crop), pair, HCD(1, 1))


@pytest.mark.parametrize(
    "build",
    [
        *(
            pytest.param(find(name).build, id=name)
            for name in ("bicubic-x2", "irn-x4-4b", "light-x2", "srcnn-x2", "car-x4-small", "tad-x4", "hcflow-x4")
        ),
        pytest.param(lambda: Reversible(IRN((2,)).requires_grad_(False)), id="reversible"),
        pytest.param(lambda: Bfloat16(Grey(Light(2).requires_grad_(False))), id="bfloat16, grey"),
    ],
)
def test_telling_what_a_gradient_takes_keeps_none_of_it(
    build: Callable[[], Rescaler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_SIDE", 16)
    rescaler = build()

    def tensors_after_telling() -> int:
        channels = 1 if isinstance(rescaler, Bfloat16) else 3
        for both in (True, False):
            memory.bytes_per_pixel(rescaler, channels, CPU, both)
        memory.bytes_per_pixel_alone(rescaler, channels, CPU)
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    assert tensors_after_telling() == tensors_after_telling()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the memory of a process")
def test_thirty_photos_grow_a_process_by_less_than_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.growing", str(tmp_path)]
    root = Path(__file__).parents[1]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert len(found) == 7
    for way, told in found.items():
        assert told["one"] > 0, way
        assert told["grown"] < told["one"], (way, found)


def test_what_an_objective_keeps_makes_tiles_smaller() -> None:
    light = load("light-x2").rescaler
    kept = [Coscale(objective=name).bytes_of_loss(3) for name in get_args(ObjectiveName)]
    assert kept[0] == 0 < min(kept[1:])
    sides = []
    for of_loss in kept:
        passes = tiles.Passes(light, (2000, 2000), 3, CPU, of_loss=of_loss)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CoscaleWarning)
            sides.append(tiles.choose(passes, tiles.Room(memory=2e8)).tiling.side)
        assert sides[-1] ** 2 * passes.bytes_each(light) <= 2e8
    assert sides[0] > max(sides[1:])
