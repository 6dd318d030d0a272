"""What a gradient will take, and the refusal of what does not fit."""

import pytest
import torch

from coscale import memory
from coscale.collaborate import HCD
from coscale.encode import encode_photo
from coscale.errors import MemoryNeededError
from coscale.image import Photo
from coscale.rescalers import Bfloat16
from coscale.weights.load import load

CPU = torch.device("cpu")


def test_bytes_per_pixel() -> None:
    irn = load("irn-x2-4b").rescaler
    whole = memory.bytes_per_pixel(irn, 3, CPU)
    # 4 couplings keep the inputs of 3 x 5 convolutions, in g and in f, at a quarter of the pixels.
    inputs = (9 + 41 + 73 + 105 + 137) + 2 * (3 + 35 + 67 + 99 + 131)
    assert whole > 1.2 * 2 * 4 * inputs * 4 / 4
    assert memory.bytes_per_pixel(irn, 3, CPU, both=False) == pytest.approx(whole / 2, rel=0.05)
    assert memory.bytes_per_pixel(Bfloat16(irn), 3, CPU) == pytest.approx(whole / 2, rel=0.2)


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, crop: torch.Tensor) -> None:
    pair = load("irn-x2-4b")
    assert memory.available(CPU) > 1e8
    monkeypatch.setattr(memory, "available", lambda _: 1e6)
    with pytest.raises(MemoryNeededError, match="--method coscale"):
        encode_photo(Photo(crop), pair, HCD(1, 1))
    encode_photo(Photo(crop), pair, None)
