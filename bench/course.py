"""python -m bench.course [RESCALER...]: what an effort gains, and how long it takes, on one photo at several sizes.

Each method encodes the photo as the command does, guard and file included, from HCD of a few steps to the best effort,
with learned steps and without. Seconds are divided by those that restoring the photo takes by PyTorch. Gains are dB of
Y through the 8-bit file. Efforts that would take longer than --longest seconds by their last size are left out of
larger ones. Rows go to results/course.jsonl, the picture to results/course.png.
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.plain import DEVICE, machine, photo_of, seconds
from bench.readme import ROOT
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


def measure(name: str, megapixels: float, skipped: set[str], longest: float) -> list[dict[str, Any]]:
    """The rows of one size; a curve's points that took too long are added to ``skipped``."""
    side = round(math.sqrt(megapixels * 1e6) / 8) * 8
    photo, pair = Photo(photo_of(side).cpu()), load(name, device=DEVICE, runtime="auto")
    usual = load(name, device=DEVICE)
    plain = encode_photo(photo, pair, PLAIN)
    before = y_of(photo, plain, pair)
    decode = min(seconds(lambda: decode_photo(plain.lr, usual, plain.origin)) for _ in range(3))
    rows = []
    for curve, points in CURVES.items():
        for point, method, learned in points:
            if f"{curve} {point}" in skipped:
                continue
            with_steps = pair if learned else replace(pair, steps=None)
            found: list[Encoded] = []

            def encode(with_steps: Loaded = with_steps, method: Method = method, found: list[Encoded] = found) -> None:
                found[:] = [encode_photo(photo, with_steps, method, precision=fastest(DEVICE))]

            taken = seconds(encode)
            if taken < 5:  # what is short is taken twice
                taken = min(taken, seconds(encode))
            if taken > longest / 4:  # the next size is at least four times as large
                skipped.add(f"{curve} {point}")
            row = {"rescaler": name, "megapixels": megapixels, "curve": curve, "point": point}
            row |= {"passes": found[0].result.gradients, "seconds": round(taken, 3), "decode": round(decode, 3)}
            rows.append(row | {"gain_y": round(y_of(photo, found[0], pair) - before, 3), **machine()})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["rescaler"] for row in rows))
    size = min({row["megapixels"] for row in rows}, key=lambda megapixels: abs(megapixels - 1))
    figure = Figure((5 * len(names), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for curve in CURVES:
            points = [r for r in rows if (r["rescaler"], r["megapixels"], r["curve"]) == (name, size, curve)]
            times = [row["seconds"] / row["decode"] for row in points]
            axes.plot(times, [row["gain_y"] for row in points], "o-", label=curve)
            for time, row in zip(times, points, strict=True):
                axes.annotate(row["point"], (time, row["gain_y"]), xytext=(4, -10), textcoords="offset points", size=8)
        axes.set_xscale("log")
        axes.set_xlabel("time to encode, in times of restoring the photo")
        axes.set_ylabel("gain of Y, dB")
        axes.set_title(f"{name}, {size:g} megapixel", size=10)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.course", description=__doc__)
    parser.add_argument("rescalers", nargs="*", default=["light-x2", "light-x4"])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 12, 48])
    parser.add_argument("--longest", type=float, default=300, help="seconds that a point may take (default: 300)")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "course.jsonl")
    arguments = parser.parse_args()
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    for name in arguments.rescalers:
        skipped: set[str] = set()
        for megapixels in arguments.megapixels:
            rows += measure(name, megapixels, skipped, arguments.longest)
    arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    draw(rows, ROOT / "results" / "course.png")


if __name__ == "__main__":
    main()
