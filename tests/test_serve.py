"""The page: what the server takes and refuses, and what somebody sees who uses it in a browser."""

import asyncio
import contextlib
import errno
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from tests.extras import skip_without

skip_without("browser", "serve")

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Route

from coscale.image import read, write
from coscale.lrfile import read_lr
from coscale.metrics import compare
from coscale.pipeline import decode_photo
from coscale.rescalers import RESCALERS
from coscale.serve import app, guard, server
from coscale.serve.apart import Apart
from coscale.serve.job import Job, State
from coscale.serve.queue import FullError, JobQueue, ServeLimits, safe_stem
from coscale.serve.rescale import Rescale, computed_by, looking
from coscale.serve.server import is_loopback
from coscale.weights.load import load
from tests.deadly import deed
from tests.patience import PATIENCE, until
from tests.served import FAST, Served, Server, Slow, served

DOCS = Path(__file__).parents[1] / "docs"


@functools.cache
def reader() -> Apart:
    """A process that looks at photos, for all tests of this module."""
    return Apart(looking)


@functools.cache
def rescale() -> Apart:
    """A process that does jobs, for all tests of this module."""
    return Apart(functools.partial(Rescale, "cpu"))


@pytest.fixture(scope="module", autouse=True)
def end_of_the_processes() -> Iterator[None]:
    yield
    for made in (reader, rescale):
        if made.cache_info().currsize:
            made().__exit__()
            made.cache_clear()


def serving(limits: ServeLimits, compute: Callable[[Job], dict[str, Any]]) -> AbstractContextManager[Served]:
    """A server whose reader is the real one."""
    return served(limits, compute, reader())


