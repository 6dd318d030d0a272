"""python -m bench.storages [SET...]: the bytes of the same LR images in each format; all restore the same pixels.

The LR is the rescaler's own, or one that a method has improved. Every format keeps its levels, which is checked, so
that what is restored is the same as well. A row for each image and format goes to results/storages.jsonl.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.plain import keep_rows
from bench.readme import ROOT
from coscale.collaborate import PLAIN, Coscale
from coscale.evaluate import benchmark_photo, find_sets
from coscale.image import Photo
from coscale.lrfile import lr_bytes
from coscale.pipeline import encode_photo
from coscale.storage import JpegXl, Png, Storage, WebP
from coscale.weights.load import load

SETS = ("Set14", "DIV2K_valid_4")
VARIANTS: list[Storage] = [Png(), Png(small=True), WebP(), WebP(small=True), JpegXl()]
Row = dict[str, object]


def title(storage: Storage) -> str:
    return f"{storage.name}, small" if storage.small else storage.name


def measured(image: Path, rescaler: str, method: str) -> Iterator[Row]:
    pair = load(rescaler)
    photo = benchmark_photo(image, pair.scale)
    encoded = encode_photo(photo, pair, PLAIN if method == "none" else Coscale("fast"))
    seen: list[Photo] = []
    for storage in VARIANTS:
        begun = time.perf_counter()
        data = lr_bytes(encoded.lr, encoded.origin, storage)
        seconds = time.perf_counter() - begun
        seen.append(storage.decode(data))
        assert torch.equal(seen[-1].colour, encoded.lr.colour)
        height, width = encoded.lr.size
        yield {
            "set": image.parent.name,
            "image": image.name,
            "rescaler": rescaler,
            "method": method,
            "format": title(storage),
            "lr_bytes": len(data),
            "lr_pixels": height * width,
            "seconds": round(seconds, 3),
        }


def summary(rows: list[Row]) -> Iterator[str]:
    """Bytes of a set's LR images in each format, and how many fewer they are than PNG's."""
    for of, method in dict.fromkeys((str(row["set"]), str(row["method"])) for row in rows):
        chosen = [row for row in rows if (row["set"], row["method"]) == (of, method)]
        yield f"{of}, method {method}:"
        for name in map(title, VARIANTS):
            mine, plain = (
                sum(int(str(row["lr_bytes"])) for row in chosen if row["format"] == which) for which in (name, "png")
            )
            seconds = sum(float(str(row["seconds"])) for row in chosen if row["format"] == name)
            pixels = sum(int(str(row["lr_pixels"])) for row in chosen if row["format"] == name)
            more = f"{100 * (mine / plain - 1):+.1f}%"
            yield f"  {name:12} {mine:>10} bytes {more:>8}  {8 * mine / pixels:5.2f} bits a pixel, {seconds:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.storages", description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "test")
    parser.add_argument("--rescaler", default="light-x2")
    parser.add_argument("--method", choices=("none", "fast"), default="none")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "storages.jsonl")
    arguments = parser.parse_args()
    found = find_sets([arguments.data / name for name in arguments.sets])
    rows = [
        row
        for images in found.values()
        for image in images
        for row in measured(image, arguments.rescaler, arguments.method)
    ]
    keep_rows(arguments.out, rows)
    print(*summary(rows), sep="\n")


if __name__ == "__main__":
    main()
