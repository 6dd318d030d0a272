"""Rounding to 8 bit, with the straight-through gradient that lets training and HCD see past it; and to 16 bit."""

from typing import Any

import torch
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor

# An image as grey levels, which take a quarter of the memory, or in [0, 1].
Pixels = UInt8[Tensor, "*shape"] | Float[Tensor, "*shape"]


def to_uint8(x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Give the grey levels that a file stores for an image in [0, 1]: clipped, times 255, rounded half to even.

    Of grey levels it gives these themselves.
    """
    return x if x.dtype == torch.uint8 else x.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def to_uint16(x: Float[Tensor, "*shape"]) -> UInt16[Tensor, "*shape"]:
    """Give the levels of 16 bit for an image in [0, 1]: clipped, times 65535, rounded half to even."""
    return x.clamp(0, 1).mul_(65_535).round_().to(torch.int32).to(torch.uint16)


def from_uint8(x: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Give the image in [0, 1] that 8-bit grey levels stand for, as float32."""
    return x.to(torch.float32).div_(255)


def as_float(x: Pixels) -> Float[Tensor, "*shape"]:
    """Give an image in [0, 1]: what 8-bit grey levels stand for, and any other image as it is."""
    return from_uint8(x) if x.dtype == torch.uint8 else x


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(0, 1).mul_(255).round_().div_(255)  # in place: images may be large

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


def quantize(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Clip to [0, 1] and round to multiples of 1/255; the gradient passes through both as if they were the identity.

    Source: IRN (Xiao et al., ECCV 2020), section 3.2, after Bengio et al. 2013.
    """
    out = _StraightThrough.apply(x)
    assert isinstance(out, Tensor)
    return out
