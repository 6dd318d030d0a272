"""One file of a photo, measured: a row of the study of rates."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from coscale.errors import DataError
from coscale.files import jsonable, rows_in

Identity = tuple[str, str, str, str, float, str]


@dataclass(frozen=True, kw_only=True)
class Rated:
    """What a file of one photo restores to.

    - ``set``, ``image``, ``image_hash``: the photo; ``height``, ``width``: of the part of it that was measured.
    - ``maker``: what made the file and restored the photo, "WebP" or "LR webp + coscale" for example.
    - ``quality``: what the maker was asked for; 0 for a file without loss.
    - ``weights_hash``: of the network that restores the photo; empty without one.
    - ``bytes``: of the file, note and all.
    - ``psnr_y``, ``psnr_rgb``, ``ssim_y``: as everywhere; ``ssimulacra2``, ``butteraugli``: None where not measured.
    - ``seconds``: to make the file and restore the photo.
    - ``coscale``: the version that measured it.
    """

    set: str
    image: str
    image_hash: str
    height: int
    width: int
    maker: str
    quality: float
    weights_hash: str = ""
    bytes: int
    psnr_y: float
    psnr_rgb: float
    ssim_y: float
    ssimulacra2: float | None = None
    butteraugli: float | None = None
    seconds: float
    coscale: str

    @property
    def identity(self) -> Identity:
        """Give what tells it from other rows."""
        return (self.set, self.image, self.image_hash, self.maker, self.quality, self.weights_hash)

    @property
    def size(self) -> tuple[int, int]:
        """Give (height, width) of what was measured, in pixels."""
        return self.height, self.width

    @property
    def bits(self) -> float:
        """Give the bits of the file for each pixel of the photo."""
        return 8 * self.bytes / (self.height * self.width)

    def has(self, measures: Iterable[str]) -> bool:
        """Say whether these optional measures were taken."""
        return all(getattr(self, name) is not None for name in measures)

    def to_json(self) -> dict[str, Any]:
        """Give the row; the PSNR of equal images is null."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, row: object) -> Self:
        """Give what ``to_json`` wrote; what is not known is ignored. Raises DataError for anything else."""
        if not isinstance(row, dict):
            raise DataError("it is no object")
        values = {each.name: row[each.name] for each in fields(cls) if each.name in row}
        for name in ("psnr_y", "psnr_rgb"):
            if name in values and values[name] is None:
                values[name] = math.inf
        for name, kinds in _KINDS.items():
            if name not in values and name not in _OPTIONAL:
                raise DataError(f"it has no {name}")
            if name in values and type(values[name]) not in kinds:
                raise DataError(f"{name} is {json.dumps(values[name])[:40]}")
        if min(values["height"], values["width"], values["bytes"]) < 1:
            raise DataError("height, width or bytes is below 1")
        return cls(**values)


_NUMBER = (int, float)
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("set", "image", "image_hash", "maker", "weights_hash", "coscale"), (str,)),
    **dict.fromkeys(("height", "width", "bytes"), (int,)),
    **dict.fromkeys(("quality", "psnr_y", "psnr_rgb", "ssim_y", "ssimulacra2", "butteraugli", "seconds"), _NUMBER),
}
_OPTIONAL = ("weights_hash", "ssimulacra2", "butteraugli")


def line_of(row: Rated) -> str:
    """Give the line of a row."""
    return json.dumps(jsonable(row.to_json()))


def read_rated(path: Path) -> dict[Identity, Rated]:
    """Give the rows of a file by their identity; a last line that was cut short is left out.

    Raises DataError, with the line, for what is no row.
    """
    return {row.identity: row for row in rows_in(path, Rated.from_json, "rows of the study of rates")}
