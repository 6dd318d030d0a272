"""python -m bench.relay [--core 0] [--until 23:30]: train the recipes of a queue for days, whatever stops it.

Short runs whose learning rate falls to 0 and rises again lose what they had. So each recipe has a trunk, trained at a
constant rate for as long as there is time, and now and then a branch of it, in which the rate falls to 0. The trunk's
averaged weights are kept in bench/trunks, its optimiser's state in --runs; a branch is measured on Set5 through 8-bit
files, and what is better than the weights in the package replaces them (bench.ship). Each piece gets a line in
results/relay.jsonl. Stopped or killed at any time, the same command goes on from the last checkpoint.
"""

import argparse
import contextlib
import ctypes.util
import dataclasses
import fcntl
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.ledger import Ledger, Leg
from bench.plain import processor
from bench.readme import ROOT, read_rows
from coscale.collaborate import PLAIN
from coscale.console import dump
from coscale.evaluate import Settings, evaluate, find_sets
from coscale.measurement import Measurement
from coscale.rescalers import Precision, fastest, find
from coscale.train import recipes
from coscale.train.loop import train
from coscale.train.recipes import TrainingRecipe, branch_of, prepared, trunk_of
from coscale.train.state import hand_over
from coscale.weights.load import bundled, load
from coscale.weights.manifest import read_manifest
from coscale.weights.steps import beside

QUEUE = ("light-x4", "light-x2", "base-x4", "base-x2")
SHARED = ROOT.parent / "shared"
BRANCH = 0.15  # steps of a branch, as a share of those behind it
GROWTH = 0.3  # of a trunk since its last branch, after which it gets another
LEAST_GROWTH = 0.05  # the same, when time is running out
LEG_MINUTES = 30.0
SHORTEST_MINUTES = 2.0  # of a leg: compiling alone takes one
MEASURING_MINUTES = 2.0  # of a branch, on Set5
STEPS_MINUTES = 20.0  # of learned steps, for weights that are shipped
STEPS_RATE, STEPS_BATCH = 3e-5, 32  # for steps that are good already; at the recipe's they would forget
WORTHWHILE = 0.02  # dB on Set5 by which new weights must be better to be shipped
ALIKE = 38.0  # dB of the LR against bicubic's, on Set5, below which weights are not shipped
REPORT_SECONDS = 120
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Places:
    """Where the relay reads and writes: photos, test sets, runs that stay beside the tree, and what is committed."""

    data: Sequence[Path]
    sets: Path  # the folder of Set5 and the others
    runs: Path
    ledger: Path = ROOT / "results" / "relay.jsonl"
    trunks: Path = ROOT / "bench" / "trunks"
    shipped: Path | None = ROOT / "results" / "shipped.jsonl"  # rows of what is shipped; None: nothing is


@dataclass(frozen=True)
class Progress:
    """How far a checkpoint is, and by which recipe."""

    recipe: TrainingRecipe
    step: int
    seconds: float


def progress_of(folder: Path) -> Progress | None:
    """What the checkpoint in a run's folder says; None without one, or with one that an older version wrote."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    values = torch.load(path, "cpu", weights_only=True)
    if not values["recipe"].keys() <= {field.name for field in dataclasses.fields(TrainingRecipe)}:
        return None
    return Progress(TrainingRecipe(**values["recipe"]), values["course"]["step"], values["course"]["seconds"])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The reports of a run."""
    return read_rows(folder / "log.jsonl")


def pace_of(folder: Path) -> float | None:
    """Seconds a step of a run, as its last reports tell."""
    rows = rows_of(folder)[-5:]
    return 1 / statistics.median(row["steps_per_second"] for row in rows) if rows else None


def seconds_at(folder: Path, step: int) -> float:
    """What a run had taken when it was last seen at ``step`` or before."""
    return max((row["seconds"] for row in rows_of(folder) if row["step"] <= step), default=0.0)


