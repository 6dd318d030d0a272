"""The queue of the page: jobs that wait, the one that is worked on, and those whose results are kept for a while."""

import errno
import logging
import math
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from coscale.collaborate.coscale import Effort
from coscale.errors import CoscaleError, ran_out_of_memory
from coscale.serve.apart import CancelledError
from coscale.serve.job import ENDED, Job, State
from coscale.serve.store import Store
from coscale.serve.turns import Turns

Limit = Literal["visitor", "waiting", "receiving"]
_UNKNOWN, _MOST = 10, 60  # seconds to come again after: where no job has ended yet, and at most
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeLimits:
    """What the page takes and keeps: bytes and pixels of a photo, jobs, seconds, photos on their way, all results.

    ``each``: photos of one visitor that are on their way, wait or are worked on.
    """

    upload: int = 32_000_000
    pixels: int = 16_000_000
    waiting: int = 8
    kept: int = 20
    seconds: float = 900
    receiving: int = 16
    kept_bytes: int = 2_000_000_000
    each: int = 4


class FullError(Exception):
    """As many photos are there as may, of one visitor or of all; it may be tried again in ``seconds``."""

    def __init__(self, text: str, seconds: int) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass(frozen=True)
class Numbers:
    """What is there now (jobs by state, visitors whose photos have not ended, bytes of results), and what was before.

    ``refused``: photos that found no place, by the limit; ``seconds``: of work on jobs that have ended.
    """

    jobs: dict[str, int]
    visitors: int
    kept_bytes: int
    ended: dict[str, int]
    refused: dict[str, int]
    seconds: float


