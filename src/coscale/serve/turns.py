"""Whose photo comes next: visitors take turns, however many photos each of them has sent."""

from collections import deque
from collections.abc import Iterator
from itertools import chain, zip_longest

from coscale.serve.job import Job


class Turns:
    """Jobs that wait, served round robin: one of each visitor, in the order in which they came, then the next of each.

    Who comes, and who was served and has more, goes behind all who wait. So nobody waits for more than one job of each
    other visitor before each of his own.
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[Job]] = {}  # of each visitor, who is next first

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[Job]:
        """Give the jobs in the order in which they come, if no others are sent."""
        rounds = zip_longest(*self._lines.values())
        return (job for job in chain.from_iterable(rounds) if job is not None)

    def add(self, job: Job) -> None:
        """Have a job wait behind those of its visitor."""
        self._lines.setdefault(job.visitor, deque()).append(job)

    def take(self) -> Job:
        """Give the job that is next, which waits no longer. Raises StopIteration where none waits."""
        visitor = next(iter(self._lines))
        line = self._lines.pop(visitor)
        job = line.popleft()
        if line:
            self._lines[visitor] = line
        return job

    def remove(self, job: Job) -> None:
        """Have a job wait no longer. Raises KeyError or ValueError where it does not wait."""
        line = self._lines[job.visitor]
        line.remove(job)
        if not line:
            del self._lines[job.visitor]