@pytest.fixture
def slow() -> Slow:
    return Slow.new()


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The command as a user runs it, in a process of its own."""
    temporary = tmp_path_factory.mktemp("serve")
    command = [sys.executable, "-m", "coscale", "serve", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary)}
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("coscale: open http://127.0.0.1:"), line
    yield Server(int(line.rpartition(":")[2]))
    process.send_signal(signal.SIGTERM)
    output, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (1, "")
    assert said == "coscale: stopped; no photo and no result is left here\n"
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="session")
def small(butterfly_path: Path) -> bytes:
    """A photo of 40 x 32 pixels."""
    with Image.open(butterfly_path) as image:
        return as_png(image.crop((80, 80, 120, 112)))


def as_png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_photo_through_the_server(small: bytes, tmp_path: Path) -> None:
    with serving(ServeLimits(), computed_by(rescale())) as (server, queue):
        job = server.send(small)
        states = server.events(job)
        assert states[-1]["state"] == "finished", states[-1]
        assert [len(state["curve"]) for state in states] == sorted(len(state["curve"]) for state in states)
        last = server.events(job)
        assert last == [states[-1]]  # who comes late gets the whole curve at once, and the end
        assert last[0]["passes"] == len(last[0]["curve"]) == 2
        assert last[0]["curve"][0] == 0 < last[0]["curve"][-1]
        versions = last[0]["result"]["versions"]
        assert versions["bicubic"]["psnr_rgb"] < versions["none"]["psnr_rgb"] <= versions["coscale"]["psnr_rgb"]
        (tmp_path / "original.png").write_bytes(small)
        for version, told in versions.items():
            answer = server.ask("GET", f"/api/jobs/{job}/{version}.png")
            (tmp_path / f"{version}.png").write_bytes(answer.body)
            found = compare(read(tmp_path / f"{version}.png").colour, read(tmp_path / "original.png").colour, 2)
            assert {key: float(value) for key, value in found.items()} == {key: told[key] for key in found}
            assert len(server.ask("GET", f"/api/jobs/{job}/{version}.lr.png").body) == told["lr_bytes"]
        answer = server.ask("GET", f"/api/jobs/{job}/coscale.lr.png?download")
        assert answer.headers["content-disposition"] == 'attachment; filename="butterfly.x2.png"'
        assert server.ask("DELETE", f"/api/jobs/{job}").status == 204
        assert server.ask("GET", f"/api/jobs/{job}").status == 404
        assert list(queue.folder.iterdir()) == []


def test_only_rescalers_with_weights_are_offered() -> None:
    with serving(ServeLimits(), computed_by(rescale())) as (server, _):
        offered = server.ask("GET", "/api/settings").told
        assert [r["name"] for r in offered["rescalers"]] == [n.name for n in RESCALERS if n.checkpoint != "yours"]
        for asked in ("rescaler=irn-x2", "rescaler=none-such", "effort=most"):
            answer = server.ask("POST", f"/api/jobs?{asked}", b"")
            assert answer.status == 400
            assert answer.told["error"].endswith(".")


def test_what_is_no_photo_or_too_much_is_refused(small: bytes) -> None:
    with serving(ServeLimits(upload=100_000, pixels=2000), computed_by(rescale())) as (server, queue):

        def refused(body: bytes, status: int, word: str) -> None:
            answer = server.ask("POST", FAST, body)
            assert answer.status == status
            assert word in answer.told["error"]
            assert str(queue.folder) not in answer.told["error"]
            assert answer.told["error"].endswith(".")

        refused(b"", 415, "The file is empty")
        refused(b"no image at all", 415, "The file is not a JPEG")
        refused(small[: len(small) // 2], 415, "The file is damaged")
        refused(bytes(100_001), 413, "larger than 0.1 MB")
        chunked = b"%x\r\n%s\r\n" % (100_001, bytes(100_001))
        with server.part_of_a_request("Transfer-Encoding: chunked", chunked) as sender:
            assert b" 413 " in sender.recv(1000)
        with server.part_of_a_request("Content-Length: 100001", b"") as sender:  # and nothing of it is awaited
            assert b" 413 " in sender.recv(1000)
        refused(as_png(Image.new("RGB", (50, 50))), 413, "more than 0.002 megapixels")
        assert list(queue.folder.iterdir()) == []


def test_who_sends_much_that_is_refused_sees_the_answer(slow: Slow) -> None:
    """A proxy that finds the connection closed as it sends looks for no answer, and says 502."""
    with serving(ServeLimits(upload=100_000), slow) as (server, _):
        for path, headers, status in (
            (FAST, {}, 413),
            (FAST, {"Host": "evil.example"}, 421),
            (FAST, {"Origin": "http://evil.example"}, 403),
            ("/api/jobs?rescaler=none", {}, 400),
            ("/healthz", {}, 405),
        ):
            answer = server.ask("POST", path, bytes(20_000_000), Connection="close", **headers)
            assert answer.status == status


def test_an_upload_that_breaks_off_leaves_nothing(small: bytes, slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    slow.enough.set()
    with serving(ServeLimits(waiting=1, receiving=2), slow) as (server, queue):
        with server.part_of_a_request("Content-Length: 999", b"abc"):
            until(lambda: list(queue.folder.glob("*/upload")))
            job = server.send(small)  # as what is on its way has no place in the queue
            assert server.events(job)[-1]["state"] == "finished"
            with server.part_of_a_request("Content-Length: 999", b"abc"):
                until(lambda: len(list(queue.folder.glob("*/upload"))) == 2)
                assert server.ask("POST", FAST, bytes(10_000_000)).status == 429
        until(lambda: len(list(queue.folder.iterdir())) == 1)
    assert caplog.text == ""


def test_who_sends_nothing_is_not_waited_for(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_CHUNK_SECONDS", 0.3)
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.6)
    monkeypatch.setattr(guard, "_LINGER_SECONDS", 0.3)
    with serving(ServeLimits(), slow) as (served, queue):
        with served.part_of_a_request("Content-Length: 999", b"abc") as sender:
            assert b" 408 " in sender.recv(1000)
            assert list(queue.folder.iterdir()) == []
        for begun in (b"", b"GET / HTTP/1.1\r\nHost:"):
            with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE) as sender:
                sender.sendall(begun)
                assert sender.recv(1000) == b""
        with served.part_of_a_request(f"Content-Length: {10**9}", b"") as sender:  # refused, and has more to send
            while sender.recv(1000):
                pass


def test_who_sends_steadily_may_take_long(small: bytes, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece that comes moves the end of the server's patience."""
    ends: list[float] = []
    plain = asyncio.timeout

    @contextlib.asynccontextmanager
    async def watched(seconds: float) -> AsyncIterator[SimpleNamespace]:
        async with plain(seconds) as patience:

            def reschedule(when: float) -> None:
                ends.append(when)
                patience.reschedule(when)

            yield SimpleNamespace(reschedule=reschedule)

    monkeypatch.setattr(app, "_CHUNK_SECONDS", PATIENCE)
    monkeypatch.setattr(app, "_CHUNK", 10)
    monkeypatch.setattr(app.asyncio, "timeout", watched)
    with (
        serving(ServeLimits(), slow) as (served, _),
        served.part_of_a_request(f"Content-Length: {len(small)}", b"") as sender,
    ):
        for count, piece in enumerate((small[:20], small[20:40], small[40:60], small[60:80]), 1):
            sender.sendall(piece)
            until(lambda count=count: len(ends) == count)
        assert ends == sorted(set(ends))
        sender.sendall(small[80:])
        assert b" 201 " in sender.recv(1000)


