"""The server: a socket, uvicorn in a thread, and an end without anything left behind."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from coscale.errors import ServeError
from coscale.serve.apart import Apart
from coscale.serve.app import build
from coscale.serve.queue import JobQueue, ServeLimits
from coscale.serve.rescale import Rescale, computed_by, looking
from coscale.serve.visitors import DIRECT, Visitors
from coscale.storage import PNG, Storage

_IDLE_SECONDS = 10  # for which a connection may stay without a whole request
LOOK_SECONDS = 120  # for which a photo may be looked at; of 16 megapixels some take one second


def serve(
    host: str,
    port: int,
    *,
    device: str,
    default: str,
    limits: ServeLimits,
    storage: Storage = PNG,
    allowed: Iterable[str] = (),
    visitors: Visitors = DIRECT,
    keep: Path | None = None,
    ready: Callable[[str, int], None],
    until: threading.Event,
) -> None:
    """Serve the page until ``until`` is set.

    ``ready`` is called as soon as it can be opened, with its address and how many kept results were damaged.

    It answers to ``host``, this machine's own name, ``allowed`` names, and addresses in numbers. ``storage`` keeps the
    LR files; ``visitors`` tells who asks; ``keep`` is a folder in which results outlive the server.
    Photos are read and worked on in two processes of their own. When this returns these have ended, and no file is
    left but results in ``keep``. Raises ServeError when ``host`` and ``port`` cannot be listened on, or nothing can be
    kept there.
    """
    with _listen(host, port) as listening, contextlib.ExitStack() as processes:
        rescale = processes.enter_context(Apart(partial(Rescale, device, storage)))
        reader = processes.enter_context(Apart(looking, LOOK_SECONDS))
        queue = JobQueue(limits, computed_by(rescale), keep)
        names = {host, socket.gethostname(), *allowed}
        server = uvicorn.Server(configure(queue, reader, default, names, visitors))
        thread = threading.Thread(target=server.run, args=([listening],), name="server", daemon=True)
        try:
            thread.start()
            ready(_address(listening), queue.damaged)
            while thread.is_alive() and not until.wait(0.5):
                pass
        finally:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # requests that are cut short are no news
            server.should_exit = True
            processes.close()  # before the files go, among which they write
            queue.close()
            thread.join(3)


def configure(
    queue: JobQueue, reader: Apart, default: str, names: Iterable[str], visitors: Visitors = DIRECT
) -> uvicorn.Config:
    """Say how the page is served that answers to ``names`` and to ``localhost``."""
    return uvicorn.Config(
        build(queue, reader, default, frozenset(name.lower() for name in ("localhost", *names)), visitors),
        proxy_headers=False,  # by which uvicorn believes whoever asks from this machine; ``visitors`` knows better
        http=_Impatient,
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=400,
        timeout_graceful_shutdown=1,
    )


class _Impatient(H11Protocol):
    """Closes connections on which no request comes, or none that becomes whole: uvicorn itself would keep them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        self._expect_request()
        super().on_response_complete()

    def _expect_request(self) -> None:
        answered = self.cycle

        def give_up() -> None:
            if self.cycle is answered:
                self.transport.close()

        self.loop.call_later(_IDLE_SECONDS, give_up)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=100)
    except OSError as error:
        reason = error.strerror or error
        raise ServeError(
            f"{host} port {port} cannot be served from: {reason}; give another --port (0 takes any that is free)"
        ) from error


def _address(listening: socket.socket) -> str:
    """What to open in a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if listening.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
