"""Workers that are processes of this machine. One that dies is replaced."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from coscale.batch.limits import Limits
from coscale.batch.store import line_of
from coscale.batch.worker import Job, Lost, Message, Ready, Recipe, Unfit, Worker
from coscale.errors import CoscaleError
from coscale.machine import settle

_FAREWELL = 10.0  # seconds for a process that was killed, or has closed its end, to be gone


class Local:
    """``slots`` processes, which share the cores; each device of ``devices`` in turn has one.

    ``timeout``: seconds for a photo, after which its process is killed.
    """

    def __init__(
        self, recipe: Recipe, weights_hash: str, slots: int, devices: Sequence[str], timeout: float | None = None
    ) -> None:
        self.slots = slots
        self._recipe = recipe
        self._hash = weights_hash
        self._devices = devices
        self._limits = Limits(timeout)
        # A fork would copy the locks of torch's threads, and could not use a GPU.
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, tuple[BaseProcess, Connection]] = {}

    def start(self, slot: int) -> None:
        """See Engine."""
        self._end(slot)
        ours, theirs = self._context.Pipe()
        device = self._devices[slot % len(self._devices)]
        arguments = (theirs, self._recipe, self._hash, device, self.slots)
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        with _without_interrupts():
            process.start()
        theirs.close()  # else nobody would learn that the worker died
        self._workers[slot] = process, ours

    def give(self, slot: int, job: Job) -> None:
        """See Engine."""
        with contextlib.suppress(OSError):  # a worker that died meanwhile is found by wait
            self._workers[slot][1].send(job)
        self._limits.begin(slot)

    def wait(self) -> list[tuple[int, Message]]:
        """See Engine."""
        while True:
            slots = {connection: slot for slot, (_, connection) in self._workers.items()}
            found: list[Any] = wait(list(slots), self._limits.remaining())
            if found:
                return [(slots[ready], self._receive(slots[ready])) for ready in found]
            for slot in self._limits.passed():
                self._end(slot)
                return [(slot, self._limits.lost)]

    def stop(self) -> None:
        """See Engine."""
        for slot in list(self._workers):
            self._end(slot)

    def _receive(self, slot: int) -> Message:
        process, connection = self._workers[slot]
        self._limits.end(slot)
        try:
            message = connection.recv()
        except (EOFError, OSError):
            process.join(_FAREWELL)
            message = Lost(_manner(process.exitcode))
        if isinstance(message, Lost | Unfit):
            self._end(slot)
        return message

    def _end(self, slot: int) -> None:
        if slot in self._workers:
            process, connection = self._workers.pop(slot)
            self._limits.end(slot)
            process.kill()
            process.join(_FAREWELL)  # a process that waits for a disk or a GPU may stay for ever
            connection.close()


def _serve(connection: Connection, recipe: Recipe, weights_hash: str, device: str, share: int) -> None:
    """A worker process: jobs in, messages out, until the driver is gone."""
    threading.Thread(target=_follow_the_driver, daemon=True).start()
    try:
        settle(share)
        worker = Worker(recipe, device, weights_hash)
        connection.send(Ready())
        while True:
            connection.send(worker.attempt(connection.recv()))
    except CoscaleError as error:
        connection.send(Unfit(str(error)))
    except (EOFError, BrokenPipeError):
        pass
    except Exception as error:  # a process in an unknown state, of a GPU for one, should do no more photos
        connection.send(Lost(f"failed with {type(error).__name__}: {line_of(error)}"))


def _follow_the_driver() -> None:
    """End this process with the driver, be it in the middle of a photo."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
        os._exit(1)


def _manner(exitcode: int | None) -> str:
    if exitcode is None:
        return "has closed its connection and does not end"
    if exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:  # those for real time but the first and the last have no names
            name = f"signal {-exitcode}"
        return f"was killed by {name}, by the system if it took too much memory"
    return f"ended with status {exitcode}"


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal; those started here never see it, since the driver ends them."""
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