def test_a_disk_that_is_full_is_told(small: bytes, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    slow.enough.set()
    failures: list[Exception] = [OSError(errno.ENOSPC, ""), OSError(errno.EACCES, ""), ValueError("of the code")]

    def fail(*_: object) -> Job:
        raise failures[0]

    with serving(ServeLimits(), slow) as (server, queue):
        with monkeypatch.context() as patched:
            patched.setattr(queue, "admit", fail)
            for status, words in ((507, "is full"), (500, "cannot keep files"), (500, "went wrong")):
                answer = server.ask("POST", FAST, small)
                assert (answer.status, words in answer.told["error"]) == (status, True)
                assert "default-src 'self'" in answer.headers["content-security-policy"]
                failures.pop(0)
        before = queue.folder
        before.rmdir()  # as what tidies temporary folders up may do
        assert server.events(server.send(small))[-1]["state"] == "finished"
        assert queue.folder != before


def test_what_is_told_of_an_end_is_whole(tmp_path: Path) -> None:
    class Watched(Job):
        def __setattr__(self, name: str, value: Any) -> None:
            assert value != "failed" or self.message
            super().__setattr__(name, value)

    job = Watched("photo", "light-x2", "fast", tmp_path / "job")
    job.end("failed", "It went wrong.")
    assert job.state == "failed"


def test_a_photo_that_ends_its_reader_is_refused(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    with Apart(deed) as deadly, monkeypatch.context() as patched:
        patched.setattr(sys.modules[__name__], "reader", lambda: deadly)
        with serving(ServeLimits(), slow) as (server, queue):
            for word, status, told in (
                (b"crash", 415, "crashed with SIGSEGV"),
                (b"signal", 415, "killed by SIGKILL"),
                (b"memory", 413, "not enough memory"),
                (b"disk", 507, "is full"),
            ):
                answer = server.ask("POST", FAST, word)
                assert (answer.status, told in answer.told["error"]) == (status, True), answer.told
                assert list(queue.folder.iterdir()) == []
            job = server.send(b"fine")
            slow.enough.set()
            assert server.events(job)[-1]["state"] == "finished"


def test_a_result_that_is_deleted_while_it_is_sent_comes_whole(small: bytes, slow: Slow) -> None:
    slow.enough.set()
    with serving(ServeLimits(), slow) as (server, queue):
        job = queue.find(server.send(small))
        assert job is not None
        assert server.events(job.id)[-1]["state"] == "finished"
        page = app.build(queue, reader(), "light-x2", frozenset({"localhost"}))
        scope = {"type": "http", "method": "GET", "path": f"/api/jobs/{job.id}/original.png", "query_string": b""}
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)
            queue.cancel(job)  # which forgets what has ended, with its files

        async def answer() -> None:
            await page(scope | {"headers": [(b"host", b"localhost")]}, receive, send)

        # In a thread of its own, since a browser that other tests have opened runs a loop in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, answer()).result()
        assert sent[0]["status"] == 200
        assert not job.folder.exists()
        assert b"".join(message.get("body", b"") for message in sent) == b"kept"
        assert server.ask("GET", f"/api/jobs/{job.id}/original.png").status == 404


def test_a_result_whose_files_are_gone_is_not_found(small: bytes, slow: Slow) -> None:
    """As where a job is deleted between the moment that it is found and that in which its file is opened."""
    slow.enough.set()
    with serving(ServeLimits(), slow) as (server, queue):
        job = server.send(small)
        assert server.events(job)[-1]["state"] == "finished"
        shutil.rmtree(next(queue.folder.iterdir()))
        assert server.ask("GET", f"/api/jobs/{job}/original.png").status == 404
        assert [server.ask("DELETE", f"/api/jobs/{job}").status for _ in range(2)] == [204, 404]


def test_a_client_names_no_path(small: bytes, slow: Slow) -> None:
    slow.enough.set()
    with serving(ServeLimits(), slow) as (server, queue):
        job = server.send(small, f"/api/jobs?name={quote('../../etc/pass wd.tar.png')}")
        server.events(job)
        answer = server.ask("GET", f"/api/jobs/{job}/original.png?download")
        assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''pass%20wd.tar.png"
        folder = next(queue.folder.iterdir())
        for path in (
            f"/api/jobs/{job}/upload",
            f"/api/jobs/{job}/..%2f{folder.name}%2foriginal.png",
            f"/api/jobs/{folder.name}/original.png",
            f"/api/jobs/..%2f..%2fetc/{quote('passwd')}",
            "/static/../app.py",
            "/static/..%2fapp.py",
            "/static/%2e%2e/app.py",
        ):
            assert server.ask("GET", path).status == 404, path


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("photo.jpg", "photo"),
        ("C:\\photos\\été 1.jpeg", "été 1"),
        ("../../.png", "png"),
        ("..", "photo"),
        ('a"\r\nSet-Cookie: x.png', "a Set-Cookie x"),
        ("", "photo"),
        ("x" * 300 + ".png", "x" * 80),
    ],
)
def test_names_become_safe(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


def test_headers_hosts_and_origins(small: bytes, slow: Slow) -> None:
    with serving(ServeLimits(), slow) as (server, _):
        for path, status in (("/", 200), ("/static/app.js", 200), ("/api/settings", 200), ("/none", 404)):
            answer = server.ask("GET", path)
            assert answer.status == status
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
        for path in ("/metrics%0A", "/healthz%0a", "/metrics/", "/static"):  # what denies /metrics may let them by
            answer = server.ask("GET", path)
            assert (answer.status, answer.headers.get("location")) == (404, None), path
        for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", "[", ""):
            assert server.ask("GET", "/", Host=host).status == 421, host
        for host in (f"localhost:{server.port}", "192.168.1.2", "[fe80::1]:8765", "example.TEST"):
            assert server.ask("GET", "/", Host=host).status == 200, host
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "http://127.0.0.1:1"},
            {"Origin": "null"},
            {"Origin": "http://["},
            {"Sec_Fetch_Site": "cross-site"},
        ):
            assert server.ask("POST", FAST, small, **headers).status == 403, headers
        job = server.send(small, Origin=server.address, Sec_Fetch_Site="same-origin")
        assert server.ask("DELETE", f"/api/jobs/{job}", Origin="http://evil.example").status == 403
        slow.enough.set()


