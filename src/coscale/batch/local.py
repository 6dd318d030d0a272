"""Workers that are processes of this machine. One that dies is replaced."""

import contextlib
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from coscale.batch.store import line_of
from coscale.batch.timeouts import Timeouts
from coscale.batch.worker import Assignment, BatchSettings, Lost, Message, Ready, Unfit, Worker
from coscale.errors import CoscaleError
from coscale.machine import settle
from coscale.processes import Process


class Local:
    """``slots`` processes, which share the cores; each device of ``devices`` in turn has one.

    ``timeout``: seconds for a photo, after which its process is killed.
    """

    def __init__(
        self,
        settings: BatchSettings,
        weights_hash: str,
        slots: int,
        devices: Sequence[str],
        timeout: float | None = None,
    ) -> None:
        self.slots = slots
        self._settings = settings
        self._hash = weights_hash
        self._devices = devices
        self._limits = Timeouts(timeout)
        self._workers: dict[int, Process] = {}

    def start(self, slot: int) -> None:
        """See Engine."""
        self._end(slot)
        device = self._devices[slot % len(self._devices)]
        self._workers[slot] = Process(_serve, self._settings, self._hash, device, self.slots)

    def give(self, slot: int, job: Assignment) -> None:
        """See Engine."""
        with contextlib.suppress(OSError):  # a worker that died meanwhile is found by wait
            self._workers[slot].connection.send(job)
        self._limits.begin(slot)

    def wait(self) -> list[tuple[int, Message]]:
        """See Engine."""
        while True:
            slots = {worker.connection: slot for slot, worker in self._workers.items()}
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
        worker = self._workers[slot]
        self._limits.end(slot)
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            message = Lost(worker.manner())
        if isinstance(message, Lost | Unfit):
            self._end(slot)
        return message

    def _end(self, slot: int) -> None:
        if slot in self._workers:
            self._limits.end(slot)
            self._workers.pop(slot).end()


def _serve(connection: Connection, settings: BatchSettings, weights_hash: str, device: str, share: int) -> None:
    """A worker process: jobs in, messages out, until the driver is gone."""
    try:
        settle(share)
        worker = Worker(settings, device, weights_hash)
        connection.send(Ready())
        while True:
            connection.send(worker.attempt(connection.recv()))
    except CoscaleError as error:
        connection.send(Unfit(str(error)))
    except (EOFError, BrokenPipeError):
        pass
    except Exception as error:  # a process in an unknown state, of a GPU for one, should do no more photos
        connection.send(Lost(f"failed with {type(error).__name__}: {line_of(error)}"))
