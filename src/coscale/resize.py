"""Bicubic resizing as MATLAB's ``imresize`` does it: differentiable, with antialiasing when it shrinks.

Each axis is a sum over the taps of the kernel, rows picked and weighted: a linear map with an exact gradient.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from coscale.quantize import Pixels

_REACH = 2  # of the kernel, to each side


def _cubic(x: float) -> float:
    """Keys' cubic kernel with a = -0.5, support [-2, 2]."""
    a = abs(x)
    if a <= 1:
        return 1.5 * a**3 - 2.5 * a**2 + 1
    return -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2 if a <= 2 else 0.0


def _normalised(weights: list[float]) -> list[float]:
    """The same weights with a sum of 1."""
    total = sum(weights)
    return [weight / total for weight in weights]


def _taps(size_in: int, size_out: int, ratio: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    return _computed_taps(size_in, size_out, ratio, dtype, device)


# The compiler has no need to see how they come about. torch.compiler.assume_constant_result does no more than this, but
# imports the compiler first, which would double the time in which every command starts.
_taps._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=64)
def _computed_taps(
    size_in: int, size_out: int, ratio: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Source indices and weights, each taps x out, of one axis; the border is mirrored with its edge repeated."""
    shrink = min(ratio, 1.0)  # antialiasing widens the kernel by 1 / ratio
    width = 4.0 / shrink
    count, index, weight = math.ceil(width) + 1, [], []
    for place in range(size_out):
        centre = (place + 0.5) / ratio - 0.5
        taps = range(math.floor(centre - width / 2) + 1, math.floor(centre - width / 2) + 1 + count)
        index.append([min(tap % (2 * size_in), 2 * size_in - 1 - tap % (2 * size_in)) for tap in taps])
        weight.append(_normalised([shrink * _cubic(shrink * (centre - tap)) for tap in taps]))
    indices, weights = torch.tensor(index), torch.tensor(weight, dtype=torch.float64)
    used = (weights != 0).any(0)
    return indices[:, used].T.contiguous().to(device), weights[:, used].T.contiguous().to(device, dtype)


def _resize_rows(x: Tensor, size_out: int, ratio: float) -> Tensor:
    """Resize the second-to-last axis."""
    index, weight = _taps(x.shape[-2], size_out, ratio, x.dtype, x.device)
    out = torch.zeros(*x.shape[:-2], size_out, x.shape[-1], dtype=x.dtype, device=x.device)
    for rows, weights in zip(index, weight, strict=True):
        out = out + x.index_select(-2, rows) * weights[:, None]
    return out


def resize(
    x: Float[Tensor, "*batch h w"], size: tuple[int, int], scale: float | None = None
) -> Float[Tensor, "*batch h2 w2"]:
    """Resize the last two axes to ``size`` = (height, width) as MATLAB's ``imresize(x, ..., "bicubic")``.

    ``scale`` is output over input size; without it each axis takes the ratio of its sizes. Values are not clipped.
    Source: Keys, "Cubic convolution interpolation", 1981; MATLAB's rule for antialiasing and borders.
    """
    height, width = size
    by = height / x.shape[-2] if scale is None else scale
    bx = width / x.shape[-1] if scale is None else scale
    # MATLAB starts with the axis that shrinks most; for a linear separable map the order only decides the cost.
    x = _resize_rows(x, height, by)
    return _resize_rows(x.transpose(-1, -2), width, bx).transpose(-1, -2)


def downscale(hr: Float[Tensor, "*batch h w"], scale: int) -> Float[Tensor, "*batch h2 w2"]:
    """Bicubic at 1 / scale; height and width are divided by ``scale`` and rounded up."""
    height, width = -(-hr.shape[-2] // scale), -(-hr.shape[-1] // scale)
    return resize(hr, (height, width), 1 / scale)


def upscale(lr: Float[Tensor, "*batch h w"], scale: int) -> Float[Tensor, "*batch h2 w2"]:
    """Bicubic at ``scale`` times the size."""
    rows = _upscale_rows(lr, scale)
    return _upscale_rows(rows.transpose(-1, -2), scale).transpose(-1, -2)


def _upscale_rows(x: Tensor, scale: int) -> Tensor:
    """The second-to-last axis ``scale`` times as long; no size stands in what a tracer sees of it."""
    size = x.shape[-2]
    index = torch.arange(-_REACH, size + _REACH, device=x.device)
    index = torch.maximum(index, -1 - index)  # mirrored with the edge repeated
    padded = x.index_select(-2, torch.minimum(index, 2 * size - 1 - index).clamp(min=0))
    phases = []
    for taps in _phases(scale):
        rows = torch.zeros_like(x)
        for offset, weight in taps:
            rows = rows + padded.narrow(-2, _REACH + offset, size) * weight
        phases.append(rows)
    return torch.stack(phases, -2).flatten(-3, -2)


@lru_cache(maxsize=16)
def _phases(scale: int) -> tuple[tuple[tuple[int, float], ...], ...]:
    """What each of the ``scale`` pixels that come of one takes of its neighbours, as (offset, weight)."""
    phases = []
    for place in range(scale):
        centre = (place + 0.5) / scale - 0.5
        taps = range(math.floor(centre - 2) + 1, math.floor(centre - 2) + 6)
        weights = _normalised([_cubic(centre - tap) for tap in taps])
        phases.append(tuple((tap, weight) for tap, weight in zip(taps, weights, strict=True) if weight))
    return tuple(phases)


def cut(hr: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c h2 w2"]:
    """Leave out the rows below and the columns on the right that make no whole LR pixel."""
    height, width = (side - side % scale for side in hr.shape[-2:])
    return hr[..., :height, :width]


def pad(x: Pixels, scale: int) -> Pixels:
    """Repeat the last row and column of ``x`` up to multiples of ``scale``."""
    height, width = x.shape[-2:]
    right, below = -width % scale, -height % scale
    if not right and not below:
        return x
    out = x.new_empty(*x.shape[:-2], height + below, width + right)
    out[..., :height, :width] = x
    out[..., :height, width:] = x[..., -1:]
    out[..., height:, :] = out[..., height - 1 : height, :]
    return out
