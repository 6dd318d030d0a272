"""python -m bench.graphics [RESCALER...] [--look FOLDER]: drawn pages of kinds that no photo looks like.

Forty pages of 192 x 192: text, screens, charts, fine patterns, dithers, halftones, flat saturated colours, gradients,
line art, pixel art, and grey photos. Each is stored and restored through files by bicubic, by the rescaler without the
guard and without a coloured LR for grey (``before``), and as coscale does it (``after``). What is compared are colours:
the mean error of neighbourhoods of 16 x 16 pixels, and the worst, in grey levels. Rows go to results/graphics.jsonl, in
the place of those of the same rescalers, and the images to FOLDER, to be looked at.
"""

import argparse
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.plain import keep_rows
from bench.readme import ROOT, read_rows
from coscale.collaborate import PLAIN
from coscale.errors import CoscaleWarning
from coscale.image import Photo, from_pillow, write
from coscale.lrfile import read_lr, write_lr
from coscale.metrics import psnr
from coscale.pipeline import decode_photo, encode_photo
from coscale.weights.load import Loaded, load

SIDE, BLOCK = 192, 16
RESCALERS = ("light-x2", "light-x4", "irn-x2-4b", "irn-x4-4b")
Draw = Callable[[], Image.Image]
Colour = tuple[int, ...]


def _canvas(colour: Colour | str = "white") -> tuple[Image.Image, ImageDraw.ImageDraw]:
    page = Image.new("RGB", (SIDE, SIDE), colour)
    return page, ImageDraw.Draw(page)


def _pattern(value: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Image.Image:
    """A grey page of a function of x and y, in levels, stored as RGB."""
    y, x = np.mgrid[:SIDE, :SIDE]
    grey = np.clip(value(x, y), 0, 255).round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(grey[..., None], (SIDE, SIDE, 3)).copy())


def text(size: int, ink: Colour, paper: Colour) -> Image.Image:
    page, draw = _canvas(paper)
    font = ImageFont.load_default(size)
    words = "Small files travel fast, large ones are looked at for longer; 3.14159 <= pi. "
    for row, top in enumerate(range(4, SIDE, size + 4)):
        draw.text((4 - 3 * (row % 3), top), words[6 * row % 30 :] + words, ink, font)
    return page


def window(dark: bool) -> Image.Image:
    paper, ink, frame = (
        ((24, 26, 32), (214, 218, 226), (44, 48, 58)) if dark else ((252,) * 3, (36,) * 3, (226, 230, 236))
    )
    page, draw = _canvas(paper)
    font = ImageFont.load_default(10)
    draw.rectangle((0, 0, SIDE, 22), frame)
    for k, dot in enumerate(((237, 106, 94), (245, 191, 79), (98, 197, 84))):
        draw.ellipse((8 + 16 * k, 6, 18 + 16 * k, 16), dot)
    for k, label in enumerate(("Open", "Save as", "Export", "Print", "Close")):
        draw.text((10, 34 + 30 * k), label, ink, font)
        draw.rounded_rectangle((90, 30 + 30 * k, 180, 50 + 30 * k), 4, outline=ink)
        draw.rectangle((93, 33 + 30 * k, 93 + 16 * k, 47 + 30 * k), (36, 120, 236))
    return page


def bars() -> Image.Image:
    page, draw = _canvas()
    for k in range(8):
        draw.line((20, 20 + 20 * k, 186, 20 + 20 * k), (210, 210, 210))
    for k, colour in enumerate(((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189))):
        draw.rectangle((30 + 31 * k, 160 - 21 * k, 50 + 31 * k, 170), colour)
    draw.line((20, 10, 20, 170, 186, 170), "black")
    return page


def pie() -> Image.Image:
    page, draw = _canvas()
    colours = ((228, 26, 28), (55, 126, 184), (77, 175, 74), (255, 255, 51), (247, 129, 191), (166, 86, 40))
    for k, colour in enumerate(colours):
        draw.pieslice((16, 16, 176, 176), 60 * k + 13, 60 * k + 73, colour, "white")
    return page


def curves() -> Image.Image:
    page, draw = _canvas()
    for k, colour in enumerate(((200, 30, 30), (20, 120, 40), (30, 60, 200))):
        points = [(x, 96 + 70 * math.sin(x / (11 + 6 * k)) * math.exp(-x / 160)) for x in range(SIDE)]
        draw.line(points, colour, 1 + k % 2)
    draw.line((0, 96, SIDE, 96), (160, 160, 160))
    return page


def table() -> Image.Image:
    page, draw = _canvas()
    font = ImageFont.load_default(9)
    for row in range(12):
        draw.rectangle((0, 16 * row, SIDE, 16 * row + 15), (235, 241, 250) if row % 2 else "white")
        for column in range(4):
            draw.text((6 + 48 * column, 16 * row + 3), f"{(row * 37 + column * 113) % 997 / 10:.1f}", "black", font)
    for column in range(1, 4):
        draw.line((48 * column, 0, 48 * column, SIDE), (150, 150, 150))
    return page


