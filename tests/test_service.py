"""The page as a service: many visitors, a proxy before it, restarts, and what watches over it."""

import ipaddress
import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.extras import skip_without

skip_without("serve")

from coscale.cli import cli
from coscale.errors import ServeError
from coscale.serve.apart import Apart
from coscale.serve.job import Job
from coscale.serve.queue import FullError, JobQueue, ServeLimits
from coscale.serve.rescale import UPLOAD
from coscale.serve.turns import Turns
from coscale.serve.visitors import DIRECT, Visitors
from tests.deadly import deed
from tests.patience import PATIENCE, until
from tests.served import FAST, Slow, served

ROOT = Path(__file__).parents[1]
PROXY = Visitors([ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8")])


@pytest.fixture(scope="module")
def reader() -> Iterator[Apart]:
    """Takes any bytes for a photo."""
    with Apart(deed) as found:
        yield found


def job_of(visitor: str, name: str = "") -> Job:
    return Job(name, "light-x2", "fast", Path(), visitor)


def test_visitors_take_turns() -> None:
    turns = Turns()
    for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        turns.add(job_of(name[0], name))
    order = ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    assert [job.name for job in turns] == order
    assert [turns.take().name for _ in range(2)] == order[:2]
    assert [job.name for job in turns] == order[2:]  # what is told is what comes
    turns.add(job_of("d", "d1"))
    assert [job.name for job in turns] == ["c1", "a2", "b2", "d1", "a3", "a4"]
    turns.remove(next(iter(turns)))
    assert [turns.take().name for _ in range(len(turns))] == ["a2", "b2", "d1", "a3", "a4"]
    assert not turns


def test_those_who_come_keep_nobody_waiting() -> None:
    """A stream of new visitors goes behind who is there, also for his later photos."""
    turns = Turns()
    for name in ("a1", "a2", "a3"):
        turns.add(job_of("a", name))
    served = []
    for n in range(6):
        turns.add(job_of(f"new {n}", f"new {n}"))
        served.append(turns.take().name)
    assert [served.index(name) for name in ("a1", "a2")] == [0, 2]
    assert len(turns) == 3


def test_the_queue_works_by_turns(slow: Slow) -> None:
    done: list[str] = []

    def compute(job: Job) -> dict[str, Any]:
        done.append(job.visitor)
        return slow(job)

    queue = JobQueue(ServeLimits(), compute)
    try:
        jobs = [queue.admit("photo", "light-x2", "fast", visitor) for visitor in "aaabb"]
        queue.enqueue(jobs[0])
        assert slow.begun.acquire(timeout=PATIENCE)
        for job in jobs[1:]:
            queue.enqueue(job)
        assert [queue.ahead(job) for job in jobs] == [0, 1, 3, 2, 4]
        slow.enough.set()
        until(lambda: len(done) == 5)
        assert done == list("aabab")
    finally:
        queue.close()


@pytest.fixture
def slow() -> Slow:
    return Slow.new()


@pytest.mark.parametrize(
    ("peer", "forwarded", "visitor"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy that is trusted: a lie counts for nothing
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # what the visitor wrote stands first
        ("127.0.0.1", ["1.1.1.1", "198.51.100.1, 10.0.0.7"], "198.51.100.1"),
        ("127.0.0.1", ["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
        ("127.0.0.1", ["1.1.1.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["1.1.1.1, ", ""], "127.0.0.1"),
        ("127.0.0.1", ["1.1.1.1, <script>, 10.0.0.7"], "10.0.0.7"),
        ("::ffff:127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ['"[2001:db8::1]:4711"'], "2001:db8::/64"),
        ("2001:db8::ffff:1", [], "2001:db8::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("", [], "None"),
    ],
)
def test_who_asks(peer: str, forwarded: list[str], visitor: str) -> None:
    assert PROXY.who(peer, forwarded) == visitor


def test_a_visitor_has_a_limit_of_his_own(slow: Slow, reader: Apart) -> None:
    with served(ServeLimits(each=2, waiting=3), slow, reader, PROXY) as (server, queue):
        first = server.send(b"fine", X_Forwarded_For="198.51.100.1")
        assert slow.begun.acquire(timeout=PATIENCE)
        second = server.send(b"fine", X_Forwarded_For="198.51.100.1")
        answer = server.ask("POST", FAST, b"fine", X_Forwarded_For="9.9.9.9, 198.51.100.1")
        assert answer.status == 429
        assert (
            answer.told["error"] == "You have 2 photos here that wait or are worked on; send more when one has ended."
        )
        assert int(answer.headers["retry-after"]) > 0
        others = [server.send(b"fine", X_Forwarded_For=f"198.51.100.{n}") for n in (2, 3)]
        answer = server.ask("POST", FAST, b"fine", X_Forwarded_For="198.51.100.4")
        assert (answer.status, answer.headers["retry-after"]) == (429, "10")
        assert server.ask("DELETE", f"/api/jobs/{second}").status == 204
        server.send(b"fine", X_Forwarded_For="198.51.100.1")
        slow.enough.set()
        assert {server.events(job)[-1]["state"] for job in (first, *others)} == {"finished"}
        assert queue.numbers().refused == {"visitor": 1, "waiting": 1, "receiving": 0}


def test_who_names_himself_anew_is_who_he_was(slow: Slow, reader: Apart) -> None:
    """uvicorn believes the header where it comes from this machine, unless it is told not to."""
    with served(ServeLimits(each=1), slow, reader) as (server, queue):
        server.send(b"fine", X_Forwarded_For="198.51.100.1")
        assert server.ask("POST", FAST, b"fine", X_Forwarded_For="198.51.100.2").status == 429
        assert queue.numbers().visitors == 1


def test_a_visitor_who_leaves_gives_his_places_back(slow: Slow, reader: Apart) -> None:
    slow.enough.set()
    with served(ServeLimits(each=1), slow, reader) as (server, queue):
        with server.part_of_a_request("Content-Length: 999", b"abc"):
            until(lambda: queue.numbers().jobs["receiving"])
            assert server.ask("POST", FAST, b"fine").status == 429
        until(lambda: not queue.numbers().visitors)
        assert server.events(server.send(b"fine"))[-1]["state"] == "finished"


class HeldReader(Apart):
    """Looks at photos when the test says so, and notes at how many."""

    def __init__(self) -> None:
        self.looked = 0
        self.enough = threading.Event()

    def ask(self, what: Any, heard: Callable[[Any], None] = print, stopped: Callable[[], bool] = bool) -> Any:
        self.looked += 1
        assert self.enough.wait(PATIENCE)


def test_nobody_waits_for_a_look_at_photos_of_those_who_left(slow: Slow) -> None:
    """A proxy that has waited long enough closes its connection."""
    slow.enough.set()
    reader = HeldReader()
    with served(ServeLimits(), slow, reader) as (server, queue), ThreadPoolExecutor() as threads:
        first = threads.submit(server.send, b"first")
        until(lambda: reader.looked)
        with server.part_of_a_request("Content-Length: 4", b"left"):
            until(lambda: [path for path in queue.folder.glob(f"*/{UPLOAD}") if path.stat().st_size == len(b"left")])
        last = threads.submit(server.send, b"last")
        until(lambda: queue.numbers().jobs["receiving"] == 3)
        reader.enough.set()
        assert {server.events(sent.result())[-1]["state"] for sent in (first, last)} == {"finished"}
        assert (reader.looked, queue.numbers().jobs["receiving"]) == (2, 0)


def test_a_proxy_that_is_not_trusted_is_told_of_once(
    slow: Slow, reader: Apart, caplog: pytest.LogCaptureFixture
) -> None:
    for visitors in (PROXY, DIRECT):
        with served(ServeLimits(), slow, reader, visitors) as (server, _):
            for forwarded in ({}, {"X_Forwarded_For": "198.51.100.1"}, {"X_Forwarded_For": "198.51.100.2"}):
                server.send(b"fine", **forwarded)
        assert len(caplog.records) == (visitors is DIRECT)
    assert caplog.messages[0].startswith("127.0.0.1 says for whom it asks (X-Forwarded-For), but is no --trusted-proxy")


def test_it_may_be_tried_again_when_a_place_is_free() -> None:
    queue = JobQueue(ServeLimits(each=1), lambda job: {})
    try:
        for seconds, told in ((0.2, 1), (7.5, 8), (1e6, 60)):
            queue._seconds, queue._worked, queue._ended["cancelled"] = seconds, 1, 99  # of which 99 had no turn
            queue.admit("photo", "light-x2", "fast", told_to := f"visitor {told}")
            with pytest.raises(FullError) as refused:
                queue.admit("photo", "light-x2", "fast", told_to)
            assert refused.value.seconds == told
    finally:
        queue.close()


def test_nobody_crowds_out_the_results_of_others() -> None:
    queue = JobQueue(ServeLimits(kept=3), lambda job: {})
    try:

        def ended(visitor: str) -> Job:
            job = queue.admit("photo", "light-x2", "fast", visitor)
            job.end("finished")
            return job

        other, *mine = [ended(visitor) for visitor in "abbbb"]
        queue.sweep()
        assert [queue.find(job.id) is job for job in (other, *mine)] == [True, False, False, True, True]
    finally:
        queue.close()


def finished(keep: Path, reader: Apart, count: int) -> list[dict[str, Any]]:
    slow = Slow.new()
    slow.enough.set()
    with served(ServeLimits(), slow, reader, keep=keep) as (server, _):
        return [server.events(server.send(b"fine"))[-1] for _ in range(count)]


def test_results_outlive_the_server(tmp_path: Path, reader: Apart, slow: Slow) -> None:
    keep = tmp_path / "deep" / "kept"
    before = finished(keep, reader, 2)
    (keep / "notes.txt").write_text("of somebody else")
    (keep / "holiday").mkdir()
    with served(ServeLimits(), slow, reader, keep=keep) as (server, queue):
        assert queue.damaged == 0
        for state in before:
            assert server.ask("GET", f"/api/jobs/{state['id']}").told == state
            assert server.ask("GET", f"/api/jobs/{state['id']}/original.png").body == b"kept"
        server.send(b"fine")
        assert slow.begun.acquire(timeout=PATIENCE)
        assert server.ask("DELETE", f"/api/jobs/{before[0]['id']}").status == 204
    assert len(list(keep.glob("coscale-serve-*"))) == 1  # neither what was deleted nor what was not finished
    assert (keep / "notes.txt").exists()
    assert (keep / "holiday").is_dir()
    queue = JobQueue(ServeLimits(seconds=0), lambda job: {}, keep)
    try:
        queue.sweep()  # the time before the restart counts
        assert queue.find(before[1]["id"]) is None
    finally:
        queue.close()


@pytest.mark.parametrize("damage", ["record", "cut", "empty", "file", "missing", "more", "none", "copy"])
def test_damaged_results_are_dropped(damage: str, tmp_path: Path) -> None:
    def compute(job: Job) -> dict[str, Any]:
        (job.folder / "original.png").write_bytes(b"kept")
        return {}

    queue = JobQueue(ServeLimits(), compute, tmp_path)
    jobs = [queue.admit("photo", "light-x2", "fast") for _ in range(2)]
    for job in jobs:
        queue.enqueue(job)
    until(lambda: all(job.state == "finished" for job in jobs))
    queue.close()
    folder, record = jobs[0].folder, jobs[0].folder / "job.txt"
    if damage == "record":
        record.write_text(record.read_text().replace('"fast"', '"best"'))
    elif damage == "cut":
        record.write_bytes(record.read_bytes()[:100])
    elif damage == "empty":
        record.write_bytes(b"")
    elif damage == "file":
        (folder / "original.png").write_bytes(b"kepT")
    elif damage == "missing":
        (folder / "original.png").unlink()
    elif damage == "more":
        (folder / "more").mkdir()
    elif damage == "none":  # as a server leaves it that was killed within the work
        record.unlink()
    else:
        record.write_bytes((jobs[1].folder / "job.txt").read_bytes())
    queue = JobQueue(ServeLimits(), lambda job: {}, tmp_path)
    try:
        assert queue.damaged == (damage != "none")
        found = [queue.find(job.id) for job in jobs]
        assert sum(job is not None for job in found) == 1
        assert len(list(tmp_path.glob("coscale-serve-*"))) == 1
    finally:
        queue.close()


def test_a_folder_is_one_servers_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    queue = JobQueue(ServeLimits(), lambda job: {}, tmp_path)
    try:
        with pytest.raises(ServeError, match="another server"):
            JobQueue(ServeLimits(), lambda job: {}, tmp_path)
        for nowhere in (tmp_path / "file", tmp_path / "file" / "deep", Path("/proc/none")):
            with pytest.raises(ServeError, match="give another --keep"):
                JobQueue(ServeLimits(), lambda job: {}, nowhere)
    finally:
        queue.close()
    JobQueue(ServeLimits(), lambda job: {}, tmp_path).close()


def test_the_command_refuses_what_cannot_be_kept_or_trusted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "coscale", "serve", "--port", "0", "--device", "cpu", "--keep", tmp_path / "file"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (1, "", 1), told.stderr
    assert "give another --keep" in told.stderr
    for text in ("proxy.example", "10.0.0.0/99", ""):
        result = CliRunner().invoke(cli, ["serve", "--trusted-proxy", text])
        assert result.exit_code == 2
        assert "give an address or a network" in result.output


SAMPLE = re.compile(r'(coscale_[a-z_]+)(?:\{[a-z]+="[a-z]+"\})? [0-9.e+-]+')


def test_metrics_and_health(slow: Slow, reader: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    slow.enough.set()
    with served(ServeLimits(), slow, reader) as (server, queue):
        assert (server.ask("GET", "/healthz").status, server.ask("POST", "/healthz").status) == (200, 405)
        server.events(server.send(b"fine"))
        answer = server.ask("GET", "/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = answer.body.decode().removesuffix("\n").split("\n")
        typed = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
        samples = [SAMPLE.fullmatch(line) for line in lines if not line.startswith("#")]
        assert len(set(typed)) == len(typed)
        # Those of one name stand together, below its type.
        assert [name for name, _ in itertools.groupby(sample and sample[1] for sample in samples)] == typed
        assert 'coscale_jobs{state="finished"} 1' in lines
        assert 'coscale_jobs_ended_total{state="finished"} 1' in lines
        assert 'coscale_refused_total{limit="visitor"} 0' in lines
        assert "coscale_visitors 0" in lines
        with monkeypatch.context() as patched:

            def fail() -> Path:
                raise PermissionError(13, "Permission denied")

            patched.setattr(queue._store, "new", fail)
            answer = server.ask("GET", "/healthz")
            assert (answer.status, answer.told["error"]) == (503, "The server cannot keep files.")
        queue.close()
        assert server.ask("GET", "/healthz").status == 503


def test_the_container_starts_and_watches_what_is_there(slow: Slow, reader: Apart) -> None:
    said = (ROOT / "Containerfile").read_text().replace("\\\n", "")
    lines = dict(line.split(" ", 1) for line in said.splitlines() if line.startswith(("ENTRYPOINT", "CMD", "USER")))
    assert lines["USER"] not in ("root", "0")
    entry, options = json.loads(lines["ENTRYPOINT"]), json.loads(lines["CMD"])
    assert entry == ["coscale", "serve"]
    cli.commands["serve"].make_context("serve", list(options))  # which raises for what is no option
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", said, re.MULTILINE)
    assert copied
    assert all((ROOT / name).exists() for names in copied for name in names.split())
    check = json.loads(re.search(r"^HEALTHCHECK .*? CMD (\[.*\])$", said, re.MULTILINE)[1])  # type: ignore[index]
    with served(ServeLimits(), slow, reader) as (server, queue):
        command = [sys.executable, *(part.replace(":8765", f":{server.port}") for part in check[1:])]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        queue.close()
        assert subprocess.run(command, check=False, capture_output=True).returncode != 0
