"""Image files and Pillow's images to tensors and back: colour, grey, alpha, 16 bit, EXIF orientation, ICC profile."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from coscale.errors import CoscaleError, ImageError, TooManyPixelsError
from coscale.files import StrPath, read_regular, replacing
from coscale.quantize import to_uint8

READ_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
WRITTEN = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})  # suffixes of what is written
# Those that a file in a folder is taken for a photo by; one that cannot be read is a failure, not left out.
SUFFIXES = WRITTEN | {
    *(".jfif", ".jpe", ".mpo", ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx"),
    *(".gif", ".apng", ".dib"),
}
MAX_PIXELS = 250_000_000
_LONGEST_SIDE = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}  # what the formats can say
_ORIENTATION = 0x0112  # the EXIF tag
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_BITS = 258


@dataclass(frozen=True)
class Photo:
    """An image, and what goes along with it.

    - ``colour``: in [0, 1], 1 x 3 x H x W (RGB) or 1 x 1 x H x W (grey).
    - ``alpha``: opacity in [0, 1], 1 x 1 x H x W; None for a photo without transparency.
    - ``icc``: its colour profile, which goes along unchanged.
    - ``text``: the text chunks of the PNG that it was read from.

    Raises ImageError for tensors of other shapes.
    """

    colour: Float[Tensor, "1 c h w"]
    alpha: Float[Tensor, "1 1 h w"] | None = None
    icc: bytes | None = None
    text: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(self.colour.shape)
        if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3) or 0 in shape:
            raise ImageError(
                f"colour has shape {shape}; give 1 x 3 x height x width, or 1 x 1 x height x width for grey"
            )
        if self.alpha is not None and tuple(self.alpha.shape) != (1, 1, *self.size):
            raise ImageError(f"alpha has shape {tuple(self.alpha.shape)}; give {(1, 1, *self.size)}, as colour's")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.colour.shape[-2], self.colour.shape[-1]


def read(path: StrPath, max_pixels: int | None = None) -> Photo:
    """Read a JPEG, PNG, WebP, TIFF or BMP file, upright, 8 or 16 bit a channel, as float32 in [0, 1].

    Palettes become RGB; CMYK becomes sRGB by its profile; of several frames the first is taken. Raises ImageError
    when the file is missing, no image, damaged, of an unsupported depth, or declares more than ``max_pixels``
    (MAX_PIXELS without it).
    """
    path = Path(path)
    data = _bytes_of(path)
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        with _without_pillow_limit(), Image.open(BytesIO(data), formats=READ_FORMATS) as file:
            _check_size(path, file.size, limit)
            return _convert(path, data, file)
    except UnidentifiedImageError as error:
        if data.startswith(_TIFF_STARTS):  # one whose depth or layout Pillow does not know
            return _deep_tiff(path, data, limit)
        raise ImageError(f"{path} is not a JPEG, PNG, WebP, TIFF or BMP image; convert it to one of these") from error
    except CoscaleError:
        raise
    except Exception as error:  # decoders fail in many ways on what is damaged
        raise _damaged(path, error) from error


def write(path: StrPath, photo: Photo, text: Mapping[str, str] | None = None) -> None:
    """Write ``photo`` rounded to 8 bit; the suffix of ``path`` chooses the format. ``text`` becomes text of a PNG.

    PNG, WebP, TIFF and BMP are written without loss, JPEG at quality 95. The file appears whole or not at all. Raises
    ImageError for a format that cannot hold the photo, OutputError when it cannot be written.
    """
    path = Path(path)
    data = to_bytes(photo, path.suffix, text)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def to_bytes(photo: Photo, suffix: str, text: Mapping[str, str] | None = None) -> bytes:
    """What a file with this ``suffix`` holds of ``photo``; ``text`` becomes the text chunks of a PNG. See ``write``."""
    suffix = suffix.lower()
    if suffix not in WRITTEN:
        raise ImageError(f"no image format has the suffix {suffix!r}; name the file .png, .jpg, .webp, .tif or .bmp")
    if photo.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise ImageError(f"a {suffix} file cannot hold the photo's transparency; name it .png, .webp or .tif")
    if max(photo.size) > _LONGEST_SIDE.get(suffix, max(photo.size)):
        raise ImageError(f"a {suffix} file is {_LONGEST_SIDE[suffix]} pixels long at most; name it .png or .tif")
    options: dict[str, Any] = {"icc_profile": photo.icc} if photo.icc and suffix != ".bmp" else {}
    if suffix == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for key, value in (text or {}).items():
            options["pnginfo"].add_text(key, value)
    elif suffix in (".jpg", ".jpeg"):
        options |= {"quality": 95, "subsampling": 0}
    elif suffix == ".webp":
        options |= {"lossless": True, "exact": True}
    elif suffix in (".tif", ".tiff"):
        options["compression"] = "tiff_deflate"
    encoded = BytesIO()
    _levels(photo).save(encoded, format=Image.registered_extensions()[suffix], **options)
    return encoded.getvalue()


def from_pillow(image: Image.Image) -> Photo:
    """The photo that a Pillow image holds, as ``read`` makes it of a file, for all modes but those of 32 bit.

    Pillow cuts 16-bit colour to 8 bit when it opens a file; ``read`` does not. ``text`` holds the strings of
    ``image.info``. Raises ImageError when the image is empty, damaged or of an unsupported mode.
    """
    if not image.width or not image.height:
        raise ImageError(f"the image is {image.width} x {image.height} pixels; give one of at least 1 x 1")
    try:
        image.load()
        text = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
        return _of_pillow("the image", image, text)
    except CoscaleError:
        raise
    except Exception as error:  # decoders fail in many ways on what is damaged
        raise _damaged("the image", error) from error


def to_pillow(photo: Photo) -> Image.Image:
    """``photo`` rounded to 8 bit as a Pillow image, L, LA, RGB or RGBA; its profile and ``text`` are in ``info``."""
    image = _levels(photo)
    image.info.update(photo.text)
    if photo.icc:
        image.info["icc_profile"] = photo.icc
    return image


def _bytes_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give an image file")
        data = read_regular(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); check its name and permissions") from error
    if not data:
        raise ImageError(f"{path} is empty; copy or save it again")
    return data


def digest(path: StrPath) -> str:
    """SHA-256 of an image file's bytes, in hexadecimal. Raises ImageError when it cannot be read."""
    return hashlib.sha256(_bytes_of(Path(path))).hexdigest()