class JobQueue:
    """One thread that has the jobs done, in turn between visitors.

    ``compute`` does one, in the job's folder, and says what came out. ``keep``: a folder for results that stay there
    when this is closed, and are found there again. Raises ServeError where nothing can be kept there.
    """

    def __init__(self, limits: ServeLimits, compute: Callable[[Job], dict[str, Any]], keep: Path | None = None) -> None:
        self.limits, self.compute = limits, compute
        self._store = Store(keep)
        before, self.damaged = self._store.load()
        self.closed = False
        self._jobs = {job.id: job for job in before}
        self._turns = Turns()
        self._ended: Counter[State] = Counter()
        self._refused: Counter[Limit] = Counter()
        self._worked, self._seconds = 0, 0.0  # jobs whose turn came, and how long they took
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)
        self._thread.start()

    @property
    def folder(self) -> Path:
        """Give the folder in which the jobs' folders lie."""
        return self._store.folder

    def admit(self, name: str, rescaler: str, effort: Effort, visitor: str = "") -> Job:
        """Give a folder for a photo, which has no place in the queue before it came. Raises FullError and OSError."""
        with self._changed:
            theirs = sum(job.visitor == visitor and job.state not in ENDED for job in self._jobs.values())
            if theirs >= self.limits.each:
                raise self._refusal("visitor")
            self._check_room()
            if self._count("receiving") >= self.limits.receiving:
                raise self._refusal("receiving")
            job = Job(safe_stem(name), rescaler, effort, self._store.new(), visitor)
            self._jobs[job.id] = job
            return job

    def enqueue(self, job: Job) -> None:
        """Have a photo that is there wait for its turn, unless the job was cancelled meanwhile. Raises FullError."""
        with self._changed:
            if job.state != "receiving" or self.closed:
                return
            self._check_room()
            job.change(state="waiting")
            self._turns.add(job)
            self._changed.notify_all()

    def _check_room(self) -> None:
        if self.closed or len(self._turns) >= self.limits.waiting:
            raise self._refusal("waiting")

    def _refusal(self, limit: Limit) -> FullError:
        self._refused[limit] += 1
        each = self._seconds / self._worked if self._worked else _UNKNOWN
        seconds = max(1, min(_MOST, math.ceil(each)))  # till a place is free
        if limit == "visitor":
            theirs = f"{self.limits.each} photos" if self.limits.each > 1 else "one photo"
            text = f"You have {theirs} here that wait or are worked on; send more when one has ended."
            return FullError(text, seconds)
        return FullError(f"The queue is full; try again in {seconds} s.", seconds)

    def _count(self, state: State) -> int:
        return sum(job.state == state for job in self._jobs.values())

    def find(self, token: str) -> Job | None:
        return self._jobs.get(token)

    def ahead(self, job: Job) -> int:
        """Say how many jobs come before this one."""
        with self._changed:
            if job.state != "waiting":
                return 0
            return self._count("working") + next(n for n, other in enumerate(self._turns) if other is job)

    def numbers(self) -> Numbers:
        """Say what goes on."""
        with self._changed:
            jobs = list(self._jobs.values())
            return Numbers(
                {state: self._count(state) for state in get_args(State)},
                len({job.visitor for job in jobs if job.state not in ENDED}),
                sum(job.bytes for job in jobs if job.state == "finished"),
                {state: self._ended[state] for state in get_args(State) if state in ENDED},
                {limit: self._refused[limit] for limit in get_args(Limit)},
                self._seconds,
            )

    def ailment(self) -> str:
        """Say what keeps photos from being worked on, or nothing."""
        if self.closed:
            return "The server is ending."
        if not self._thread.is_alive():
            return "No photos are worked on any more."
        try:
            with self._changed:
                self._store.new().rmdir()
        except OSError as error:
            return FULL_DISK if is_full_disk(error) else "The server cannot keep files."
        return ""

    def cancel(self, job: Job) -> None:
        """End a job that has not ended, and forget one that has, with its files."""
        with self._changed:
            if job.state in ENDED:
                self._forget(job)
            elif job.state == "working":
                job.stop.set()
            else:
                if job.state == "waiting":
                    self._turns.remove(job)
                self._end(job, "cancelled")

    def drop(self, job: Job) -> None:
        """Forget a job whose photo did not come or is none."""
        with self._changed:
            self._forget(job)

    def sweep(self) -> None:
        """Forget what ended too long ago, and the oldest results where they are too many or too large together.

        Those go first of which their visitor has most newer ones, so that nobody crowds out the results of others.
        """
        with self._changed:
            ended = sorted((j for j in self._jobs.values() if j.state in ENDED), key=lambda j: j.ended, reverse=True)
            newer: Counter[str] = Counter()
            ranks: list[tuple[int, Job]] = []
            for job in ended:  # the newest first
                ranks.append((newer[job.visitor], job))
                newer[job.visitor] += job.state == "finished"
            results, size = 0, 0
            for _, job in sorted(ranks, key=lambda ranked: ranked[0]):
                results += job.state == "finished"
                size += job.bytes
                too_much = results > self.limits.kept or (results > 1 and size > self.limits.kept_bytes)
                too_old = time.monotonic() - job.ended > self.limits.seconds
                if too_old or (job.state == "finished" and too_much):
                    self._forget(job)

    def close(self, patience: float = 0.5) -> None:
        """End all jobs and remove all files that are not to be kept.

        A pass that takes longer than ``patience`` seconds is not waited for.
        """
        with self._changed:
            self.closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._changed.notify_all()
        self._thread.join(patience)
        self._store.close()

    def _forget(self, job: Job) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        self._jobs.pop(job.id, None)

    def _end(self, job: Job, state: State, message: str = "") -> None:
        job.end(state, message)
        self._ended[state] += 1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.closed or self._turns)
                if self.closed:
                    return
                job = self._turns.take()
                job.change(state="working")
            begun = time.monotonic()
            state, message = self._do(job)
            with self._changed:  # who sees that the job has ended finds it counted
                self._worked += 1
                self._seconds += time.monotonic() - begun
                self._end(job, state, message)

    def _do(self, job: Job) -> tuple[State, str]:
        """Give how the job is to end, and why."""
        try:
            result = self.compute(job)
            job.change(result=result)
            self._store.save(job)
        except CancelledError:
            return "cancelled", ""
        except Exception as error:  # one job's failure must not end those that wait
            # Files that are gone are no failure of a job that is to end.
            return ("cancelled", "") if job.stop.is_set() else ("failed", self._explain(job, error))
        return "finished", ""

    def _explain(self, job: Job, error: Exception) -> str:
        if isinstance(error, CoscaleError):
            return sentence(error, job.folder)
        if ran_out_of_memory(error):
            return NO_MEMORY
        if is_full_disk(error):
            return FULL_DISK
        _log.error("the job failed", exc_info=error)
        return "Something went wrong here; the terminal that the page is served from says what."


NO_MEMORY = "There is not enough memory for a photo of this size; take a smaller one."
FULL_DISK = "The disk of the server is full; try again when there is room."


def is_full_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def sentence(error: CoscaleError, folder: Path) -> str:
    """Give an error's text for the page, which does not learn where its files lie."""
    text = re.sub(re.escape(str(folder)) + r"[/\\]?[\w.]*", "the file", str(error))
    return f"{text[:1].upper()}{text[1:]}."


def safe_stem(name: str) -> str:
    """Give a photo's name without folders, suffix and whatever a file system or a header may take amiss."""
    stem = re.split(r"[/\\]", name)[-1].rpartition(".")[0] or re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w .()-]", "", re.sub(r"\s+", " ", stem))
    return kept.strip(" .")[:80] or "photo"
