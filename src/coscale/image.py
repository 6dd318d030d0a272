"""Image files and Pillow's images to tensors and back: colour, grey, alpha, 16 bit, EXIF orientation, ICC profile."""

import contextlib
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from coscale import containers, deep, foreign, gainmaps, iptc, metadata, profiles, xmp
from coscale.alpha import fill_hidden
from coscale.containers import Findings, check_size
from coscale.errors import CoscaleError, CoscaleWarning, ImageError, reason
from coscale.files import StrPath, read_regular, replacing
from coscale.quantize import as_float, to_uint8, to_uint16
from coscale.quiet import listening
from coscale.saving import WRITTEN, Saving
from coscale.strips import strips

# What is told by how a file begins; TGA is not, and so comes last. What Pillow runs another program for is left out.
READ_FORMATS = (
    *("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000"),
    *("PPM", "QOI", "PSD", "SGI", "SUN", "PCX", "DDS", "ICNS", "ICO", "TGA"),
)
# Those that a file in a folder is taken for a photo by; one that cannot be read is a failure, not left out.
SUFFIXES = WRITTEN | {
    *(".jfif", ".jpe", ".mpo", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf", ".jpx"),
    *(".gif", ".apng", ".dib", ".pbm", ".pgm", ".pnm", ".ppm", ".psd", ".qoi", ".tga"),
}
AS_USUAL = Saving()
MAX_PIXELS = 250_000_000
_LONGEST_SIDE = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".avif": 65_536}  # what the formats can say
_MOST_ICC_IN_JPEG = 255 * 65_519  # bytes: so many segments of that size
_BITS = 8  # of the samples of a JPEG that decoders read
_STRIP = 2**20  # pixels that are converted at once
_ORIENTATION = 0x0112  # the EXIF tag
_GAIN_MAP = "gain_map"  # the key of a photo's gain map in Pillow's ``info``, where Pillow itself has none
_TIFF_BITS, _TIFF_COMPRESSION, _TIFF_WHITE, _TIFF_PRIMARIES = 258, 259, 318, 319
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands, from byte 8 on


@dataclass(frozen=True)
class Photo:
    """An image, and what goes along with it.

    - ``pixels``: 1 x 3 x H x W (RGB) or 1 x 1 x H x W (grey), in [0, 1], or as grey levels in uint8: so a large photo
      takes a quarter of the memory. ``colour`` has either in [0, 1].
    - ``alpha``: opacity in [0, 1], 1 x 1 x H x W; None for a photo without transparency.
    - ``icc``: its colour profile, which goes along unchanged.
    - ``text``: the text chunks of the PNG that it was read from, and of any format the note of an LR file.
    - ``meaning``: what its colours mean where no profile says it, as the chunks of a PNG, see ``profiles``.
    - ``exif``: its EXIF data, a TIFF block without what is about the pixels of its file, see ``metadata``.
    - ``xmp``: its XMP properties, a packet as ``xmp.carried`` gives it, without the note of an LR file.
    - ``iptc``: its IPTC data as JPEG and TIFF have them; what they say is in ``xmp`` too.
    - ``gain_map``: a JPEG of how much brighter it is on an HDR screen, see ``gainmaps``; only a JPEG holds it.

    Raises ImageError for tensors of other shapes.
    """

    pixels: Float[Tensor, "1 c h w"] | UInt8[Tensor, "1 c h w"]
    alpha: Float[Tensor, "1 1 h w"] | None = None
    icc: bytes | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    meaning: Mapping[str, bytes] = field(default_factory=dict)
    exif: bytes = b""
    xmp: str = ""
    iptc: bytes = b""
    gain_map: bytes = b""

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        if len(shape) != 4 or shape[0] != 1 or shape[1] not in (1, 3) or 0 in shape:
            raise ImageError(
                f"pixels have shape {shape}; give 1 x 3 x height x width, or 1 x 1 x height x width for grey"
            )
        if self.alpha is not None and tuple(self.alpha.shape) != (1, 1, *self.size):
            raise ImageError(f"alpha has shape {tuple(self.alpha.shape)}; give {(1, 1, *self.size)}, as the pixels'")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def channels(self) -> int:
        """Give 3 for RGB and 1 for grey."""
        return self.pixels.shape[1]

    @property
    def colour(self) -> Float[Tensor, "1 c h w"]:
        """Give the pixels in [0, 1]; those of a photo of 8 bit are converted each time."""
        return as_float(self.pixels)

    @property
    def levels(self) -> UInt8[Tensor, "1 c h w"]:
        """Give the pixels rounded to 8 bit."""
        return to_uint8(self.pixels)

    @property
    def shown(self) -> Float[Tensor, "1 c h w"] | UInt8[Tensor, "1 c h w"]:
        """Give the pixels, filled from their surroundings where they are transparent: anything can be hidden there."""
        return self.pixels if self.alpha is None else fill_hidden(self.colour, self.alpha)

    @property
    def stripped(self) -> "Photo":
        """Give the photo's picture alone: without EXIF, XMP and IPTC data, and without its gain map."""
        bare = replace(self, exif=b"", xmp="", iptc=b"", gain_map=b"")
        return bare if self.exif or self.xmp or self.iptc or self.gain_map else self

    @property
    def mode(self) -> Literal["L", "RGB"]:
        """Give what Pillow calls its channels, without alpha's."""
        return "L" if self.channels == 1 else "RGB"


