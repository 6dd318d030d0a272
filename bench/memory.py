"""python -m bench.memory [RESCALER]: seconds and peak memory of the command, as photos grow.

Each photo is encoded by `coscale downscale --effort fast` and decoded by `coscale upscale` in processes of their own,
whose largest resident size counts, the library and the image included. Rows go to results/memory.jsonl.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.encode import photo_of
from bench.readme import ROOT
from coscale.image import Photo, write

SIDES = (512, 1024, 2048, 4096)  # 0.26, 1, 4.2 and 16.8 megapixels


def measured(*arguments: object) -> tuple[float, float]:
    """Seconds, and the peak resident memory in GB, of one run of the command."""
    command = [sys.executable, "-m", "coscale", *map(str, arguments)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return round(time.perf_counter() - begun, 2), round(usage.ru_maxrss / 1e6, 3)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("rescaler", nargs="?", default="light-x2")
    parser.add_argument("--sides", type=int, nargs="*", default=SIDES)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder, (ROOT / "results" / "memory.jsonl").open("a") as file:
        for side in arguments.sides:
            photo, lr, back = (Path(folder) / name for name in ("photo.png", "lr.png", "back.png"))
            write(photo, Photo(photo_of(side)))
            options = ("--rescaler", arguments.rescaler, "--precision", "bfloat16", "--overwrite")
            encode = measured("downscale", photo, "-o", lr, "--effort", "fast", *options)
            decode = measured("upscale", lr, "-o", back, "--overwrite")
            row = {"rescaler": arguments.rescaler, "megapixels": round(side**2 / 1e6, 3)}
            row |= {"encode_seconds": encode[0], "encode_gb": encode[1]}
            row |= {"decode_seconds": decode[0], "decode_gb": decode[1]}
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
