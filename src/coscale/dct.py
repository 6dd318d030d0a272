"""What JPEG does to an image, in tensors: to coefficients and back, by tables of quantiser steps.

    RGB --> Y, Cb, Cr --halve chroma--> blocks of 8 x 8 --DCT--> coefficients --divide by the tables, round--> the file

Sources: ITU-T T.81 (the transform, and its example tables in annex K) and T.871 (JFIF: Y, Cb and Cr of R, G and B).
libjpeg's scale of qualities from 1 to 100 is what users know; its triangle filter is what most decoders repeat chroma
with.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale.resize import pad

SIDE = 8  # of a block
_COEFFICIENTS = SIDE * SIDE
_MIDDLE = 128.0  # the grey that is coded as 0
_LUMA = """
16 11 10 16  24  40  51  61
12 12 14 19  26  58  60  55
14 13 16 24  40  57  69  56
14 17 22 29  51  87  80  62
18 22 37 56  68 109 103  77
24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101
72 92 95 98 112 100 103  99
"""
_CHROMA = """
17 18 24 47 99 99 99 99
18 21 26 66 99 99 99 99
24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99
"""
_ANNEX_K = torch.tensor(
    [[float(step) for step in text.split()] + [99.0] * (_COEFFICIENTS - len(text.split())) for text in (_LUMA, _CHROMA)]
)
_LOW = [0, 1, 2, 8, 9, 16]  # the lowest frequencies, in which most of a photo is
_BITS, _OF_CHROMA = 3.2, 0.5  # about what a unit of the logarithm takes; chroma is halved in most codecs
_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
_TO_RGB = torch.tensor([[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]])
GAINS = _TO_RGB.square().mean(0)  # the mean square of R, G and B that one of Y, of Cb and of Cr makes


def _basis() -> Float[Tensor, "8 8"]:
    """The DCT of 8 values as an orthogonal matrix, a frequency a row."""
    at = torch.arange(SIDE).double()
    matrix = torch.cos((2 * at[None, :] + 1) * at[:, None] * math.pi / (2 * SIDE)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.float()


_DCT = _basis()


def percent_of(quality: float) -> float:
    """Give what libjpeg makes of the example tables at a quality from 1 to 100: so many percent, 100 at 50."""
    return 5000 / quality if quality < 50 else 200 - 2 * quality


def quality_tables(quality: float) -> Float[Tensor, "2 64"]:
    """Give libjpeg's tables of quantiser steps, for luma and for chroma, for a quality from 1 to 100."""
    return ((_ANNEX_K * percent_of(quality) + 50) / 100).floor().clamp(1, 255)


def flat_tables(luma: float, chroma: float) -> Float[Tensor, "2 64"]:
    """Give tables with the same step for all frequencies, which loses the least squared error for its bits."""
    return torch.tensor([[float(luma)], [float(chroma)]]).round().clamp(1, 255).expand(2, _COEFFICIENTS)


def mean_step(tables: Float[Tensor, "*b 2 64"]) -> Float[Tensor, " *b"]:
    """Give what an upscaler is told of tables: the mean step of luma's low frequencies, in grey levels."""
    return tables[..., 0, _LOW].mean(-1)


@dataclass(frozen=True)
class Coefficients:
    """The DCT of an image's three planes, each ``b x rows x columns x 64`` in blocks; chroma of half the size or not.

    - ``height``, ``width``: of the image, multiples of 16 where chroma is halved, else of 8.
    """

    planes: tuple[Tensor, Tensor, Tensor]
    height: int
    width: int
    halved: bool

    def quantised(self, tables: Float[Tensor, "*b 2 64"]) -> "Coefficients":
        """Round each to a multiple of its step."""
        luma, chroma = (tables[..., row, :][..., None, None, :] for row in (0, 1))
        y, cb, cr = self.planes
        planes = tuple((plane / step).round() * step for plane, step in ((y, luma), (cb, chroma), (cr, chroma)))
        return replace(self, planes=planes)


def coefficients_of(x: Float[Tensor, "b 3 h w"], halved: bool) -> Coefficients:
    """Transform images in [0, 1]; see ``Coefficients`` for their sizes."""
    luma, chroma = torch.einsum("kc,bchw->bkhw", _TO_YCC.to(x), 255 * x).split((1, 2), 1)
    if halved:
        chroma = F.avg_pool2d(chroma, 2)
    planes = (_blocks(luma[:, 0] - _MIDDLE), _blocks(chroma[:, 0]), _blocks(chroma[:, 1]))
    return Coefficients(planes, x.shape[-2], x.shape[-1], halved)


def image_of(coefficients: Coefficients) -> Float[Tensor, "b 3 h w"]:
    """Transform back to images in [0, 1], clipped, not rounded."""
    luma, *chroma = (_pixels(plane) for plane in coefficients.planes)
    small = torch.stack(chroma, 1)
    if coefficients.halved:
        small = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    ycc = torch.cat([luma[:, None] + _MIDDLE, small], 1)
    return (torch.einsum("kc,bchw->bkhw", _TO_RGB.to(ycc), ycc) / 255).clamp(0, 1)


class _Logarithm(torch.autograd.Function):
    """log2(1 + |round(v)|), without a gradient where that is zero."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        rounded = v.round()
        ctx.save_for_backward(rounded)
        return (1 + rounded.abs()).log2()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (rounded,) = ctx.saved_tensors
        return grad_outputs[0] * rounded.sign() / (1 + rounded.abs()) / math.log(2)


def bits_by_logarithm(x: Float[Tensor, "b 3 h w"], step: float) -> Float[Tensor, " b"]:
    """Estimate the bits that images take in a codec of a mean quantiser ``step``, with a gradient.

    Means of blocks are left out, which hardly change.
    """
    coefficients = coefficients_of(pad(x, SIDE), halved=False)
    bits = torch.zeros(len(x)).to(x)
    for plane, share in zip(coefficients.planes, (1.0, _OF_CHROMA, _OF_CHROMA), strict=True):
        values = _Logarithm.apply(plane[..., 1:] / step)
        assert isinstance(values, Tensor)
        bits = bits + _BITS * share * values.sum((1, 2, 3))
    return bits


def _blocks(plane: Float[Tensor, "b h w"]) -> Float[Tensor, "b rows columns 64"]:
    matrix = _DCT.to(plane)
    parts = plane.unflatten(1, (-1, SIDE)).unflatten(3, (-1, SIDE)).transpose(2, 3)
    return (matrix @ parts @ matrix.T).flatten(3)


def _pixels(blocks: Float[Tensor, "b rows columns 64"]) -> Float[Tensor, "b h w"]:
    matrix = _DCT.to(blocks)
    parts = matrix.T @ blocks.unflatten(3, (SIDE, SIDE)) @ matrix
    return parts.transpose(2, 3).flatten(3).flatten(1, 2)
