"""python -m bench.memory [RESCALER]: seconds and peak memory of the command as photos grow, and a plot of both.

Each photo is encoded by `coscale downscale --effort fast` and decoded by `coscale upscale` in processes of their own,
whose largest resident size counts: the library, the image and the measuring of the result included. Seconds are what
the command says that encoding and decoding took. Rows go to results/memory.jsonl, where a row of one rescaler and size
replaces an older one; the plot to docs/growth.png. At the end it says how many times more 48 megapixels take than 24,
without the photo itself in 8 bit.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.plain import machine
from bench.readme import ROOT, grown, read_rows

SIDES = (500, 1000, 2000, 4000, 4900, 6928)  # 0.25, 1, 4, 16, 24 and 48 megapixels
ROWS = ROOT / "results" / "memory.jsonl"


def measured(*arguments: object) -> tuple[dict[str, Any], float]:
    """What one run of the command prints, and its peak resident memory in GiB."""
    command = [sys.executable, "-m", "coscale", *map(str, arguments), "--overwrite", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return json.loads(said), round(usage.ru_maxrss / 2**20, 3)


def save_photo(path: Path, side: int) -> None:
    """In a process of its own: a child's peak is no less than what its parent held when it was made."""
    code = "import sys; from bench.plain import photo_of; from coscale.image import Photo, write; "
    code += "write(sys.argv[1], Photo(photo_of(int(sys.argv[2]))))"
    subprocess.run([sys.executable, "-c", code, str(path), str(side)], check=True, cwd=ROOT)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in dict.fromkeys(row["rescaler"] for row in rows):
        mine = sorted((row for row in rows if row["rescaler"] == name), key=lambda row: row["megapixels"])
        sizes = [row["megapixels"] for row in mine]
        for what, line in (("encode", "-o"), ("decode", "--s")):
            left.plot(sizes, [row[f"{what}_gib"] for row in mine], line, label=f"{name}, {what}")
            each = [row[f"{what}_seconds"] / row["megapixels"] for row in mine]
            right.plot(sizes, each, line, label=f"{name}, {what}")
    for axes, title in ((left, "peak memory, GiB"), (right, "seconds a megapixel")):
        axes.set(xlabel="megapixels", title=title, xscale="log", ylim=(0, None))
        axes.grid(alpha=0.3)
    left.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("rescaler", nargs="?", default="light-x2")
    parser.add_argument("--sides", type=int, nargs="*", default=SIDES)
    arguments = parser.parse_args()
    rows = {(row["rescaler"], row["side"]): row for row in read_rows(ROWS)}
    with TemporaryDirectory() as folder:
        for side in arguments.sides:
            photo, lr, back = (Path(folder) / name for name in ("photo.png", "lr.png", "back.png"))
            save_photo(photo, side)
            options = ("--rescaler", arguments.rescaler, "--precision", "bfloat16", "--effort", "fast")
            encoded, encode_gib = measured("downscale", photo, "-o", lr, *options)
            decoded, decode_gib = measured("upscale", lr, "-o", back)
            row = {"rescaler": arguments.rescaler, "side": side, "megapixels": round(side**2 / 1e6, 3)}
            row |= {"encode_seconds": encoded["encode_seconds"], "encode_gib": encode_gib}
            row |= {"decode_seconds": decoded["seconds"], "decode_gib": decode_gib, **machine()}
            print(json.dumps(row), flush=True)
            rows[arguments.rescaler, side] = row
            ROWS.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    plot(list(rows.values()), ROOT / "docs" / "growth.png")
    for name, what, ratio in grown(row for row in rows.values() if row["rescaler"] == arguments.rescaler):
        print(f"{name}, {what}: 48 megapixels take {ratio:.2f} times the memory of 24, without the photo in 8 bit")


if __name__ == "__main__":
    main()
