"""python -m bench.forms [--scale 2] [--until 23:30]: which form of learned steps gains how much, at equal minutes.

- its own: the form in the package, trained for one pair.
- its own, without the gradient: it sees the error and the LR alone, so that encoding takes no pass back through f.
- one for the scale: trained on all pairs of the scale in the package, of which each batch draws one; also measured on a
  network of others, which it never saw.
- one for the others: the same, measured on the one pair that is left out.

Each is trained from the same random start for --minutes, its rate falling to 0 within them, and measured on Set5:
the gain of Y over g's LR after each step, through 8-bit LR images, no step taken back. Beside them stands the descent
that a pair without learned steps takes. Rows join results/forms.jsonl as a form ends, and what has its rows is
not done again. Stopped at any time, the same command goes on.
"""

import argparse
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench import passes
from bench.plain import photo_of, processor, take_turns
from bench.readme import ROOT, Row, read_rows
from bench.relay import SHARED, alone, deadline_of, interrupt, rows_of, say, settle
from bench.upscalers import UPSCALERS
from coscale.choices import Effort
from coscale.collaborate import Coscale
from coscale.console import dump
from coscale.evaluate import benchmark_photo
from coscale.report.tables import markdown_table
from coscale.rescalers import Bfloat16, fastest
from coscale.rescalers.steps import LearnedSteps, Seen, Steps, unshuffled
from coscale.train import loop, recipes
from coscale.train.steps import StepObjective
from coscale.weights.load import Loaded, load
from coscale.weights.upscaler import load_upscaler

ROWS = ROOT / "results" / "forms.jsonl"
MINUTES = 4.0
# The pairs of the package, and a network of others, which no form is trained on. For the first pair all forms are
# trained, and the second is left out once.
PAIRS = {
    2: ("light-x2", "irn-x2-4b", "coded-x2", "srcnn-x2"),
    4: ("light-x4", "irn-x4-4b", "base-x4", "srcnn-x4"),
}
UNSEEN = {2: "RLFN x2", 4: "RLFN x4"}
DESCENT: dict[int, Effort] = {4: "instant", 6: "fast"}  # efforts without learned steps, by their passes
COUNTS = (1, 2, 3, *DESCENT)  # learned steps or passes of descent after which gains are told
TIMED_SIDE, TIMED_ROUNDS = 512, 7  # pixels of the photo that is timed, and how often
BATCH = 16  # twice the recipe's, so that the quickest pairs take few updates, since many at its rate do harm
REPORT_SECONDS = 450  # few reports, which take their time from training
SPARE_MINUTES = 8  # for reading the photos and measuring
CPU = torch.device("cpu")
PRECISION = fastest(CPU)  # of passes and steps, in training and in encoding
Gains = Mapping[int, float]  # dB of Y after so many steps or passes


@dataclass(frozen=True)
class Form:
    """A form of learned steps, the pairs that it is trained on, none for descent, and those that it is measured on."""

    name: str
    trained_on: tuple[str, ...]
    measured_on: tuple[str, ...]
    gradient: bool = True

    def network(self, scale: int) -> Steps:
        """Steps that begin alike for all forms."""
        torch.manual_seed(0)
        return Steps(scale) if self.gradient else WithoutGradient(scale)


def forms_of(scale: int) -> list[Form]:
    """What is measured, in this order."""
    pairs, unseen = PAIRS[scale], UNSEEN[scale]
    first, left_out, *_ = pairs
    others = tuple(pair for pair in pairs if pair != left_out)
    return [
        Form("its own", (first,), (first,)),
        Form("its own, without the gradient", (first,), (first,), gradient=False),
        Form("one for the scale", pairs, (*pairs, unseen)),
        Form("one for the others", others, (left_out,)),
        Form("its own", (left_out,), (left_out,)),
        Form("none: descent", (), (*pairs, unseen)),
    ]


class WithoutGradient(Steps):
    """Steps that see nothing of the gradient, and do not go along it."""

    def forward(self, number: int, seen: Seen) -> Tensor:
        none = torch.zeros_like(seen.slope)
        return super().forward(number, replace(seen, slope=none, before=none))