def test_queue_is_full_then_moves_on(small: bytes, slow: Slow) -> None:
    with serving(ServeLimits(waiting=2), slow) as (server, queue):
        first = server.send(small)
        assert slow.begun.acquire(timeout=PATIENCE)
        second, third = server.send(small), server.send(small)
        answer = server.ask("POST", FAST, small)
        assert (answer.status, answer.told["error"]) == (429, "The queue is full; try again in 10 s.")
        assert [server.ask("GET", f"/api/jobs/{job}").told["ahead"] for job in (first, second, third)] == [0, 1, 2]
        assert server.ask("DELETE", f"/api/jobs/{second}").status == 204
        assert server.events(second)[-1]["state"] == "cancelled"
        assert server.ask("GET", f"/api/jobs/{third}").told["ahead"] == 1
        fourth = server.send(small)
        assert server.ask("DELETE", f"/api/jobs/{first}").status == 204
        assert server.events(first)[-1]["state"] == "cancelled"
        assert slow.begun.acquire(timeout=PATIENCE)
        slow.enough.set()
        assert [server.events(job)[-1]["state"] for job in (third, fourth)] == ["finished", "finished"]
        assert len(list(queue.folder.iterdir())) == 2  # of those that finished


def test_places_in_the_queue_go_to_what_came_first(slow: Slow) -> None:
    queue = JobQueue(ServeLimits(waiting=2), slow)
    try:
        first, late, second, third = (queue.admit("photo", "light-x2", "fast") for _ in range(4))
        queue.enqueue(first)
        assert slow.begun.acquire(timeout=PATIENCE)
        queue.enqueue(second)
        assert queue.ahead(second) == 1  # not those that are on their way
        queue.enqueue(late)
        assert queue.ahead(late) == 2
        with pytest.raises(FullError):
            queue.enqueue(third)
    finally:
        slow.enough.set()
        queue.close()