def checkers(cell: int, low: int = 0, high: int = 255) -> Image.Image:
    return _pattern(lambda x, y: np.where((x // cell + y // cell) % 2, high, low))


def stripes(across: bool, period: int = 2, width: int = 1) -> Image.Image:
    return _pattern(lambda x, y: np.where((y if across else x) % period < width, 255, 0))


def diagonals() -> Image.Image:
    return _pattern(lambda x, y: np.where((x + y) % 3 == 0, 255, 40))


def mesh(period: int) -> Image.Image:
    return _pattern(lambda x, y: np.where((x % period == 0) | (y % period == 0), 20, 235))


def zone_plate() -> Image.Image:
    return _pattern(lambda x, y: 127.5 + 127.5 * np.cos(math.pi * ((x - 96.0) ** 2 + (y - 96.0) ** 2) / SIDE))


def ordered_dither() -> Image.Image:
    bayer = np.array(((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5)))
    return _pattern(lambda x, y: np.where(16 * x / SIDE > bayer[y % 4, x % 4] + 0.5, 255, 0))


def diffused(photo: Image.Image) -> Image.Image:
    """Black and white by error diffusion."""
    return photo.convert("1").convert("RGB")


def few_colours(photo: Image.Image) -> Image.Image:
    """The colours of old computers by error diffusion."""
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for k in range(8) for level in (255 * (k & 1), 255 * (k >> 1 & 1), 255 * (k >> 2 & 1))])
    return photo.quantize(8, palette=palette).convert("RGB")


def halftone(cell: float, angle: float, photo: Image.Image) -> Image.Image:
    """Round dots of ink, the larger the darker the photo is."""
    tone = np.asarray(photo.convert("L"), np.float64) / 255
    c, s = 2 * math.pi * math.cos(angle) / cell, 2 * math.pi * math.sin(angle) / cell
    return _pattern(lambda x, y: np.where(tone > 0.5 + 0.25 * (np.cos(c * x + s * y) + np.cos(c * y - s * x)), 255, 0))


def flat_saturated(seed: int) -> Image.Image:
    page, draw = _canvas()
    rng = np.random.default_rng(seed)
    for top in range(0, SIDE, 48):
        for left in range(0, SIDE, 48):
            draw.rectangle(
                (left, top, left + 47, top + 47), tuple(int(v) for v in rng.choice((0, 0, 128, 255, 255), 3))
            )
    return page


def gradient(first: Colour, last: Colour, round_: bool) -> Image.Image:
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    share = np.clip(np.hypot(x - 0.5, y - 0.5) * 1.4, 0, 1) if round_ else (x + y) / 2
    return Image.fromarray(
        (np.array(first) * (1 - share[..., None]) + np.array(last) * share[..., None]).round().astype(np.uint8)
    )


def hatching() -> Image.Image:
    page, draw = _canvas((250, 246, 236))
    for k in range(-SIDE, SIDE, 3):
        draw.line((k, 0, k + SIDE, SIDE), (40, 32, 28))
    draw.ellipse((40, 40, 150, 150), (250, 246, 236), (40, 32, 28), 2)
    for k in range(42, 150, 4):
        draw.line((60, k, 130, k), (40, 32, 28))
    return page


def contours() -> Image.Image:
    page, draw = _canvas()
    for k in range(1, 24):
        draw.ellipse((96 - 6 * k, 96 - 4 * k, 96 + 6 * k, 96 + 4 * k), outline=((0, 0, 0), (170, 60, 20))[k % 2])
    return page


def sprite(cell: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    count = SIDE // cell
    palette = np.array(
        ((0, 0, 0), (255, 0, 77), (255, 163, 0), (255, 236, 39), (0, 228, 54), (41, 173, 255), (255, 241, 232))
    )
    half = rng.integers(0, len(palette), (count, count // 2))
    small = Image.fromarray(palette[np.concatenate((half, half[:, ::-1]), 1)].astype(np.uint8))
    return small.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def photo(top: int = 0, left: int = 0) -> Image.Image:
    """Part of the butterfly."""
    return Image.open(ROOT / "examples" / "butterfly.png").convert("RGB").crop((left, top, left + SIDE, top + SIDE))


def screen_of_a_photo() -> Image.Image:
    """A photo as the stripes of a screen show it: red, green and blue side by side."""
    shown = np.asarray(photo(), np.float64)
    mask = np.stack([np.arange(SIDE) % 3 == c for c in range(3)], -1)
    return Image.fromarray((shown * np.where(mask, 1, 0.15)).round().astype(np.uint8))


PAGES: dict[str, Draw] = {
    "text small": lambda: text(9, (0, 0, 0), (255, 255, 255)),
    "text large": lambda: text(18, (20, 20, 90), (250, 250, 240)),
    "text on black": lambda: text(11, (120, 255, 120), (0, 0, 0)),
    "text red on blue": lambda: text(12, (255, 40, 40), (0, 0, 200)),
    "window": lambda: window(False),
    "window dark": lambda: window(True),
    "bars": bars,
    "pie": pie,
    "curves": curves,
    "table": table,
    "checkers 1": lambda: checkers(1),
    "checkers 2": lambda: checkers(2),
    "checkers 3": lambda: checkers(3),
    "checkers 1 soft": lambda: checkers(1, 96, 160),
    "lines across": lambda: stripes(True),
    "lines down": lambda: stripes(False),
    "lines thin": lambda: stripes(True, 4),
    "diagonals": diagonals,
    "mesh 3": lambda: mesh(3),
    "mesh 4": lambda: mesh(4),
    "zone plate": zone_plate,
    "dither ordered": ordered_dither,
    "dither photo": lambda: diffused(photo()),
    "dither eight colours": lambda: few_colours(photo()),
    "halftone": lambda: halftone(4.0, 0.785, photo()),
    "halftone fine": lambda: halftone(2.7, 0.26, photo(40, 40)),
    "screen of a photo": screen_of_a_photo,
    "flat colours 1": lambda: flat_saturated(1),
    "flat colours 2": lambda: flat_saturated(2),
    "flat red": lambda: _canvas((255, 0, 0))[0],
    "flat cyan": lambda: _canvas((0, 255, 255))[0],
    "gradient grey": lambda: gradient((0, 0, 0), (255, 255, 255), False),
    "gradient neon": lambda: gradient((255, 0, 255), (0, 255, 0), True),
    "hatching": hatching,
    "contours": contours,
    "sprite 4": lambda: sprite(4, 3),
    "sprite 1": lambda: sprite(1, 5),
    "grey photo as RGB": lambda: photo(60, 30).convert("L").convert("RGB"),
    "grey photo as L": lambda: photo(60, 30).convert("L"),
    "grey photo, noise": lambda: _pattern(
        lambda x, y: np.asarray(photo(10, 60).convert("L")) + np.random.default_rng(0).normal(0, 9, x.shape)
    ),
}


def colours(restored: Tensor, original: Tensor) -> dict[str, float | None]:
    """In grey levels: the mean error of the means of neighbourhoods, and the largest; PSNR of all values in dB."""
    quality = float(psnr(restored, original))
    error = 255 * F.avg_pool2d(restored - original, BLOCK, BLOCK // 2).abs()
    return {
        "mean": round(float(error.mean()), 3),
        "worst": round(float(error.max()), 3),
        "psnr": round(quality, 3) if math.isfinite(quality) else None,
    }


def stored(photo: Photo, pair: Loaded, folder: Path, guard: bool) -> tuple[Photo, dict[str, object]]:
    """A photo through an LR file, and what its row says of that."""
    encoded = encode_photo(photo, pair, PLAIN, guarded=guard, noted=guard)
    file = folder / "lr.png"
    write_lr(file, encoded.lr, encoded.origin)
    lr, origin = read_lr(file)
    found: dict[str, object] = {"lr_bytes": file.stat().st_size}
    if encoded.guarded:
        found |= {
            "worse_by": round(encoded.guarded.worst, 2),
            "corrected": round(encoded.guarded.corrected, 4),
            "bicubic": round(encoded.guarded.bicubic, 4),
        }
    return decode_photo(lr, pair, origin), found


def measure(rescalers: list[str], look: Path | None) -> Iterator[dict[str, object]]:
    for rescaler in rescalers:
        pair = load(rescaler)
        bicubic = load(f"bicubic-x{pair.scale}")
        for name, draw in PAGES.items():
            page = from_pillow(draw())
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore", CoscaleWarning)
                for way, by, guard in (("bicubic", bicubic, False), ("before", pair, False), ("after", pair, True)):
                    restored, found = stored(page, by, Path(folder), guard)
                    yield {
                        "rescaler": rescaler,
                        "page": name,
                        "way": way,
                        **colours(restored.colour, page.colour),
                        **found,
                    }
                    if look:
                        write(look / f"{name}-{rescaler}-{way}.png", restored)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.graphics", description=__doc__)
    parser.add_argument("rescalers", nargs="*", default=RESCALERS)
    parser.add_argument("--look", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    path = ROOT / "results" / "graphics.jsonl"
    others = [row for row in read_rows(path) if row["rescaler"] not in arguments.rescalers]
    keep_rows(path, chain(others, measure(arguments.rescalers, arguments.look)))


if __name__ == "__main__":
    main()
