"""From a collection and a manifest to what is left to do, and the loop that has it done."""

import contextlib
import posixpath
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from coscale import __version__
from coscale.batch import store
from coscale.batch.collection import CollectedPhoto, Results
from coscale.batch.manifest import ManifestRow, Provenance
from coscale.batch.worker import Assignment, Done, Failed, Lost, Message, Unfit
from coscale.errors import DataError, EngineError

_STARTS = 3  # times that a worker may die before it has loaded


class Engine(Protocol):
    """Workers, each in a slot of its own, that do one photo at a time: so many photos are in flight at most."""

    slots: int

    def start(self, slot: int) -> None:
        """Have a new worker in the slot; its first message is Ready, Unfit or Lost."""
        ...

    def give(self, slot: int, job: Assignment) -> None:
        """Hand a job to a worker that is ready; its message is Done, Failed or Lost."""
        ...

    def wait(self) -> Sequence[tuple[int, Message]]:
        """Give the next messages, at least one."""
        ...

    def stop(self) -> None:
        """End all workers, whatever they do."""
        ...


@dataclass(frozen=True)
class BatchTask:
    """A photo of the collection, its result, its row of an earlier run, and how the row names the result."""

    entry: CollectedPhoto
    target: str
    earlier: ManifestRow | None
    label: str = ""

    def assignment(self, asked: Provenance, results: Results, mark: str = "") -> Assignment | None:
        """Give what is to be done; None when the manifest and the files say that nothing is."""
        row = self.earlier
        known = row is not None and row.has_result
        todo = Assignment(self.entry.source, self.target, mark=mark, check=self.target in results.sizes and not known)
        if row is None or not known or row.provenance != asked:
            return todo
        if results.sizes.get(self.target) != row.output_bytes:
            return todo
        same = row.input == self.entry.label and row.input_stamp == self.entry.stamp
        if same and self.entry.stamp and not row.error:
            return None
        return replace(todo, done=row.input_hash)


def tasks(
    photos: Iterable[tuple[CollectedPhoto, str]], results: Results, rows: Mapping[str, ManifestRow]
) -> list[BatchTask]:
    """Give the photos with their rows. Raises DataError when the manifest is that of another run."""
    root = results.label(results.root).rstrip("/") + "/"
    strange = next((output for output in rows if not output.startswith(root)), None)
    if strange:
        raise DataError(f"the manifest is that of another run, which wrote {strange}; give another --manifest")
    found = []
    for entry, target in photos:
        label = results.label(target)
        row = rows.get(label)
        if row and row.input and posixpath.dirname(row.input) != posixpath.dirname(entry.label):
            raise DataError(
                f"the manifest says that {row.output} is of {row.input}, not of {entry.label}; "
                "give another OUT, or another --manifest"
            )
        found.append(BatchTask(entry, target, row, label))
    return found


def row_of(task: BatchTask, asked: Provenance, outcome: Done | Failed, tries: int) -> ManifestRow:
    """Give the manifest's row of a photo that was done, or was not, or turned out to be what it was.

    One that could not be looked at this time keeps what is known of its result, which is still there.

    Arguments:
        task: the photo, with its row of an earlier run.
        asked: what results are made with.
        outcome: what became of it.
        tries: how often it was tried.
    """
    entry, earlier = task.entry, task.earlier
    source = entry.label
    facts: dict[str, Any] = {}
    error = None
    if isinstance(outcome, Failed):
        reason = store.shown(outcome.reason.replace(entry.source, source), task.target)
        error = reason if source in reason else f"{source}: {reason}"
        if earlier and earlier.has_result:
            return replace(earlier, error=error, tries=tries)
    elif outcome.facts is None and earlier:
        return replace(earlier, input=source, input_stamp=entry.stamp, tries=tries, error=None)
    elif outcome.facts:
        facts = vars(outcome.facts)
    return ManifestRow(
        input=source,
        input_bytes=entry.size,
        input_stamp=entry.stamp,
        output=task.label,
        tries=tries,
        coscale=__version__,
        error=error,
        rescaler=asked.rescaler,
        weights_hash=asked.weights_hash,
        method=asked.method,
        arguments=dict(asked.arguments),
        **facts,
    )


def drive(
    engine: Engine,
    jobs: Mapping[str, Assignment],
    retries: int,
    finished: Callable[[str, Done | Failed, int], None],
) -> None:
    """Have photos done. One that fails in a way that may pass, or whose worker dies, goes to the end of the line.

    Arguments:
        engine: the workers, which are ended here.
        jobs: what is to be done, by a key.
        retries: how often a photo is tried again.
        finished: told the key, the outcome and the number of tries of each.

    Raises EngineError when the workers cannot work.
    """
    waiting = deque(jobs)
    busy: dict[int, str] = {}
    idle: set[int] = set()
    tries: Counter[str] = Counter()
    deaths: Counter[int] = Counter()

    def ended(key: str, outcome: Done | Failed) -> None:
        if isinstance(outcome, Failed) and outcome.passing and tries[key] <= retries:
            waiting.append(key)
        else:
            finished(key, outcome, tries[key])

    left: set[str] = set()  # keys of photos in the middle of which a worker ended
    try:
        for slot in range(min(engine.slots, len(waiting))):
            engine.start(slot)
        while waiting or busy:
            for slot, message in engine.wait():
                key = busy.pop(slot, None)
                if isinstance(message, Unfit):
                    raise EngineError(message.reason)
                if isinstance(message, Lost):
                    idle.discard(slot)
                    if key is None:
                        deaths[slot] += 1
                        if deaths[slot] == _STARTS:
                            raise EngineError(f"workers end as they start: {message.reason}")
                    else:
                        left.add(key)
                        ended(key, Failed(f"{jobs[key].source}: its worker {message.reason}", passing=True))
                    if waiting:
                        engine.start(slot)
                    continue
                deaths[slot] = 0
                idle.add(slot)
                if key is not None and isinstance(message, Done | Failed):
                    ended(key, message)
            while idle and waiting:
                slot, key = idle.pop(), waiting.popleft()
                busy[slot] = key
                tries[key] += 1
                engine.give(slot, jobs[key])
    finally:
        engine.stop()
        ended_early = [jobs[key] for key in left.union(busy.values())]
        for folder, mark in {(store.folder_of(job.target), job.mark) for job in ended_early}:
            _tidy(folder, mark)


def _tidy(folder: str, mark: str) -> None:
    """Remove what workers that died have left in a folder of results."""
    with contextlib.suppress(Exception):  # what stays is removed when the next run begins
        fs, path = store.reach(folder)
        store.remove(fs, [found for found in fs.ls(path, detail=False) if store.is_part(found, mark)])