def test_cancelled_within_the_optimisation(small: bytes) -> None:
    with serving(ServeLimits(), computed_by(rescale())) as (server, queue):
        job = server.send(small, "/api/jobs?rescaler=irn-x2-4b&effort=best")
        until(lambda: server.ask("GET", f"/api/jobs/{job}").told["curve"])
        assert server.ask("DELETE", f"/api/jobs/{job}").status == 204
        last = server.events(job)[-1]
        assert last["state"] == "cancelled"
        assert len(last["curve"]) < 60
        assert list(queue.folder.iterdir()) == []


def test_failures_are_told_and_do_not_stop_the_queue(
    small: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [ValueError("of the code"), MemoryError(), RuntimeError("CUDA out of memory")]

    def fail(job: Job) -> dict[str, Any]:
        raise failures.pop(0)

    with serving(ServeLimits(), fail) as (server, queue):
        said = [server.events(server.send(small))[-1] for _ in range(3)]
        assert {state["state"] for state in said} == {"failed"}
        assert "went wrong" in said[0]["message"]
        assert all("not enough memory" in state["message"] for state in said[1:])
        assert list(queue.folder.iterdir()) == []
    assert "of the code" in caplog.text


def test_only_results_count_as_kept_by_number_and_by_size(tmp_path: Path) -> None:
    queue = JobQueue(ServeLimits(kept=2, kept_bytes=250), lambda job: {})
    try:

        def ended(state: State, size: int = 0) -> Job:
            job = queue.admit("photo", "light-x2", "fast")
            (job.folder / "original.png").write_bytes(bytes(size))
            job.end(state)
            return job

        def kept(*jobs: Job) -> list[bool]:
            queue.sweep()
            return [queue.find(job.id) is job for job in jobs]

        first, second = ended("finished", 100), ended("finished", 100)
        others = [ended(state) for state in ("failed", "cancelled", "failed")]
        assert kept(first, second, *others) == [True] * 5
        third = ended("finished", 10)
        assert kept(first, second, third, *others) == [False] + [True] * 5
        large = ended("finished", 1000)  # the newest stays, whatever its size
        assert kept(second, third, large) == [False, False, True]
    finally:
        queue.close()


def test_results_are_removed_after_their_time(small: bytes, slow: Slow) -> None:
    slow.enough.set()
    with serving(ServeLimits(), slow) as (server, queue):
        job = server.send(small)
        assert server.events(job)[-1]["state"] == "finished"
        queue.limits = replace(queue.limits, seconds=0)
        until(lambda: not list(queue.folder.iterdir()))
        assert server.ask("GET", f"/api/jobs/{job}/original.png").status == 404


def test_streams_end_with_their_readers_and_with_the_server(small: bytes, slow: Slow) -> None:
    with serving(ServeLimits(), slow) as (server, queue):
        job = server.send(small)
        assert server.running is not None
        tasks = server.running.server_state.tasks
        with contextlib.ExitStack() as readers:
            for _ in range(3):
                reader = readers.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                reader.sendall(f"GET /api/jobs/{job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            until(lambda: len(tasks) == 3)
        until(lambda: not tasks)
        ended = threading.Thread(target=server.events, args=(job,))
        ended.start()
        until(lambda: len(tasks) == 1)
        queue.close()
        ended.join(PATIENCE)
        assert not ended.is_alive()
        with pytest.raises(FullError):
            queue.admit("late", "light-x2", "fast")


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ImportError")
    found = {"PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "coscale", "serve", "--port", str(taken.getsockname()[1])]
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | more)
            for more in ({}, found)
        ]
        told = [process.communicate(timeout=PATIENCE) for process in both]
    assert [(process.returncode, out) for process, (out, _) in zip(both, told, strict=True)] == [(1, "")] * 2
    assert [said.count("\n") for _, said in told] == [1, 1], told
    assert "give another --port" in told[0][1]
    assert "pip install 'coscale[serve]'" in told[1][1]


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.2", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org")))  # noqa: S104


