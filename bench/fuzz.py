"""python -m bench.fuzz [--count 10000] [--seed 0] [--kind NAME ...]: broken files through the real readers.

    a file that is right --mutate--> a broken one --reader, in another process--> a result, or an error of coscale's own

Nothing else may come of it: no other exception, no end of the process, no message of several lines, no more than 20
seconds, no 1.5 GiB of memory, and no file that is left behind. A file that does harm is kept in --keep. The same seed
gives the same files, and --first begins with a later one. Prints a summary as JSON; exits 1 if any file was kept.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import torch

from bench.fuzzed import KINDS, Kind
from bench.mutations import mutate
from bench.readme import ROOT
from coscale import machine
from coscale.errors import CoscaleError

MOST_SECONDS = 20.0
MOST_BYTES = 1.5 * 2**30
_START_SECONDS = 600.0  # for a process to import torch and to make its files, on a machine that has much else to do
_ADDRESSES = 16 * 2**30  # more than it has at its start: so that one file cannot take what others on this machine need
_FINE = ("read", "refused")


@dataclass(frozen=True)
class FuzzLimits:
    """Seconds and bytes that a file may take."""

    seconds: float = MOST_SECONDS
    bytes: float = MOST_BYTES


@dataclass
class Summary:
    """What came of the files of a kind: how many were read and refused, and those kept, with what was wrong."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    culprits: list[dict[str, str]] = field(default_factory=list)


def fuzz(
    kinds: Sequence[Kind], numbers: Sequence[int], seed: int, keep: Path, limits: FuzzLimits = FuzzLimits()
) -> list[Summary]:
    """Put the files with these numbers through the readers; those that do harm go to the folder ``keep``."""
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="coscale-fuzz-") as folder,
        contextlib.closing(_Trial(kinds, seed, Path(folder), limits)) as trial,
    ):
        for kind in kinds:
            summary = Summary(kind.name)
            found.append(summary)
            for number in numbers:
                outcome = trial.attempt(kind, number)
                summary.outcomes[outcome if outcome in _FINE else "harm"] += 1
                if outcome not in _FINE:
                    kept = keep / f"{kind.name}-{seed}-{number}-{trial.file.name}"
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(trial.file, kept)
                    summary.culprits.append({"file": str(kept), "problem": outcome})
    return found


class _Trial:
    """A process that reads one file after another; one that has died is replaced."""

    def __init__(self, kinds: Sequence[Kind], seed: int, folder: Path, limits: FuzzLimits) -> None:
        self._arguments = kinds, seed, folder, limits
        self._folder, self._limits = folder, limits
        self._running: tuple[BaseProcess, Connection] | None = None

    @property
    def file(self) -> Path:
        """The last file that was tried."""
        return next((self._folder / "copy").iterdir())

    def attempt(self, kind: Kind, number: int) -> str:
        """``read``, ``refused``, or the harm that a file has done."""
        process, connection = self._running or self._start()
        connection.send((kind.name, number))
        try:
            if not connection.poll(self._limits.seconds):
                self.close()
                return f"takes more than {self._limits.seconds:g} seconds"
            return connection.recv()
        except (EOFError, OSError):
            process.join()
            code = process.exitcode or 0
            self.close()
            return f"ends its process with {signal.Signals(-code).name if code < 0 else f'status {code}'}"

    def close(self) -> None:
        """End the process."""
        if self._running:
            process, connection = self._running
            process.kill()
            process.join()
            connection.close()
        self._running = None

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        process.start()
        theirs.close()
        self._running = process, ours
        with contextlib.suppress(EOFError):  # why has been said on stderr
            if ours.poll(_START_SECONDS) and ours.recv() == "ready":
                return self._running
        raise SystemExit("the process that is to read the files does not start")


def _serve(connection: Connection, kinds: Sequence[Kind], seed: int, folder: Path, limits: FuzzLimits) -> None:
    """Names of kinds and numbers in, outcomes out. A copy of each file is where its reader does not find it."""
    copy, here, watched = folder / "copy", folder / "here", [folder / name for name in ("here", "temporary", "weights")]
    for place in (copy, *watched):
        place.mkdir(exist_ok=True)
    os.environ |= {"COSCALE_WEIGHTS": str(folder / "weights"), "TMPDIR": str(folder / "temporary")}
    tempfile.tempdir = None
    seeds: dict[str, list[tuple[str, bytes]]] = {}
    for kind in kinds:
        seeds[kind.name] = _seeds(kind, folder / f"seeds of {kind.name}")
        for name, content in seeds[kind.name]:  # what a reader imports, and keeps for good, is no fault of a file
            (here / name).write_bytes(content)
            _outcome(kind, here / name, limits)
            _tidy(watched)
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + _ADDRESSES, addresses + _ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (what libraries of C say of a damaged file)
        os.dup2(nowhere.fileno(), 2)
    connection.send("ready")
    by_name = {kind.name: kind for kind in kinds}
    with contextlib.suppress(EOFError):
        while True:
            kind_name, number = connection.recv()
            name, broken = draw(kind_name, number, seed, seeds[kind_name])
            _tidy([copy])
            for place in (copy, here):
                (place / name).write_bytes(broken)
            outcome = _outcome(by_name[kind_name], here / name, limits)
            left = [str(path.relative_to(folder)) for path in _below(watched) if path != here / name]
            _tidy(watched)
            connection.send(f"leaves {', '.join(left)}" if left and outcome in _FINE else outcome)


def draw(kind: str, number: int, seed: int, seeds: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The name and the content of a broken file."""
    rng = Random(f"{seed} {kind} {number}")  # noqa: S311 (that anybody can draw again)
    name, content = rng.choice(seeds)
    return name, mutate(content, [other for _, other in seeds], rng)


def _seeds(kind: Kind, folder: Path) -> list[tuple[str, bytes]]:
    """The files of a kind that are right, from the process that was here before if there was one."""
    if not folder.exists():
        folder.mkdir()
        for name, content in kind.seeds():
            (folder / name).write_bytes(content)
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def _outcome(kind: Kind, path: Path, limits: FuzzLimits) -> str:
    here = torch.device("cpu")
    machine.reset_peak(here)
    before = machine.peak(here) or 0
    try:
        with warnings.catch_warnings(action="ignore"):
            kind.reader(path)
        outcome = "read"
    except CoscaleError as error:
        outcome = "refused" if len(str(error).splitlines()) == 1 else f"gives a message of several lines: {error!r}"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome = f"raises {type(error).__name__}: {str(error)[:300]} ({last.filename}:{last.lineno})"
    taken = (machine.peak(here) or 0) - before
    return outcome if taken < limits.bytes else f"takes {taken / 2**30:.2f} GiB"


def _below(folders: Sequence[Path]) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*")]


def _tidy(folders: Sequence[Path]) -> None:
    for path in sorted(_below(folders), reverse=True):  # what is in a folder comes before it
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="files of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=[kind.name for kind in KINDS], help="all without it")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz", help="the folder of files that do harm")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    numbers = range(arguments.first, arguments.first + arguments.count)
    chosen = [kind for kind in KINDS if not arguments.kind or kind.name in arguments.kind]
    found = fuzz(chosen, numbers, arguments.seed, arguments.keep)
    told = {"seed": arguments.seed, "first": arguments.first, "count": arguments.count}
    print(json.dumps(told | {"seconds": round(time.perf_counter() - begun), "kinds": list(map(vars, found))}, indent=2))
    sys.exit(any(summary.culprits for summary in found))


if __name__ == "__main__":
    main()
