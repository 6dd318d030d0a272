"""Work in a process of its own: whatever becomes of the process, the server and what waits go on."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coscale.errors import EngineError
from coscale.serve import apart
from coscale.serve.apart import Apart, CancelledError
from coscale.serve.job import Job
from coscale.serve.queue import JobQueue, ServeLimits
from tests import patience
from tests.deadly import broken, deed
from tests.extras import needs
from tests.test_batch import children, is_gone


@pytest.fixture(scope="module")
def process() -> Iterator[Apart]:
    with Apart(deed) as found:
        yield found


@pytest.fixture
def do(process: Apart) -> Iterator[Callable[..., list[Job]]]:
    """Does jobs in turn, each of which says by a word what is to happen, and waits for their end."""

    def compute(job: Job) -> dict[str, Any]:
        return process.ask(job.folder / "upload", lambda _: job.change(stage="begun"), job.stop.is_set)

    queue = JobQueue(ServeLimits(waiting=20, each=20), compute)

    def run(*words: str, until: Callable[[list[Job]], bool] = lambda jobs: True) -> list[Job]:
        jobs = [queue.admit("photo.png", "light-x2", "fast") for _ in words]
        for job, word in zip(jobs, words, strict=True):
            (job.folder / "upload").write_text(word)
            queue.enqueue(job)
        patience.until(lambda: until(jobs))
        return jobs

    run.queue = queue  # type: ignore[attr-defined]
    yield run
    queue.close()


def all_ended(jobs: list[Job]) -> bool:
    return all(job.ended for job in jobs) and all(job.state in ("finished", "failed", "cancelled") for job in jobs)


def test_what_ends_the_process_ends_one_job(
    do: Callable[..., list[Job]], process: Apart, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["fine", "signal", "fine", "crash", "exit", "memory", "disk", "fine", "code", "fine"]
    jobs = dict(zip(enumerate(words), do(*words, until=all_ended), strict=True))
    for (_, word), job in jobs.items():
        assert job.state == ("finished" if word == "fine" else "failed"), (word, job.message)
    said = {word: job.message for (_, word), job in jobs.items()}
    begins = "The process that worked on the photo "
    assert said["signal"].startswith(begins + "was killed by SIGKILL, by the system if it took too much memory; take ")
    assert said["crash"].startswith(begins + "crashed with SIGSEGV; take ")
    assert said["exit"].startswith(begins + "ended with status 3; take ")
    assert "not enough memory" in said["memory"]
    assert "The disk of the server is full" in said["disk"]
    assert "went wrong" in said["code"]
    assert "ValueError: of the code" in caplog.text
    # What a process keeps is there for the next job, unless it ended: a lack of memory or of room does not end it.
    assert [job.result and job.result["before"] for (_, word), job in jobs.items() if word == "fine"] == [0, 0, 2, 0]


def test_a_process_that_died_idle_costs_no_job(do: Callable[..., list[Job]], process: Apart) -> None:
    do("fine", until=all_ended)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert do("fine", until=all_ended)[0].state == "finished"


def test_cancelling_reaches_the_process(
    do: Callable[..., list[Job]], process: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: JobQueue = do.queue  # type: ignore[attr-defined]
    first = process.pid
    jobs = do("wait", "wait", until=lambda jobs: jobs[0].stage == "begun")
    for job in jobs:
        queue.cancel(job)
    patience.until(lambda: all_ended(jobs))
    assert [job.state for job in jobs] == ["cancelled"] * 2
    assert do("fine", until=all_ended)[0].state == "finished"
    assert process.pid == first  # it listened, and goes on
    monkeypatch.setattr(apart, "_PATIENCE", 0.1)
    (deaf,) = do("deaf", until=lambda jobs: jobs[0].stage == "begun")
    queue.cancel(deaf)
    patience.until(lambda: all_ended([deaf]))
    assert deaf.state == "cancelled"
    assert process.pid != first
    assert do("fine", until=all_ended)[0].state == "finished"


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    (tmp_path / "deaf").write_text("deaf")
    (tmp_path / "fine").write_text("fine")
    with Apart(deed, seconds=2) as found:
        found.ask(tmp_path / "fine")
        with pytest.raises(EngineError, match="longer than 2 seconds"):
            found.ask(tmp_path / "deaf")


def test_a_process_that_cannot_begin_is_told(tmp_path: Path) -> None:
    with Apart(broken) as found, pytest.raises(EngineError, match=r"no process can be had .* ended with status 7"):
        found.ask(tmp_path)


def test_leaving_ends_what_is_asked(tmp_path: Path) -> None:
    (tmp_path / "deaf").write_text("deaf")
    begun, raised = threading.Event(), []

    def ask() -> None:
        try:
            found.ask(tmp_path / "deaf", lambda _: begun.set())
        except CancelledError as error:
            raised.append(error)

    with Apart(deed) as found:
        thread = threading.Thread(target=ask)
        thread.start()
        assert begun.wait(60)
        pid = found.pid
    thread.join(60)
    assert raised
    assert pid is not None
    assert is_gone(pid)


@needs("serve")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_no_process_outlives_the_server(how: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coscale", "serve", "--port", "0", "--device", "cpu"]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert server.stdout is not None
    assert server.stdout.readline().startswith("coscale: open ")
    own = children(server.pid)
    assert len(own) >= 2
    if how == "SIGINT":
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does it: to all
        assert server.communicate(timeout=patience.PATIENCE) == (
            "",
            "coscale: stopped; no photo and no result is left here\n",
        )
        assert list(tmp_path.iterdir()) == []
    else:
        server.kill()
        server.communicate(timeout=patience.PATIENCE)
    patience.until(lambda: all(map(is_gone, own)))
