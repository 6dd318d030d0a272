"""The LR file: an ordinary 8-bit PNG whose text chunk ``coscale`` says where it comes from, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from coscale.errors import LRFileError
from coscale.image import Photo, read, write

KEY = "coscale"


@dataclass(frozen=True)
class Origin:
    """What an upscaler must know: the rescaler, the hash of its weights, the scale, the original's size in pixels."""

    rescaler: str
    weights: str
    scale: int
    width: int
    height: int
    version: str

    def to_text(self) -> str:
        return json.dumps(asdict(self))


def write_lr(path: Path, photo: Photo, origin: Origin) -> None:
    """Write the LR ``photo`` as a PNG with its origin. Raises as ``image.write`` does."""
    if path.suffix.lower() != ".png":
        raise LRFileError(f"{path.name}: an LR file is a PNG, since a lossy one would spoil it; name it .png")
    write(path, Photo(photo.colour, photo.alpha, photo.icc, {KEY: origin.to_text()}))


def read_lr(path: Path, max_pixels: int | None = None) -> tuple[Photo, Origin | None]:
    """Read an image and, where it has one, its origin.

    Raises ImageError as ``image.read`` does, and LRFileError when the note is damaged or the image was resized since.
    """
    photo = read(path, max_pixels)
    origin = parse(photo.text, path)
    if origin and photo.size != (-(-origin.height // origin.scale), -(-origin.width // origin.scale)):
        height, width = photo.size
        raise LRFileError(
            f"{path} is {width} x {height} pixels, which is not the size that it was written with; "
            "use the file as coscale wrote it"
        )
    return photo, origin


def parse(text: Mapping[str, str], path: Path) -> Origin | None:
    """The origin in the text chunks of a PNG, or None without one; raises LRFileError for a damaged one."""
    if KEY not in text:
        return None
    damaged = LRFileError(f"{path} has a damaged note about its origin; strip its text chunks and give --rescaler")
    try:
        fields = json.loads(text[KEY])
        origin = Origin(**{name: fields[name] for name in Origin.__dataclass_fields__})
    except (ValueError, KeyError, TypeError) as error:
        raise damaged from error
    texts = (origin.rescaler, origin.weights, origin.version)
    numbers = (origin.scale, origin.width, origin.height)
    if not all(isinstance(t, str) for t in texts) or not all(type(n) is int and n > 0 for n in numbers):
        raise damaged
    return origin
