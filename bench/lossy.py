"""python -m bench.lossy [--weights FILE] [--mozjpeg PACKAGE]: LR files that a codec keeps, beside codecs at full size.

Each photo is stored at full size by JPEG (Pillow's, optimised and progressive), mozjpeg (flat tables, trellis; with the
folder of the npm package @jsquash/jpeg), WebP, AVIF and AVIF tuned for PSNR; and as an LR file of half the size by
JPEG, WebP and AVIF, without a method and with coscale's. A row for each file goes to results/lossy.jsonl; what is
there is not measured again. ``--table`` prints what they say: bytes saved at equal PSNR of Y, by the bits a pixel of
the codec at full size, medians over photos; and where the two curves meet.
"""

import argparse
import itertools
import json
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.readme import ROOT
from coscale.collaborate import PLAIN, Coscale
from coscale.console import dump
from coscale.image import Photo, from_pillow, read, to_pillow
from coscale.measurement import scores_of
from coscale.pipeline import decode_photo, encode_photo, write_and_measure, write_encoded
from coscale.rescalers import fastest
from coscale.storage import find
from coscale.weights.load import Loaded, load

RESULTS = ROOT / "results" / "lossy.jsonl"
TESTS = ROOT.parent / "shared" / "data" / "test"
SIDES = (512, 768)  # of the crops: the middle of each photo
QUALITIES = {
    "JPEG": (8, 14, 20, 28, 38, 50, 62, 74, 84),
    "mozjpeg": (4, 7, 11, 16, 23, 32, 43, 55, 68),
    "WebP": (1, 5, 12, 22, 35, 50, 65, 78, 88),
    "AVIF": (15, 22, 29, 36, 43, 50, 58, 66, 75),
    "AVIF, PSNR": (15, 22, 29, 36, 43, 50, 58, 66, 75),
}
LR_QUALITIES = {"jpg": (12, 25, 40, 55, 70, 82, 91), "webp": (5, 20, 40, 60, 78, 90), "avif": (25, 36, 47, 58, 70, 82)}
# What each LR format is compared with, and the bits a pixel at which savings are told.
RIVALS = {"jpg": ("JPEG", "mozjpeg"), "webp": ("WebP",), "avif": ("AVIF", "AVIF, PSNR")}
AT = (0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.45, 0.60)
Row = dict[str, Any]
Point = tuple[float, float]  # bits a pixel, and PSNR of Y in dB


