"""python -m bench.pages FOLDER [RESCALER...]: what the methods do to text, line art, screenshots and gradients.

Synthetic pages are drawn, downscaled without and with each method, and restored from their 8-bit LR. In flat areas (all
of the page within 8 pixels has one colour) the LR should stay flat: its distance from g's is measured there, in grey
levels. Rows go to results/pages.jsonl, the LR images to FOLDER, to be looked at.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.readme import ROOT
from coscale.collaborate import METHODS
from coscale.image import Photo, read, write
from coscale.metrics import compare
from coscale.quantize import quantize
from coscale.rescalers import Bfloat16
from coscale.weights.load import load

WIDTH, HEIGHT = 480, 320
TEXT = (
    "A photo is stored as a small picture that anyone can look at,\n"
    "and comes back at full size when somebody wants it.\n"
    "0123456789  (a + b)^2 = a^2 + 2ab + b^2  [i] {j} |k|\n"
    "The quick brown fox jumps over the lazy dog; WAVES, fjords.\n"
)


def text() -> Image.Image:
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    top = 12
    for size in (10, 13, 17):
        font = ImageFont.load_default(size)
        draw.multiline_text((16, top), TEXT, "black", font, spacing=3)
        top += 5 * (size + 6)
    return page


def lines() -> Image.Image:
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(page)
    for k in range(12):
        draw.ellipse((200 - 14 * k, 160 - 12 * k, 200 + 14 * k, 160 + 12 * k), outline="black", width=1 + k % 3)
        draw.line((380, 20 + 25 * k, 470, 20 + 23 * k), (200, 0, 0), 1 + k % 2)
        draw.line((20 + 12 * k, 10, 10 + 30 * k, 310), (0, 60, 160))
    return page


def screenshot() -> Image.Image:
    page = Image.new("RGB", (WIDTH, HEIGHT), (246, 247, 249))
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(12)
    draw.rectangle((0, 0, WIDTH, 36), (32, 44, 62))
    draw.text((12, 10), "Photos    Albums    Share", (235, 240, 248), font)
    draw.rectangle((0, 36, 110, HEIGHT), (228, 232, 238))
    for k, name in enumerate(("Library", "Recent", "Places", "Bin")):
        draw.text((14, 56 + 26 * k), name, (30, 30, 30), font)
    colours = ((196, 64, 64), (64, 150, 90), (60, 100, 190), (220, 170, 60), (120, 70, 160), (40, 160, 170))
    for k, colour in enumerate(colours):
        left, top = 130 + 112 * (k % 3), 56 + 124 * (k // 3)
        draw.rounded_rectangle((left, top, left + 98, top + 84), 8, colour)
        draw.text((left, top + 90), f"IMG_{1204 + k}.jpg", (90, 96, 106), font)
    return page


def gradient() -> Image.Image:
    x, y = torch.linspace(0, 1, WIDTH), torch.linspace(0, 1, HEIGHT)[:, None]
    sky = torch.stack((0.25 + 0.5 * y + 0 * x, 0.45 + 0.3 * y + 0.1 * x, 0.85 - 0.2 * y - 0.1 * x), -1)
    return Image.fromarray((sky * 255).round().to(torch.uint8).numpy())


PAGES = {"text": text, "lines": lines, "screenshot": screenshot, "gradient": gradient}


def flat(page: Tensor, scale: int) -> Tensor:
    """Which LR pixels lie where all of the page within 8 pixels has one colour."""
    spread = F.max_pool2d(page, 17, 1, 8) + F.max_pool2d(-page, 17, 1, 8)
    return F.max_pool2d(spread.amax(1, keepdim=True), scale) == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rescalers", nargs="*", default=["light-x2", "light-x4"])
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with (ROOT / "results" / "pages.jsonl").open("w") as file:
        for rescaler in arguments.rescalers:
            network = load(rescaler).rescaler
            for name, draw in PAGES.items():
                path = arguments.folder / f"{name}.png"
                draw().save(path)
                page = read(path).colour
                with torch.no_grad():
                    base = quantize(network.downscale(page))
                found = {"none": base}
                for key, make in METHODS.items():
                    method = make()
                    curvature = method.curvature(network, page.device)
                    found[key] = quantize(method(network, page, twin=Bfloat16(network), curvature=curvature).lr)
                where = flat(page, network.scale).expand_as(base)
                for key, lr in found.items():
                    write(arguments.folder / f"{name}-{rescaler}-{key}.png", Photo(lr))
                    with torch.no_grad():
                        quality = compare(quantize(network.upscale(lr)), page, network.scale)
                    moved = 255 * (lr - base)
                    row = {
                        "page": name,
                        "rescaler": rescaler,
                        "method": key,
                        "flat_share": float(where.float().mean()),
                    }
                    row |= {key: round(float(value), 4) for key, value in quality.items()}
                    for area, values in (("flat", moved[where]), ("all", moved.flatten())):
                        row[f"{area}_rms"] = round(float(values.square().mean().sqrt()), 4)
                        row[f"{area}_most"] = round(float(values.abs().max()) if len(values) else 0.0)
                    print(json.dumps(row), flush=True)
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
