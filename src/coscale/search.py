"""The quality of a lossy file that has a size, or restores a photo so well: found with few of the costly tries.

What a method makes of a quality is costly to know, what comes without it is cheap, and the two differ by about the
same everywhere. So the cheap curve is searched for where the costly one should meet the goal, and each try corrects it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from coscale.errors import SettingsError
from coscale.storage.lossy import LEAST_QUALITY, MOST_QUALITY, Lossy

T = TypeVar("T")

_TRIES = 4  # costly ones, after which what keeps to the goal is good enough
_MORE = 8  # tries as long as nothing keeps to it
_HALVINGS = 11
_APART = 0.5  # between qualities that are tried when the format has none in between
_NEAR, _NEAR_DB = 0.02, 0.1  # what is near enough to a size, as a share of it, and to a PSNR
_INSIDE = 0.3  # of the tolerance: how far from the goal a correction aims


@dataclass(frozen=True)
class Goal(Generic[T]):
    """What is looked for.

    - ``limit``: of the value, which grows with the quality; ``most``: whether it may be no more, rather than no less.
    - ``near``: a difference from the limit that is good enough.
    - ``cheap``: gives the value without the method, for a quality; ``costly``: what the method makes, and its value.
    """

    limit: float
    most: bool
    near: float
    cheap: Callable[[float], float]
    costly: Callable[[float], tuple[T, float]]


def reach(goal: Goal[T], lowest: float, highest: float) -> T | None:
    """Give what is nearest to the goal among what keeps to it; None where no quality between these two does."""
    known: dict[float, float] = {}

    def cheap(quality: float) -> float:
        if quality not in known:
            known[quality] = goal.cheap(quality)
        return known[quality]

    inside = -_INSIDE * goal.near if goal.most else _INSIDE * goal.near
    best: tuple[float, T] | None = None
    shift, tried = 0.0, set[float]()
    for number in range(_MORE):
        ends = _crossing(cheap, goal.limit + inside - shift, lowest, highest)
        quality = ends[0] if goal.most else ends[1]
        if quality in tried:
            quality = min(highest, max(lowest, quality + (-_APART if goal.most else _APART) * number))
        tried.add(quality)
        made, value = goal.costly(quality)
        left = goal.limit - value if goal.most else value - goal.limit
        if left >= 0 and (best is None or left < best[0]):
            best = left, made
        if best and (best[0] <= goal.near or number + 1 >= _TRIES):
            break
        if left < 0 and quality == (lowest if goal.most else highest):
            break
        shift = value - cheap(quality)
    return best[1] if best else None


def _crossing(value: Callable[[float], float], limit: float, lowest: float, highest: float) -> tuple[float, float]:
    """Qualities, close to each other, between which a growing curve meets a limit; twice an end where it does not."""
    if value(lowest) >= limit:
        return lowest, lowest
    if value(highest) <= limit:
        return highest, highest
    low, high = lowest, highest
    for _ in range(_HALVINGS):
        # Files grow ever faster towards the highest qualities.
        middle = round((low + high) / 2, 2)
        low, high = (middle, high) if value(middle) <= limit else (low, middle)
    return low, high


def reached(lossy: Lossy, cheap: Callable[[float], float], costly: Callable[[float], tuple[T, float]]) -> T:
    """Give what has the size that a storage was asked for and uses it, or the smallest that restores so well.

    Arguments:
        lossy: the storage, with its size or PSNR.
        cheap, costly: as in ``Goal``. The value is the logarithm of the bytes, since equal factors of a size are equal
            differences, or the PSNR in dB.

    Raises SettingsError where no quality does.
    """
    if lossy.size is not None:
        goal = Goal(math.log(lossy.size), True, _NEAR, cheap, costly)
        if (found := reach(goal, LEAST_QUALITY, MOST_QUALITY)) is not None:
            return found
        least = round(math.exp(costly(LEAST_QUALITY)[1]))
        raise SettingsError(
            f"no {lossy.name} file of this photo has {lossy.size} bytes or fewer at this scale; the smallest has "
            f"{least}"
        )
    goal = Goal(lossy.psnr or 0.0, False, _NEAR_DB, cheap, costly)
    if (found := reach(goal, LEAST_QUALITY, MOST_QUALITY)) is not None:
        return found
    raise SettingsError(
        f"no {lossy.name} file restores this photo to {lossy.psnr:g} dB at this scale; the best reaches "
        f"{costly(MOST_QUALITY)[1]:.2f}"
    )