def photos() -> Iterator[tuple[str, Photo]]:
    """Crops of photos that no network was trained on."""
    for path in (*sorted((TESTS / "DIV2K_valid_4").iterdir()), *sorted((TESTS / "Set14").iterdir())):
        colour = read(path).colour
        if colour.shape[1] == 3 and min(colour.shape[-2:]) >= 256:
            rows, columns = (min(side, most) // 16 * 16 for side, most in zip(colour.shape[-2:], SIDES, strict=True))
            top, left = (colour.shape[-2] - rows) // 2, (colour.shape[-1] - columns) // 2
            part = colour[..., top : top + rows, left : left + columns].contiguous()
            yield f"{path.parent.name}/{path.name}", Photo(part)


def pillow(form: str, **options: object) -> Callable[[Image.Image, int], bytes]:
    def encode(image: Image.Image, quality: int) -> bytes:
        stream = BytesIO()
        image.save(stream, form, quality=quality, **options)
        return stream.getvalue()

    return encode


def mozjpeg(package: Path) -> Callable[[Image.Image, int], bytes]:
    def encode(image: Image.Image, quality: int) -> bytes:
        command = ["node", str(ROOT / "bench" / "mozjpeg.mjs"), str(package), *map(str, (*image.size, quality))]
        return subprocess.run(command, input=image.convert("RGBA").tobytes(), stdout=subprocess.PIPE, check=True).stdout

    return encode


def codecs(package: Path | None) -> dict[str, Callable[[Image.Image, int], bytes]]:
    avif: dict[str, Any] = {"speed": 6, "max_threads": 1}
    found = {
        "JPEG": pillow("JPEG", optimize=True, progressive=True),
        "WebP": pillow("WEBP", method=6),
        "AVIF": pillow("AVIF", **avif),
        "AVIF, PSNR": pillow("AVIF", advanced={"tune": "psnr"}, **avif),
    }
    return found | ({"mozjpeg": mozjpeg(package)} if package else {})


def at_full_size(photo: Photo, encode: Callable[[Image.Image, int], bytes], quality: int) -> Row:
    levels = (photo.colour[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    begun = time.perf_counter()
    data = encode(Image.fromarray(levels), quality)
    seconds = time.perf_counter() - begun
    with Image.open(BytesIO(data)) as image:
        seen = np.asarray(image.convert("RGB"))
    decoded = Photo(torch.from_numpy(seen.copy()).permute(2, 0, 1)[None].float() / 255)
    scores = scores_of(decoded, photo, 2)
    return {"bytes": len(data), "psnr_y": scores.psnr_y, "psnr_rgb": scores.psnr_rgb, "ssim_y": scores.ssim_y} | {
        "seconds": round(seconds, 3)
    }


def as_lr(photo: Photo, pair: Loaded, form: str, method: str, quality: int) -> Row:
    by = PLAIN if method == "none" else Coscale()
    storage = find(form, asked={"quality": float(quality)})
    with tempfile.TemporaryDirectory() as folder:
        path, precision = Path(folder) / f"lr{storage.suffix}", fastest(pair.device)
        row = write_and_measure(photo, pair, by, path, storage=storage, precision=precision)
    scores = row.scores
    return {"bytes": row.lr_bytes, "psnr_y": scores.psnr_y, "psnr_rgb": scores.psnr_rgb, "ssim_y": scores.ssim_y} | {
        "lr_psnr_bicubic": row.lr.psnr_bicubic,
        "seconds": row.encode_seconds,
    }


def tasks(
    photo: Photo, pair: Loaded, rivals: dict[str, Callable[[Image.Image, int], bytes]]
) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """What is measured of a photo: what a row says of it, and what does it."""
    for codec, encode in rivals.items():
        for quality in QUALITIES[codec]:
            label = {"codec": codec, "by": "none", "quality": quality, "weights_hash": ""}
            yield label, partial(at_full_size, photo, encode, quality)
    for form, qualities in LR_QUALITIES.items():
        for method in ("none", "coscale"):
            for quality in qualities:
                label = {"codec": f"LR {form}", "by": method, "quality": quality, "weights_hash": pair.weights_hash}
                yield label, partial(as_lr, photo, pair, form, method, quality)


def key_of(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("photo", "codec", "by", "quality", "weights_hash"))


def curves(rows: Iterable[Row]) -> dict[tuple[str, str], dict[str, list[Point]]]:
    """Of each codec and method, for each photo, the points in order."""
    found: dict[tuple[str, str], dict[str, list[Point]]] = {}
    for row in rows:
        points = found.setdefault((row["codec"], row["by"]), {}).setdefault(row["photo"], [])
        points.append((8 * row["bytes"] / row["pixels"], row["psnr_y"]))
    return {key: {photo: sorted(points) for photo, points in value.items()} for key, value in found.items()}


def rate_at(curve: list[Point], psnr: float) -> float | None:
    """The bits a pixel at which a curve reaches a PSNR, between its points; None beyond them."""
    for (low_bits, low), (high_bits, high) in itertools.pairwise(curve):
        if low <= psnr <= high and high > low:
            share = (psnr - low) / (high - low)
            return math.exp((1 - share) * math.log(low_bits) + share * math.log(high_bits))
    return None


def psnr_at(curve: list[Point], bits: float) -> float | None:
    for (low_bits, low), (high_bits, high) in itertools.pairwise(curve):
        if low_bits <= bits <= high_bits:
            share = math.log(bits / low_bits) / math.log(high_bits / low_bits)
            return (1 - share) * low + share * high
    return None


def saved_at(lr: list[Point], rival: list[Point], bits: float) -> float | None:
    """By how many percent the bytes of an LR file differ from the rival's of so many bits a pixel, at equal PSNR."""
    psnr = psnr_at(rival, bits)
    mine = None if psnr is None else rate_at(lr, psnr)
    return None if mine is None else 100 * (mine / bits - 1)


def break_even(lr: list[Point], rival: list[Point]) -> float:
    """The bits a pixel from which on the rival restores more; the highest compared where it never does."""
    grid = [0.05 * 1.03**number for number in range(120)]
    compared = [(bits, saved) for bits in grid if (saved := saved_at(lr, rival, bits)) is not None]
    worse = [bits for bits, saved in compared if saved > 0]
    better = [bits for bits, saved in compared if saved <= 0]
    if not better:
        return min(bits for bits, _ in compared) if compared else math.nan
    return next((bits for bits in worse if bits > max(better)), max(better))


def table(rows: list[Row]) -> str:
    found = curves(rows)
    lines = [
        "| LR file | against, at full size | " + " | ".join(f"{bits:.2f}" for bits in AT) + " | break-even |",
        "| --- | --- | " + "---: | " * len(AT) + "---: |",
    ]
    for form, rivals in RIVALS.items():
        for method in ("none", "coscale"):
            for rival in rivals:
                mine, theirs = found.get((f"LR {form}", method), {}), found.get((rival, "none"), {})
                both = sorted(mine.keys() & theirs.keys())
                if not both:
                    continue
                cells = []
                for bits in AT:
                    saved = [s for photo in both if (s := saved_at(mine[photo], theirs[photo], bits)) is not None]
                    cells.append(f"{statistics.median(saved):+.0f}%" if len(saved) > len(both) / 2 else "")
                meets = statistics.median(break_even(mine[photo], theirs[photo]) for photo in both)
                label = f"{form}, {method}"
                lines.append(f"| {label} | {rival} | {' | '.join(cells)} | {meets:.2f} |")
    return "\n".join(lines)


def picture(path: Path, size: int = 7000) -> str:
    """Draw a photo, the JPEG of it at full size and what an LR file as JPEG restores, both in so many bytes."""
    photo, pair = read(ROOT / "examples" / "butterfly.png"), load("coded-x2")
    image = to_pillow(photo)
    encoded = encode_photo(photo, pair, Coscale(), storage=find("jpg", asked={"size": size}))
    with tempfile.TemporaryDirectory() as folder:
        written = write_encoded(encoded, Path(folder) / "lr.jpg")
    restored = decode_photo(written.lr, pair, written.origin)
    encode = codecs(None)["JPEG"]
    data = max((encode(image, q) for q in range(1, 96) if len(encode(image, q)) <= size), key=len)
    with Image.open(BytesIO(data)) as opened:
        jpeg = from_pillow(opened)
    drawn = Image.new("RGB", (3 * image.width, image.height))
    for number, one in enumerate((photo, jpeg, restored)):
        drawn.paste(to_pillow(one), (number * image.width, 0))
    drawn.save(path, optimize=True)
    scores = (f"{scores_of(one, photo, pair.scale).psnr_y:.2f} dB" for one in (jpeg, restored))
    return f"{len(data)} and {written.bytes} bytes, {' and '.join(scores)} of Y"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.lossy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rescaler", default="coded-x2")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--mozjpeg", type=Path, metavar="PACKAGE", help="the folder of the npm package @jsquash/jpeg")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--from", dest="first", type=int, default=0, help="leave out so many photos")
    parser.add_argument("--photos", type=int, default=100, help="so many at most")
    parser.add_argument("--picture", type=Path, help="measure nothing, draw the picture of the documentation")
    parser.add_argument("--table", action="store_true", help="measure nothing, print what the rows say")
    arguments = parser.parse_args()
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    rows = [json.loads(line) for line in lines]
    if arguments.picture:
        print(picture(arguments.picture))
        return
    if arguments.table:
        print(table(rows))
        return
    pair = load(arguments.rescaler, arguments.weights)
    done = {key_of(row) for row in rows}
    rivals = codecs(arguments.mozjpeg)
    for name, photo in itertools.islice(photos(), arguments.first, arguments.first + arguments.photos):
        for label, measure in tasks(photo, pair, rivals):
            label["photo"] = name
            if key_of(label) not in done:
                row = label | {"pixels": photo.size[0] * photo.size[1]} | measure()
                with arguments.results.open("a") as file:
                    file.write(dump(row) + "\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
