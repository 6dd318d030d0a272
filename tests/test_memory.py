"""What a gradient will take, and the refusal of what does not fit."""

import pytest
import torch

from coscale import memory, tiles
from coscale.collaborate import HCD
from coscale.encode import encode_photo
from coscale.errors import MemoryNeededError
from coscale.image import Photo
from coscale.rescalers import IRN, Bfloat16, Grey, Reversible
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
    assert memory.available(CPU) > 1e8
    monkeypatch.setattr(tiles, "available", lambda _: 1e6)
    with pytest.raises(MemoryNeededError, match="the smallest tile"):
        encode_photo(Photo(crop), pair, HCD(1, 1))
