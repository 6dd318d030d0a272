"""Workers that are actors of a Ray cluster. One that dies is replaced, on whatever machine has room."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
import warnings
from typing import Any

from coscale.batch.store import line_of
from coscale.batch.timeouts import Timeouts
from coscale.batch.worker import Assignment, BatchSettings, Lost, Message, Ready, Unfit, Worker
from coscale.errors import CoscaleError, CoscaleWarning, EngineError, SettingsError
from coscale.machine import settle

_KNOCK = 5.0  # seconds for a machine to take a connection
_ANSWER = 30.0  # for what took it to prove to be Ray, whose own limit is two minutes
_PATIENCE = 30.0  # until the user is told that no worker has begun
_CORES = 4  # of a worker without a GPU


class Actor:
    """A worker, made by Ray in a process of its own."""

    def ready(self, settings: BatchSettings, weights_hash: str, device: str) -> Ready | Unfit:
        """Load the pair."""
        settle()  # Ray has said how many threads
        try:
            self.worker = Worker(settings, device, weights_hash)
        except CoscaleError as error:
            return Unfit(str(error))
        return Ready()

    def do(self, job: Assignment) -> Message:
        """Do one photo."""
        return self.worker.attempt(job)


class OnRay:
    """``slots`` actors, or as many as the cluster has room for, each with ``gpus`` of a GPU or with up to 4 cores.

    ``address``: as Ray has it; None finds the cluster that RAY_ADDRESS or this machine knows. ``timeout``: seconds for
    a photo, after which its actor is killed. Raises SettingsError without Ray, EngineError when there is no such
    cluster or it has no such machines.
    """

    def __init__(
        self,
        settings: BatchSettings,
        weights_hash: str,
        slots: int | None,
        device: str,
        gpus: float,
        address: str | None,
        timeout: float | None = None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise SettingsError("--engine ray needs: pip install 'coscale[ray]'") from error
        self._ray: Any = ray
        self._actors: dict[int, Any] = {}
        self._coming: dict[Any, int] = {}
        self._begun = False
        self._limits = Timeouts(timeout)
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(ray, address)
        try:
            self.slots, resources = _share(ray.nodes(), slots, device, gpus)
            self._arguments = settings, weights_hash, "cuda" if resources["num_gpus"] else "cpu"
        except BaseException:
            self.stop()
            raise
        self._kind = self._ray.remote(**resources)(Actor)

    def start(self, slot: int) -> None:
        """See Engine."""
        self._end(slot)
        self._actors[slot] = self._kind.remote()
        self._coming[self._actors[slot].ready.remote(*self._arguments)] = slot

    def give(self, slot: int, job: Assignment) -> None:
        """See Engine."""
        self._coming[self._actors[slot].do.remote(job)] = slot
        self._limits.begin(slot)

    def wait(self) -> list[tuple[int, Message]]:
        """See Engine."""
        since = time.monotonic()
        while True:
            found, _ = self._ray.wait(list(self._coming), timeout=1)
            if found:
                self._begun = True
                slots = [self._coming.pop(reference) for reference in found]
                for slot in slots:
                    self._limits.end(slot)
                return [(slot, self._receive(reference)) for slot, reference in zip(slots, found, strict=True)]
            for slot in self._limits.passed():
                self._coming = {reference: other for reference, other in self._coming.items() if other != slot}
                self._end(slot)
                return [(slot, self._limits.lost)]
            if not self._begun and time.monotonic() - since > _PATIENCE:
                self._begun = True  # said once
                warnings.warn("the Ray cluster has no worker ready yet; it may be busy", CoscaleWarning, stacklevel=2)

    def stop(self) -> None:
        """See Engine."""
        for slot in list(self._actors):
            self._end(slot)
        if self._ours:
            self._ray.shutdown()

    def _receive(self, reference: Any) -> Message:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # a process in an unknown state should do no more photos
            return Lost(f"failed with {type(error.cause).__name__}: {line_of(error.cause)}")
        except self._ray.exceptions.RayError as error:
            return Lost(f"died: {str(error).strip().splitlines()[0]}")

    def _end(self, slot: int) -> None:
        self._limits.end(slot)
        actor = self._actors.pop(slot, None)
        if actor is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)


def _connect(ray: Any, address: str | None) -> None:
    where = address or "auto"
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _KNOCK).close()
        except OSError as error:
            raise EngineError(
                f"there is no Ray cluster at {where} ({error.strerror or error}); start it first"
            ) from error
    options = {"address": where, "logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": False}
    # What is no Ray, or one that is gone, holds a process for minutes, so another one tries.
    code = f"import ray; ray.init(**{options!r})"
    reason = "it does not answer"
    with contextlib.suppress(subprocess.TimeoutExpired):
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_ANSWER)  # noqa: S603
        if tried.returncode == 0:
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of what it will do
            ray.init(**options)
            return
        reason = (tried.stderr.strip().splitlines() or [""])[-1].partition(": ")[2].partition(". ")[0]
    found = f"at {address}" if address else "on this machine or in RAY_ADDRESS"
    raise EngineError(f"there is no Ray cluster {found} that can be used ({reason}); start it, or give --address")


def _share(nodes: list[dict[str, Any]], slots: int | None, device: str, gpus: float) -> tuple[int, dict[str, float]]:
    """How many actors, and what each takes."""
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cards = [machine.get("GPU", 0) for machine in machines]
    if device == "cpu" or (device == "auto" and not any(cards)):
        cores = [int(machine["CPU"]) for machine in machines if machine.get("CPU", 0) >= 1]
        if not cores:
            raise EngineError("no machine of the Ray cluster offers a CPU; start one that does")
        slots = slots or max(1, sum(count // _CORES for count in cores))
        return slots, {"num_cpus": max(1, min(_CORES, *cores, sum(cores) // slots)), "num_gpus": 0}
    if max(cards, default=0) < gpus:
        raise EngineError(f"no machine of the Ray cluster offers {gpus:g} GPUs; give a smaller --gpus-per-worker")
    return slots or sum(int(count) * int(1 / gpus) for count in cards), {"num_cpus": 1, "num_gpus": gpus}
