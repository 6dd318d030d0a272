"""python -m bench.leaks: memory after 20 and after 200 small photos, which should be the same.

Through one `coscale downscale` of a folder, and as jobs of one `coscale serve`, whose processes count together.
Photos have eight sizes of about 56 pixels a side. ``--source`` measures the code of another checkout, whose ``src`` it
is, under the name ``--code``. Rows are added to results/leaks.jsonl.
"""

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.plain import machine
from bench.readme import ROOT
from coscale.image import Photo, read, write

ROWS = ROOT / "results" / "leaks.jsonl"
OPTIONS = {"rescaler": "light-x2", "effort": "fast"}
JOBS = "/api/jobs?" + "&".join(f"{key}={value}" for key, value in OPTIONS.items())


def save_photos(folder: Path, count: int) -> list[Path]:
    """Crops of the butterfly."""
    colour = read(ROOT / "examples" / "butterfly.png").colour
    paths = [folder / f"{k:03}.png" for k in range(count)]
    for k, path in enumerate(paths):
        top, left, height, width = 10 * (k // 20), 10 * (k % 20), 50 + 4 * (k % 4), 54 + 4 * (k % 2)
        write(path, Photo(colour[..., top : top + height, left : left + width]))
    return paths


def resident(pid: int) -> float:
    """MB of a process and of all that it has started."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmRSS:"))
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return own + sum(resident(int(child)) for each in children for child in each.read_text().split())


def through_a_folder(photos: list[Path], out: Path, environment: dict[str, str]) -> Iterator[float]:
    """Memory after each photo."""
    options = [text for key, value in OPTIONS.items() for text in (f"--{key}", value)]
    command = [sys.executable, "-m", "coscale", "downscale", photos[0].parent, "-o", out, "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        for _ in process.stdout:
            yield resident(process.pid)
    if process.returncode:
        raise SystemExit(f"coscale downscale ended with status {process.returncode}")


@contextlib.contextmanager
def serving(environment: dict[str, str], *options: str) -> Iterator[tuple[int, int]]:
    """The port of one `coscale serve`, and its process."""
    command = [sys.executable, "-m", "coscale", "serve", "--port", "0", "--device", "cpu", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline().rpartition(":")[2]), process.pid
        finally:
            process.terminate()


def through_the_server(photos: list[Path], out: Path, environment: dict[str, str]) -> Iterator[float]:
    """Memory after each job."""
    with serving(environment) as (port, pid):
        for photo in photos:
            job = ask(port, "POST", JOBS, photo.read_bytes())["id"]
            while (told := ask(port, "GET", f"/api/jobs/{job}"))["state"] in ("waiting", "working"):
                time.sleep(0.1)
            if told["state"] != "finished":
                raise SystemExit(f"a job {told['state']}: {told['message']}")
            yield resident(pid)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(method, path, body)
    told = json.loads(connection.getresponse().read())
    connection.close()
    return told


WAYS = {"folder": through_a_folder, "server": through_the_server}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.leaks", description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--source", type=Path, default=ROOT / "src")
    parser.add_argument("--code", default="this")
    arguments = parser.parse_args()
    environment = os.environ | {"PYTHONPATH": str(arguments.source.resolve())}
    for way in arguments.ways:
        with TemporaryDirectory() as folder:
            photos = save_photos(Path(folder) / "photos", arguments.photos)
            begun = time.perf_counter()
            seen = list(WAYS[way](photos, Path(folder) / "out", environment))
        at = {f"mb_at_{count}": round(seen[count - 1], 1) for count in (20, len(seen))}
        row = {"code": arguments.code, "way": way, **OPTIONS, **at, "seconds": round(time.perf_counter() - begun, 1)}
        line = json.dumps(row | machine())
        print(line, flush=True)
        with ROWS.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