def _damaged(what: object, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{what} is damaged or cut short ({reason}); copy or save it again")


_pillow_limit = threading.Lock()


@contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Pillow's limit on pixels is a global that only warns below twice its value; ours is an argument and refuses."""
    with _pillow_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check_size(path: Path, size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{path} says it is {width} x {height} pixels; copy or save it again")
    if width * height > limit:
        raise TooManyPixelsError(
            f"{path} says it is {width} x {height} pixels, more than the limit of {limit / 1e6:g} million; "
            "raise --max-pixels if it really is"
        )


def _convert(path: Path, data: bytes, file: Image.Image) -> Photo:
    deep = _is_deep(file)  # asked first: Pillow forgets it once it has decoded
    if deep and file.format == "TIFF":
        return _deep_tiff(path, data, file.width * file.height)
    file.load()
    text = dict(file.text) if isinstance(file, PngImagePlugin.PngImageFile) else {}
    if deep:
        orientation = file.getexif().get(_ORIENTATION, 1)
        return _to_photo(_deep_png(path, data), orientation, file.info.get("icc_profile"), text)
    return _of_pillow(path, file, text)


def _of_pillow(what: object, image: Image.Image, text: Mapping[str, str]) -> Photo:
    """The photo that an image holds which Pillow has decoded."""
    orientation = image.getexif().get(_ORIENTATION, 1)  # Pillow turns some formats itself, and then drops the tag
    icc = image.info.get("icc_profile")
    if image.mode == "CMYK":
        image, icc = _cmyk_to_srgb(image, icc), None
    elif image.mode == "LAB":
        icc = None  # it describes Lab, and what follows is sRGB
    return _to_photo(_pillow_samples(what, image), orientation, icc, text)


def _to_photo(samples: np.ndarray, orientation: int, icc: bytes | None, text: Mapping[str, str]) -> Photo:
    planes = np.ascontiguousarray(np.moveaxis(_upright(samples, orientation), -1, 0))[None]
    levels = 65535 if samples.dtype == np.uint16 else 255
    channels = 1 if planes.shape[1] <= 2 else 3
    colour, *alpha = (
        torch.from_numpy(part.astype(np.float32)).div_(levels)
        for part in (planes[:, :channels], planes[:, channels:])
        if part.shape[1]
    )
    return Photo(colour, alpha[0] if alpha else None, icc, text)


def _is_deep(file: Image.Image) -> bool:
    """Whether Pillow would cut the samples to 8 bit, or not know what they mean; 16-bit grey PNG it keeps."""
    if file.format == "TIFF":
        return max(file.tag_v2.get(_TIFF_BITS, (1,))) > 8  # type: ignore[attr-defined]
    return isinstance(file, PngImagePlugin.PngImageFile) and any(
        "16" in str(tile[3]) and not str(tile[3]).startswith("I;16") for tile in file.tile
    )


def _needs_extra(path: Path) -> ImageError:
    return ImageError(f"{path} has 16-bit samples, which need: pip install 'coscale[16bit]'")


def _deep_png(path: Path, data: bytes) -> np.ndarray:
    try:
        import imagecodecs
    except ImportError as error:
        raise _needs_extra(path) from error
    try:
        samples = imagecodecs.png_decode(data)
    except Exception as error:  # a foreign decoder fails in many ways
        raise _damaged(path, error) from error
    return samples if samples.ndim == 3 else samples[..., None]


def _deep_tiff(path: Path, data: bytes, limit: int) -> Photo:
    """The first page of a TIFF with 16-bit grey or RGB samples, with or without alpha."""
    try:
        import imagecodecs
        import tifffile
    except ImportError as error:
        raise _needs_extra(path) from error
    kinds = tifffile.PHOTOMETRIC
    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            page = file.pages.first
            _check_size(path, (page.imagewidth, page.imagelength), limit)
            bits, photometric, extras = page.bitspersample, int(page.photometric), page.extrasamples
            orientation, icc = page.tags.valueof(_ORIENTATION, default=1), page.iccprofile
            colours = {int(kinds.RGB): 3, int(kinds.MINISBLACK): 1, int(kinds.MINISWHITE): 1}.get(photometric)
            if bits != 16 or page.dtype != np.uint16 or colours is None:
                raise ImageError(f"{path} has {bits}-bit samples of an unsupported kind; save it as 8 or 16-bit RGB")
            # libtiff, which checks what it reads: tifffile's own decoders trust the file and can crash on a damaged one
            samples = imagecodecs.tiff_decode(data, index=0)
            shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
            planes_first = samples.shape == shape[2:] + shape[:2] != shape
        samples = np.moveaxis(samples, 0, -1) if planes_first else samples.reshape(shape)
    except ImageError:
        raise
    except Exception as error:  # foreign decoders fail in many ways
        raise _damaged(path, error) from error
    colour, rest = samples[..., :colours], samples[..., colours:]
    if photometric == kinds.MINISWHITE:
        colour = 65535 - colour
    kind = extras[0] if rest.shape[-1] and extras else None
    alpha = (
        rest[..., :1] if kind in (tifffile.EXTRASAMPLE.UNASSALPHA, tifffile.EXTRASAMPLE.ASSOCALPHA) else rest[..., :0]
    )
    if kind == tifffile.EXTRASAMPLE.ASSOCALPHA:
        straight = np.divide(65535.0 * colour, alpha, where=alpha > 0, out=np.zeros(colour.shape))
        colour = straight.clip(0, 65535).round().astype(np.uint16)
    return _to_photo(np.concatenate((colour, alpha), -1), orientation, icc, {})


def _pillow_samples(what: object, file: Image.Image) -> np.ndarray:
    """H x W x channels, uint8 or uint16, with 1 or 2 channels (grey) or 3 or 4 (RGB)."""
    if file.mode.startswith("I;16"):
        samples = np.array(file).astype(np.uint16)
        clear = file.info.get("transparency")
        alpha = [] if clear is None else [np.where(samples == clear, 0, 65535).astype(np.uint16)]
        return np.stack([samples, *alpha], -1)
    if file.mode in ("I", "F"):
        raise ImageError(f"{what} has 32-bit samples; save it with 8 or 16 bit")
    grey = file.mode in ("1", "L", "LA", "La")
    alpha = file.has_transparency_data
    mode = ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")
    samples = np.array(file if file.mode == mode else file.convert(mode))  # converting to the same mode copies
    return samples if samples.ndim == 3 else samples[..., None]


def _cmyk_to_srgb(file: Image.Image, icc: bytes | None) -> Image.Image:
    """By the profile, or by the plain formula when there is none that fits."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            converted = ImageCms.profileToProfile(file, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (OSError, ImageCms.PyCMSError):
            converted = None
        if converted is not None:
            return converted
    return file.convert("RGB")


def _upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the EXIF orientation (1 to 8; anything else counts as 1)."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


def _levels(photo: Photo) -> Image.Image:
    channels = [photo.colour] if photo.alpha is None else [photo.colour, photo.alpha]
    levels = torch.cat([to_uint8(c.cpu()) for c in channels], 1)[0].permute(1, 2, 0)
    array = np.ascontiguousarray(levels.numpy())
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
