"""Drawn images to train on beside photos: text, screens, patterns, dithers, flat colours and what else no camera takes.

A kind draws one picture of any height and width with a brush. The brush holds all randomness, and knows whether the
picture is grey: every kind takes its colours from it, so each of them is drawn in grey as well.
"""

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from coscale.train.brush import WHITE, Brush, Ink

Picture = UInt8[np.ndarray, "h w 3"]
Field = Float[np.ndarray, "h w"]  # in [0, 1]: 0 is paper, 1 is ink
Kind = Callable[[int, int, Brush], Picture]

GREY = 0.4  # the share of images that are drawn in grey
REGIONS = (0.6, 0.2, 0.2)  # the shares of images of 1, 2 and 4 regions


def _rounded(values: np.ndarray) -> Picture:
    return np.rint(np.clip(values, 0, WHITE)).astype(np.uint8)


def _painted(field: Field | Bool[np.ndarray, "h w"], brush: Brush) -> Picture:
    """Paint a field between two colours, at times on a paper that is itself a gradient."""
    ink, paper = brush.pair()
    height, width = field.shape
    ground = gradient(height, width, brush).astype(np.float32) if brush.chance(0.1) else paper
    return _rounded(ground + field.astype(np.float32)[..., None] * (ink - ground))


def _canvas(height: int, width: int, ground: Ink) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), ground)
    return image, ImageDraw.Draw(image)