def read(path: StrPath, max_pixels: int | None = None, strict: bool = False) -> Photo:
    """Read an image file, upright, 8 or 16 bit a channel; READ_FORMATS has the formats.

    What has 8 bit is kept as grey levels, see ``Photo``. Palettes become RGB; CMYK and Lab become sRGB; of several
    images the main one is taken. One CoscaleWarning says what was left out, and where the file is damaged but can be
    read; ``strict`` refuses what is damaged. Raises ImageError when the file is missing, no image, damaged, of a kind
    that is not supported, or declares more than ``max_pixels`` (MAX_PIXELS without it).
    """
    return from_bytes(bytes_of(path), path, max_pixels, strict)


def bytes_of(path: StrPath) -> bytes:
    """Give the bytes of an image file. Raises ImageError when it cannot be read."""
    path = Path(path)
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


def from_bytes(data: bytes, what: object = "the image", max_pixels: int | None = None, strict: bool = False) -> Photo:
    """Give the photo that an image file's bytes hold, as ``read`` reads it; ``what`` is what messages call it."""
    found = Findings()
    with listening() as heard:
        photo = _decoded(what, data, MAX_PIXELS if max_pixels is None else max_pixels, found)
    if found.damage and strict:
        raise ImageError(f"{what} is damaged ({found.damage}); copy or save it again, or take it without --strict")
    _tell(what, found, heard)
    return photo