@pytest.fixture
def open_page(chromium: Browser, page_server: Server) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing may have been said on the console or asked from elsewhere."""
    complaints: list[str] = []
    contexts = []

    def open_(**options: Any) -> Page:
        contexts.append(chromium.new_context(**options))
        contexts[-1].set_default_timeout(1000 * PATIENCE)
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: r.url.startswith((page_server.address, "blob:")) or complaints.append(r.url))
        page.goto(page_server.address)
        page.wait_for_selector("#effort input")
        return page

    yield open_
    for context in contexts:
        context.close()
    refusals = [text for text in complaints if "status of 4" in text or "status of 5" in text]  # it tells each
    assert complaints == refusals


def state(page: Page, name: str) -> None:
    page.wait_for_selector(f"body[data-state={name}]")


def check_access(page: Page) -> None:
    """No serious violation of the rules on accessibility, and nothing wider than the window."""
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def screenshot(page: Page, name: str) -> None:
    if os.environ.get("COSCALE_SCREENSHOTS"):
        page.set_viewport_size({"width": 1128, "height": 600})
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=DOCS / name, full_page=True)


CURVES = """() => {
    window.curves = new Set();
    new MutationObserver(() => curves.add(document.querySelector("#curve polyline")?.getAttribute("points")))
        .observe(document.getElementById("curve"), { attributes: true, childList: true, subtree: true });
}"""


def test_used_by_mouse_and_keyboard(
    open_page: Callable[..., Page], butterfly_path: Path, tmp_path: Path, page_server: Server
) -> None:
    page = open_page(viewport={"width": 1200, "height": 860}, color_scheme="light")
    check_access(page)
    assert page.locator("#start").is_disabled()
    page.set_input_files("#file", butterfly_path)
    page.wait_for_selector("#preview:not([hidden])")
    page.check("#effort input[value=fast]")
    check_access(page)
    page.evaluate(CURVES)
    page.click("#start")
    state(page, "finished")
    assert page.evaluate("curves.size") >= 2  # it grew before somebody's eyes
    assert len(page.evaluate("document.querySelector('#curve polyline').getAttribute('points')").split()) == 2
    assert "Finished" in page.inner_text("#status")

    assert page.locator("#left option").all_inner_texts() == ["Original", "Bicubic", "Rescaler alone", "Optimised"]
    assert page.locator("#figures tbody tr").count() == 5
    assert page.locator("#figures thead th").all_inner_texts() == ["Bicubic", "Rescaler alone", "Optimised"]
    images = "[...document.querySelectorAll('#all img')].map(i => i.decode().then(() => i.naturalWidth))"
    assert page.evaluate(f"Promise.all({images})") == [256] * 4

    handle = page.locator("#handle")
    handle.focus()
    assert handle.get_attribute("aria-valuenow") == "50"
    for key in ("ArrowLeft", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    assert handle.get_attribute("aria-valuenow") == "38"
    assert "inset(0px 0px 0px 38%)" in page.evaluate("document.querySelectorAll('.layer')[1].style.clipPath")
    page.keyboard.press("End")
    assert handle.get_attribute("aria-valuenow") == "100"
    box = page.locator("#split").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 40)
    assert handle.get_attribute("aria-valuenow") == "25"

    places = "[...document.querySelectorAll('.pane img')].map(i => i.style.transform)"  # of the split's two, then all
    page.check("#zoom input[value='4']")
    page.focus("#split")
    zoomed = page.evaluate(places)[:2]
    assert all("scale(4)" in place for place in zoomed)
    page.keyboard.press("ArrowDown")
    panned = page.evaluate(places)[:2]
    assert panned[0] == panned[1] != zoomed[0]
    page.check("#layout input[value=all]")
    shown = page.evaluate(places)[2:]
    assert len(set(shown)) == 1
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 90)
    page.mouse.up()
    moved = page.evaluate(places)[2:]
    assert len(set(moved)) == 1
    assert moved != shown
    check_access(page)
    page.check("#layout input[value=split]")
    page.check("#zoom input[value=fit]")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    screenshot(page, "serve.png")

    for link, name in (("#get-lr", "butterfly.x2.png"), ("#get-photo", "butterfly.restored.png")):
        with page.expect_download() as download:
            page.click(link)
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    lr, origin = read_lr(tmp_path / "butterfly.x2.png")
    write(tmp_path / "again.png", decode_photo(lr, load("light-x2", runtime="auto"), origin))
    assert read(tmp_path / "again.png").colour.equal(read(tmp_path / "butterfly.restored.png").colour)

    page.reload()  # the address holds the job
    state(page, "finished")
    assert page.locator("#figures tbody tr").count() == 5
    assert page.locator("#start").is_disabled()
    dropped = """() => {
        const carried = new DataTransfer();
        carried.items.add(new File(["no photo"], "dropped.png"));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(dropped)
    state(page, "chosen")
    assert page.inner_text("#drop .call").startswith("dropped.png")
    assert page.locator("#start").is_enabled()
    assert page.evaluate("location.hash") == ""


def test_sending_is_cancelled_and_odd_answers_are_told(open_page: Callable[..., Page], small: bytes) -> None:
    page = open_page()
    held: list[Route] = []
    page.route("**/api/jobs?*", lambda route: held.append(route))
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": small})
    page.click("#start")
    state(page, "sending")
    page.click("#cancel")
    state(page, "cancelled")
    away = "The server does not answer at present"
    refused = "The file is larger than the web server"
    for status, words in {500: "Something went wrong on the server", 413: refused, 502: away, 503: away}.items():
        page.unroute("**/api/jobs?*")
        page.route("**/api/jobs?*", functools.partial(of_a_web_server, status))
        page.click("#start")
        page.wait_for_selector(f"body[data-state=failed] #status:text('{words}')")


def of_a_web_server(status: int, route: Route) -> None:
    """Answer as what stands before the server does."""
    route.fulfill(status=status, content_type="text/html", body=f"<h1>{status}</h1>")


def test_below_a_path_and_while_the_server_is_away(
    open_page: Callable[..., Page], small: bytes, page_server: Server
) -> None:
    page = open_page()
    page.clock.install()
    below = f"{page_server.address}/photos/"
    page.route(f"{below}**", lambda route: route.continue_(url=route.request.url.replace("/photos/", "/")))
    page.goto(below)
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": small})
    page.check("#effort input[value=fast]")
    page.route("**/api/jobs/**", functools.partial(of_a_web_server, 502))
    with page.expect_response(lambda answer: answer.status == 502 and not answer.url.endswith("/events")):
        page.click("#start")
    page.wait_for_selector("#status:text('The connection is lost; trying again')")
    page.unroute("**/api/jobs/**")
    page.clock.fast_forward(3000)
    state(page, "finished")
    with page.expect_download() as download:
        page.click("#get-lr")
    assert download.value.suggested_filename == "photo.x2.png"
    assert page_server.ask("DELETE", f"/api/jobs/{page.url.partition('#')[2]}").status == 204
    page.reload()
    page.wait_for_selector("body[data-state=empty] #status:text('That photo is no longer here')")
    assert page.url == below


def test_used_in_the_dark_on_a_phone(open_page: Callable[..., Page], butterfly_path: Path, tmp_path: Path) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}
    page = open_page(**options, device_scale_factor=2, reduced_motion="reduce")
    check_access(page)
    nothing = tmp_path / "nothing.png"
    nothing.write_bytes(b"no image")
    page.set_input_files("#file", nothing)
    page.click("#start")
    state(page, "failed")
    assert page.inner_text("#status").startswith("The file is not a JPEG")
    check_access(page)

    page.set_input_files("#file", butterfly_path)  # so large that it is not done before it is cancelled
    page.select_option("#rescaler", "irn-x2-4b")
    page.check("#effort input[value=best]")
    page.click("#start")
    page.wait_for_selector("#curve polyline")
    check_access(page)
    assert page.locator("#rescaler").is_disabled()
    page.focus("#cancel")
    page.keyboard.press("Enter")
    state(page, "cancelled")
    assert page.evaluate("document.activeElement.id") == "start"

    page.select_option("#rescaler", "light-x4")
    page.check("#effort input[value=fast]")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    state(page, "finished")
    check_access(page)
    page.check("#layout input[value=all]")
    check_access(page)
