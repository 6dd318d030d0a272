"""Pictures that compare restored photos side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from coscale.image import Photo, to_pillow

GAP, TEXT = 12, 44
INK, PAPER, FRAME = (30, 30, 30), (255, 255, 255), (230, 40, 40)


@dataclass(frozen=True)
class Panel:
    """One photo with a title and a line under it."""

    photo: Photo
    title: str
    note: str = ""


def comparison(panels: Sequence[Panel], crop: tuple[int, int, int], zoom: int = 4) -> Image.Image:
    """Photos of one size in a row; below each the crop (top, left, side) magnified ``zoom`` times without smoothing."""
    top, left, side = crop
    height, width = panels[0].photo.size
    column = max(width, side * zoom)
    canvas = Image.new("RGB", (GAP + len(panels) * (column + GAP), 3 * GAP + TEXT + height + side * zoom), PAPER)
    draw = ImageDraw.Draw(canvas)
    bold, plain = ImageFont.load_default(17), ImageFont.load_default(14)
    for i, panel in enumerate(panels):
        x = GAP + i * (column + GAP)
        draw.text((x, GAP), panel.title, INK, bold)
        draw.text((x, GAP + 23), panel.note, INK, plain)
        whole = to_pillow(panel.photo).convert("RGB")
        y = GAP + TEXT
        canvas.paste(whole, (x, y))
        draw.rectangle((x + left - 1, y + top - 1, x + left + side, y + top + side), outline=FRAME)
        detail = whole.crop((left, top, left + side, top + side))
        canvas.paste(detail.resize((side * zoom, side * zoom), Image.Resampling.NEAREST), (x, y + height + GAP))
    return canvas
