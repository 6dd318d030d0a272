"""The page's addresses."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, get_args
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from coscale import __version__
from coscale.collaborate import Coscale
from coscale.collaborate.coscale import Effort
from coscale.errors import EngineError, ImageError, TooManyPixelsError
from coscale.serve.apart import Apart, CancelledError
from coscale.serve.guard import Guard
from coscale.serve.job import ENDED, Job
from coscale.serve.metrics import MEDIA_TYPE, exposition
from coscale.serve.queue import FULL_DISK, NO_MEMORY, FullError, JobQueue, is_full_disk, sentence
from coscale.serve.rescale import UPLOAD, VERSIONS, Upload, offered
from coscale.serve.visitors import DIRECT, Visitors
from coscale.storage import LOSSLESS_SUFFIXES

_STATIC = Path(__file__).parent / "static"
_CHUNK, _CHUNK_SECONDS = 100_000, 10  # bytes of a photo, and how long they may take
_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.1  # how often a stream looks for news
_STILL_LOOKS = 100  # looks without news after which it says that it is there, and so notices who has left


def _files() -> dict[str, str]:
    """What may be asked for, and what it is called when it is saved."""
    found = {"original.png": "{name}.png"}
    for version in VERSIONS:
        is_best = version == "coscale"
        found[f"{version}.png"] = "{name}.restored.png" if is_best else f"{{name}}.{version}.png"
        for lr in LOSSLESS_SUFFIXES:  # results that were kept may have others than this server writes
            found[f"{version}.lr{lr}"] = f"{{name}}.x{{scale}}{lr}" if is_best else f"{{name}}.{version}.x{{scale}}{lr}"
    return found


def build(queue: JobQueue, reader: Apart, default: str, hosts: frozenset[str], visitors: Visitors = DIRECT) -> ASGIApp:
    """Give the application: ``default`` is the rescaler chosen at first, ``hosts`` as ``Guard`` has it.

    ``reader`` looks at the photos that come: a process that was made with ``looking``. ``visitors``: how they are told
    apart.
    """

    @contextlib.asynccontextmanager
    async def sweeping(_: Starlette) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(1)
                await run_in_threadpool(queue.sweep)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    pages = _Pages(queue, reader, default, visitors)
    routes = [
        Route("/", pages.index),
        Route("/healthz", pages.health),
        Route("/metrics", pages.metrics),
        Route("/api/settings", pages.settings),
        Route("/api/jobs", pages.create, methods=["POST"]),
        Route("/api/jobs/{id}", pages.state, methods=["GET"]),
        Route("/api/jobs/{id}", pages.cancel, methods=["DELETE"]),
        Route("/api/jobs/{id}/events", pages.events),
        Route("/api/jobs/{id}/{file}", pages.file),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    handlers = {HTTPException: _refusal, FullError: _full, OSError: _unkept, Exception: _broken}
    application = Starlette(routes=routes, exception_handlers=handlers, lifespan=sweeping)
    # It would send a browser to http, and to the top of the site, where a proxy has TLS and the page a path.
    application.router.redirect_slashes = False
    return Guard(application, hosts)  # around all of it, the answer to what nobody thought of included


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _full(_: Request, error: Exception) -> Response:
    assert isinstance(error, FullError)
    return JSONResponse({"error": str(error)}, 429, {"Retry-After": str(error.seconds)})


async def _unkept(_: Request, error: Exception) -> Response:
    if is_full_disk(error):
        return JSONResponse({"error": FULL_DISK}, 507)
    _log.error("files cannot be kept", exc_info=error)
    return JSONResponse({"error": "The server cannot keep files; its terminal says why."}, 500)


async def _broken(_: Request, error: Exception) -> Response:
    """Answer an error of the code. Starlette raises it again, so that uvicorn logs it."""
    return JSONResponse({"error": "Something went wrong here; the terminal of the server says what."}, 500)


async def _body(request: Request, most: int, take: Callable[[bytes], object]) -> None:
    """Read the body to its end, also where nothing of it is kept: a browser that still sends would see no answer."""
    size, awaited, problem = 0, _CHUNK, None
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(_CHUNK_SECONDS) as patience:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                if size >= awaited:
                    awaited = size + _CHUNK
                    patience.reschedule(clock() + _CHUNK_SECONDS)
                if problem is None:
                    try:
                        take(chunk)
                    except OSError as error:
                        problem = error
    except TimeoutError:
        raise HTTPException(408, f"The photo came too slowly: less than {_CHUNK // 1000} kB in 10 seconds.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The photo did not come whole.") from None
    if problem:
        raise problem


async def _still_there(request: Request) -> None:
    """Raise where who sent a photo has left, so that nobody would learn of its job."""
    if await request.is_disconnected():
        raise HTTPException(400, "The photo was taken back.")


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The file is larger than {most / 1e6:g} MB; take a smaller one.")


class _Opened(Response):
    """An image that is open already, so that it comes whole also where its job is deleted; saved under ``name``."""

    def __init__(self, file: BinaryIO, suffix: str, name: str | None) -> None:
        super().__init__(media_type=f"image/{suffix[1:]}")
        self.file = file
        self.headers["content-length"] = str(os.fstat(file.fileno()).st_size)
        if name is not None:
            quoted = quote(name)
            told = f'filename="{name}"' if quoted == name else f"filename*=utf-8''{quoted}"
            self.headers["content-disposition"] = f"attachment; {told}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while chunk := await run_in_threadpool(self.file.read, _CHUNK):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


class _Pages:
    def __init__(self, queue: JobQueue, reader: Apart, default: str, visitors: Visitors) -> None:
        self.queue, self.reader, self.default, self.visitors = queue, reader, default, visitors
        self._files = _files()
        self._looking = asyncio.Lock()  # the reader takes one photo at a time
        self._told_of_proxy = False

    async def index(self, _: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def health(self, _: Request) -> Response:
        """Say whether photos can be taken and worked on, to what watches over the server."""
        ailment = await run_in_threadpool(self.queue.ailment)
        return JSONResponse({"error": ailment}, 503) if ailment else JSONResponse({"state": "well"})

    async def metrics(self, _: Request) -> Response:
        return Response(exposition(self.queue.numbers()), media_type=MEDIA_TYPE)

    async def settings(self, _: Request) -> Response:
        rescalers = [{"name": n.name, "scale": n.scale, "about": n.about.split(";")[0]} for n in offered()]
        efforts = [{"name": name, "passes": Coscale(name).passes} for name in get_args(Effort)]
        return JSONResponse(
            {
                "rescalers": rescalers,
                "rescaler": self.default,
                "efforts": efforts,
                "effort": Coscale().effort,
                "limits": asdict(self.queue.limits),
                "version": __version__,
            }
        )

    async def create(self, request: Request) -> Response:
        """Take a photo, the body of the request, into the queue."""
        asked = request.query_params
        rescaler = asked.get("rescaler", self.default)
        effort = next((name for name in get_args(Effort) if name == asked.get("effort", Coscale().effort)), None)
        if rescaler not in {named.name for named in offered()}:
            raise HTTPException(400, "There is no such rescaler here.")
        if effort is None:
            raise HTTPException(400, f"The effort must be one of {', '.join(get_args(Effort))}.")
        most = self.queue.limits.upload
        if int(request.headers.get("content-length", 0)) > most:
            raise _too_large(most)
        try:
            job = self.queue.admit(asked.get("name", ""), rescaler, effort, self._visitor(request))
        except (FullError, OSError):
            await _body(request, most, lambda chunk: None)
            raise
        try:
            await self._receive(request, job)
            await _still_there(request)
            self.queue.enqueue(job)
        except BaseException:
            self.queue.drop(job)
            raise
        return JSONResponse({"id": job.id}, 201)

    def _visitor(self, request: Request) -> str:
        peer = request.client.host if request.client else ""
        forwarded = request.headers.getlist("x-forwarded-for")
        if forwarded and not self._told_of_proxy and not self.visitors.trusts(peer):
            self._told_of_proxy = True  # once: anybody may send the header
            told = (
                "says for whom it asks (X-Forwarded-For), but is no --trusted-proxy; all of those count as one visitor"
            )
            _log.warning("%s %s", peer, told)
        return self.visitors.who(peer, forwarded)

    async def _receive(self, request: Request, job: Job) -> None:
        limits, path = self.queue.limits, job.folder / UPLOAD
        with path.open("wb") as file:
            await _body(request, limits.upload, file.write)
        try:
            async with self._looking:  # now, not when its turn comes
                await _still_there(request)
                await run_in_threadpool(self.reader.ask, Upload(path, limits.pixels))
        except TooManyPixelsError:
            limit = f"{limits.pixels / 1e6:g} megapixels"
            raise HTTPException(413, f"The photo has more than {limit}; take a smaller one.") from None
        except MemoryError:
            raise HTTPException(413, NO_MEMORY) from None
        except (ImageError, EngineError) as error:
            raise HTTPException(415, sentence(error, job.folder)) from None
        except CancelledError:
            raise HTTPException(503, "The server is ending.") from None

    async def state(self, request: Request) -> Response:
        return JSONResponse(self._snapshot(self._job(request)))

    async def cancel(self, request: Request) -> Response:
        self.queue.cancel(self._job(request))
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """Give the job's state, whole each time, until it has ended: so it does not matter what a client has missed."""
        job = self._job(request)

        async def stream() -> AsyncIterator[str]:
            sent, still = None, 0
            while not self.queue.closed and not await request.is_disconnected():
                snapshot = self._snapshot(job)
                if snapshot != sent:
                    yield f"data: {json.dumps(snapshot)}\n\n"
                    sent, still = snapshot, 0
                elif still == _STILL_LOOKS:
                    yield ": still there\n\n"
                    still = 0
                if snapshot["state"] in ENDED:
                    return
                still += 1
                await asyncio.sleep(_LOOK_SECONDS)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def file(self, request: Request) -> Response:
        job, file = self._job(request), request.path_params["file"]
        name = None
        if "download" in request.query_params and job.result:
            name = self._files.get(file, "").format(name=job.name, scale=job.result["scale"])
        try:
            if file not in self._files:
                raise FileNotFoundError
            return _Opened((job.folder / file).open("rb"), Path(file).suffix, name)
        except FileNotFoundError:  # never there, not yet, or deleted with its job a moment ago
            raise HTTPException(404, "There is no such file.") from None

    def _job(self, request: Request) -> Job:
        job = self.queue.find(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "There is no such job; results are removed after a while.")
        return job

    def _snapshot(self, job: Job) -> dict[str, Any]:
        state = job.state  # once, and first: it is set last
        return {
            "id": job.id,
            "name": job.name,
            "rescaler": job.rescaler,
            "effort": job.effort,
            "state": state,
            "stage": job.stage,
            "ahead": 0 if state in ENDED else self.queue.ahead(job),
            "passes": job.passes,
            "curve": [round(gain, 4) for gain in job.curve],
            "result": job.result if state == "finished" else None,
            "message": job.message,
        }