class OverPairs(nn.Module):
    """The objective of learned steps, for each batch by one of several pairs; the first is the one that is reported."""

    traceable = False

    def __init__(self, steps: Steps, pairs: Sequence[Loaded], autocast: bool) -> None:
        super().__init__()
        self.each = [StepObjective(steps, pair.rescaler, autocast) for pair in pairs]

    def chance(self, generator: torch.Generator, batch: int, lr_size: torch.Size) -> tuple[Tensor]:
        """Draw a pair."""
        return (torch.randint(len(self.each), (1,), generator=generator).expand(batch),)

    def forward(self, hr: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the objective for the pair that was drawn."""
        return self.each[int(rest[-1][0])](hr)

    def validate(self, steps: Steps, crops: Tensor) -> dict[str, float]:
        """Report the first pair."""
        return self.each[0].validate(steps, crops)


@cache
def pair_of(name: str, shared: Path) -> Loaded:
    """A pair of the package, or bicubic and a network of others."""
    source = UPSCALERS.get(name, name)
    return load_upscaler(shared / source) if isinstance(source, Path) else load(source)


@cache
def photos(scale: int, shared: Path) -> list[Tensor]:
    """The photos of Set5."""
    folder = shared / "data" / "test" / "Set5"
    return [benchmark_photo(path, scale).colour for path in sorted(folder.iterdir())]


def gains_of_steps(steps: Steps, pair: Loaded, photo: Tensor) -> Gains:
    """The gain after each step."""
    walk = StepObjective(steps, pair.rescaler, PRECISION == "bfloat16").walk(photo)
    plain, *found = [passes.y_of(pair, moved, photo) for moved, _, _ in walk]
    return {count: psnr - plain for count, psnr in enumerate(found, 1)}


def gains_of_descent(pair: Loaded, photo: Tensor) -> Gains:
    """The gain after the passes of descent that a pair without learned steps takes."""
    return {count: passes.gain(pair, photo, Coscale(effort))[0] for count, effort in DESCENT.items()}


def seconds_of(steps: Steps, pair: Loaded) -> dict[str, float]:
    """The seconds of a decoding, of the look at an LR that a step needs, and of the step itself."""
    objective = StepObjective(steps, pair.rescaler, PRECISION == "bfloat16")
    hr = photo_of(TIMED_SIDE)
    with torch.no_grad():
        x = pair.rescaler.downscale(hr).clamp(0, 1)
    _, error, slope = objective.look(x, hr)
    seen, step, twin = Seen(x, error, slope, x, slope), LearnedSteps(steps, PRECISION), pair.rescaler
    if PRECISION == "bfloat16":
        twin = Bfloat16(twin)

    @torch.no_grad()
    def forward() -> Tensor:
        return unshuffled(hr - twin.upscale(x).float().clamp(0, 1), steps.scale)

    @torch.no_grad()
    def decode() -> Tensor:
        return pair.rescaler.upscale(x)

    look = forward if isinstance(steps, WithoutGradient) else lambda: objective.look(x, hr)
    return take_turns({"decode": decode, "look": look, "step": lambda: step(0, seen)}, TIMED_ROUNDS)


@dataclass(frozen=True)
class Study:
    """The forms for a scale, each trained for so many minutes, and where photos lie and runs may."""

    scale: int
    minutes: float
    shared: Path
    runs: Path

    def run(self, deadline: float) -> None:
        """Measure what has no rows yet, as long as another form can be done before ``deadline``, of ``time.time``."""
        for form in forms_of(self.scale):
            labels = self._labels(form)
            if any(labels.items() <= row.items() for row in read_rows(ROWS)):
                continue
            if deadline - time.time() < 60 * (labels["minutes"] + SPARE_MINUTES):
                return
            say(f"x{self.scale}, {form.measured_on[0]}: {form.name}")
            # All rows of a form at once, so that it has all or none.
            rows = [labels | row | here() for row in self._rows(form)]
            with ROWS.open("a") as file:
                file.writelines(dump(row) + "\n" for row in rows)
            print(table(self.scale, self.minutes), flush=True)

    def _labels(self, form: Form) -> Row:
        minutes = self.minutes if form.trained_on else 0
        return {"scale": self.scale, "form": form.name, "minutes": minutes, "trained_on": list(form.trained_on)}

    def _rows(self, form: Form) -> Iterator[Row]:
        """Train a form, and give a row for each pair that it is measured on."""
        steps, training = self._trained(form) if form.trained_on else (None, {})
        for name in form.measured_on:
            pair = pair_of(name, self.shared)
            gains = partial(gains_of_steps, steps) if steps else gains_of_descent
            yield {
                "rescaler": name,
                "weights_hash": pair.weights_hash[:12],
                "gain_y": self._gains(partial(gains, pair)),
                "seconds": seconds_of(steps, pair) if steps else None,
                **training,
            }

    def _trained(self, form: Form) -> tuple[Steps, Row]:
        """Train a form by the recipe of the package, and tell how that went."""
        recipe = recipes.find(f"{PAIRS[self.scale][0]}-steps", batch=BATCH)
        pairs = [pair_of(name, self.shared) for name in form.trained_on]
        name = f"{form.name} {form.measured_on[0]}, {self.minutes:g} minutes"
        folder = self.runs / name.replace(",", "").replace(" ", "-")
        steps = form.network(self.scale)
        # What is trained on is this module's. Nothing is compiled: of several pairs that would take minutes.
        with patch.object(loop, "objective_of", lambda *_: OverPairs(steps, pairs, PRECISION == "bfloat16")):
            weights = loop.train(
                *(recipe, steps, [self.shared / "data" / "train"], folder),
                minutes=self.minutes,
                say=say,
                compiled=False,
                report_seconds=REPORT_SECONDS,
            )
        steps.load_state_dict(load_file(weights))
        log = rows_of(folder)
        curve = [[round(row["seconds"]), round(row["gain_1"], 3), round(row["gain_3"], 3)] for row in log]
        return steps.requires_grad_(False).eval(), {"steps": log[-1]["step"], "curve": curve}

    def _gains(self, gains_of: Callable[[Tensor], Gains]) -> dict[str, float]:
        """The mean gains over the photos of Set5, by the number of steps."""
        found = [gains_of(photo) for photo in photos(self.scale, self.shared)]
        return {str(count): round(fmean(each[count] for each in found), 3) for count in found[0]}


def here() -> Row:
    date = datetime.now(tz=UTC).date().isoformat()
    return {"processor": processor(), "precision": PRECISION, "torch": torch.__version__, "date": date}


def table(scale: int, minutes: float = MINUTES) -> str:
    """The gain by each form for each pair, and what a step takes."""
    order = (*PAIRS[scale], UNSEEN[scale])
    lines = []
    measured = [row for row in read_rows(ROWS) if row["scale"] == scale and row["minutes"] in (minutes, 0)]
    for row in sorted(measured, key=lambda row: order.index(row["rescaler"])):
        gains, seconds = row["gain_y"], row["seconds"]
        cells = [f"{gains[str(count)]:+.2f}" if str(count) in gains else "" for count in COUNTS]
        taken = f"{(seconds['look'] + seconds['step']) / seconds['decode']:.2f}" if seconds else ""
        lines.append((row["rescaler"], row["form"], *cells, taken))
    heads = ("rescaler", "learned steps", *(f"after {count}" for count in COUNTS), "a step, in decodings")
    return markdown_table(heads, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, choices=sorted(PAIRS), default=2)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training each form (default: 4)")
    parser.add_argument("--core", type=int, default=0, help="the processor core that does it (default: 0)")
    parser.add_argument("--until", metavar="HH:MM", help="begin none that would not be done at this time of the day")
    parser.add_argument("--shared", type=Path, default=SHARED, help="the folder of photos, sets and weights of others")
    parser.add_argument("--runs", type=Path, default=ROOT.parent / "runs", help="for what training keeps")
    arguments = parser.parse_args()
    settle(arguments.core, "bench.forms")
    signal.signal(signal.SIGTERM, interrupt)
    study = Study(arguments.scale, arguments.minutes, arguments.shared, arguments.runs / f"forms-x{arguments.scale}")
    with alone(study.runs):
        try:
            study.run(deadline_of(arguments.until, None))
        except KeyboardInterrupt:
            raise SystemExit("stopped; the same command goes on from here") from None


if __name__ == "__main__":
    main()