def _places(height: int, width: int, brush: Brush) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of pixels, counted from a random pixel, so that patterns start at any phase."""
    return np.arange(height)[:, None] + brush.whole(0, 63), np.arange(width)[None] + brush.whole(0, 63)


def _around(height: int, width: int, brush: Brush) -> tuple[np.ndarray, np.ndarray]:
    """Vertical and horizontal distances in pixels from a random point of the picture."""
    down = np.arange(height, dtype=np.float32)[:, None] - brush.between(0, height)
    return down, np.arange(width, dtype=np.float32)[None] - brush.between(0, width)


def _soft(height: int, width: int, brush: Brush) -> Field:
    """A smooth field that spans [0, 1]: a linear or radial ramp, or soft shapes."""
    choice = brush.whole(0, 2)
    if choice == 0:
        angle = brush.between(0, 2 * math.pi)
        down, right = _around(height, width, brush)
        field = math.sin(angle) * down + math.cos(angle) * right
    elif choice == 1:
        field = np.hypot(*_around(height, width, brush))
    else:
        coarse = brush.rng.random((brush.whole(2, 6), brush.whole(2, 6)), dtype=np.float32)
        field = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    low, high = field.min(), field.max()
    return (field - low) / max(high - low, 1e-3)


# Text


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text(height: int, width: int, brush: Brush) -> Picture:
    size = int(brush.rng.choice([7, 8, 9, 10, 11, 12, 14, 16, 20, 28, 40, 64]))
    turned = brush.chance(0.4)
    side = math.ceil(math.hypot(height, width)) if turned else max(height, width)
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    draw.fontmode = "L" if brush.chance(0.7) else "1"
    step = max(round(size * brush.between(1.0, 1.6)), 1)
    for top in range(-brush.whole(0, step), side, step):
        if brush.chance(0.9):
            letters = math.ceil(side / size * 2)
            draw.text((-brush.whole(0, size), top), brush.text(letters // 3 + 1, letters), 255, _font(size))
    if turned:
        resample = Image.Resampling.BILINEAR if draw.fontmode == "L" else Image.Resampling.NEAREST
        angle = 90 if brush.chance(0.2) else brush.between(-20, 20)
        mask = mask.rotate(angle, resample)
    top, left = (side - height) // 2, (side - width) // 2
    return _painted(np.asarray(mask)[top : top + height, left : left + width] / np.float32(WHITE), brush)


# Screens


def windows(height: int, width: int, brush: Brush) -> Picture:
    image, draw = _canvas(height, width, brush.ink())
    accent, font = brush.ink(), _font(brush.whole(8, 12))
    for _ in range(brush.whole(1, 3)):
        left, top = brush.whole(-20, width * 2 // 3), brush.whole(-20, height * 2 // 3)
        right, bottom = left + brush.whole(24, max(width, 24)), top + brush.whole(24, max(height, 24))
        paper, ink = brush.paper(), brush.ink()
        radius = brush.whole(0, 6)
        draw.rounded_rectangle((left, top, right, bottom), radius, paper, brush.ink() if brush.chance(0.7) else None)
        draw.rectangle((left + 1, top + 1, right - 1, top + 14), accent)
        draw.text((left + 4, top + 1), brush.text(3, 12), paper, font)
        for i in range(3):
            draw.ellipse((right - 8 - 9 * i, top + 5, right - 3 - 9 * i, top + 10), brush.ink())
        for line in range(top + 18, bottom - 14, brush.whole(10, 24)):
            if brush.chance(0.5):
                draw.text((left + 5, line), brush.text(4, 16), ink, font)
            else:
                end = left + brush.whole(24, 60)
                draw.rounded_rectangle((left + 5, line, end, line + 12), radius, brush.ink(), ink)
                draw.text((left + 8, line), brush.text(2, 5), paper, font)
    return np.asarray(image)


def icons(height: int, width: int, brush: Brush) -> Picture:
    image, draw = _canvas(height, width, brush.paper())
    cell = brush.whole(8, 32)
    inner = cell - brush.whole(2, cell // 3)
    inks = [brush.ink() for _ in range(4)]
    for top in range(-brush.whole(0, cell), height, cell):
        for left in range(-brush.whole(0, 2), width, cell):
            box = (left, top, left + inner, top + inner)
            fill, line = inks[brush.whole(0, 3)], inks[brush.whole(0, 3)] if brush.chance(0.5) else None
            choice = brush.whole(0, 4)
            if choice == 0:
                draw.ellipse(box, fill, line)
            elif choice == 1:
                draw.rounded_rectangle(box, inner // 4, fill, line)
            elif choice == 2:
                draw.regular_polygon((left + inner / 2, top + inner / 2, inner / 2), brush.whole(3, 6), fill=fill)
            elif choice == 3:
                draw.text((left, top), brush.text(1, 1), fill, _font(inner))
            else:
                draw.line((left, top, left + inner, top + inner), fill, brush.whole(1, 3))
                draw.line((left + inner, top, left, top + inner), fill, brush.whole(1, 3))
    return np.asarray(image)


def table(height: int, width: int, brush: Brush) -> Picture:
    image, draw = _canvas(height, width, brush.paper())
    tall, font = brush.whole(9, 18), _font(brush.whole(7, 11))
    line, ink, band, head = brush.ink(), brush.ink(), brush.paper(), brush.ink()
    starts = np.cumsum(brush.rng.integers(14, 50, width // 14 + 1)).tolist()
    striped, ruled, filled = brush.chance(0.5), brush.chance(0.8), brush.chance(0.6)
    for row, top in enumerate(range(-brush.whole(0, tall), height, tall)):
        if row == 1 or (striped and row % 2):
            draw.rectangle((0, top, width, top + tall - 1), head if row == 1 else band)
        if ruled:
            draw.line((0, top, width, top), line)
        if filled:
            for left in [0, *starts]:
                if left < width:
                    draw.text((left + 2, top), brush.text(1, 4), ink, font)
    for left in starts if brush.chance(0.8) else []:
        draw.line((left, 0, left, height), line)
    return np.asarray(image)


def chart(height: int, width: int, brush: Brush) -> Picture:
    image, draw = _canvas(height, width, brush.paper())
    ink, count = brush.ink(), brush.whole(3, 16)
    for top in range(0, height, brush.whole(8, 32)):
        draw.line((0, top, width, top), ink)
    choice = brush.whole(0, 2)
    if choice == 0:
        step = max(width / count, 1.0)
        fills = [brush.ink() for _ in range(brush.whole(1, 3))]
        for i in range(count):
            top = brush.whole(0, height)
            draw.rectangle((i * step, top, (i + brush.between(0.5, 1)) * step, height), fills[i % len(fills)])
    elif choice == 1:
        across = np.linspace(0, width, 4 * count)
        for _ in range(brush.whole(1, 4)):
            walk = height / 2 + np.cumsum(brush.rng.normal(0, height / 12, len(across)))
            draw.line(np.stack([across, walk], 1).ravel().tolist(), brush.ink(), brush.whole(1, 3))
    else:
        side = min(height, width) * brush.between(0.5, 1)
        cuts = np.sort(brush.rng.uniform(0, 360, count)).tolist()
        for start, end in zip(cuts, [*cuts[1:], cuts[0] + 360], strict=True):
            draw.pieslice((2, 2, 2 + side, 2 + side), start, end, brush.ink(), ink if brush.chance(0.5) else None)
    draw.line((2, 0, 2, height - 3, width, height - 3), ink)
    return np.asarray(image)


# Patterns that repeat


def checkerboard(height: int, width: int, brush: Brush) -> Picture:
    down, right = _places(height, width, brush)
    tall = brush.whole(1, 4)
    wide = tall if brush.chance(0.7) else brush.whole(1, 4)
    return _painted((down // tall + right // wide) % 2, brush)


def stripes(height: int, width: int, brush: Brush) -> Picture:
    down, right = _places(height, width, brush)
    slopes = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2))
    rise, run = slopes[brush.whole(0, 1) if brush.chance(0.6) else brush.whole(2, 7)]
    on = brush.whole(1, 4)
    off = on if brush.chance(0.6) else brush.whole(1, 4)
    return _painted((rise * down + run * right) % (on + off) < on, brush)


def dots(height: int, width: int, brush: Brush) -> Picture:
    down, right = _places(height, width, brush)
    period = brush.whole(3, 10)
    if brush.chance(0.5):
        right = right + down // period % 2 * (period // 2)
    centre = (period - 1) / 2
    away = np.hypot(down % period - centre, right % period - centre)
    field = np.clip(brush.between(0.5, period / 2) - away + 0.5, 0, 1)
    return _painted(field if brush.chance(0.5) else field > 0.5, brush)


def grid(height: int, width: int, brush: Brush) -> Picture:
    down, right = _places(height, width, brush)
    tall = brush.whole(3, 16)
    wide = tall if brush.chance(0.7) else brush.whole(3, 16)
    thick = brush.whole(1, 2)
    return _painted((down % tall < thick) | (right % wide < thick), brush)


def mesh(height: int, width: int, brush: Brush) -> Picture:
    """Single pixels at each 2nd to 4th place, as through a screen door, or any small tile repeated."""
    down, right = _places(height, width, brush)
    if brush.chance(0.5):
        return _painted((down % brush.whole(2, 4) == 0) & (right % brush.whole(2, 4) == 0), brush)
    tile = brush.rng.random((brush.whole(2, 6), brush.whole(2, 6))) < brush.between(0.3, 0.7)
    return _painted(tile[down % tile.shape[0], right % tile.shape[1]], brush)


def grating(height: int, width: int, brush: Brush) -> Picture:
    down, right = _places(height, width, brush)
    field = np.full((height, width), 0.5, np.float32)
    waves = brush.whole(1, 2)
    for _ in range(waves):
        rise, run = brush.between(-0.5, 0.5), brush.between(-0.5, 0.5)  # in periods a pixel, up to Nyquist
        if brush.chance(0.4):
            rise, run = (rise, 0.0) if brush.chance(0.5) else (0.0, run)
        wave = 2 * math.pi * (rise * down + run * right + brush.between(0, 1))
        field += np.sin(wave.astype(np.float32)) * np.float32(brush.between(0.2, 0.5) / waves)
    return _painted(field, brush)


def zone_plate(height: int, width: int, brush: Brush) -> Picture:
    down, right = _around(height, width, brush)
    squares = down**2 + right**2
    # Half a period a pixel is reached at the farthest corner or inside it, from where the rings come back as aliases.
    reach = math.sqrt(squares.max() + 1) * brush.between(0.7, 2)
    field = 0.5 + 0.5 * np.sin(squares * (math.pi / 2 / reach) + brush.between(0, 2 * math.pi))
    return _painted(field if brush.chance(0.7) else field > 0.5, brush)


def star(height: int, width: int, brush: Brush) -> Picture:
    """Give a Siemens star, whose spokes fade to their mean where they get thinner than a pixel."""
    down, right = _around(height, width, brush)
    spokes = brush.whole(4, 60)
    edge = np.sin(spokes * np.arctan2(down, right)) * np.hypot(down, right) / spokes  # in pixels from the nearest one
    return _painted(np.clip(0.5 + edge, 0, 1) if brush.chance(0.7) else edge > 0, brush)


# Dithers


def _dithered(thresholds: Field, brush: Brush) -> Picture:
    """Dither something soft with the thresholds: to two colours, or each channel to a few levels."""
    height, width = thresholds.shape
    if brush.chance(0.5):
        return _painted(_soft(height, width, brush) > thresholds, brush)
    steps = brush.whole(1, 4)
    soft = gradient(height, width, brush) / np.float32(WHITE)
    return _rounded(np.floor(soft * steps + thresholds[..., None]) * (WHITE / steps))


def bayer(height: int, width: int, brush: Brush) -> Picture:
    down, right = _places(height, width, brush)
    matrix = np.zeros((1, 1))
    for _ in range(brush.whole(1, 3)):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    thresholds = ((matrix + 0.5) / matrix.size).astype(np.float32)
    return _dithered(thresholds[down % len(matrix), right % len(matrix)], brush)


def random_dither(height: int, width: int, brush: Brush) -> Picture:
    return _dithered(brush.rng.random((height, width), dtype=np.float32), brush)


def halftone(height: int, width: int, brush: Brush) -> Picture:
    down, right = _places(height, width, brush)
    angle, pitch = brush.between(0, math.pi / 2), math.pi / brush.between(1.5, 6)
    along = pitch * (math.cos(angle) * down + math.sin(angle) * right)
    across = pitch * (math.cos(angle) * right - math.sin(angle) * down)
    thresholds = (0.5 + 0.5 * np.sin(along) * np.sin(across)).astype(np.float32)
    if brush.chance(0.5):
        return _dithered(thresholds, brush)
    edge = (_soft(height, width, brush) - thresholds) * np.float32(2 / pitch)
    return _painted(np.clip(edge + 0.5, 0, 1), brush)


def floyd_steinberg(height: int, width: int, brush: Brush) -> Picture:
    if brush.chance(0.5):
        soft = Image.fromarray(_rounded(_soft(height, width, brush) * WHITE))
        return _painted(np.asarray(soft.convert("1")), brush)
    palette = Image.new("P", (1, 1))
    palette.putpalette(_rounded(brush.palette(brush.whole(3, 8))).tobytes())
    soft = Image.fromarray(gradient(height, width, brush))
    return np.asarray(soft.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))


# Flat colours and gradients


def flat(height: int, width: int, brush: Brush) -> Picture:
    return np.broadcast_to(_rounded(brush.colour()), (height, width, 3))


def patches(height: int, width: int, brush: Brush) -> Picture:
    image, draw = _canvas(height, width, brush.ink())
    for _ in range(brush.whole(1, 6)):
        across = sorted(brush.rng.uniform(-0.2 * width, 1.2 * width, 2).tolist())
        downward = sorted(brush.rng.uniform(-0.2 * height, 1.2 * height, 2).tolist())
        box = (across[0], downward[0], across[1], downward[1])
        choice = brush.whole(0, 2)
        if choice == 0:
            draw.rectangle(box, brush.ink())
        elif choice == 1:
            draw.ellipse(box, brush.ink())
        else:
            corners = brush.rng.uniform(-0.2, 1.2, (brush.whole(3, 5), 2)) * (width, height)
            draw.polygon(corners.ravel().tolist(), brush.ink())
    return np.asarray(image)


def mosaic(height: int, width: int, brush: Brush) -> Picture:
    """Cells of flat colours, each of all pixels that are nearest to its random point."""
    count = brush.whole(2, 8)
    nearest = np.full((height, width), np.inf, np.float32)
    cells = np.zeros((height, width), np.uint8)
    for i in range(count):
        down, right = _around(height, width, brush)
        away = down**2 + right**2
        cells[away < nearest] = i
        nearest = np.minimum(nearest, away)
    return _rounded(brush.palette(count))[cells]


def gradient(height: int, width: int, brush: Brush) -> Picture:
    """Give a ramp, rings or soft shapes through 2 to 4 colours, at times in bands."""
    field = _soft(height, width, brush)
    stops = brush.palette(brush.whole(3, 4)) if brush.chance(0.4) else np.stack(brush.pair())
    steps = brush.whole(3, 24) if brush.chance(0.2) else 1023
    ramp = np.linspace(0, len(stops) - 1, steps + 1)
    table = np.stack([np.interp(ramp, np.arange(len(stops)), stops[:, i]) for i in range(3)], 1)
    return _rounded(table)[np.rint(field * steps).astype(np.int16)]


# Lines, noise, pixel art


def line_art(height: int, width: int, brush: Brush) -> Picture:
    fine = 3 if brush.chance(0.5) else 1  # drawn larger and averaged, for soft edges
    tall, wide = fine * height, fine * width
    mask = Image.new("L", (wide, tall))
    draw = ImageDraw.Draw(mask)
    thick = fine * int(brush.rng.choice([1, 1, 1, 2, 3]))
    for _ in range(brush.whole(2, 14)):
        ends = brush.rng.uniform(-0.2, 1.2, (4, 2)) * (wide, tall)
        choice = brush.whole(0, 3)
        if choice == 0:
            draw.line(ends[:2].ravel().tolist(), 255, thick)
        elif choice == 1:
            draw.line(ends.ravel().tolist(), 255, thick)
        elif choice == 2:
            draw.ellipse((*ends[:2].min(0).tolist(), *ends[:2].max(0).tolist()), None, 255, thick)
        else:
            t = np.linspace(0, 1, 24)[:, None]
            weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
            draw.line((weights @ ends).ravel().tolist(), 255, thick)
    return _painted(np.asarray(mask.reduce(fine)) / np.float32(WHITE), brush)


def noise(height: int, width: int, brush: Brush) -> Picture:
    """Noise whose amplitudes fall as a power of frequency: white, pink, low, or rising; in all channels or in one."""
    free = not brush.grey and brush.chance(0.5)
    values = brush.rng.standard_normal((3 if free else 1, height, width), dtype=np.float32)
    power = (0.0, 0.0, 0.5, 1.0, 1.5, 2.0, -1.0)[brush.whole(0, 6)]
    if power:
        frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        frequencies[0, 0] = np.inf if power > 0 else 0  # so that the mean is the colour that was drawn
        values = np.fft.irfft2(np.fft.rfft2(values) * frequencies**-power, s=(height, width))
        values /= max(float(values.std()), 1e-3)
    spread = math.exp(brush.between(math.log(2), math.log(90)))
    if free or brush.chance(0.6):
        return _rounded(brush.colour() + spread * np.broadcast_to(values, (3, height, width)).transpose(1, 2, 0))
    return _painted(np.clip(0.5 + spread / 100 * values[0], 0, 1), brush)


def salt(height: int, width: int, brush: Brush) -> Picture:
    """Single pixels of one colour strewn over another."""
    return _painted(brush.rng.random((height, width), dtype=np.float32) < brush.between(0.01, 0.5), brush)


def pixel_art(height: int, width: int, brush: Brush) -> Picture:
    cell = int(brush.rng.choice([1, 2, 2, 3, 4, 5, 6, 8]))
    tall, wide = math.ceil(height / cell), math.ceil(width / cell)
    palette = _rounded(brush.palette(brush.whole(2, 8)))
    if brush.chance(0.5):
        half = brush.rng.integers(0, len(palette), (brush.whole(4, 16), brush.whole(2, 8)))
        half[brush.rng.random(half.shape) < 0.4] = 0
        sprite = np.pad(np.hstack([half, half[:, ::-1]]), 1)
        art = np.tile(sprite, (tall // sprite.shape[0] + 1, wide // sprite.shape[1] + 1))[:tall, :wide]
    else:
        rough = _soft(tall, wide, brush) + brush.rng.normal(0, brush.between(0, 0.2), (tall, wide))
        art = np.clip(rough * len(palette), 0, len(palette) - 1).astype(np.uint8)
    return palette[art.repeat(cell, 0).repeat(cell, 1)[:height, :width]]


KINDS: tuple[tuple[float, tuple[Kind, ...]], ...] = (  # families, each with its weight among them
    (1.0, (text,)),
    (1.0, (windows, icons, table, chart)),
    (2.0, (checkerboard, stripes, dots, grid, mesh, grating, zone_plate, star)),
    (1.5, (bayer, random_dither, halftone, floyd_steinberg)),
    (1.0, (flat, patches, mosaic)),
    (0.7, (gradient,)),
    (0.7, (line_art,)),
    (0.7, (noise, noise, salt)),
    (0.7, (pixel_art,)),
)
WEIGHTS = np.cumsum([weight for weight, _ in KINDS])


def _region(height: int, width: int, brush: Brush) -> Picture:
    _, kinds = KINDS[int(np.searchsorted(WEIGHTS, brush.between(0, WEIGHTS[-1]), "right"))]
    return kinds[brush.whole(0, len(kinds) - 1)](height, width, brush)


def drawn(size: int, generator: torch.Generator) -> UInt8[Tensor, "3 size size"]:
    """Draw one image of a random kind, or of 2 or 4 regions that each choose a kind; about 2 in 5 are grey.

    The generator gives one number an image, from which all else follows: the same seed gives the same images.

    Arguments:
        size: height and width in pixels, at least 1.
        generator: where randomness comes from, on any device; the image is on the CPU.
    """
    seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
    rng = np.random.default_rng(int(seed))
    brush = Brush(rng, grey=bool(rng.random() < GREY))
    cuts = 0 if size < 2 else int(np.searchsorted(np.cumsum(REGIONS[:-1]), rng.random(), "right"))
    least = max(size // 8, 1)
    across = [0, brush.whole(least, size - least), size] if cuts else [0, size]
    downward = [0, brush.whole(least, size - least), size] if cuts == 2 else [0, size]
    image = np.empty((size, size, 3), np.uint8)
    for top, bottom in itertools.pairwise(downward):
        for left, right in itertools.pairwise(across):
            image[top:bottom, left:right] = _region(bottom - top, right - left, brush)
    if cuts == 1 and brush.chance(0.5):
        image = np.rot90(image)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def sheet(count: int, size: int, seed: int) -> list[UInt8[Tensor, "3 size size"]]:
    """Draw ``count`` images of ``size`` x ``size`` pixels, the same ones for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return [drawn(size, generator) for _ in range(count)]
