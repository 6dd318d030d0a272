"""What an upscaler is told of a codec that keeps its step to itself: the level that restores most, found by trying."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from coscale.levels import LEVELS
from coscale.objectives import WeightedLuma
from coscale.quantize import Pixels, as_float, quantize
from coscale.rescalers import Rescaler
from coscale.storage import Storage
from coscale.storage.lossy import LEAST_QUALITY, MOST_QUALITY

_PROBE = 128  # side in LR pixels of what a level is looked for on
_COARSE, _FINE = 32, 8  # levels between those that are tried
_USUAL = {LEAST_QUALITY: 192, MOST_QUALITY: 0}  # where levels usually are, at the ends


def fitting_level(storage: Storage, rescaler: Rescaler, hr: Pixels, near: int | None = None) -> int:
    """Give the level which, told to a rescaler, has it restore most of what a codec leaves of an LR.

    It is looked for in the middle of the photo; ``near``: as in ``best_level``.
    """
    part = as_float(middle_of(hr, rescaler.scale))
    with torch.no_grad():
        seen = storage.project(quantize(rescaler.downscale(part)))
    return best_level(rescaler, seen, part, near)


def middle_of(hr: Pixels, scale: int) -> Pixels:
    """Give the part of a photo that its level is looked for on: of its LR the middle, up to 128 pixels a side."""
    rows, columns = (
        slice(scale * first, scale * min(side, first + _PROBE))
        for side in (hr.shape[-2] // scale, hr.shape[-1] // scale)
        for first in [max(0, (side - _PROBE) // 2)]
    )
    return hr[..., rows, columns]


@torch.no_grad()
def best_level(
    rescaler: Rescaler, seen: Float[Tensor, "b c h w"], hr: Float[Tensor, "b c h2 w2"], near: int | None = None
) -> int:
    """Give the level which, told to a rescaler, has it restore most of ``hr`` from ``seen``, to the nearest 8 levels.

    ``near``: where the level should be, from which the error is then followed down; without it all levels are looked
    at, coarsely first.
    """
    known: dict[int, float] = {}

    def loss(level: int) -> float:
        if level not in known:
            restored = rescaler.told(level).upscale(seen).clamp(0, 1)
            known[level] = float(WeightedLuma()(restored, hr).mean())
        return known[level]

    def best_of(levels: range) -> int:
        return min((level for level in levels if 0 <= level < LEVELS), key=loss)

    if near is None:
        best = best_of(range(0, LEVELS, _COARSE))
        return best_of(range(best - _COARSE + _FINE, best + _COARSE, _FINE))
    best = min(round(near / _FINE) * _FINE, LEVELS - _FINE)
    while (better := best_of(range(best - _FINE, best + _FINE + 1, _FINE))) != best:
        best = better
    return best


class Levels:
    """The levels of one photo at a format's qualities, of which few are looked for and the others are in between.

    ``find`` looks for the level of a quality, from another on that it should be near, or from none.
    """

    def __init__(self, find: Callable[[float, int | None], int]) -> None:
        self._find = find
        self._known: dict[float, int] = {}

    def at(self, quality: float) -> int:
        """Give the level of a quality, looked for."""
        if quality not in self._known:
            self._known[quality] = self._find(quality, self._between(quality) if self._known else None)
        return self._known[quality]

    def about(self, quality: float) -> int:
        """Give about the level of a quality: what lies between those that have been looked for."""
        for end, usual in _USUAL.items():
            if end not in self._known:
                self._known[end] = self._find(end, usual)
        return self._between(quality)

    def _between(self, quality: float) -> int:
        qualities = sorted(self._known)
        return round(float(np.interp(quality, qualities, [self._known[each] for each in qualities])))
