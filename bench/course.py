"""python -m bench.course [RESCALER...]: what an effort gains, and how long it takes, on one photo at several sizes.

Each method encodes the photo as the command does, guard and file included, from HCD of a few steps to the best effort,
with learned steps and without. Seconds are divided by those that restoring the photo takes by PyTorch. Gains are dB of
Y through the 8-bit file. What would take longer than --longest seconds, by its pace at the size before, is left out.
Rows are added to results/course.jsonl a size at a time, and what has its rows is not measured again; the picture is
docs/course.png.
"""

import argparse
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.plain import DEVICE, keep_rows, machine, photo_of, seconds
from bench.readme import ROOT, read_rows
from coscale.collaborate import HCD, PLAIN, Coscale, Method
from coscale.image import Photo
from coscale.machine import keep_freed_memory
from coscale.metrics import compare
from coscale.pipeline import Encoded, decode_photo, encode_photo
from coscale.rescalers import fastest
from coscale.weights.load import Loaded, load

# The name of a curve, and its points; a method, and whether learned steps may be taken.
CURVES: dict[str, list[tuple[str, Method, bool]]] = {
    "HCD": [(f"{n} + {n}", HCD(n, n), False) for n in (3, 8, 15)],
    "descent": [(effort, Coscale(effort), False) for effort in ("instant", "fast", "balanced", "best")],
    "with learned steps": [(effort, Coscale(effort), True) for effort in ("instant", "fast", "balanced", "best")],
}


def y_of(photo: Photo, encoded: Encoded, pair: Loaded) -> float:
    restored = decode_photo(encoded.lr, pair, encoded.origin)
    return float(compare(restored.colour, photo.colour, pair.scale)["psnr_y"])


def measure(name: str, megapixels: float, pace: Mapping[str, float], longest: float) -> Iterator[dict[str, Any]]:
    """The rows of one size. ``pace`` is the seconds a megapixel of each point at the size before."""
    side = round(math.sqrt(megapixels * 1e6) / 8) * 8
    photo, pair = Photo(photo_of(side).cpu()), load(name, device=DEVICE, runtime="auto")
    usual = load(name, device=DEVICE)
    plain = encode_photo(photo, pair, PLAIN)
    before = y_of(photo, plain, pair)
    decode = min(seconds(lambda: decode_photo(plain.lr, usual, plain.origin)) for _ in range(3))
    for curve, points in CURVES.items():
        for point, method, learned in points:
            if pace and megapixels * pace.get(f"{curve} {point}", math.inf) > longest:
                continue
            with_steps = pair if learned else replace(pair, steps=None)
            found: list[Encoded] = []

            def encode(with_steps: Loaded = with_steps, method: Method = method, found: list[Encoded] = found) -> None:
                found[:] = [encode_photo(photo, with_steps, method, precision=fastest(DEVICE))]

            taken = seconds(encode)
            if taken < 5:  # what is short is taken twice
                taken = min(taken, seconds(encode))
            row = {"rescaler": name, "megapixels": megapixels, "curve": curve, "point": point}
            row |= {"passes": found[0].result.gradients, "seconds": round(taken, 3), "decode": round(decode, 3)}
            yield row | {"gain_y": round(y_of(photo, found[0], pair) - before, 3), **machine()}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A row of pictures for each rescaler, one for each size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, sizes = (list(dict.fromkeys(row[key] for row in rows)) for key in ("rescaler", "megapixels"))
    figure = Figure((3.2 * len(sizes), 3.2 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(names), len(sizes), squeeze=False, sharex=True, sharey="row")
    for line, name in zip(grid, names, strict=True):
        for axes, size in zip(line, sizes, strict=True):
            for curve in CURVES:
                points = [r for r in rows if (r["rescaler"], r["megapixels"], r["curve"]) == (name, size, curve)]
                times = [row["seconds"] / row["decode"] for row in points]
                axes.plot(times, [row["gain_y"] for row in points], "o-", label=curve)
                for time, row in zip(times, points, strict=True):
                    at = {"xytext": (3, -9), "textcoords": "offset points", "size": 7}
                    axes.annotate(row["point"], (time, row["gain_y"]), **at)
            axes.set_xscale("log")
            axes.set_title(f"{name}, {size:g} megapixels", size=9)
            axes.grid(visible=True, alpha=0.3)
        line[0].set_ylabel("gain of Y, dB")
    for axes in grid[-1]:
        axes.set_xlabel("time to encode, in times of restoring", size=9)
    grid[0][0].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.course", description=__doc__)
    parser.add_argument("rescalers", nargs="*", default=["light-x2", "light-x4"])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 12, 48])
    parser.add_argument("--longest", type=float, default=300, help="seconds that a point may take (default: 300)")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "course.jsonl")
    arguments = parser.parse_args()
    keep_freed_memory()
    rows = read_rows(arguments.out)
    for name in arguments.rescalers:
        found: list[dict[str, Any]] = []
        for megapixels in arguments.megapixels:
            pace = {f"{row['curve']} {row['point']}": row["seconds"] / row["megapixels"] for row in found}
            # What was left out of a size is left out of those after it, too.
            found = [row for row in rows if (row["rescaler"], row["megapixels"]) == (name, megapixels)]
            if not found:
                found = list(measure(name, megapixels, pace, arguments.longest))
                rows += found
                keep_rows(arguments.out, rows)
    draw(rows, ROOT / "docs" / "course.png")


if __name__ == "__main__":
    main()
