"""Rounding to 8 bit and its gradient."""

import torch

from coscale.quantize import from_uint8, quantize, to_uint8


def test_levels_survive() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_uint8(levels)), levels)
    assert torch.equal(quantize(from_uint8(levels)), from_uint8(levels))


def test_clips_and_rounds() -> None:
    x = torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 254.6 / 255, 2.0])
    assert to_uint8(x).tolist() == [0, 0, 1, 255, 255]
    assert torch.equal(quantize(x), from_uint8(to_uint8(x)))


def test_gradient_passes_straight_through() -> None:
    x = torch.tensor([-0.5, 0.3, 2.0], requires_grad=True)
    (quantize(x) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 2, 3]
