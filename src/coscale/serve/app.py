"""The page's addresses."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from coscale import __version__
from coscale.collaborate import Coscale
from coscale.collaborate.coscale import Effort
from coscale.errors import ImageError, TooManyPixelsError
from coscale.image import read
from coscale.serve.guard import Guard
from coscale.serve.rescale import UPLOAD, VERSIONS, available
from coscale.serve.work import ENDED, FullError, Job, Work, sentence

_STATIC = Path(__file__).parent / "static"
_UPLOAD_SECONDS = 120
_LOOK_SECONDS = 0.1  # how often a stream looks for news
_STILL_LOOKS = 100  # looks without news after which it says that it is there, and so notices who has left
# What may be asked for, and what it is called when it is saved.
_FILES = {"original.png": "{name}.png"} | {
    file: name
    for version in VERSIONS
    for file, name in (
        (f"{version}.png", f"{{name}}.{version}.png" if version != "coscale" else "{name}.restored.png"),
        (f"{version}.lr.png", f"{{name}}.{version}.x{{scale}}.png" if version != "coscale" else "{name}.x{scale}.png"),
    )
}


def build(work: Work, default: str, hosts: frozenset[str] | None) -> Starlette:
    """The application: ``default`` is the rescaler chosen at first, ``hosts`` as ``Guard`` has it."""

    @contextlib.asynccontextmanager
    async def sweeping(_: Starlette) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(1)
                await run_in_threadpool(work.sweep)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    pages = _Pages(work, default)
    routes = [
        Route("/", pages.index),
        Route("/api/settings", pages.settings),
        Route("/api/jobs", pages.create, methods=["POST"]),
        Route("/api/jobs/{id}", pages.state, methods=["GET"]),
        Route("/api/jobs/{id}", pages.cancel, methods=["DELETE"]),
        Route("/api/jobs/{id}/events", pages.events),
        Route("/api/jobs/{id}/{file}", pages.file),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _refusal},
        lifespan=sweeping,
    )


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _body(request: Request, take: Callable[[bytes], None]) -> None:
    """Read the body to its end, also where nothing of it is kept: a browser that still sends would see no answer."""
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            async for chunk in request.stream():
                take(chunk)
    except TimeoutError:
        raise HTTPException(408, f"The photo did not come within {_UPLOAD_SECONDS} seconds.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The photo did not come whole.") from None


class _Pages:
    def __init__(self, work: Work, default: str) -> None:
        self.work, self.default = work, default

    async def index(self, _: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def settings(self, _: Request) -> Response:
        rescalers = [{"name": n.name, "scale": n.scale, "about": n.about.split(";")[0]} for n in available()]
        efforts = [{"name": name, "passes": Coscale(name).passes} for name in get_args(Effort)]
        return JSONResponse(
            {
                "rescalers": rescalers,
                "rescaler": self.default,
                "efforts": efforts,
                "effort": Coscale().effort,
                "limits": asdict(self.work.limits),
                "version": __version__,
            }
        )

    async def create(self, request: Request) -> Response:
        """Take a photo, the body of the request, into the queue."""
        asked = request.query_params
        rescaler = asked.get("rescaler", self.default)
        effort = next((name for name in get_args(Effort) if name == asked.get("effort", Coscale().effort)), None)
        if rescaler not in {named.name for named in available()}:
            raise HTTPException(400, "There is no such rescaler here.")
        if effort is None:
            raise HTTPException(400, f"The effort must be one of {', '.join(get_args(Effort))}.")
        try:
            job = self.work.admit(asked.get("name", ""), rescaler, effort)
        except FullError:
            await _body(request, lambda chunk: None)
            raise HTTPException(429, "The queue is full; try again in a minute.", {"Retry-After": "60"}) from None
        try:
            await self._receive(request, job)
        except BaseException:
            self.work.drop(job)
            raise
        self.work.enqueue(job)
        return JSONResponse({"id": job.id}, 201)

    async def _receive(self, request: Request, job: Job) -> None:
        limits, size, path = self.work.limits, 0, job.folder / UPLOAD

        def take(chunk: bytes) -> None:
            nonlocal size
            size += len(chunk)
            if size <= limits.upload:
                file.write(chunk)

        with path.open("wb") as file:
            await _body(request, take)
        if size > limits.upload:
            raise HTTPException(413, f"The file is larger than {limits.upload / 1e6:g} MB; take a smaller one.")
        try:
            await run_in_threadpool(read, path, limits.pixels)  # now, not when its turn comes
        except TooManyPixelsError:
            limit = f"{limits.pixels / 1e6:g} megapixels"
            raise HTTPException(413, f"The photo has more than {limit}; take a smaller one.") from None
        except ImageError as error:
            raise HTTPException(415, sentence(error, job.folder)) from None

    async def state(self, request: Request) -> Response:
        return JSONResponse(self._snapshot(self._job(request)))

    async def cancel(self, request: Request) -> Response:
        self.work.cancel(self._job(request))
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """The job's state, whole each time, until it has ended: so it does not matter what a client has missed."""
        job = self._job(request)

        async def stream() -> AsyncIterator[str]:
            sent, still = None, 0
            while not self.work.closed and not await request.is_disconnected():
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
        path = job.folder / file if file in _FILES else None
        if path is None or not path.is_file():
            raise HTTPException(404, "There is no such file.")
        name = None
        if "download" in request.query_params and job.result:
            name = _FILES[file].format(name=job.name, scale=job.result["scale"])
        return FileResponse(path, media_type="image/png", filename=name)

    def _job(self, request: Request) -> Job:
        job = self.work.find(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "There is no such job; results are removed after a while.")
        return job

    def _snapshot(self, job: Job) -> dict[str, Any]:
        return {
            "id": job.id,
            "name": job.name,
            "rescaler": job.rescaler,
            "effort": job.effort,
            "state": job.state,
            "stage": job.stage,
            "ahead": 0 if job.state in ENDED else self.work.ahead(job),
            "passes": job.passes,
            "curve": [round(gain, 4) for gain in job.curve],
            "result": job.result if job.state == "finished" else None,
            "message": job.message,
        }
