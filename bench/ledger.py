"""What training has been done so far: the lines of results/relay.jsonl, and which recipe has most to gain."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

FIRST_HOURS = 0.25  # what a recipe that had no training counts as, so that a logarithm can be taken
USUAL_GAIN = 0.4  # dB that twice the training brings, until two branches have shown it
LEAST_GAIN, MOST_GAIN = 0.02, 1.0


@dataclass(frozen=True)
class Leg:
    """One piece of training, as one line: of a recipe's trunk, or of a branch that has ended.

    - ``trunk``: which of the recipe's trunks, counted from 0; a new one begins where the optimiser's state was lost.
    - ``trunk_steps``, ``trunk_seconds``: of that trunk, since it began.
    - ``branch_steps``, ``branch_seconds``: of the branch, 0 for a trunk.
    - ``steps``: of all trunks of the recipe up to here; ``core_hours``: of all its trunks and branches.
    - ``psnr_y``, ``lr_psnr``: dB on the validation crops, of the restored crop and of the LR against bicubic.
    - ``set5``: PSNR-Y of Set5 through 8-bit files, measured for branches alone.
    """

    recipe: str
    kind: Literal["trunk", "branch"]
    trunk: int
    trunk_steps: int
    trunk_seconds: float
    branch_steps: int
    branch_seconds: float
    steps: int
    core_hours: float
    psnr_y: float
    lr_psnr: float
    set5: float | None
    shipped: bool
    processor: str
    precision: str
    torch: str
    date: str


class Ledger:
    """The lines of a file, and those that join them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.legs = [Leg(**json.loads(line)) for line in lines]

    def of(self, recipe: str, kind: str | None = None) -> list[Leg]:
        """The legs of a recipe, in order."""
        return [leg for leg in self.legs if leg.recipe == recipe and kind in (None, leg.kind)]

    def add(self, leg: Leg) -> None:
        """Write a line, with its sums over all legs of the recipe."""
        self.legs.append(leg)
        leg = replace(leg, steps=self.steps(leg.recipe), core_hours=round(self.hours(leg.recipe), 3))
        self.legs[-1] = leg
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(leg)) + "\n")

    def steps(self, recipe: str) -> int:
        """Of all trunks."""
        return sum({leg.trunk: leg.trunk_steps for leg in self.of(recipe)}.values())

    def hours(self, recipe: str) -> float:
        """Core-hours of all trunks and branches."""
        legs = self.of(recipe)
        trunks = {leg.trunk: leg.trunk_seconds for leg in legs}
        return (sum(trunks.values()) + sum(leg.branch_seconds for leg in legs)) / 3600

    def growth(self, recipe: str) -> float:
        """The steps of the trunks since the last branch over those before it; infinite before the first branch."""
        branches, steps = self.of(recipe, "branch"), self.steps(recipe)
        return (steps - branches[-1].steps) / max(1, branches[-1].steps) if branches else math.inf

    def next_hour(self, recipe: str, hours_before: float) -> float:
        """The dB that one more core-hour should bring: quality grows with the logarithm of training.

        ``hours_before`` is what the recipe had before its first line.
        """
        branches = self.of(recipe, "branch")
        hours = max(hours_before + self.hours(recipe), FIRST_HOURS)
        doubled = USUAL_GAIN
        if len(branches) > 1:
            before, last = branches[-2:]
            doublings = math.log2((hours_before + last.core_hours) / (hours_before + before.core_hours))
            gained = (last.set5 or 0) - (before.set5 or 0)
            doubled = min(MOST_GAIN, max(LEAST_GAIN, gained / max(doublings, 0.01)))
        return doubled * math.log2((hours + 1) / hours)

    def most_to_gain(self, queue: Iterable[str], hours_before: dict[str, float]) -> str:
        """The recipe whose next core-hour should bring most; the first of equals."""
        return max(queue, key=lambda recipe: self.next_hour(recipe, hours_before.get(recipe, 0)))
