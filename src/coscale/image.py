"""Image files to tensors and back: colour, grey, alpha, 16 bit, EXIF orientation, ICC profile."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from coscale.errors import ImageError
from coscale.files import replacing
from coscale.quantize import to_uint8

READ_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 250_000_000
_ORIENTATION = 0x0112  # the EXIF tag
_TIFF_BITS = 258
_Y_WEIGHTS = (65.481, 128.553, 24.966)


@dataclass(frozen=True)
class Photo:
    """An image: ``colour`` in [0, 1] with 3 channels (RGB) or 1 (grey), and what goes along with it unchanged."""

    colour: Float[Tensor, "1 c h w"]
    alpha: Float[Tensor, "1 1 h w"] | None = None
    icc: bytes | None = None
    text: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.colour.shape[-2], self.colour.shape[-1]


def luma(colour: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Y of BT.601 in its studio range, so in [16 / 255, 235 / 255]; grey (c = 1) counts as R = G = B."""
    weights = torch.tensor(_Y_WEIGHTS, dtype=colour.dtype, device=colour.device)[:, None, None]
    weighted = colour * weights if colour.shape[1] == 3 else colour * weights.sum()
    return (16 + weighted.sum(1, keepdim=True)) / 255


def read(path: Path, max_pixels: int | None = None) -> Photo:
    """Read a JPEG, PNG, WebP, TIFF or BMP file, upright, 8 or 16 bit a channel.

    Palettes become RGB; CMYK becomes sRGB by its profile; of several frames the first is taken. Raises ImageError
    when the file is missing, no image, damaged, of an unsupported depth, or declares more than ``max_pixels``
    (MAX_PIXELS without it).
    """
    if not path.exists():
        raise ImageError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise ImageError(f"{path} is a folder; give an image file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    if not data:
        raise ImageError(f"{path} is empty; copy or save it again")
    try:
        with _without_pillow_limit(), Image.open(BytesIO(data), formats=READ_FORMATS) as file:
            _check_size(path, file.size, MAX_PIXELS if max_pixels is None else max_pixels)
            return _convert(path, data, file)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not a JPEG, PNG, WebP, TIFF or BMP image; convert it to one of these") from error
    except (OSError, SyntaxError, ValueError, EOFError, ImageCms.PyCMSError) as error:
        raise ImageError(f"{path} is damaged or cut short ({error}); copy or save it again") from error


def write(path: Path, photo: Photo, quality: int = 95) -> None:
    """Write ``photo`` rounded to 8 bit; the suffix of ``path`` chooses the format, ``quality`` is JPEG's.

    PNG, WebP and TIFF are written without loss; ``photo.text`` goes into PNG files only. The file appears whole or
    not at all. Raises ImageError for a format that cannot hold the photo, OutputError when it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(f"{path.name} has no image suffix; name the file .png, .jpg, .webp, .tif or .bmp")
    if photo.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise ImageError(f"{path.name} cannot hold the photo's transparency; name the file .png, .webp or .tif")
    image = _to_pillow(photo)
    options: dict[str, object] = {"icc_profile": photo.icc} if photo.icc and suffix != ".bmp" else {}
    if suffix == ".png":
        notes = PngImagePlugin.PngInfo()
        for key, value in photo.text.items():
            notes.add_text(key, value)
        options["pnginfo"] = notes
    elif suffix in (".jpg", ".jpeg"):
        options |= {"quality": quality, "subsampling": 0}
    elif suffix == ".webp":
        options |= {"lossless": True, "exact": True}
    elif suffix in (".tif", ".tiff"):
        options["compression"] = "tiff_deflate"
    with replacing(path) as temporary:
        image.save(temporary, format=Image.registered_extensions()[suffix], **options)  # type: ignore[arg-type]


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


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{path} says it is {width} x {height} pixels, more than the limit of {max_pixels / 1e6:g} million; "
            "raise --max-pixels if it really is"
        )


def _convert(path: Path, data: bytes, file: Image.Image) -> Photo:
    deep = _is_deep_colour(file)  # asked first: Pillow forgets it once it has decoded
    orientation = file.getexif().get(_ORIENTATION, 1)
    icc = file.info.get("icc_profile")
    text = {str(key): value for key, value in file.info.items() if isinstance(value, str)}
    if deep:
        samples = _decode_deep(path, data, file.format or "")
    else:
        file.load()
        orientation = file.getexif().get(_ORIENTATION, 1)  # Pillow turns some formats itself, and then drops the tag
        if file.mode == "CMYK":
            file, icc = _cmyk_to_srgb(file, icc), None
        samples = _pillow_samples(path, file)
    samples = _upright(samples, orientation)
    levels = 65535 if samples.dtype == np.uint16 else 255
    tensor = torch.from_numpy(np.ascontiguousarray(samples)).permute(2, 0, 1)[None].to(torch.float32) / levels
    channels = 1 if tensor.shape[1] <= 2 else 3
    alpha = tensor[:, channels:] if tensor.shape[1] > channels else None
    return Photo(tensor[:, :channels].contiguous(), alpha, icc, text)


def _is_deep_colour(file: Image.Image) -> bool:
    """Whether the file has 16-bit samples that Pillow would cut to 8; 16-bit grey without alpha it keeps."""
    if file.mode.startswith("I;16"):
        return False
    if file.format == "TIFF":
        return max(file.tag_v2.get(_TIFF_BITS, (8,))) > 8 and file.mode not in ("I", "F")  # type: ignore[attr-defined]
    return isinstance(file, PngImagePlugin.PngImageFile) and any("16" in str(tile[3]) for tile in file.tile)


def _decode_deep(path: Path, data: bytes, kind: str) -> np.ndarray:
    try:
        import imagecodecs
        import tifffile
    except ImportError as error:
        raise ImageError(f"{path} has 16-bit colour, which needs: pip install 'coscale[16bit]'") from error
    try:
        if kind == "PNG":
            samples = imagecodecs.png_decode(data)
        else:
            with tifffile.TiffFile(BytesIO(data)) as file:
                page = file.pages.first
                samples = page.asarray()
                if page.axes.startswith("S"):
                    samples = np.moveaxis(samples, 0, -1)
                if page.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
                    raise ImageError(f"{path} has 16-bit samples that are neither RGB nor grey; save it as RGB")
    except (imagecodecs.PngError, imagecodecs.DelayedImportError, tifffile.TiffFileError, RuntimeError) as error:
        raise ImageError(f"{path} is damaged or cut short ({error}); copy or save it again") from error
    if samples.dtype != np.uint16:
        raise ImageError(f"{path} has samples of type {samples.dtype}; save it with 8 or 16 bit")
    return samples if samples.ndim == 3 else samples[..., None]


def _pillow_samples(path: Path, file: Image.Image) -> np.ndarray:
    """H x W x channels, uint8 or uint16, with 1 or 2 channels (grey) or 3 or 4 (RGB)."""
    if file.mode.startswith("I;16"):
        return np.array(file).astype(np.uint16)[..., None]
    if file.mode in ("I", "F"):
        raise ImageError(f"{path} has 32-bit samples; save it with 8 or 16 bit")
    grey = file.mode in ("1", "L", "LA", "La")
    alpha = file.has_transparency_data
    mode = ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")
    samples = np.array(file.convert(mode))
    return samples if samples.ndim == 3 else samples[..., None]


def _cmyk_to_srgb(file: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(file, ImageCms.ImageCmsProfile(BytesIO(icc)), srgb, outputMode="RGB")
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


def _to_pillow(photo: Photo) -> Image.Image:
    channels = [photo.colour] if photo.alpha is None else [photo.colour, photo.alpha]
    levels = to_uint8(torch.cat([c.cpu() for c in channels], 1))[0].permute(1, 2, 0)
    array = np.ascontiguousarray(levels.numpy())
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
