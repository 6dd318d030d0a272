"""A folder that `coscale web` wrote, served to a browser by a server that a test may have answer otherwise."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import torch

from coscale.collaborate import PLAIN
from coscale.errors import ExportError
from coscale.image import Photo
from coscale.lrfile import write_lr
from coscale.pipeline import encode_photo
from coscale.web import runtime
from coscale.weights.load import Loaded, load
from tests.command import coscale


@dataclass
class Site:
    """A folder that is served, and what a test has changed of how."""

    folder: Path
    address: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    instead: dict[str, Callable[[], bytes | None]] = field(default_factory=dict)  # by path; None is an error
    workers: list[str] = field(default_factory=list)  # the paths of which the browser started workers
    asked: list[str] = field(default_factory=list)  # the paths that were asked for, each without its query


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, site: Site) -> None:
        self.site = site
        super().__init__(*arguments, directory=str(site.folder))

    def do_GET(self) -> None:
        self.site.asked.append(self.path.split("?")[0])
        if self.headers.get("Sec-Fetch-Dest") == "worker":
            self.site.workers.append(self.path)
        path = self.path.split("?")[0]
        if path not in self.site.instead:
            super().do_GET()
            return
        data = self.site.instead[path]()
        self.send_response(503 if data is None else 200)
        self.send_header("Content-Type", self.guess_type(self.path.split("?")[0]))
        self.end_headers()
        self.wfile.write(data or b"")

    def end_headers(self) -> None:
        for name, value in {"Cache-Control": "no-store", **self.site.headers}.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Site]:
    site = Site(folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, site=site)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        site.address = f"http://127.0.0.1:{server.server_port}/"
        yield site
        server.shutdown()


def written(factory: pytest.TempPathFactory) -> Path:
    """Give what the command writes; the tests of it are skipped where the network leads nowhere."""
    try:
        runtime.copy_package(runtime.ORT, factory.mktemp("ort"))
        runtime.copy_package(runtime.JXL, factory.mktemp("jxl"))
    except ExportError as error:
        reason = error.__cause__
        if not isinstance(reason, URLError) or isinstance(reason, HTTPError):  # an answer, but not the right one
            raise
        pytest.skip(f"npm's registry cannot be reached, and the cache has not all: {reason.reason}")

    folder = factory.mktemp("web") / "page"
    done = coscale("web", folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def lr_file(path: Path, photo: Photo, pair: Loaded) -> Path:
    encoded = encode_photo(photo, pair, PLAIN)
    write_lr(path, encoded.lr, encoded.origin)
    return path


def small_file(path: Path, butterfly: Photo) -> Path:
    return lr_file(path, Photo(butterfly.colour[..., :40, :40]), load("light-x2"))


def levels_apart(a: torch.Tensor, b: torch.Tensor) -> int:
    assert a.shape == b.shape
    return int((255 * (a - b).abs()).round().max())
