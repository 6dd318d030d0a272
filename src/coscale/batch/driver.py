"""From a collection and a manifest to what is left to do, and the loop that has it done."""

import contextlib
import posixpath
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coscale import __version__
from coscale.batch import store
from coscale.batch.collection import Entry, Results
from coscale.batch.manifest import FIELDS, Row
from coscale.batch.worker import Done, Failed, Job, Lost, Message, Unfit
from coscale.errors import DataError, EngineError

_STARTS = 3  # times that a worker may die before it has loaded


class Engine(Protocol):
    """Workers, each in a slot of its own, that do one photo at a time: so many photos are in flight at most."""

    slots: int

    def start(self, slot: int) -> None:
        """Have a new worker in the slot; its first message is Ready, Unfit or Lost."""
        ...

    def give(self, slot: int, job: Job) -> None:
        """Hand a job to a worker that is ready; its message is Done, Failed or Lost."""
        ...

    def wait(self) -> Sequence[tuple[int, Message]]:
        """The next messages, at least one."""
        ...

    def stop(self) -> None:
        """End all workers, whatever they do."""
        ...


@dataclass(frozen=True)
class Task:
    """A photo of the collection, its result, and its row of an earlier run."""

    entry: Entry
    target: str
    earlier: Row | None

    def job(self, asked: Row, results: Results) -> Job | None:
        """What is to be done; None when the manifest and the files say that nothing is."""
        row = self.earlier
        if row is None or row["error"] or any(row[key] != value for key, value in asked.items()):
            return Job(self.entry.source, self.target)
        if results.sizes.get(self.target) != row["output_bytes"]:
            return Job(self.entry.source, self.target)
        if row["input"] == self.entry.source and row["input_stamp"] == self.entry.stamp:
            return None
        return Job(self.entry.source, self.target, done=row["input_hash"])


def tasks(photos: Iterable[tuple[Entry, str]], results: Results, rows: dict[str, Row]) -> list[Task]:
    """The photos with their rows. Raises DataError when the manifest is that of another run."""
    strange = next((output for output in rows if not output.startswith(results.root.rstrip("/") + "/")), None)
    if strange:
        raise DataError(f"the manifest is that of another run, which wrote {strange}; give another --manifest")
    found = []
    for entry, target in photos:
        row = rows.get(target)
        if row and posixpath.dirname(row["input"]) != posixpath.dirname(entry.source):
            raise DataError(
                f"the manifest says that {target} is of {row['input']}, not of {entry.source}; "
                "give another OUT, or another --manifest"
            )
        found.append(Task(entry, target, row))
    return found


def row_of(task: Task, asked: Row, outcome: Done | Failed, tries: int) -> Row:
    """The manifest's row of a photo that was done, or was not, or turned out to be what it was."""
    entry = task.entry
    facts: Row = {}
    error = None
    if isinstance(outcome, Failed):
        error = outcome.reason if entry.source in outcome.reason else f"{entry.source}: {outcome.reason}"
    elif outcome.unchanged and task.earlier:
        return task.earlier | {"input": entry.source, "input_stamp": entry.stamp}
    else:
        facts = outcome.facts
    known = {
        "input": entry.source,
        "input_bytes": entry.size,
        "input_stamp": entry.stamp,
        "output": task.target,
        "tries": tries,
        "coscale": __version__,
        "error": error,
    }
    return dict.fromkeys(FIELDS) | known | asked | facts


def work(
    engine: Engine,
    jobs: dict[str, Job],
    retries: int,
    finished: Callable[[str, Done | Failed, int], None],
) -> None:
    """Have the jobs done; ``finished`` is told the key, the outcome and the number of tries of each.

    A photo that fails in a way that may pass, or whose worker dies, goes to the end of the line, ``retries`` times.
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

    left: set[str] = set()  # targets of workers that were ended in the middle of a photo
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
                        left.add(jobs[key].target)
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
        for folder in {posixpath.dirname(target) for target in left | {jobs[key].target for key in busy.values()}}:
            _tidy(folder)


def _tidy(folder: str) -> None:
    """Remove what workers that died have left in a folder of results."""
    with contextlib.suppress(Exception):  # what stays is removed when the next run begins
        fs, path = store.reach(folder)
        store.remove(fs, store.parts(fs.ls(path, detail=False)))
