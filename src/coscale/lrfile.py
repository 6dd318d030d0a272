"""The LR file: an ordinary 8-bit image with a note in it that says where it comes from, as JSON.

The note is in the XMP metadata of every format, see ``xmp``, and in the text chunk ``coscale`` of a PNG.
"""

import hashlib
import json
import warnings
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from coscale import upsampled
from coscale.areas import Areas
from coscale.errors import CoscaleError, CoscaleWarning, LRFileError, OutputError
from coscale.files import StrPath, replacing
from coscale.image import Photo, bytes_of, from_bytes, read
from coscale.levels import LEVELS
from coscale.quantize import to_uint8
from coscale.storage import LOSSLESS_SUFFIXES, PNG, Storage, for_suffix
from coscale.xmp import NOTE as KEY

_LONGEST = 65_536  # characters of a note; those that are written have some hundred, or some thousand with areas
_LONGEST_PROFILE = 30_000  # bytes
_NEEDED = ("rescaler", "weights_hash", "scale", "width", "height", "version")  # of a note's fields
_BRIEF = 16  # digits of the beginning of a hash: as good as the whole against mistakes
_SEEN = 8  # digits of the hash of an LR, to tell whether it has been compressed again
RESTORED = "coscale-restored"  # the key of the note in a restored photo, which is no LR file


