"""A server in a thread, who asks it, and work that takes as long as a test says."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import uvicorn

from coscale.serve.apart import Apart
from coscale.serve.job import Job
from coscale.serve.queue import JobQueue, ServeLimits
from coscale.serve.server import configure
from coscale.serve.visitors import DIRECT, Visitors
from tests.patience import PATIENCE

FAST = "/api/jobs?rescaler=light-x2&effort=fast&name=butterfly.png"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Server:
    """A page that is served, here or in another process."""

    port: int
    running: uvicorn.Server | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def send(self, photo: bytes, path: str = FAST, **headers: str) -> str:
        answer = self.ask("POST", path, photo, **headers)
        assert answer.status == 201, answer.body
        return answer.told["id"]

    def part_of_a_request(self, header: str, body: bytes) -> socket.socket:
        sender = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        sender.sendall(f"POST {FAST} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n\r\n".encode() + body)
        return sender

    def events(self, job: str) -> list[dict[str, Any]]:
        """All that a stream tells until it ends."""
        lines = self.ask("GET", f"/api/jobs/{job}/events").body.decode().split("\n\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


Served = tuple[Server, JobQueue]


@contextlib.contextmanager
def served(
    limits: ServeLimits,
    compute: Callable[[Job], dict[str, Any]],
    reader: Apart,
    visitors: Visitors = DIRECT,
    keep: Path | None = None,
) -> Iterator[Served]:
    """A server in a thread; no file may be left when it has closed, but results in ``keep``."""
    queue = JobQueue(limits, compute, keep)
    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(configure(queue, reader, "light-x2", ["Example.test"], visitors))
    thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield Server(listening.getsockname()[1], running), queue
    finally:
        running.should_exit = True
        queue.close(PATIENCE)
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert queue.folder.exists() == (keep is not None)


@dataclass
class Slow:
    """Work that takes as long as the test says: the queue without torch."""

    begun: threading.Semaphore
    enough: threading.Event

    @classmethod
    def new(cls) -> Self:
        return cls(threading.Semaphore(0), threading.Event())

    def __call__(self, job: Job) -> dict[str, Any]:
        self.begun.release()
        (job.folder / "original.png").write_bytes(b"kept")
        while not self.enough.wait(0.01):
            job.change(stage="coscale")
        return {"scale": 2}
