"""The queue of the page: jobs that wait, the one that is worked on, and those whose results are kept for a while."""

import contextlib
import errno
import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from coscale.collaborate.coscale import Effort
from coscale.errors import CoscaleError, ran_out_of_memory
from coscale.serve.apart import CancelledError

State = Literal["receiving", "waiting", "working", "finished", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"finished", "failed", "cancelled"})
_PREFIX = "coscale-serve-"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeLimits:
    """What the page takes and keeps: bytes and pixels of a photo, jobs, seconds, photos on their way, all results."""

    upload: int = 32_000_000
    pixels: int = 16_000_000
    waiting: int = 8
    kept: int = 20
    seconds: float = 900
    receiving: int = 16
    kept_bytes: int = 2_000_000_000


class FullError(Exception):
    """As many jobs wait as may, or as many photos are on their way."""


@dataclass(eq=False)
class Job:
    """One photo, its settings and what became of it.

    ``curve`` is the gain in dB over the first loss, one value a pass.
    """

    name: str
    rescaler: str
    effort: Effort
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "receiving"
    stage: str = ""
    passes: int = 0
    curve: tuple[float, ...] = ()
    result: dict[str, Any] | None = None
    message: str = ""
    ended: float = 0.0
    bytes: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def change(self, **values: Any) -> None:
        """Set attributes; raises CancelledError where the job is to end."""
        if self.stop.is_set():
            raise CancelledError
        self._set(**values)

    def end(self, state: State, message: str = "") -> None:
        """Make the last change, which nothing prevents; only of finished jobs the files are kept."""
        if state != "finished":
            shutil.rmtree(self.folder, ignore_errors=True)
        # The state comes last: who reads it without the lock takes the rest for what it will stay.
        self._set(message=message, ended=time.monotonic(), bytes=_size(self.folder), state=state)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


class JobQueue:
    """One thread that has the jobs done in turn. ``compute`` does one, in the job's folder, and says what came out."""

    def __init__(self, limits: ServeLimits, compute: Callable[[Job], dict[str, Any]]) -> None:
        self.limits, self.compute = limits, compute
        self.folder = Path(mkdtemp(prefix=_PREFIX))
        self.closed = False
        self._jobs: dict[str, Job] = {}  # those that wait: the oldest first
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)
        self._thread.start()

    def admit(self, name: str, rescaler: str, effort: Effort) -> Job:
        """Give a folder for a photo, which has no place in the queue before it came. Raises FullError and OSError."""
        with self._changed:
            if self.closed or self._is_full() or self._count("receiving") >= self.limits.receiving:
                raise FullError
            if not self.folder.is_dir():  # whatever cleans up temporary files took it
                self.folder = Path(mkdtemp(prefix=_PREFIX))
            job = Job(safe_stem(name), rescaler, effort, Path(mkdtemp(dir=self.folder)))
            self._jobs[job.id] = job
            return job

    def enqueue(self, job: Job) -> None:
        """Have a photo that is there wait for its turn, unless the job was cancelled meanwhile. Raises FullError."""
        with self._changed:
            if job.state != "receiving" or self.closed:
                return
            if self._is_full():
                raise FullError
            self._jobs[job.id] = self._jobs.pop(job.id)  # behind those whose photos came before
            job.change(state="waiting")
            self._changed.notify_all()

    def _is_full(self) -> bool:
        return self._count("waiting") >= self.limits.waiting

    def _count(self, state: State) -> int:
        return sum(job.state == state for job in self._jobs.values())

    def find(self, token: str) -> Job | None:
        return self._jobs.get(token)

    def ahead(self, job: Job) -> int:
        """Say how many jobs come before this one."""
        with self._changed:
            before = 0
            for other in self._jobs.values():
                if other is job:
                    break
                before += other.state in ("waiting", "working")
            return before

    def cancel(self, job: Job) -> None:
        """End a job that has not ended, and forget one that has, with its files."""
        with self._changed:
            if job.state in ENDED:
                self._forget(job)
            elif job.state == "working":
                job.stop.set()
            else:
                job.end("cancelled")

    def drop(self, job: Job) -> None:
        """Forget a job whose photo did not come or is none."""
        with self._changed:
            self._forget(job)

    def sweep(self) -> None:
        """Forget what ended too long ago, and the oldest results where they are too many or too large together."""
        with self._changed:
            ended = sorted((j for j in self._jobs.values() if j.state in ENDED), key=lambda j: j.ended, reverse=True)
            results, size = 0, 0
            for job in ended:  # the newest first
                results += job.state == "finished"
                size += job.bytes
                too_much = results > self.limits.kept or (results > 1 and size > self.limits.kept_bytes)
                too_old = time.monotonic() - job.ended > self.limits.seconds
                if too_old or (job.state == "finished" and too_much):
                    self._forget(job)

    def close(self, patience: float = 0.5) -> None:
        """End all jobs and remove all files; a pass that takes longer than ``patience`` seconds is not waited for."""
        with self._changed:
            self.closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._changed.notify_all()
        self._thread.join(patience)
        for _ in range(2):  # once more for what a thread that was not waited for wrote meanwhile
            shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self, job: Job) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        self._jobs.pop(job.id, None)

    def _next(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.state == "waiting"), None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.closed or self._next())
                job = self._next()
                if self.closed or job is None:
                    return
                job.change(state="working")
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            result = self.compute(job)
            job.change(result=result)
            ended: tuple[State, str] = ("finished", "")
        except CancelledError:
            ended = ("cancelled", "")
        except Exception as error:  # one job's failure must not end those that wait
            # Files that are gone are no failure of a job that is to end.
            ended = ("cancelled", "") if job.stop.is_set() else ("failed", self._explain(job, error))
        with self._changed:
            job.end(*ended)

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


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, which may be gone."""
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0


def sentence(error: CoscaleError, folder: Path) -> str:
    """Give an error's text for the page, which does not learn where its files lie."""
    text = re.sub(re.escape(str(folder)) + r"[/\\]?[\w.]*", "the file", str(error))
    return f"{text[:1].upper()}{text[1:]}."


def safe_stem(name: str) -> str:
    """Give a photo's name without folders, suffix and whatever a file system or a header may take amiss."""
    stem = re.split(r"[/\\]", name)[-1].rpartition(".")[0] or re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w .()-]", "", re.sub(r"\s+", " ", stem))
    return kept.strip(" .")[:80] or "photo"
