"""The LR file: an ordinary 8-bit PNG whose text chunk ``coscale`` says where it comes from, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from coscale.errors import LRFileError
from coscale.files import StrPath, replacing
from coscale.image import Photo, read, to_bytes

KEY = "coscale"
_LONGEST = 65_536  # characters of a note; those that are written have some hundred


@dataclass(frozen=True)
class Origin:
    """What an upscaler must know of an LR image.

    - ``rescaler``, ``weights_hash``, ``scale``: what made it; the hash is SHA-256, empty where there are no weights.
    - ``width``, ``height``: the original's size in pixels.
    - ``version``: that of the coscale which made it.
    """

    rescaler: str
    weights_hash: str
    scale: int
    width: int
    height: int
    version: str

    def to_text(self) -> str:
        """The JSON that the LR file carries."""
        return json.dumps(asdict(self))

    def check_size(self, lr: Photo) -> None:
        """Raise LRFileError when ``lr`` has not the size that this origin's LR must have."""
        height, width = lr.size
        if (height, width) != (-(-self.height // self.scale), -(-self.width // self.scale)):
            raise LRFileError(
                f"the LR image is {width} x {height} pixels, but its note is about a photo of {self.width} x "
                f"{self.height} at x{self.scale}; use the file as coscale wrote it, not resized"
            )


def write_lr(path: StrPath, photo: Photo, origin: Origin) -> None:
    """Write the LR ``photo`` as an 8-bit PNG with its origin.

    Raises LRFileError for a path that does not end in .png and for an origin that could not be read back, and
    OutputError when it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise LRFileError(f"{path.name}: an LR file is a PNG, since a lossy one would spoil it; name it .png")
    data = lr_bytes(photo, origin)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def lr_bytes(photo: Photo, origin: Origin) -> bytes:
    """What the LR file holds. Raises LRFileError for an origin that could not be read back."""
    text = {KEY: origin.to_text()}
    if _origin_of(text[KEY]) != origin:
        raise LRFileError(f"{origin} cannot be noted in an LR file; give short, printable names and positive numbers")
    return to_bytes(photo, ".png", text)


def read_lr(path: StrPath, max_pixels: int | None = None, strict: bool = False) -> tuple[Photo, Origin | None]:
    """Read an image and, where it has one, its origin.

    Raises ImageError as ``read`` does, and LRFileError when the note is damaged or the image was resized since.
    """
    photo = read(path, max_pixels, strict)
    origin = origin_in(photo.text, path)
    if origin:
        origin.check_size(photo)
    return photo, origin


def origin_in(text: Mapping[str, str], what: object) -> Origin | None:
    """The origin that an image's text notes, if it does. Raises LRFileError, about ``what``, when it is damaged."""
    if KEY not in text:
        return None
    origin = _origin_of(text[KEY])
    if origin is None:
        raise LRFileError(f"{what} has a damaged note about its origin; strip its text chunks and give --rescaler")
    return origin


def _origin_of(note: str) -> Origin | None:
    """The origin that a note says, None for one that is damaged or absurdly long."""
    if len(note) > _LONGEST:
        return None
    try:
        fields = json.loads(note)
        origin = Origin(**{name: fields[name] for name in Origin.__dataclass_fields__})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (origin.rescaler, origin.weights_hash, origin.version)
    numbers = (origin.scale, origin.width, origin.height)
    if not all(isinstance(t, str) and t.isprintable() for t in texts) or not all(
        type(n) is int and n > 0 for n in numbers
    ):
        return None
    return origin
