"""Downscale a collection, and when run again only what is missing or has changed: the whole of it as one function."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from coscale import machine
from coscale.batch import collection, driver
from coscale.batch.driver import BatchTask, Engine
from coscale.batch.manifest import Manifest, ManifestRow, check_extra
from coscale.batch.store import is_local, shown
from coscale.batch.worker import Assignment, BatchSettings, Done, Failed
from coscale.choices import Device, EngineName
from coscale.errors import SettingsError
from coscale.weights.load import Loaded

_CORES = 4  # of a worker without a GPU


@dataclass(frozen=True)
class Crew:
    """Who does the work.

    - ``engine``: processes of this machine, or actors of a Ray cluster; ``address``: of that, host:port.
    - ``workers``: photos at a time; by default one for each GPU, or for 4 cores without.
    - ``device``: auto, cpu or cuda; ``gpus_per_worker``: several workers share a GPU below 1.
    - ``retries``: of a photo whose error may pass; ``timeout``: seconds for a photo, whose worker is then ended.

    Raises SettingsError for an engine that there is not, and for numbers that make no sense.
    """

    engine: EngineName = "local"
    address: str | None = None
    workers: int | None = None
    device: Device = "auto"
    gpus_per_worker: float | None = None
    retries: int = 1
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.engine not in get_args(EngineName):
            raise SettingsError(f"engine is {self.engine!r}; choose one of {', '.join(get_args(EngineName))}")
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"workers is {self.workers}; there must be at least 1")
        if self.gpus_per_worker is not None and not 0 < self.gpus_per_worker <= 1:
            raise SettingsError(f"gpus_per_worker is {self.gpus_per_worker}; it must be above 0, and at most 1")
        if self.retries < 0:
            raise SettingsError(f"retries is {self.retries}; it must not be negative")
        if self.timeout is not None and not self.timeout > 0:
            raise SettingsError(f"timeout is {self.timeout}; it must be a number of seconds above 0")


@dataclass(frozen=True)
class PhotoOutcome:
    """What became of one photo: its row, whether it was done now, and what its worker warned of."""

    row: ManifestRow
    done: bool
    warnings: tuple[str, ...] = ()


@dataclass
class Totals:
    """How many photos were done, had been before, and failed; where the rows are, and what failed."""

    manifest: Path
    photos: int
    done: int = 0
    kept: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.failures: list[str] = []

    @property
    def reached(self) -> int:
        """Give the number of photos that are dealt with."""
        return self.done + self.kept + self.failed


def run(
    photos: str | Path,
    out: str | Path,
    settings: BatchSettings,
    crew: Crew | None = None,
    manifest: Path | None = None,
    *,
    pair: Loaded | None = None,
    tell: Callable[[PhotoOutcome | None, Totals], None] = lambda told, totals: None,
) -> Totals:
    """Downscale a collection.

    Arguments:
        photos: a folder, a list of photos (.txt, one a line) or a photo; a path or a URL.
        out: the folder for the LR files; a path or a URL.
        settings: what is done to each photo.
        crew: who does it; by default processes of this machine.
        manifest: the file of rows, .jsonl or .parquet; by default manifest.jsonl in ``out``.
        pair: what ``settings`` would load, where that has been loaded already.
        tell: called with each photo that was dealt with, and once with None when it is known what is left to do.

    Raises SettingsError for settings that do not go together, DataError for a collection or a manifest that cannot be
    read, RescalerError as ``weights.load`` does, and EngineError when no worker can work.
    """
    crew = crew or Crew()
    pair = pair or settings.load("cpu")
    asked = settings.provenance(pair)
    results = collection.list_results(str(out))
    if manifest is None and not is_local(results.fs):
        raise SettingsError("OUT is not on this machine; give --manifest FILE, which must be")
    manifest = manifest or Path(results.root) / "manifest.jsonl"
    check_extra(manifest)
    found = collection.targets(
        collection.list_photos(str(photos), results), results, pair.scale, settings.storage.suffix
    )
    totals = Totals(manifest, len(found))
    with Manifest(manifest) as kept:
        tasks = {task.target: task for task in driver.tasks(found, results, kept.rows)}
        results.tidy(kept.mark)  # what is at work in OUT with another manifest has other names
        assignments: dict[str, Assignment] = {}

        def finished(key: str, outcome: Done | Failed, tries: int) -> None:
            row = driver.row_of(tasks[key], asked, outcome, tries)
            kept.add(row)
            tell(_counted(totals, tasks[key], row, outcome), totals)

        for key, task in tasks.items():
            if task.entry.error:
                finished(key, Failed(task.entry.error, passing=False), 1)
            elif assignment := task.assignment(asked, results, kept.mark):
                assignments[key] = assignment
            else:
                totals.kept += 1
        tell(None, totals)
        if assignments:
            driver.drive(_engine(settings, asked.weights_hash, crew), assignments, crew.retries, finished)
    return totals


def _counted(totals: Totals, task: BatchTask, row: ManifestRow, outcome: Done | Failed) -> PhotoOutcome:
    """Count a photo, and give what is told of it: warnings name the photo as the user does."""
    done = isinstance(outcome, Done) and outcome.facts is not None
    if isinstance(outcome, Failed):
        totals.failed += 1
        totals.failures.append(row.error or "")
    else:
        totals.done, totals.kept = totals.done + done, totals.kept + (not done)
    name = str(row.input)
    said = (shown(text.replace(task.entry.source, name)) for text in outcome.warnings)
    return PhotoOutcome(row, done, tuple(text if name in text else f"{name}: {text}" for text in said))


def _engine(settings: BatchSettings, weights_hash: str, crew: Crew) -> Engine:
    if crew.engine == "ray":
        from coscale.batch.on_ray import OnRay

        with _stops_kept():
            gpus = 1.0 if crew.gpus_per_worker is None else crew.gpus_per_worker
            return OnRay(settings, weights_hash, crew.workers, crew.device, gpus, crew.address, crew.timeout)
    if crew.address:
        raise SettingsError("an address is that of a Ray cluster; give --engine ray with it")
    from coscale.batch.local import Local

    if machine.kind_of(crew.device) == "cuda":
        share = int(1 / (crew.gpus_per_worker or 1))
        devices = [f"cuda:{card}" for card in range(torch.cuda.device_count())] * share
        return Local(settings, weights_hash, crew.workers or len(devices), devices, crew.timeout)
    if crew.gpus_per_worker is not None:
        raise SettingsError("there is no CUDA device here; leave out --gpus-per-worker")
    return Local(settings, weights_hash, crew.workers or max(1, machine.cores() // _CORES), ["cpu"], crew.timeout)


@contextmanager
def _stops_kept() -> Iterator[None]:
    """What Ctrl-C and a plain kill do stays as it was: Ray puts its own in place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
