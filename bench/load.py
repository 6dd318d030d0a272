"""python -m bench.load: many visitors of one `coscale serve` at once: is a photo lost, does memory grow, who waits?

Each visitor sends small photos one after the other by an address of his own (X-Forwarded-For, the server trusts this
machine as a proxy), comes again when he is told to (429), and checks that what comes back is whole. One more, the
greedy one, sends as fast as he may. Rows are added to results/load.jsonl.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from bench.leaks import JOBS, OPTIONS, resident, serving
from bench.plain import machine
from bench.readme import ROOT

ROWS = ROOT / "results" / "load.jsonl"
LOOK = 0.5  # seconds between looks at a job


@dataclass
class Visitor:
    """One address, what came of its photos, and how long each took, from when it was first sent."""

    port: int
    address: str
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refused: int = 0

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, body, {"X-Forwarded-For": self.address})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def send(self, photo: bytes, ended: threading.Event | None = None) -> str | None:
        """Send a photo until it is taken; give its job, or None where ``ended`` came first or it was not taken."""
        while ended is None or not ended.is_set():
            answer, body = self.ask("POST", JOBS, photo)
            if answer.status == 201:
                return json.loads(body)["id"]
            if answer.status != 429:
                self.problems.append(f"{answer.status}: {body.decode()}")
                return None
            self.refused += 1
            time.sleep(float(answer.headers["Retry-After"]))
        return None

    def through(self, photo: bytes, size: tuple[int, int]) -> None:
        """Take a photo there and back."""
        begun = time.monotonic()
        job = self.send(photo)
        if job is None:
            return
        while (told := json.loads(self.ask("GET", f"/api/jobs/{job}")[1])).get("state") in ("waiting", "working"):
            time.sleep(LOOK)
        answer, body = self.ask("GET", f"/api/jobs/{job}/coscale.png")
        if answer.status != 200 or Image.open(BytesIO(body)).size != size:
            self.problems.append(f"{told.get('state')}: {told.get('message') or told.get('error')}")
        self.seconds.append(time.monotonic() - begun)

    def numbers(self) -> dict[str, float]:
        """What /metrics says."""
        lines = self.ask("GET", "/metrics")[1].decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def photos(side: int, count: int) -> list[bytes]:
    """Crops of the butterfly."""
    made = []
    with Image.open(ROOT / "examples" / "butterfly.png") as image:
        for k in range(count):
            left, top = 7 * k % (image.width - side), 11 * k % (image.height - side)
            image.crop((left, top, left + side, top + side)).save(file := BytesIO(), "PNG")
            made.append(file.getvalue())
    return made


def load(port: int, pid: int, visitors: int, count: int, side: int) -> dict[str, float]:
    """Have visitors send ``count`` photos in all; give what it took, in seconds and MB."""
    sent = photos(side, count)
    everybody = [Visitor(port, f"198.51.100.{k}") for k in range(visitors)]
    greedy, watch = Visitor(port, "203.0.113.1"), Visitor(port, "192.0.2.1")
    ended = threading.Event()
    seen: list[tuple[float, float]] = []  # photos that have ended, MB

    def be_greedy() -> None:
        while not ended.is_set():
            greedy.send(sent[0], ended)

    def look() -> None:
        while not ended.wait(LOOK):
            seen.append((watch.numbers()['coscale_jobs_ended_total{state="finished"}'], resident(pid)))

    def visit(k: int) -> None:
        for photo in sent[k::visitors]:
            everybody[k].through(photo, (side, side))

    begun = time.monotonic()
    with ThreadPoolExecutor(visitors + 2) as threads:
        others = [threads.submit(be_greedy), threads.submit(look)]
        try:
            list(threads.map(visit, range(visitors)))
        finally:
            ended.set()
        for other in others:
            other.result()
    took = time.monotonic() - begun
    for problem, times in Counter(p for v in [*everybody, greedy] for p in v.problems).items():
        print(f"{times} times {problem}", file=sys.stderr)
    done = seen[-1][0]
    means = [statistics.mean(visitor.seconds) for visitor in everybody if visitor.seconds]
    return {
        "lost": sum(len(v.problems) for v in everybody),
        "finished": done,
        "of_the_greedy": done - count,
        "refused": sum(v.refused for v in everybody),
        "refused_greedy": greedy.refused,
        "photos_a_second": round(done / took, 2),
        "wait_mean": round(statistics.mean(means), 1),
        "wait_most": round(max(second for v in everybody for second in v.seconds), 1),
        "wait_luckiest_visitor": round(min(means), 1),
        "wait_unluckiest_visitor": round(max(means), 1),
        "mb_at_a_quarter": next(round(mb, 1) for ended, mb in seen if ended >= done / 4),
        "mb_at_the_end": round(seen[-1][1], 1),
        "seconds": round(took, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--side", type=int, default=32, help="pixels")
    parser.add_argument("--waiting", type=int, help="photos that may wait; as many as visitors by default")
    arguments = parser.parse_args()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    waiting = arguments.waiting or arguments.visitors
    with TemporaryDirectory() as folder:
        options = ["--trusted-proxy", "127.0.0.1", "--max-waiting", str(waiting)]
        options += ["--max-kept", str(2 * arguments.visitors), "--keep", str(Path(folder) / "kept")]
        with serving(environment, *options) as (port, pid):
            found = load(port, pid, arguments.visitors, arguments.photos, arguments.side)
    row = {"visitors": arguments.visitors, "photos": arguments.photos, "side": arguments.side, "waiting": waiting}
    line = json.dumps(row | OPTIONS | found | machine())
    print(line, flush=True)
    with ROWS.open("a") as file:
        file.write(line + "\n")
    if found["lost"]:
        raise SystemExit(f"{found['lost']} photos were lost")


if __name__ == "__main__":
    main()
