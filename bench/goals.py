"""python -m bench.goals [--shared FOLDER] [--texture FILE] [--picture]: what each objective gains, as people see it.

The middle of four photos goes through four upscalers: alone, and by coscale for each objective. A row for each goes to
results/goals.jsonl: SSIMULACRA2 (100 for equals) and Butteraugli (0 for equals), which no objective is, and PSNR. What
is there is not measured again. ``--texture`` is what `bench.texture` makes. With --picture, three of the photos go to
docs/goals.png instead.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

from PIL import Image, ImageDraw, ImageFont

from bench.readme import ROOT, rows
from coscale.choices import ObjectiveName
from coscale.collaborate import PLAIN, Coscale, Method
from coscale.image import Photo, read
from coscale.lrfile import read_lr
from coscale.pipeline import decode_photo, write_and_measure
from coscale.report.tables import markdown_table
from coscale.reproduce.perceptual import BUTTERAUGLI, SSIMULACRA2, measures_here, perceptual
from coscale.weights.load import Loaded, load
from coscale.weights.upscaler import load_upscaler

RESULTS, PICTURE = ROOT / "results" / "goals.jsonl", ROOT / "docs" / "goals.png"
SIDE = 256  # of the middle that is taken of a photo
PHOTOS = ("Set5/img_003", "Set14/img_005", "Set14/img_014", "DIV2K_valid_4/0831")
TEXTURE = "RLFN x4, with a discriminator"
UPSCALERS: dict[str, str | Path] = {
    "light-x2": "light-x2",
    "light-x4": "light-x4",
    "RLFN x4": Path("weights/rlfn/rlfn_x4.pth"),
    TEXTURE: Path(),  # the file of --texture
}
METHODS: dict[str, Method] = {"none": PLAIN, **{name: Coscale(objective=name) for name in get_args(ObjectiveName)}}
SEEN = (SSIMULACRA2, BUTTERAUGLI)
# What the picture shows: the upscaler, the photo, and the upper left corner of the part that it shows of it.
SHOWN = (("light-x4", PHOTOS[0], (100, 60)), ("RLFN x4", PHOTOS[3], (0, 16)), (TEXTURE, PHOTOS[2], (90, 0)))
PART, ENLARGED, LINE = 112, 2, 20  # of the picture, in pixels: a part's side, how much it is enlarged, a line of text
Row = dict[str, Any]


@dataclass(frozen=True)
class Files:
    """Where the photos and the weights are."""

    shared: Path
    texture: Path


@cache
def pair_of(upscaler: str, files: Files) -> Loaded:
    source = UPSCALERS[upscaler]
    if not isinstance(source, Path):
        return load(source)
    return load_upscaler(files.texture if upscaler == TEXTURE else files.shared / source)


def middle(name: str, files: Files) -> Photo:
    """The middle of a photo, in colour."""
    colour = read(files.shared / "data" / "test" / f"{name}.png").colour
    side = min(SIDE, *(length // 8 * 8 for length in colour.shape[-2:]))
    top, left = ((length - side) // 2 for length in colour.shape[-2:])
    return Photo(colour[..., top : top + side, left : left + side].expand(-1, 3, -1, -1).contiguous())


def array(photo: Photo) -> Any:
    return photo.levels[0].permute(1, 2, 0).numpy()


def measure(upscaler: str, name: str, kind: str, files: Files) -> tuple[Row, Photo]:
    """Encode the middle of a photo, restore it from its file, and compare; give the row and what came back."""
    pair, photo = pair_of(upscaler, files), middle(name, files)
    with tempfile.TemporaryDirectory() as folder:
        lr = Path(folder) / "lr.png"
        begun = time.process_time()
        row = write_and_measure(photo, pair, METHODS[kind], lr).to_json()
        seconds = time.process_time() - begun
        small, origin = read_lr(lr)
    restored = decode_photo(small, pair, origin)
    kept = ("arguments", "psnr_y", "psnr_rgb", "ssim_y", "objective", "lr_psnr_g", "passes", "stopped")
    seen = perceptual(array(restored), array(photo), measures_here())
    labels = {"upscaler": upscaler, "photo": name, "kind": kind}
    values = {key: row[key] for key in kept if key in row}
    return labels | values | seen | {"cpu_seconds": round(seconds, 2)}, restored


def key_of(row: Row) -> tuple[str, str, str]:
    return row["upscaler"], row["photo"], row["kind"]


def table() -> str:
    """Means over the photos, a row for each upscaler and objective."""
    measures = {SSIMULACRA2: 1, BUTTERAUGLI: 2, "psnr_y": 2, "psnr_rgb": 2, "lr_psnr_g": 1}
    known = {key_of(row): row for row in rows(RESULTS.stem)}
    lines = []
    for upscaler, kind in product(UPSCALERS, METHODS):
        found = [known[upscaler, name, kind] for name in PHOTOS]
        line = [upscaler, "alone" if kind == "none" else kind]
        for key, digits in measures.items():
            values = [row[key] for row in found if row.get(key) is not None]  # no LR is compared with itself
            line.append(f"{fmean(values):.{digits}f}" if values else "")
        lines.append(line)
    return markdown_table(("upscaler", "objective", "SSIMULACRA2", "Butteraugli", "Y, dB", "RGB, dB", "LR, dB"), lines)


def each_photo(upscaler: str) -> str:
    """SSIMULACRA2 of each photo."""
    known = {key_of(row): row for row in rows(RESULTS.stem)}
    lines = [[name, *(f"{known[upscaler, name, kind][SSIMULACRA2]:.1f}" for kind in METHODS)] for name in PHOTOS]
    return markdown_table(("photo", "alone", *get_args(ObjectiveName)), lines)


def cost() -> str:
    """How many times as long a pass takes as for squared errors, by processor time."""
    known = {key_of(row): row for row in rows(RESULTS.stem)}

    def pass_of(upscaler: str, kind: str) -> float:
        def seconds(kind: str) -> float:
            return sum(known[upscaler, name, kind]["cpu_seconds"] for name in PHOTOS)

        # What is not of the method takes as long without it.
        return (seconds(kind) - seconds("none")) / sum(known[upscaler, name, kind]["passes"] for name in PHOTOS)

    lines = [
        [upscaler, *(f"{pass_of(upscaler, kind) / pass_of(upscaler, 'psnr'):.2f}" for kind in ("ssim", "perceptual"))]
        for upscaler in UPSCALERS
    ]
    return markdown_table(("upscaler", "ssim", "perceptual"), lines)


def draw(files: Files) -> Image.Image:
    """Parts of three photos: as they are, alone, and for two objectives."""
    kinds = ("none", "psnr", "perceptual")
    side = PART * ENLARGED
    picture = Image.new("RGB", ((len(kinds) + 1) * side, len(SHOWN) * (side + LINE)), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for row, (upscaler, name, (top, left)) in enumerate(SHOWN):
        found = [("original", middle(name, files))]
        for kind in kinds:
            measured, restored = measure(upscaler, name, kind, files)
            label = "alone" if kind == "none" else kind
            found.append((f"{label}: {measured[SSIMULACRA2]:.1f}", restored))
        for column, (text, photo) in enumerate(found):
            part = Image.fromarray(array(photo)[top : top + PART, left : left + PART])
            at = column * side, row * (side + LINE)
            picture.paste(part.resize((side, side), Image.Resampling.NEAREST), at)
            said = text if column else upscaler
            pen.text((at[0] + 4, at[1] + side + 2), said, "black", font)
    return picture


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.goals", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="The folder of data/ and weights/.")
    parser.add_argument("--texture", type=Path, default=Path("texture_x4.pth"))
    parser.add_argument("--picture", action="store_true", help="draw the picture instead")
    given = parser.parse_args(arguments)
    files = Files(given.shared, given.texture)
    if given.picture:
        draw(files).save(PICTURE, optimize=True)
        return
    if missing := set(SEEN) - measures_here():
        parser.error(f"{' and '.join(sorted(missing))} cannot be measured here")
    known = {key_of(row) for row in rows(RESULTS.stem)} if RESULTS.exists() else set()
    with RESULTS.open("a") as file:
        for each in product(UPSCALERS, PHOTOS, METHODS):
            if each not in known:
                file.write(json.dumps(measure(*each, files)[0]) + "\n")
                file.flush()
                print(*each, flush=True)


if __name__ == "__main__":
    main()