def write(path: StrPath, photo: Photo, text: Mapping[str, str] | None = None, saving: Saving = AS_USUAL) -> None:
    """Write ``photo`` rounded to 8 bit; the suffix of ``path`` chooses the format. ``text`` becomes text of a PNG.

    PNG, TIFF and BMP are written without loss, so are WebP and JPEG XL unless ``saving`` has a quality. JPEG and AVIF
    have one of 95 and 90 without it. PNG and TIFF can have 16 bit. The file appears whole or not at all. Raises
    ImageError for a format that cannot hold the photo, OutputError when it cannot be written.
    """
    path = Path(path)
    data = to_bytes(photo, path.suffix, text, saving=saving)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def to_bytes(
    photo: Photo,
    suffix: str,
    text: Mapping[str, str] | None = None,
    small: bool = False,
    saving: Saving = AS_USUAL,
    encoder: Mapping[str, Any] | None = None,
) -> bytes:
    """Give what a file holds of ``photo``; see ``write``.

    Arguments:
        photo: the photo.
        suffix: that of the file's name.
        text: becomes the text chunks of a PNG; in other formats its XMP packet does, by the key ``xmp.CHUNK``.
        small: take more time for fewer bytes of a WebP.
        saving: quality and depth.
        encoder: what Pillow's encoder is asked for, in place of what ``saving`` means.
    """
    suffix, text = suffix.lower(), text or {}
    saving.check(suffix)
    if photo.alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        raise ImageError(f"a {suffix} file cannot hold the photo's transparency; name it .png, .webp, .avif or .tif")
    if max(photo.size) > _LONGEST_SIDE.get(suffix, max(photo.size)):
        raise ImageError(f"a {suffix} file is {_LONGEST_SIDE[suffix]} pixels long at most; name it .png or .tif")
    found = Findings()
    icc = _fitting(photo.icc, photo.channels, found)
    if icc and suffix == ".bmp":
        found.notes.append("a .bmp file cannot hold its colour profile; name it .png")
        icc = None
    elif icc and suffix in (".jpg", ".jpeg") and len(icc) > _MOST_ICC_IN_JPEG:
        found.notes.append(f"a {suffix} file cannot hold so large a colour profile; name it .png")
        icc = None
    elif icc and suffix in (".jxl", ".avif") and photo.mode == "L" and photo.alpha is not None:
        found.notes.append(f"a {suffix} file cannot hold the profile of a grey image with transparency; name it .png")
        icc = None
    if photo.meaning and suffix != ".png":
        said = profiles.described(photo.meaning)
        found.notes.append(f"a {suffix} file cannot say here what its colours mean ({said}); name it .png")
    gain_map, said = photo.gain_map, text.get(xmp.CHUNK, photo.xmp)
    if gain_map and suffix in (".jpg", ".jpeg"):
        said = xmp.joined(said, gainmaps.properties(gain_map))
    elif gain_map:
        found.notes.append(f"a {suffix} file cannot hold its gain map for HDR screens; name it .jpg")
        gain_map = b""
    exif, packet = _with_room(photo.exif, said.encode(), suffix, found)
    _tell("the image to be written", found, ())
    if suffix == ".jxl":
        samples = _samples(photo, saving.depth)
        if saving.distance:
            return foreign.in_boxes(foreign.lossy_jpeg_xl(samples, icc, saving.distance), packet, exif)
        return foreign.to_jpeg_xl(samples, icc, packet, exif)
    options: dict[str, Any] = {"icc_profile": icc} if icc else {}
    if exif:
        options["exif"] = metadata.PREFIX + exif
        dpi = metadata.dots_per_inch(exif)
        options |= {"dpi": dpi} if dpi else {}
    if suffix == ".png":
        options["pnginfo"] = _png_chunks(photo.meaning, {**text, xmp.CHUNK: packet.decode()} if packet else text)
    elif suffix in (".jpg", ".jpeg"):
        options |= {"xmp": packet} | ({"extra": iptc.segment(photo.iptc)} if photo.iptc else {})
    elif suffix in (".webp", ".avif"):
        options |= {"xmp": packet}
        options |= {"method": 6} if small else {}  # quality 100 would save 2% more, and take 20 times as long
    elif suffix in (".tif", ".tiff"):
        options["exif"] = metadata.tags(exif, packet, photo.iptc)
        options |= {} if exif else {"compression": "tiff_adobe_deflate"}  # together Pillow cannot write them
    if saving.depth == 8:
        asked = saving.options(suffix, photo.mode) if encoder is None else encoder
        data = _saved(_image_of(photo), suffix, {**options, **asked})
        return gainmaps.attached(data, gain_map) if gain_map else data
    samples = _samples(photo, saving.depth)
    if suffix == ".png":
        return deep.png(_saved(_in_pillow(samples[:1, :1].astype(np.uint8)), suffix, options), samples)
    return deep.tiff(_saved(_in_pillow(deep.in_bytes(samples)), suffix, options))


def _saved(image: Image.Image, suffix: str, options: Mapping[str, Any]) -> bytes:
    """The file that Pillow writes of an image."""
    form = Image.registered_extensions().get(suffix)
    if form is None or form not in Image.SAVE:
        raise ImageError(f"Pillow cannot write {suffix} files here; name the file .png, .jpg or .webp")
    encoded = BytesIO()
    image.save(encoded, format=form, **options)
    return encoded.getvalue()


