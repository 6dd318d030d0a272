"""Where photos and results lie: in a temporary folder, or in one that outlives the server."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock, Timeout

from coscale.errors import ServeError
from coscale.files import digest, sha256
from coscale.serve.job import Job

_PREFIX = "coscale-serve-"
_RECORD = "job.txt"  # the SHA-256 of its second line, which is JSON
_LOCK = ".coscale-serve.lock"
_TOLD = ("id", "name", "rescaler", "effort", "passes", "curve", "result")


class Store:
    """A folder of jobs' folders. ``keep``: one in which results stay; other files may lie there, but no other server's.

    Raises ServeError where ``keep`` cannot be written to, or another server has it.
    """

    def __init__(self, keep: Path | None = None) -> None:
        self.keep = keep
        self._lock: FileLock | None = None
        self.folder = keep or Path(mkdtemp(prefix=_PREFIX))
        if keep is None:
            return
        try:
            self.new().rmdir()
            self._lock = FileLock(keep / _LOCK, timeout=0, thread_local=False)
            self._lock.acquire()
        except Timeout as error:
            raise ServeError(f"another server keeps its results in {keep}; give another --keep") from error
        except OSError as error:
            raise ServeError(
                f"results cannot be kept in {keep}: {error.strerror or error}; give another --keep"
            ) from error

    def new(self) -> Path:
        """Make a folder for a job; anew with what it lies in, where something tidied that up. Raises OSError."""
        if self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
        elif not self.folder.is_dir():
            self.folder = Path(mkdtemp(prefix=_PREFIX))
        return Path(mkdtemp(prefix=_PREFIX, dir=self.folder))

    def save(self, job: Job) -> None:
        """Note what came of a job, so that ``load`` finds it; who sent it is not noted. Raises OSError."""
        if self.keep is None:
            return
        more = {"ended": time.time(), "files": _hashes(job.folder)}
        told = json.dumps({name: getattr(job, name) for name in _TOLD} | more)
        (job.folder / _RECORD).write_text(f"{digest(told.encode())}\n{told}\n")

    def load(self) -> tuple[list[Job], int]:
        """Give the results of before, and how many were damaged; those, and what was not finished, are removed."""
        jobs: dict[str, Job] = {}
        damaged = 0
        for folder in self._folders():
            try:
                job = _load(folder)
                if job.id in jobs:
                    raise ValueError("a copy")
                jobs[job.id] = job
            except (OSError, ValueError, KeyError, TypeError):
                damaged += (folder / _RECORD).exists()
                shutil.rmtree(folder, ignore_errors=True)
        return list(jobs.values()), damaged

    def close(self) -> None:
        """Remove what is not kept."""
        for _ in range(2):  # once more for what a thread that was not waited for wrote meanwhile
            if self.keep is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            for folder in self._folders():
                if not (folder / _RECORD).exists():
                    shutil.rmtree(folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            found = sorted(self.folder.glob(f"{_PREFIX}*"))
            yield from (path for path in found if path.is_dir() and not path.is_symlink())


def _hashes(folder: Path) -> dict[str, str]:
    """Of all files but the record."""
    return {file.name: sha256(file) for file in folder.iterdir() if file.name != _RECORD}


def _load(folder: Path) -> Job:
    """Read a job's record and its files. Raises OSError, ValueError, KeyError or TypeError where they are not whole."""
    checked, told, _ = (folder / _RECORD).read_text().split("\n")
    if digest(told.encode()) != checked:
        raise ValueError("the record is damaged")
    record = json.loads(told)
    if _hashes(folder) != record["files"]:
        raise ValueError("files are missing or damaged")
    job = Job(record["name"], record["rescaler"], record["effort"], folder, id=record["id"])
    job.passes, job.curve, job.result = record["passes"], tuple(record["curve"]), record["result"]
    job.end("finished")
    job.ended -= max(0.0, time.time() - record["ended"])  # a clock that was set back makes it new
    return job