class Relay:
    """Trains one recipe after the other, a leg at a time."""

    def __init__(
        self,
        places: Places,
        queue: Sequence[str],
        precision: Precision,
        compiled: bool = True,
        branch: float = BRANCH,
    ) -> None:
        self.places, self.queue, self.compiled, self.branch = places, queue, compiled, branch
        self.precision: Precision = precision
        self.ledger = Ledger(places.ledger)

    def run(self, deadline: float, leg_minutes: float = LEG_MINUTES) -> None:
        """Train until ``deadline``, in seconds of ``time.time``."""
        for name in self.queue:  # a branch that a stop cut short comes first
            if (self._folder(name, "branch") / "checkpoint.pt").exists():
                self._finish_branch(name)
        while (left := (deadline - time.time()) / 60) > SHORTEST_MINUTES:
            name = self.ledger.most_to_gain(self.queue, hours_before())
            reserve = self._branch_minutes(name)
            if left - reserve > SHORTEST_MINUTES:
                self._grow(name, min(leg_minutes, left - reserve))
                if self.ledger.growth(name) >= GROWTH and self._branch_minutes(name) < (deadline - time.time()) / 60:
                    self._branch(name)
            elif left > reserve and self.ledger.growth(name) >= LEAST_GROWTH:
                self._branch(name)
            else:
                self._grow(name, left)

    def _folder(self, name: str, kind: str) -> Path:
        return self.places.runs / name / kind

    def _grow(self, name: str, minutes: float) -> None:
        """Train a trunk for some minutes more."""
        folder = self._folder(name, "trunk")
        before = progress_of(folder)
        if before is None:
            if folder.exists():
                shutil.move(folder, folder.with_name(f"trunk-until-{datetime.now():%Y-%m-%dT%H%M%S}"))
            number = 1 + max((leg.trunk for leg in self.ledger.of(name)), default=-1)
            before = Progress(self._trunk(name, number), 0, 0.0)
        say(f"{name}: {minutes:.0f} minutes of the trunk, from step {before.step}")
        self._train(before.recipe, folder, before.seconds / 60 + minutes)
        weights = load_file(folder / f"{name}.safetensors")
        self.places.trunks.mkdir(parents=True, exist_ok=True)
        # Half precision: what it changes is far below what one step at this rate does.
        save_file({key: value.half() for key, value in weights.items()}, self.places.trunks / f"{name}.safetensors")
        self._record(name, folder)

    def _trunk(self, name: str, number: int) -> TrainingRecipe:
        """The recipe of a new trunk, which begins with the averaged weights of the one before or with those shipped."""
        recipe = recipes.find(name)
        kept = self.places.trunks / f"{name}.safetensors"
        start = recipe.start
        if kept.exists():
            start = os.path.relpath(kept)
        elif find(name).checkpoint == "bundled":
            start = name
        return replace(trunk_of(recipe), lr=recipe.lr / 2, seed=number, start=start)

    def _branch(self, name: str) -> None:
        """Begin a branch at the trunk's last checkpoint, and finish it."""
        trunk, branch = self._folder(name, "trunk"), self._folder(name, "branch")
        progress = progress_of(trunk)
        assert progress is not None
        steps, more = progress.step, max(1, round(self.branch * self.ledger.steps(name)))
        shutil.rmtree(branch, ignore_errors=True)
        branch.mkdir(parents=True)
        shutil.copyfile(trunk / "log.jsonl", branch / "log.jsonl")
        hand_over(trunk / "checkpoint.pt", branch_of(progress.recipe, steps, more), branch / "checkpoint.pt")
        say(f"{name}: a branch of {more} steps")
        self._finish_branch(name)

    def _finish_branch(self, name: str) -> None:
        """Train a branch to its end, measure it, ship it if it is better, and write its line."""
        folder = self._folder(name, "branch")
        progress = progress_of(folder)
        if progress is None:
            shutil.rmtree(folder)
            return
        self._train(progress.recipe, folder, None)
        sets = find_sets([self.places.sets])
        weights = folder / f"{name}.safetensors"
        rows = measure(name, weights, {"Set5": sets["Set5"]})
        set5 = statistics.fmean(row.scores.psnr_y for row in rows)
        entry = read_manifest().get(name)
        before = entry.quality["Set5"].psnr_y if entry and "Set5" in entry.quality else 0.0
        say(f"{name}: Set5 {set5:.2f} dB; the weights in the package reach {before:.2f} dB")
        # Weights that restore more from a small image that looks less like the photo's are not better.
        alike = statistics.fmean(row.lr.psnr_bicubic for row in rows) >= ALIKE
        better = set5 > before + WORTHWHILE and alike and find(name).checkpoint == "bundled"
        if better and self.places.shipped is not None:
            rest = {of: paths for of, paths in sets.items() if of in ("Set14", "BSD100")}
            rows += measure(name, weights, rest)
            with self.places.shipped.open("a") as file:
                file.writelines(dump(row.to_json()) + "\n" for row in rows)
            self._note(folder, name)
            kept = self._steps_kept(name)
            subprocess.run([sys.executable, "-m", "bench.ship", folder], check=True, cwd=ROOT)
            if kept:
                self._renew_steps(name, kept)
        self._record(name, folder, set5, shipped=better and self.places.shipped is not None)
        (folder / "checkpoint.pt").unlink()  # done

    def _steps_kept(self, name: str) -> Path | None:
        """A copy of the learned steps in the package, if there are any; shipping their rescaler does away with them."""
        path = beside(bundled(find(name)))
        if not path.exists():
            return None
        folder = self._folder(name, "steps")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(path, folder / "before.safetensors"))

    def _renew_steps(self, name: str, before: Path) -> None:
        """Train the learned steps on for the weights that were shipped, and ship them too."""
        recipe = recipes.find(f"{name}-steps", start=os.path.relpath(before), lr=STEPS_RATE, batch=STEPS_BATCH)
        folder = before.parent / "run"
        shutil.rmtree(folder, ignore_errors=True)
        self._train(recipe, folder, STEPS_MINUTES)
        record = json.loads((folder / "run.json").read_text())
        record["recipe"]["start"] = "the steps before"
        (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")
        subprocess.run([sys.executable, "-m", "bench.ship", folder], check=True, cwd=ROOT)

    def _note(self, folder: Path, name: str) -> None:
        """Say in the run's record that it goes on from others."""
        record = json.loads((folder / "run.json").read_text())
        record["note"] = f"Trained in pieces over days, after {self.ledger.steps(name)} steps; see relay.jsonl."
        record["recipe"]["start"] = None if record["recipe"]["start"] is None else "the weights before"
        (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")

    def _train(self, recipe: TrainingRecipe, folder: Path, minutes: float | None) -> None:
        train(
            recipe,
            prepared(recipe),
            self.places.data,
            folder,
            minutes=minutes,
            say=say,
            compiled=self.compiled,
            precision=self.precision,
            report_seconds=REPORT_SECONDS,
        )

    def _branch_minutes(self, name: str) -> float:
        """What the next branch of a recipe will take with its measuring; 0 before anything is known of it."""
        pace = pace_of(self._folder(name, "trunk"))
        steps = self.branch * self.ledger.steps(name)
        return steps * pace / 60 + MEASURING_MINUTES if pace and steps else 0.0

    def _record(self, name: str, folder: Path, set5: float | None = None, *, shipped: bool = False) -> None:
        """Write the line of the leg that has ended in ``folder``: a branch if it was measured on Set5."""
        ended = progress_of(folder)
        assert ended is not None
        begun = ended  # where a branch left its trunk
        if set5 is not None:
            steps = round(ended.recipe.steps * (1 - ended.recipe.decay))
            begun = replace(ended, step=steps, seconds=seconds_at(folder, steps))
        row = rows_of(folder)[-1]
        leg = Leg(
            recipe=name,
            kind="trunk" if set5 is None else "branch",
            trunk=ended.recipe.seed,
            trunk_steps=begun.step,
            trunk_seconds=round(begun.seconds, 1),
            branch_steps=ended.step - begun.step,
            branch_seconds=round(ended.seconds - begun.seconds, 1),
            steps=0,  # the ledger sums these two
            core_hours=0.0,
            psnr_y=round(row["psnr_y"], 3),
            lr_psnr=round(row["lr_psnr"], 2),
            set5=set5 if set5 is None else round(set5, 3),
            shipped=shipped,
            processor=processor(),
            precision=self.precision,
            torch=torch.__version__,
            date=datetime.now(tz=UTC).isoformat(timespec="minutes"),
        )
        self.ledger.add(leg)
        say(f"{name}: {self.ledger.steps(name)} steps and {self.ledger.hours(name):.2f} core-hours so far")


def measure(name: str, weights: Path, sets: Mapping[str, Sequence[Path]]) -> list[Measurement]:
    """The rows of the plain pair with these weights, each photo through its 8-bit LR file."""
    return list(evaluate(sets, load(name, weights), Settings(PLAIN)))


def hours_before() -> dict[str, float]:
    """Core-hours that the weights in the package had before their recipes had a relay."""
    return {name: entry.seconds / 3600 for name, entry in read_manifest().items() if not entry.note}


def say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse to work where another relay is at work; the system frees the lock of one that was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(f"another relay is at work in {folder}") from None
        yield


def settle(core: int, module: str) -> None:
    """Have ``module`` stay on one core, at low priority, with jemalloc, which keeps freed memory, if it is there."""
    os.sched_setaffinity(0, {core})
    library = ctypes.util.find_library("jemalloc")
    if library and "jemalloc" not in os.environ.get("LD_PRELOAD", ""):
        decay = "dirty_decay_ms:10000,muzzy_decay_ms:10000"
        kept = os.environ | {"LD_PRELOAD": library, "MALLOC_CONF": decay, "OMP_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], kept)  # noqa: S606
    os.nice(5)
    torch.set_num_threads(1)


def deadline_of(until: str | None, minutes: float | None) -> float:
    """In seconds of ``time.time``; without either, never."""
    ends = [math.inf]
    if minutes is not None:
        ends.append(time.time() + 60 * minutes)
    if until is not None:
        hour, minute = map(int, until.split(":"))
        end = datetime.now().replace(hour=hour, minute=minute, second=0)
        ends.append((end if end > datetime.now() else end + timedelta(days=1)).timestamp())
    return min(ends)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.relay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"the queue; by default {', '.join(QUEUE)}")
    parser.add_argument("--core", type=int, default=0, help="the processor core that does it (default: 0)")
    parser.add_argument("--until", metavar="HH:MM", help="end at this time of the day")
    parser.add_argument("--minutes", type=float, help="end after so long")
    parser.add_argument("--leg", type=float, default=LEG_MINUTES, help="minutes of a trunk at a time (default: 30)")
    parser.add_argument(
        "--branch",
        type=float,
        default=BRANCH,
        help=f"steps of a branch as a share of those behind it; more pays where a trunk rests (default: {BRANCH})",
    )
    parser.add_argument("--data", type=Path, action="append", help="a folder of photos; repeatable")
    parser.add_argument("--sets", type=Path, default=SHARED / "data" / "test", help="the folder of Set5 and others")
    parser.add_argument("--runs", type=Path, default=ROOT.parent / "runs", help="for optimisers' states and logs")
    parser.add_argument("--results", type=Path, help="for relay.jsonl and trunks, instead of results/ and bench/trunks")
    parser.add_argument("--no-ship", action="store_true", help="leave the weights in the package as they are")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.recipes if name not in recipes.RECIPES]
    if unknown:
        parser.error(f"there is no recipe {unknown[0]}; choose among {', '.join(recipes.RECIPES)}")
    with alone(arguments.runs):
        pass  # said before the process is begun anew
    settle(arguments.core, "bench.relay")
    # Paths are of where the command was given; then it goes to where the weights that trunks begin with are named from.
    data = [folder.resolve() for folder in arguments.data or [SHARED / "data" / "train"]]
    places = Places(data, arguments.sets.resolve(), arguments.runs.resolve())
    if arguments.results:
        results = arguments.results.resolve()
        places = replace(places, ledger=results / "relay.jsonl", trunks=results / "trunks")
    os.chdir(ROOT)
    if arguments.no_ship or arguments.results:
        places = replace(places, shipped=None)
    signal.signal(signal.SIGTERM, interrupt)
    with alone(places.runs):
        try:
            relay = Relay(places, arguments.recipes or QUEUE, fastest(CPU), branch=arguments.branch)
            relay.run(deadline_of(arguments.until, arguments.minutes), arguments.leg)
        except KeyboardInterrupt:
            raise SystemExit("stopped; the same command goes on from here") from None


if __name__ == "__main__":
    main()