def _with_room(exif: bytes, packet: bytes, suffix: str, found: Findings) -> tuple[bytes, bytes]:
    """EXIF data and XMP packet, each of them empty where the format has no room for it."""
    kept = {"EXIF": exif, "XMP": packet}
    if suffix == ".bmp" and (left_out := [name for name, data in kept.items() if data]):
        found.notes.append(f"a .bmp file cannot hold its {' and '.join(left_out)} data; name it .png")
        return b"", b""
    if suffix in (".jpg", ".jpeg"):
        for name, most in (("EXIF", metadata.MOST_IN_JPEG), ("XMP", xmp.MOST_IN_JPEG)):
            if len(kept[name]) > most:
                found.notes.append(f"a {suffix} file cannot hold so many {name} data; name it .png")
                kept[name] = b""
    return kept["EXIF"], kept["XMP"]


def from_pillow(image: Image.Image) -> Photo:
    """Give the photo that a Pillow image holds, as ``read`` makes it of a file, for all modes but those of 32 bit.

    Pillow cuts 16-bit colour to 8 bit when it opens a file; ``read`` does not. ``text`` holds the strings of
    ``image.info``. Raises ImageError when the image is empty, damaged or of an unsupported mode.
    """
    if not image.width or not image.height:
        raise ImageError(f"the image is {image.width} x {image.height} pixels; give one of at least 1 x 1")
    found = Findings()
    with listening() as heard:
        try:
            image.load()
            text = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
            said = profiles.chunks_of(*_chromaticities(image.info))
            photo = _of_pillow("the image", image, text, said, found)
        except CoscaleError:
            raise
        except Exception as error:  # decoders fail in many ways on what is damaged
            raise _damaged("the image", error) from error
    _tell("the image", found, heard)
    return photo


def to_pillow(photo: Photo) -> Image.Image:
    """Give ``photo`` rounded to 8 bit as a Pillow image, L, LA, RGB or RGBA; what goes along with it is in ``info``."""
    image = _image_of(photo)
    image.info.update(photo.text)
    if photo.icc:
        image.info["icc_profile"] = photo.icc
    if photo.exif:
        image.info["exif"] = metadata.PREFIX + photo.exif
    if photo.xmp:
        image.info["xmp"] = photo.xmp.encode()
    if photo.iptc:
        image.info["photoshop"] = {iptc.RESOURCE: photo.iptc}
    if photo.gain_map:
        image.info[_GAIN_MAP] = photo.gain_map
    image.info.update(profiles.in_numbers(photo.meaning))
    return image


def _tell(what: object, found: Findings, heard: Sequence[str]) -> None:
    """Warn, in one line, of what was found in a file and of what its decoder said."""
    texts = [f"it is damaged ({found.damage}), and taken as it can be read"] if found.damage else []
    texts += found.notes
    if heard:
        texts.append(f"its metadata are damaged ({heard[0].rstrip('. ')})")
    if texts:
        warnings.warn(f"{what}: {'; '.join(dict.fromkeys(texts))}", CoscaleWarning, stacklevel=3)


def _damaged(what: object, error: Exception) -> ImageError:
    said = reason(error)
    if "MAX_TEXT" in said:
        most = profiles.MOST_BYTES >> 20
        return ImageError(f"{what} holds a text or a profile of more than {most} MiB; strip its metadata")
    return ImageError(f"{what} is damaged or cut short ({said}); copy or save it again")


_pillow_limits = threading.Lock()


@contextmanager
def _our_limits() -> Iterator[None]:
    """Pillow's limits are global. That on pixels only warns below twice its value; ours is an argument and refuses."""
    with _pillow_limits:
        before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, profiles.MOST_BYTES
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = before


