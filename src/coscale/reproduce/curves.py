"""What two curves of rate and score say of each other: Bjontegaard's delta of the rate, and where they meet.

Source: Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001, with piecewise cubic
interpolation, as the standards now have it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from coscale.errors import OutputError

Point = tuple[float, float]  # bits a pixel, and a score of which more is better
_FEWEST = 4  # points of a curve, as in the source
_SHARED = 0.25  # of the shorter curve's range of scores: less in common says nothing of the curves
_GRID = 400


@dataclass(frozen=True)
class Compared:
    """Two curves over the scores that both reach.

    - ``rate``: by how many percent the first one's bits differ from the second one's at equal scores, on average.
    - ``meets``: the bits a pixel of the second from which on the first needs more; where it never does, or always, the
      most or the fewest that were compared.
    """

    rate: float
    meets: float


def check_extra() -> None:
    """Raise OutputError where what compares curves is not installed."""
    if find_spec("bjontegaard") is None:
        raise OutputError("rates need bjontegaard: pip install 'coscale[rates]'")


def rising(points: Iterable[Point]) -> list[Point]:
    """Give the points in the order of their bits, without those that score no more than one of fewer bits."""
    kept: list[Point] = []
    for bits, score in sorted(points):
        if math.isfinite(score) and (not kept or (score > kept[-1][1] and bits > kept[-1][0])):
            kept.append((bits, score))
    return kept


def compared(mine: Sequence[Point], theirs: Sequence[Point]) -> Compared | None:
    """Compare two curves; None where one has fewer than four points or they have hardly a score in common."""
    from bjontegaard import bd_rate

    mine, theirs = rising(mine), rising(theirs)
    if min(len(mine), len(theirs)) < _FEWEST:
        return None
    lowest, highest = (max(mine[0][1], theirs[0][1]), min(mine[-1][1], theirs[-1][1]))
    shorter = min(mine[-1][1] - mine[0][1], theirs[-1][1] - theirs[0][1])
    if highest - lowest < _SHARED * shorter:
        return None
    columns: list[Any] = [np.array(column) for curve in (theirs, mine) for column in zip(*curve, strict=True)]
    options: dict[str, Any] = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    found: Any = bd_rate(*columns, interpolators=True, **options)
    rate, anchor, test = found
    scores = np.linspace(lowest, highest, _GRID)
    saves = test(scores) <= anchor(scores)
    last = int(np.flatnonzero(saves)[-1]) if saves.any() else 0
    return Compared(float(rate), float(10 ** anchor(scores[last])))