@dataclass(frozen=True)
class Making:
    """What an LR file was made of and how, beside its rescaler: it tells whether making it again is needed.

    - ``input_hash``: SHA-256 of the photo's file.
    - ``method``, ``arguments``: the method's name, ``none`` without one, and its settings as they were asked for.
    """

    input_hash: str
    method: str
    arguments: Mapping[str, str | float | None] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> str:
        """Give the beginning of a hash of all this, for notes that have to be short."""
        text = json.dumps([self.input_hash, self.method, sorted(self.arguments.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:_BRIEF]


@dataclass(frozen=True)
class Restoring:
    """What a restored photo was made of and how: the LR's file, the rescaler's name and weights, the seed, whether
    EXIF, XMP and IPTC data were left out, how many bits a channel it has, and the precision of the convolutions.
    """

    input_hash: str
    rescaler: str
    weights_hash: str
    seed: int | None
    stripped: bool = False
    depth: int = 8
    precision: str = "float32"

    def to_text(self) -> str:
        """Give the JSON that the restored photo carries where it is a PNG."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Origin:
    """What an upscaler must know of an LR image.

    - ``rescaler``, ``weights_hash``, ``scale``: what made it; the hash is SHA-256, empty where there are no weights.
    - ``width``, ``height``: the original's size in pixels.
    - ``version``: that of the coscale which made it.
    - ``making``: of which file and how it was made; None where that was no file, or by an older version.
    - ``grey``: what a grey photo was stored as, ``L`` or ``RGB``; the mean of what is restored is its grey. None for
      photos in colour.
    - ``profile``: the ICC profile of a grey photo whose LR is in colour, which it does not fit.
    - ``bicubic``: the areas that bicubic restores; None for none.
    - ``level``: what an upscaler is told of the codec that keeps the LR, see ``rescalers/coded``; None for a lossless
      one.
    - ``seen``: the beginning of a hash of the LR as decoders see it, see ``seen_in``; None where nothing can be lost.
    - ``made``: the digest of ``making``, in its place.
    - ``shown``: True where decoders of the file's format are to upscale as the rescaler does, if they can; else None.
    """

    rescaler: str
    weights_hash: str
    scale: int
    width: int
    height: int
    version: str
    making: Making | None = None
    grey: str | None = None
    profile: bytes | None = None
    bicubic: Areas | None = None
    level: int | None = None
    seen: str | None = None
    made: str | None = None
    shown: bool | None = None

    @property
    def brief(self) -> "Origin":
        """Give the same in few bytes, for a file that has to be small: of hashes only their beginnings."""
        made = None if self.making is None else self.making.digest
        return replace(self, weights_hash=self.weights_hash[:_BRIEF], making=None, made=made)

    def to_text(self) -> str:
        """Give the JSON that the LR file carries; the profile is in base64, and what is None is left out."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        if self.profile is not None:
            fields["profile"] = b64encode(self.profile).decode()
        return json.dumps(fields, separators=None if self.level is None else (",", ":"))

    def check_size(self, lr: Photo) -> None:
        """Raise LRFileError when ``lr`` has not the size that this origin's LR must have."""
        height, width = lr.size
        if (height, width) != (-(-self.height // self.scale), -(-self.width // self.scale)):
            raise LRFileError(
                f"the LR image is {width} x {height} pixels, but its note is about a photo of {self.width} x "
                f"{self.height} at x{self.scale}; use the file as coscale wrote it, not resized"
            )
        if self.bicubic and not self.bicubic.fit(lr.size):
            raise LRFileError("the note of the LR image has areas of another image; use the file as coscale wrote it")


def write_lr(path: StrPath, photo: Photo, origin: Origin) -> None:
    """Write the LR ``photo`` as an 8-bit image with its origin; the suffix of ``path`` chooses the format.

    Raises LRFileError for a path with the suffix of no lossless format and for an origin that could not be read back,
    ImageError for what the format cannot hold or needs an extra for, and OutputError when it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in LOSSLESS_SUFFIXES:
        raise LRFileError(
            f"{path.name}: a lossy file would spoil an LR image, or no LR file is of that kind; "
            f"name it {' or '.join(LOSSLESS_SUFFIXES)}"
        )
    data = lr_bytes(photo, origin, for_suffix(path.suffix))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def lr_bytes(photo: Photo, origin: Origin, storage: Storage = PNG) -> bytes:
    """Give what the LR file holds.

    Raises LRFileError for an origin that could not be read back, and as ``encode`` does.
    """
    text = origin.to_text()
    if _origin_of(text) != origin:
        raise LRFileError(f"{origin} cannot be noted in an LR file; give short, printable names and positive numbers")
    if origin.shown:
        storage = storage.showing(origin.scale, (origin.height, origin.width))
    return storage.encode(replace(photo, text={KEY: text}))


def read_lr(path: StrPath, max_pixels: int | None = None, strict: bool = False) -> tuple[Photo, Origin | None]:
    """Read an image and, where it has one, its origin.

    Raises ImageError as ``read`` does, and LRFileError when the note is damaged or the image was resized since.
    """
    return lr_from_bytes(bytes_of(path), path, max_pixels, strict)


def lr_from_bytes(
    data: bytes, what: object = "the image", max_pixels: int | None = None, strict: bool = False
) -> tuple[Photo, Origin | None]:
    """Give what an image file's bytes hold, as ``read_lr`` does; ``what`` is what messages call it."""
    photo = from_bytes(upsampled.unmarked(data), what, max_pixels, strict)
    origin = origin_in(photo.text, what)
    if origin:
        origin.check_size(photo)
        if origin.seen and origin.seen != seen_in(photo):
            warnings.warn(
                f"{what} was compressed or changed again since coscale wrote it; what it restores is worse for that",
                CoscaleWarning,
                stacklevel=2,
            )
    return photo, origin


def seen_in(lr: Photo) -> str:
    """Give the beginning of a hash of an LR's colours: what a note says of an LR that a lossy codec keeps."""
    return hashlib.sha256(to_uint8(lr.colour).numpy().tobytes()).hexdigest()[:_SEEN]


def can_note(profile: bytes | None) -> bool:
    """Say whether a note has room for a profile."""
    return profile is None or len(profile) <= _LONGEST_PROFILE


def origin_in(text: Mapping[str, str], what: object) -> Origin | None:
    """Give the origin that an image's text notes, if it does.

    Raises LRFileError, about ``what``, when it is damaged.
    """
    if KEY not in text:
        return None
    origin = _origin_of(text[KEY])
    if origin is None:
        raise LRFileError(f"{what} has a damaged note about its origin; strip its metadata and give --rescaler")
    return origin


def _origin_of(note: str) -> Origin | None:
    """The origin that a note says, None for one that is damaged or absurdly long."""
    if len(note) > _LONGEST:
        return None
    try:
        fields = json.loads(note)
        making = None if fields.get("making") is None else _making(fields["making"])
        grey = fields.get("grey")
        profile = None if fields.get("profile") is None else b64decode(fields["profile"], validate=True)
        areas = fields.get("bicubic")
        bicubic = None if areas is None else Areas(areas["side"], tuple(areas["runs"]))
        needed = (fields[name] for name in _NEEDED)
        told = {name: fields.get(name) for name in ("level", "seen", "made", "shown")}
        origin = Origin(*needed, making=making, grey=grey, profile=profile, bicubic=bicubic, **told)
    except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (origin.rescaler, origin.weights_hash, origin.version)
    numbers = (origin.scale, origin.width, origin.height)
    if origin.grey not in (None, "L", "RGB"):
        return None
    if origin.level is not None and not (type(origin.level) is int and 0 <= origin.level < LEVELS):
        return None
    if origin.shown not in (None, True):
        return None
    if not isinstance(origin.seen, str | None) or not isinstance(origin.made, str | None):
        return None
    if not all(isinstance(t, str) and t.isprintable() for t in texts) or not all(
        type(n) is int and n > 0 for n in numbers
    ):
        return None
    return origin


def same_weights(noted: str, weights_hash: str) -> bool:
    """Say whether a note's hash of weights, of which it may have the beginning alone, is that of these."""
    return weights_hash.startswith(noted) if len(noted) == _BRIEF else noted == weights_hash


def check_same_lr(path: Path, pairs: Sequence[tuple[str, str]], making: Making) -> None:
    """Raise OutputError unless ``path`` is the LR file that would be made, as far as its note says.

    ``pairs``: the names of the rescalers that may be the best, and the hashes of their weights; mostly one.
    """
    try:
        _, there = read_lr(path, strict=True)
    except CoscaleError:
        there = None
    if there is None:
        difference = "is no LR file, or a damaged one"
    elif there.making is None and there.made is None:
        difference = "does not say of which photo it is, as those of older versions do not"
    elif there.making and there.making.input_hash != making.input_hash:
        difference = "is of another photo"
    elif not any(there.rescaler == name and same_weights(there.weights_hash, of) for name, of in pairs):
        known = there.rescaler in [name for name, _ in pairs]
        difference = f"is by {there.rescaler}" + (" with other weights" if known else "")
    elif there.made is not None and there.made != making.digest:
        difference = "is of another photo, or was made by another method or with other settings"
    elif there.making is not None and there.making != making:
        difference = "was made by another method or with other settings"
    else:
        return
    raise _is_there(path, difference)


def check_same_restored(path: Path, restoring: Restoring, max_pixels: int) -> None:
    """Raise OutputError unless ``path`` is the restored photo that would be made, as far as its note says.

    Only a PNG has such a note. A photo of more than ``max_pixels`` is not the one.
    """
    try:
        text = read(path, max_pixels, strict=True).text.get(RESTORED)
        there = None if text is None else Restoring(**json.loads(text))
    except (CoscaleError, ValueError, TypeError, RecursionError):
        there = None
    if there is None:
        raise _is_there(path, "does not say what it was restored from (PNGs of this version do)")
    if there != restoring:
        raise _is_there(
            path,
            "was restored from another image, by other weights, or with another "
            "--sample, --strip, --depth or --precision",
        )


def _is_there(path: Path, difference: str) -> OutputError:
    return OutputError(f"{path} is there already and {difference}; give --overwrite to replace it, or another place")


def _making(fields: Mapping[str, object]) -> Making:
    """Raises KeyError and TypeError for what is none."""
    input_hash, method, arguments = fields["input_hash"], fields["method"], fields["arguments"]
    if not isinstance(input_hash, str) or not isinstance(method, str) or not isinstance(arguments, dict):
        raise TypeError
    if not all(isinstance(value, str | int | float | None) for value in arguments.values()):
        raise TypeError
    return Making(input_hash, method, arguments)