def _decoded(path: object, data: bytes, limit: int, found: Findings) -> Photo:
    said: dict[str, bytes] = {}
    if data.startswith(containers.PNG):
        data, said = containers.look_through_png(data, found)
    elif data.startswith(containers.TIFF):
        data = containers.main_page_first(data, found)
    try:
        if data.startswith(foreign.JPEG_XL):
            return _jpeg_xl(path, data, limit, found)
        formats = (*READ_FORMATS, "HEIF") if _is_heic(data) and foreign.takes_heif() else READ_FORMATS
        with _our_limits():
            file = Image.open(BytesIO(data), formats=formats)
            check_size(path, file.size, limit)
            if file.format in ("JPEG", "MPO"):
                data = containers.whole_jpeg(data, found)
                file = Image.open(BytesIO(data), formats=formats)
            return _convert(path, data, file, said, found)
    except UnidentifiedImageError as error:
        if data.startswith(containers.TIFF):  # one whose depth or layout Pillow does not know
            photo, exif = _foreign_tiff(path, data, limit, {}, found), metadata.in_tiff(data)
            return _accompanied(photo, exif, {"xmp": exif.get(metadata.XMP_TAG)}, found)
        raise _no_image(path, data) from error
    except CoscaleError:
        raise
    except Exception as error:  # decoders fail in many ways on what is damaged
        raise _damaged(path, error) from error


