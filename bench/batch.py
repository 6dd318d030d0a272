"""python -m bench.batch: photos an hour that coscale batch does, by 1 and by 2 workers.

The command as it is, on copies of one photo that differ in a pixel, by each engine: the processes of this machine, and
a Ray cluster that is started here with as many cores. ``first_seconds`` is until each worker has done a photo, most of
which is starting; the photos an hour are those after it. The workers share the cores. Rows go to results/batch.jsonl.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.plain import keep_rows, machine, photo_of
from bench.readme import ROOT
from coscale.image import Photo, write
from coscale.machine import cores


def timed(photos: Path, out: Path, workers: int, options: list[str]) -> tuple[float, float]:
    """Seconds until as many photos are done as there are workers, and until all are."""
    # Threads are to be divided as they are for those who set nothing.
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "coscale", "batch", str(photos), str(out), "--json", *options]
    command += ["--workers", str(workers)]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        times = [time.perf_counter() - begun for _ in process.stdout]
    if process.returncode:
        raise SystemExit(f"coscale batch ended with status {process.returncode}")
    return times[workers - 1], times[-2]  # behind the last photo comes the summary


def cluster() -> str:
    """The address of a Ray cluster of this machine's cores, which ends with this process."""
    import ray

    os.environ.pop("OMP_NUM_THREADS", None)
    ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False)
    return ray.get_runtime_context().gcs_address


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    with TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        image = photo_of(arguments.side)
        for k in range(arguments.photos):
            image[..., 0, 0] = k / 255
            write(photos / f"{k}.png", Photo(image))
        for engine in arguments.engines:
            address = ["--address", cluster()] if engine == "ray" else []
            for workers in arguments.workers:
                options = ["--engine", engine, *address, "--effort", arguments.effort, "--rescaler", arguments.rescaler]
                first, last = timed(photos, Path(folder) / f"{engine}{workers}", workers, options)
                yield {
                    "engine": engine,
                    "workers": workers,
                    "rescaler": arguments.rescaler,
                    "effort": arguments.effort,
                    "photos": arguments.photos,
                    "megapixels": arguments.side**2 / 1e6,
                    "first_seconds": round(first, 2),
                    "seconds": round(last, 2),
                    "photos_an_hour": round(3600 * (arguments.photos - workers) / (last - first)),
                    "cores": cores(),
                } | {key: value for key, value in machine().items() if key != "threads"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.batch", description=__doc__)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rescaler", default="light-x2")
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", choices=("local", "ray"), default=["local", "ray"])
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "batch.jsonl")
    arguments = parser.parse_args()
    keep_rows(arguments.out, measure(arguments))


if __name__ == "__main__":
    main()
