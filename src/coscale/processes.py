"""A process of this machine with a pipe to it: it never sees Ctrl-C, ends with the one that started it, and goes first.

What it crashes of, or takes too much memory for, ends it alone, and can be told from how it ended.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

_FAREWELL = 10.0  # seconds for a process that was killed, or has closed its end, to be gone
_OOM_SCORE = Path("/proc/self/oom_score_adj")  # of 1000: which process Linux ends first when memory is gone
_CRASHES = {
    getattr(signal, name, None) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
}  # not all systems have all of them


class Process:
    """A process that runs ``target(connection, *arguments)``, all of which can be pickled.

    ``connection`` is this end of the pipe; it is at its end as soon as the process is.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        # A fork would copy the locks of torch's threads, and could not use a GPU.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_begin, args=(target, theirs, *arguments), daemon=True)
        with _without_interrupts():
            self._process.start()
        theirs.close()  # else nobody would learn that the process died

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def manner(self) -> str:
        """Say how it ended, once its connection has."""
        self._process.join(_FAREWELL)
        return manner_of(self._process.exitcode)

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join(_FAREWELL)  # a process that waits for a disk or a GPU may stay for ever
        self.connection.close()


def end_with_parent() -> None:
    """End this process when the one that started it is gone, be it in the middle of something."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def manner_of(exitcode: int | None) -> str:
    """Say how a process ended, as the end of a sentence about it."""
    if exitcode is None:
        return "has closed its connection and does not end"
    if exitcode >= 0:
        return f"ended with status {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:  # those for real time but the first and the last have no names
        name = f"signal {-exitcode}"
    if -exitcode in _CRASHES:
        return f"crashed with {name}"
    by_whom = ", by the system if it took too much memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{by_whom}"


def _begin(target: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    end_with_parent()
    with contextlib.suppress(OSError):  # elsewhere than on Linux, and where it may not be written
        _OOM_SCORE.write_text("500")
    target(connection, *arguments)


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal; those started here never see it, since their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # as it begins, it lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