def _is_heic(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIC


def _no_image(path: object, data: bytes) -> ImageError:
    if (kind := containers.kind_of_jpeg(data)) and kind[1] != _BITS:
        return ImageError(f"{path} is a JPEG of {kind[1]} bit, which cannot be read; save it with 8 bit")
    if data.startswith((containers.PNG, containers.JPEG)):
        return ImageError(f"{path} is damaged or cut short (it is like a PNG or a JPEG in its first bytes only)")
    if _is_heic(data):
        if foreign.takes_heif():
            return ImageError(f"{path} is a damaged HEIC image; copy or save it again")
        return ImageError(f"{path} is a HEIC image, which needs: pip install 'coscale[heic]'")
    return ImageError(
        f"{path} is not a JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or JPEG 2000 image; convert it to one of these"
    )


def _convert(path: object, data: bytes, file: Image.Image, said: dict[str, bytes], found: Findings) -> Photo:
    if file.format in ("JPEG", "MPO"):
        if gain_map := gainmaps.found_in(data):
            file.info[_GAIN_MAP] = gain_map
        if noted := [one for one in containers.packets_of_jpeg(data) if xmp.read(one).note]:
            file.info["xmp"] = noted[-1]  # where another program has added a packet, of which Pillow takes the last
    if left_out := containers.what_is_left_out(file, data, _GAIN_MAP in file.info):
        found.notes.append(left_out)
    icc = None
    if file.format == "AVIF":
        said = {} if "icc_profile" in file.info else profiles.avif_chunks(data)
    elif file.format == "BMP":
        icc, said = profiles.bmp_colour(data)
    elif file.format == "TIFF":
        said = _tiff_chunks(file)
        try:
            file.info["photoshop"] = {iptc.RESOURCE: iptc.in_tiff(file)}  # where those of a JPEG are
        except Exception:  # as in _exif_of
            found.notes.append("its IPTC data are damaged, and are left out")
    if icc:
        file.info["icc_profile"] = icc
    deep = _is_deep(file)  # asked first: Pillow forgets it once it has decoded
    if deep and file.format == "TIFF":
        photo = _foreign_tiff(path, data, file.width * file.height, said, found)
        return _accompanied(photo, _exif_of(file, found), file.info, found)
    file.load()
    text = dict(file.text) if isinstance(file, PngImagePlugin.PngImageFile) else {}
    if deep:
        exif, icc = _exif_of(file, found), file.info.get("icc_profile")
        photo = _to_photo(foreign.png(path, data), exif.get(_ORIENTATION, 1), icc, text, said, exif, found)
        return _accompanied(photo, exif, file.info, found)
    return _of_pillow(path, file, text, said, found)


def _jpeg_xl(path: object, data: bytes, limit: int, found: Findings) -> Photo:
    decoded, more = foreign.jpeg_xl(path, data, limit)
    if more:
        found.notes.append("of its frames only the first is taken")
    told = xmp.read(decoded.packet)
    samples, text = _as_told(decoded.samples, told), _noted({}, told)
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # what is damaged carries nothing
        exif.load(decoded.exif)
    photo = _to_photo(samples, 1, decoded.icc, text, {}, Image.Exif(), found)
    return _accompanied(photo, exif, {"xmp": decoded.packet}, found)


def _noted(text: Mapping[str, str], told: xmp.Told) -> Mapping[str, str]:
    """The texts and, where they have no note of their own, that of the XMP packet."""
    return text if told.note is None else {xmp.NOTE: told.note, **text}


def _as_told(samples: np.ndarray, told: xmp.Told) -> np.ndarray:
    """Grey that was stored as colour, and alpha that was left out; what is no grey after all is left alone."""
    if told.channels == 3:  # which says nothing, and a copy of a large photo is spared
        return samples
    has_colour = samples.shape[2] >= 3
    colours = 3 if has_colour else 1
    colour, alpha = samples[..., :colours], samples[..., colours:]
    if told.channels <= 2 and has_colour and _is_nearly_grey(colour):
        colour = colour.mean(2, keepdims=True, dtype=np.float32).round().astype(colour.dtype)
    if told.channels % 2 == 0 and not alpha.shape[2]:
        alpha = np.full_like(colour[..., :1], np.iinfo(colour.dtype).max)
    return np.concatenate((colour, alpha), -1)


def _is_nearly_grey(colour: np.ndarray) -> bool:
    """Whether the three channels differ by a level at most, as lossy WebP rounds those of grey."""
    parts = (colour[rows].astype(np.int32) for rows in strips(*colour.shape[:2], pixels=_STRIP))
    return all(int(np.ptp(part, axis=2).max()) <= 1 for part in parts)


def _foreign_tiff(path: object, data: bytes, limit: int, said: dict[str, bytes], found: Findings) -> Photo:
    try:
        decoded = foreign.tiff(path, data, limit)
    except ImageError:
        raise
    except Exception as error:  # foreign decoders fail in many ways
        raise _damaged(path, error) from error
    return _to_photo(decoded.samples, decoded.orientation, decoded.icc, {}, said, Image.Exif(), found)


def _of_pillow(
    what: object, image: Image.Image, text: Mapping[str, str], said: dict[str, bytes], found: Findings
) -> Photo:
    """The photo that an image holds which Pillow has decoded."""
    exif = _exif_of(image, found)
    orientation = exif.get(_ORIENTATION, 1)  # Pillow turns some formats itself, and then drops the tag
    icc, converted = image.info.get("icc_profile"), image.mode in ("CMYK", "LAB")
    colours_said = exif
    if converted:  # what describes them is not about the sRGB that they become
        colours_said, said = Image.Exif(), {}
        image, icc = profiles.cmyk_to_srgb(image, icc) if image.mode == "CMYK" else image, None
    told = xmp.read(text.get(xmp.CHUNK) or image.info.get("xmp"))
    samples = _as_told(_pillow_samples(what, image), told)
    photo = _to_photo(samples, orientation, icc, _noted(text, told), said, colours_said, found)
    return _accompanied(photo, exif, image.info, found, converted)


def _exif_of(image: Image.Image, found: Findings) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # its reader fails in many ways on what is damaged
        found.notes.append("its EXIF data are damaged, and are left out")
        return Image.Exif()


def _accompanied(
    photo: Photo, exif: Image.Exif, info: Mapping[Any, Any], found: Findings, converted: bool = False
) -> Photo:
    """The photo with what its file says beside the pixels, as Pillow has it; what is damaged or too large is told."""

    def left_out(kind: str, why: object) -> None:
        found.notes.append(f"its {kind} data {why}, and are left out")

    packet, resources, gain_map = info.get("xmp"), info.get("photoshop"), info.get(_GAIN_MAP)
    packet = packet if isinstance(packet, bytes) else b""
    told = xmp.read(packet)
    press = resources.get(iptc.RESOURCE) if isinstance(resources, dict) else None
    press = told.iptc or (press if isinstance(press, bytes) else b"")
    gain_map = told.gain_map or (gain_map if isinstance(gain_map, bytes) else b"")
    orientation = exif.get(_ORIENTATION, 1)
    turned = orientation != 1
    try:
        block = metadata.carried(exif, info.get("dpi"), converted)
    except Exception:  # as in _exif_of
        left_out("EXIF", "are damaged")
        block = b""
    try:
        press = iptc.carried(press)
    except ValueError as error:
        left_out("IPTC", error)
        press = b""
    more = iptc.properties(press)
    try:
        own = xmp.carried(packet, turned, more)
    except ValueError as error:
        left_out("XMP", error)
        own = xmp.carried(b"", turned, more)
    try:
        gain_map = gainmaps.carried(gain_map, orientation) if gain_map else b""
    except ValueError as error:
        found.notes.append(f"its gain map for HDR screens {error}, and is left out")
        gain_map = b""
    return replace(photo, exif=block, xmp=own, iptc=press, gain_map=gain_map)


def _to_photo(
    samples: np.ndarray,
    orientation: int,
    icc: bytes | None,
    text: Mapping[str, str],
    said: dict[str, bytes],
    exif: Image.Exif,
    found: Findings,
) -> Photo:
    # Of its own and writable, as torch asks for.
    planes = np.require(np.moveaxis(_upright(samples, orientation), -1, 0), requirements=("C", "W"))[None]
    levels = 65535 if samples.dtype == np.uint16 else 255
    channels = 1 if planes.shape[1] <= 2 else 3
    # Colours of 8 bit stay as they are. Alpha, which few photos have, and 16 bit become float.
    deep, opacity = (
        torch.from_numpy(part.astype(np.float32)).div_(levels)
        for part in (planes[:, : channels if samples.dtype == np.uint16 else 0], planes[:, channels:])
    )
    pixels = deep if samples.dtype == np.uint16 else torch.from_numpy(planes[:, :channels])
    icc = _fitting(icc, channels, found)
    meaning = profiles.meaning(said, has_profile=icc is not None)
    if icc is None and not said.keys() - {"iCCP"}:  # EXIF data have the last word
        meaning = _exif_meaning(exif, found)
    return Photo(pixels, opacity if opacity.shape[1] else None, icc, text, meaning)


def _fitting(icc: bytes | None, channels: int, found: Findings) -> bytes | None:
    try:
        return profiles.fitting(icc, channels)
    except ImageError as error:
        found.notes.append(f"{error}, so it is left out")
        return None


def _exif_meaning(exif: Image.Exif, found: Findings) -> dict[str, bytes]:
    try:
        return profiles.exif_meaning(exif)
    except ImageError as error:
        found.notes.append(str(error))
    except Exception:  # as in _exif_of
        found.notes.append("its EXIF data are damaged, and are left out")
    return {}


def _chromaticities(info: Mapping[Any, Any]) -> tuple[Any, Any]:
    """What Pillow says of a PNG's colours."""
    return info.get("chromaticity"), info.get("gamma")


def _tiff_chunks(file: Image.Image) -> dict[str, bytes]:
    tags = file.tag_v2  # type: ignore[attr-defined]
    white, primaries = tags.get(_TIFF_WHITE), tags.get(_TIFF_PRIMARIES)
    if not isinstance(white, tuple) or not isinstance(primaries, tuple) or len(white + primaries) != 8:
        return {}
    return profiles.chunks_of(white + primaries, None)


def _is_deep(file: Image.Image) -> bool:
    """Whether Pillow would cut the samples to 8 bit, or not know what they mean; 16-bit grey PNG it keeps.

    Of CMYK 8 bit are enough, since it becomes sRGB.
    """
    if file.format == "TIFF":
        tags = file.tag_v2  # type: ignore[attr-defined]
        deep = max(tags.get(_TIFF_BITS, (1,))) > 8 and file.mode != "CMYK"
        return deep or tags.get(_TIFF_COMPRESSION) in foreign.RARE
    return isinstance(file, PngImagePlugin.PngImageFile) and any(
        "16" in str(tile[3]) and not str(tile[3]).startswith("I;16") for tile in file.tile
    )


def _png_chunks(meaning: Mapping[str, bytes], text: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for name, body in meaning.items():
        chunks.add(name.encode(), body)
    for key, value in text.items():
        if len(value.encode()) > profiles.MOST_BYTES:
            raise ImageError(f"the text {key!r} is larger than {profiles.MOST_BYTES >> 20} MiB; leave it out")
        if key == xmp.CHUNK:  # of which its specification says that it is international and not packed
            chunks.add_itxt(key, value)
        else:
            chunks.add_text(key, value)
    return chunks


def _pillow_samples(what: object, file: Image.Image) -> np.ndarray:
    """H x W x channels, uint8 or uint16, with 1 or 2 channels (grey) or 3 or 4 (RGB)."""
    if file.mode.startswith("I;16"):
        samples = np.array(file).astype(np.uint16)
        clear = file.info.get("transparency")
        alpha = [] if clear is None else [np.where(samples == clear, 0, 65535).astype(np.uint16)]
        return np.stack([samples, *alpha], -1)
    if file.mode == "I" and file.format == "PPM":  # which has 16 bit
        return np.array(file).astype(np.uint16)[..., None]
    if file.mode in ("I", "F"):
        raise ImageError(f"{what} has 32-bit samples; save it with 8 or 16 bit")
    grey = file.mode in ("1", "L", "LA", "La")
    alpha = file.has_transparency_data
    mode = ("LA" if alpha else "L") if grey else ("RGBA" if alpha else "RGB")
    image = file if file.mode == mode else file.convert(mode)  # converting to the same mode copies
    # Planes, as a photo has them, filled in strips: of the whole array Pillow would make two copies first.
    planes = np.empty((len(mode), image.height, image.width), np.uint8)
    for rows in strips(image.height, image.width, pixels=_STRIP):
        strip = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
        planes[:, rows] = np.moveaxis(strip.reshape(*strip.shape[:2], -1), -1, 0)
    return np.moveaxis(planes, 0, -1)


def _upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the EXIF orientation (1 to 8; anything else counts as 1)."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples


def _samples(photo: Photo, depth: int = 8) -> np.ndarray:
    """H x W x channels of uint8 or uint16: colour and, where there is one, alpha."""
    channels = photo.channels + (photo.alpha is not None)
    samples = np.empty((*photo.size, channels), np.uint8 if depth == 8 else np.uint16)
    for rows, strip in _strips_of(photo, depth):
        samples[rows] = strip
    return samples


def _strips_of(photo: Photo, depth: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The samples in strips, and the rows of each."""
    channels = [photo.pixels] if photo.alpha is None else [photo.pixels, photo.alpha]
    for rows in strips(*photo.size, pixels=_STRIP):
        parts = (c[0, :, rows].cpu() for c in channels)
        strip = [np.asarray(to_uint8(part) if depth == 8 else to_uint16(as_float(part))) for part in parts]
        yield rows, np.moveaxis(np.concatenate(strip), 0, -1)


def _image_of(photo: Photo) -> Image.Image:
    """The photo as Pillow has it, filled in strips, so that its samples are not in memory once more."""
    height, width = photo.size
    mode = photo.mode if photo.alpha is None else {"L": "LA", "RGB": "RGBA"}[photo.mode]
    image = Image.new(mode, (width, height), None)
    for rows, strip in _strips_of(photo, 8):
        image.paste(_in_pillow(np.ascontiguousarray(strip)), (0, rows.start))
    return image


def _in_pillow(samples: np.ndarray) -> Image.Image:
    """Samples of 8 bit, H x W x channels, as Pillow has them."""
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
