"""JPEG, whose coefficients are chosen one by one: tables of nearly equal steps, chroma of half the size, 4:2:0."""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from coscale import gainmaps, xmp
from coscale.containers import START_OF_JPEG, jpeg_segments
from coscale.dct import SIDE, Coefficients, coefficients_of, image_of, mean_step, percent_of, quality_tables
from coscale.errors import ImageError
from coscale.image import Photo, to_bytes
from coscale.levels import level_of
from coscale.quantize import quantize
from coscale.resize import pad
from coscale.storage.lossy import Lossy

_BLOCK = 2 * SIDE  # of an image whose chroma has half the size
_CHROMA = 1.2  # steps of chroma over those of luma
_COEFFICIENTS = SIDE * SIDE
_ORDER = np.argsort([row + column for row in range(SIDE) for column in range(SIDE)], kind="stable")  # by frequency
_APPLICATION = range(0xE0, 0xF0)  # markers of what is no part of the picture


@dataclass(frozen=True)
class Jpeg(Lossy):
    """JPEG of a ``quality`` on libjpeg's scale: its tables have the mean step of that quality's low frequencies.

    Equal steps for all frequencies leave the least squared error for their bytes.
    ``code``: the quantised coefficients to write, in place of those of the image; see ``code_of``.
    """

    code: Float[Tensor, "1 n"] | None = field(default=None, compare=False)

    name = "jpg"
    suffix = ".jpg"
    block = _BLOCK
    codes = True
    most_xmp = xmp.MOST_IN_JPEG
    holds_gain_maps = True

    @property
    def tables(self) -> Float[Tensor, "2 64"]:
        """Give the steps of luma and of chroma: whole numbers, some of them one larger where the mean asks for it."""
        step = max(1.0, _LOW_AT_50 * percent_of(self.quality) / 100)
        return torch.stack([_steps(step), _steps(_CHROMA * step)])

    @property
    def step(self) -> float:
        """Give what an upscaler is told: the mean step of luma's low frequencies, in grey levels."""
        return float(mean_step(self.tables))

    def rate(self, x: Float[Tensor, "b c h w"]) -> None:
        return None

    @property
    def level(self) -> int:
        """Give what an upscaler is told, for this step."""
        return level_of(self.step)

    def check(self) -> None:
        _jpeglib()

    def code_of(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n"]:
        """Give the quantised coefficients of images: those of Y, Cb and Cr one after the other, in blocks."""
        planes = coefficients_of(pad(x, _BLOCK), halved=True).planes
        return torch.cat([(p / t).round().flatten(1) for p, t in zip(planes, self._tables_of(x), strict=True)], 1)

    def planes_of(self, code: Float[Tensor, "b n"], size: tuple[int, int]) -> list[Float[Tensor, "b rows columns 64"]]:
        """Give the three planes of a code for images of that (height, width)."""
        rows, columns = (-(-side // _BLOCK) for side in size)
        luma, chroma = (2 * rows, 2 * columns, _COEFFICIENTS), (rows, columns, _COEFFICIENTS)
        shapes = (luma, chroma, chroma)
        parts = code.split([int(np.prod(shape)) for shape in shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]

    def image_of(self, code: Float[Tensor, "b n"], size: tuple[int, int]) -> Float[Tensor, "b 3 h w"]:
        """Give what a code stands for, not rounded to grey levels; differentiable."""
        planes = self.planes_of(code, size)
        steps = [p * t for p, t in zip(planes, self._tables_of(code), strict=True)]
        height, width = planes[0].shape[1] * SIDE, planes[0].shape[2] * SIDE
        x = image_of(Coefficients((steps[0], steps[1], steps[2]), height, width, halved=True))
        return x[..., : size[0], : size[1]]

    def holding(self, code: Float[Tensor, "1 n"]) -> "Jpeg":
        return replace(self, code=code.cpu())

    def encode(self, lr: Photo) -> bytes:
        if lr.alpha is not None:
            raise ImageError("a .jpg file cannot hold the photo's transparency; take webp or png")
        colour = quantize(lr.colour)
        code = self.code_of(colour.expand(-1, 3, -1, -1)) if self.code is None else self.code
        planes = self.planes_of(code, lr.size)[: colour.shape[1]]
        data = _with_segments(_smallest(_file_of(planes, self.tables, lr.size)), self._segments(lr))
        return gainmaps.attached(data, lr.gain_map) if lr.gain_map else data

    def _segments(self, lr: Photo) -> bytes:
        """The note, EXIF data and the profile as segments: those of a file of one pixel that has the same."""
        one, texts = replace(lr, pixels=lr.pixels[..., :1, :1], gain_map=b""), self.texts(lr)
        if lr.gain_map:
            texts[xmp.CHUNK] = xmp.joined(texts.get(xmp.CHUNK, ""), gainmaps.properties(lr.gain_map))
        return _application_segments(to_bytes(one, self.suffix, texts))

    def _tables_of(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        luma, chroma = self.tables.to(like)
        return luma, chroma, chroma


_LOW_AT_50 = float(mean_step(quality_tables(50)))


def _steps(mean: float) -> Float[Tensor, "64"]:
    """Whole steps of that mean: the higher frequencies get the larger ones."""
    low = min(int(mean), 255)
    steps = torch.full((_COEFFICIENTS,), float(low))
    larger = round((min(mean, 255) - low) * _COEFFICIENTS)
    steps[torch.from_numpy(_ORDER[_COEFFICIENTS - larger :].copy())] += 1
    return steps


def _file_of(planes: list[Tensor], tables: Tensor, size: tuple[int, int]) -> bytes:
    """The JPEG file of quantised coefficients, without any metadata."""
    jpeglib, arrays = _jpeglib(), []
    for plane, half in zip(planes, (1, 2, 2), strict=False):
        # A file has no blocks that are outside of the image altogether, as the last of an uneven number may be.
        rows, columns = (-(-side // (half * SIDE)) for side in size)
        blocks = plane[0, :rows, :columns].unflatten(2, (SIDE, SIDE))
        arrays.append(np.ascontiguousarray(blocks.to(torch.int16).numpy()))
    used = tables[: min(2, len(planes))].unflatten(1, (SIDE, SIDE)).to(torch.uint16).numpy()
    image = jpeglib.from_dct(*arrays, qt=np.ascontiguousarray(used))
    image.height, image.width = size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lr.jpg"
        image.write_dct(str(path))
        return path.read_bytes()


def _smallest(data: bytes) -> bytes:
    """The same coefficients in progressive scans with codes of their own, as mozjpeg arranges them."""
    import mozjpeg_lossless_optimization

    smaller = mozjpeg_lossless_optimization.optimize(data)
    return min(data, smaller, key=len)


def _application_segments(data: bytes) -> bytes:
    """All segments of a JPEG file before its picture that applications put there, but for JFIF's."""
    return b"".join(
        data[at:end]
        for kind, at, end in jpeg_segments(data)
        if kind in _APPLICATION and not data.startswith(b"JFIF", at + 4)
    )


def _with_segments(data: bytes, segments: bytes) -> bytes:
    """A JPEG file with segments behind JFIF's, which comes first."""
    at = len(START_OF_JPEG)
    if data[at + 4 :].startswith(b"JFIF"):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at] + segments + data[at:]


def _jpeglib() -> Any:
    try:
        import jpeglib
        import mozjpeg_lossless_optimization  # noqa: F401 - both or none
    except ImportError as error:
        raise ImageError("LR files as JPEG need: pip install 'coscale[jpeg]'") from error
    return jpeglib
