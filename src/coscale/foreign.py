"""What Pillow cannot decode, or only with a loss: PNG of 16 bit, TIFF of 16 bit and of rarer kinds, JPEG XL.

The decoders are those of the extras ``16bit`` and ``jxl``, imported where they are needed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from coscale.containers import check_size
from coscale.errors import ImageError
from coscale.profiles import cmyk_to_srgb

# Compressions of a TIFF that Pillow's libtiff has in some builds, and those that no libtiff has.
RARE = {34887, 50001} | (_NOT_IN_LIBTIFF := {33003, 33004, 33005, 34712, 34892, 34933, 34934, 50002, 52546})
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")  # how a file begins, bare and in boxes
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width and height, in JPEG XL
_MOST_CHANNELS = 16
_ORIENTATION = 274
_RAW = {32803, 34892}  # a sensor's samples, as they are and without their mosaic


@dataclass(frozen=True)
class Decoded:
    """H x W x channels, uint8 or uint16: grey or RGB and then, for an even number of channels, alpha."""

    samples: np.ndarray
    orientation: int = 1
    icc: bytes | None = None
    packet: bytes | None = None  # of XMP
    exif: bytes = b""


def takes_heif() -> bool:
    """Say whether Pillow can open HEIC, by the package of the extra ``heic``, which is added to it here."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def png(path: object, data: bytes) -> np.ndarray:
    """Give the samples of a 16-bit PNG, H x W x channels. Raises ImageError without the extra."""
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageError(f"{path} has 16-bit samples, which need: pip install 'coscale[16bit]'") from error
    samples = imagecodecs.png_decode(data)
    return samples if samples.ndim == 3 else samples[..., None]


def jpeg_xl(path: object, data: bytes, limit: int) -> tuple[Decoded, bool]:
    """Give a JPEG XL image, upright, and whether there are more frames. Raises ImageError without the extra.

    One of 8 bit in its own colours, as the lossless ones are, is read with its profile; others as what imagecodecs
    makes of them.
    """
    head = _header_of_jpeg_xl(data)
    check_size(path, head.size, limit)
    exif = next((body[4:] for kind, body in boxes(data) if kind == b"Exif"), b"")  # after four bytes of an offset
    if head.plain and (pylibjxl := _pylibjxl()):
        samples, more = pylibjxl.decode(data, metadata=True)
        samples = samples if samples.ndim == 3 else samples[..., None]
        return Decoded(samples, 1, more.get("icc"), more.get("xmp"), exif), False
    try:
        import imagecodecs
    except ImportError as error:
        extra = "jxl" if head.plain else "16bit"
        raise ImageError(f"{path} is a JPEG XL image, which needs: pip install 'coscale[{extra}]'") from error
    samples = imagecodecs.jpegxl_decode(data, index=0)
    samples = samples if samples.ndim == 3 else samples[..., None]
    if samples.shape[2] > 4:
        raise ImageError(f"{path} has {samples.shape[2]} channels; save it as grey or RGB")
    packet = next((body for kind, body in boxes(data) if kind == b"xml "), None)
    return Decoded(_unsigned(path, samples, 8 * samples.dtype.itemsize), packet=packet, exif=exif), head.animated


def to_jpeg_xl(samples: np.ndarray, icc: bytes | None, packet: bytes, exif: bytes = b"") -> bytes:
    """Lossless JPEG XL of 8-bit samples, H x W or H x W x channels, with a profile, an XMP packet and EXIF
    data.

    Of libjxl's bindings pylibjxl is the one that writes profiles. It has no grey with alpha, which becomes RGBA; and it
    packs XMP with brotli, which few readers unpack, so the box is put there here. Raises ImageError without the extra.
    """
    pylibjxl = check_jpeg_xl()
    samples = samples if samples.ndim == 3 else samples[..., None]
    if samples.shape[2] == 2:
        samples = np.concatenate((samples[..., :1].repeat(3, 2), samples[..., 1:]), -1)
    # More effort takes four times as long, and as often as not for more bytes.
    return in_boxes(pylibjxl.encode(np.ascontiguousarray(samples), effort=7, lossless=True, icc=icc), packet, exif)


def lossy_jpeg_xl(samples: np.ndarray, icc: bytes | None, distance: float) -> bytes:
    """JPEG XL of 8-bit samples, H x W x channels, at a distance from them that libjxl can see.

    By imagecodecs: what pylibjxl writes with a loss is twice as large, and worse. Raises ImageError for a profile, for
    which that has no place, and without the extra.
    """
    if icc:
        raise ImageError("a lossy .jxl file cannot hold the colour profile here; leave out --quality, or name it .avif")
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageError("to write JPEG XL with a loss needs: pip install 'coscale[16bit]'") from error
    samples = samples[..., 0] if samples.shape[2] == 1 else samples
    return bytes(imagecodecs.jpegxl_encode(samples, distance=distance, effort=7))


def in_boxes(coded: bytes, packet: bytes, exif: bytes) -> bytes:
    """Give a JPEG XL file of an encoder's codestream, bare or in boxes, with an XMP packet and EXIF data."""
    described = [(b"ftyp", b"jxl \0\0\0\0jxl "), (b"xml ", packet), (b"Exif", exif and b"\0\0\0\0" + exif)]
    return of_boxes([*(box for box in described if box[1]), (b"jxlc", codestream(coded))])


def of_boxes(boxes: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Give a JPEG XL file of boxes, each its kind and its content."""
    return JPEG_XL[1] + b"".join((len(body) + 8).to_bytes(4) + kind + body for kind, body in boxes)


def codestream(coded: bytes) -> bytes:
    """Give the codestream of a JPEG XL file, which may be bare or in boxes."""
    parts = [body[4:] if kind == b"jxlp" else body for kind, body in boxes(coded) if kind in (b"jxlc", b"jxlp")]
    return b"".join(parts) or coded


def check_jpeg_xl() -> Any:
    """Give the package that writes JPEG XL. Raises ImageError without the extra."""
    if pylibjxl := _pylibjxl():
        return pylibjxl
    raise ImageError("to write JPEG XL needs: pip install 'coscale[jxl]'; or name the file .png or .webp")


def _pylibjxl() -> Any:
    try:
        import pylibjxl
    except ImportError:
        return None
    return pylibjxl


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give kind and content of each box of a JPEG XL file; none for a bare codestream."""
    at = 0 if data.startswith(JPEG_XL[1]) else len(data)
    while at + 8 <= len(data):
        size, kind, head = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], 8
        if size == 1:  # what follows is the size
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        end = at + size if size else len(data)
        if end < at + head:
            return
        yield kind, data[at + head : end]
        at = end


@dataclass(frozen=True)
class _Header:
    """What a JPEG XL image says before its pixels; ``plain``: it has 8 bit, in the colours of its own profile."""

    size: tuple[int, int]
    animated: bool
    plain: bool = False


def _header_of_jpeg_xl(data: bytes) -> _Header:
    """What the decoders do not tell before they have decoded.

    Source: ISO/IEC 18181-1, SizeHeader and ImageMetadata.
    """
    stream = data
    if not data.startswith(JPEG_XL[0]):
        kind, stream = next((box for box in boxes(data) if box[0] in (b"jxlc", b"jxlp")), (b"", b""))
        if not kind:
            raise ValueError("it has no codestream")
        stream = stream[4:] if kind == b"jxlp" else stream
    bits = int.from_bytes(stream[2:42], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    def take_size() -> tuple[int, int]:
        small = take(1)

        def side() -> int:
            return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

        height, ratio = side(), take(3)
        if not ratio:
            return side(), height
        over, under = _RATIOS[ratio - 1]
        return height * over // under, height

    found = take_size()
    if take(1):  # metadata as most images have them, which are those of lossy ones
        return _Header(found, False)
    if take(1):  # fields that few images have
        take(3)  # the orientation, which the decoder applies
        if take(1):
            take_size()  # at which to show it
        if take(1):  # a preview, whose fields are not looked at
            return _Header(found, False)
        if take(1):
            return _Header(found, True)
    is_float, depth = take(1), take(2)
    take(1)  # whether 16 bit are enough to decode it
    extra = take(2)
    is_default = extra == 0 or (extra == 1 and take(1))  # no channel more, or alpha as usual
    is_xyb = not is_default or take(1)
    return _Header(found, False, plain=not is_float and depth == 0 and not is_xyb)


def tiff(path: object, data: bytes, limit: int) -> Decoded:
    """Give the first page of a TIFF: grey, RGB, CMYK or Lab of any depth, with or without alpha.

    CMYK and Lab become sRGB of 8 bit. Raises ImageError without the extra, and for what cannot be read.
    """
    try:
        import imagecodecs
        import tifffile
    except ImportError as error:
        raise ImageError(f"{path} is a TIFF of a kind that needs: pip install 'coscale[16bit]'") from error
    kinds = tifffile.PHOTOMETRIC
    with tifffile.TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        check_size(path, (page.imagewidth, page.imagelength), limit)
        photometric, compression, extras = int(page.photometric), int(page.compression), page.extrasamples
        colours = {kinds.RGB: 3, kinds.MINISBLACK: 1, kinds.MINISWHITE: 1, kinds.CIELAB: 3, kinds.SEPARATED: 4}
        colours = dict(colours).get(photometric)  # type: ignore[arg-type]
        if colours is None and photometric == kinds.YCBCR and compression in RARE:
            photometric, colours = kinds.RGB, 3  # which their decoders give
        if photometric in _RAW:
            raise ImageError(f"{path} is a camera's raw file; develop it, and save it as 8 or 16-bit RGB")
        if colours is None or not colours <= page.samplesperpixel <= _MOST_CHANNELS or page.dtype is None:
            kind = getattr(page.photometric, "name", photometric)
            raise ImageError(
                f"{path} has {page.samplesperpixel} channels of {page.bitspersample} bit, colours of the kind {kind}, "
                "which cannot be read; save it as 8 or 16-bit RGB"
            )
        orientation, icc = page.tags.valueof(_ORIENTATION, default=1), page.iccprofile
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        if photometric == kinds.SEPARATED or compression in _NOT_IN_LIBTIFF:
            samples = page.asarray()
        else:  # libtiff, which checks what it reads: tifffile's own decoders trust the file
            samples = imagecodecs.tiff_decode(data, index=0)
        planes_first = samples.shape == shape[2:] + shape[:2] != shape
        samples = np.moveaxis(samples, 0, -1) if planes_first else samples.reshape(shape)
        lab = photometric == kinds.CIELAB
        samples = samples if lab else _unsigned(path, samples, page.bitspersample)
    colour, rest = samples[..., :colours], samples[..., colours:]
    top = np.iinfo(samples.dtype).max
    if photometric == kinds.MINISWHITE:
        colour = top - colour
    kind = extras[0] if rest.shape[-1] and extras else None
    alpha = (
        rest[..., :1] if kind in (tifffile.EXTRASAMPLE.UNASSALPHA, tifffile.EXTRASAMPLE.ASSOCALPHA) else rest[..., :0]
    )
    if kind == tifffile.EXTRASAMPLE.ASSOCALPHA:
        straight = np.divide(float(top) * colour, alpha, where=alpha > 0, out=np.zeros(colour.shape))
        colour = straight.clip(0, top).round().astype(samples.dtype)
    if lab or photometric == kinds.SEPARATED:
        image = _lab(colour) if lab else Image.fromarray(_eight_bit(colour), "CMYK")
        colour = np.array(image.convert("RGB") if lab else cmyk_to_srgb(image, icc))
        alpha, icc = _eight_bit(alpha), None
    return Decoded(np.concatenate((colour, alpha), -1), orientation, icc)


def _unsigned(path: object, samples: np.ndarray, bits: int) -> np.ndarray:
    """Samples as uint8 or uint16 over its whole range. Floats are to be in [0, 1], integers not negative."""
    if samples.dtype in (np.uint8, np.uint16) and bits == 8 * samples.dtype.itemsize:
        return samples
    if samples.dtype.kind not in "uif":
        raise ImageError(f"{path} has samples of the kind {samples.dtype}; save it with 8 or 16 bit")
    top = 1.0 if samples.dtype.kind == "f" else 2.0 ** (bits - (samples.dtype.kind == "i")) - 1
    least, most = float(samples.min()), float(samples.max())
    if not (least >= 0 and most <= top):  # nor what is no number
        raise ImageError(
            f"{path} has samples from {least:g} to {most:g}, and what is from 0 to {top:g} can be read; save it so"
        )
    return (samples.astype(np.float64) * (65535 / top)).round().astype(np.uint16)


def _eight_bit(samples: np.ndarray) -> np.ndarray:
    eight = samples if samples.dtype == np.uint8 else (samples / 257.0).round().astype(np.uint8)
    return np.ascontiguousarray(eight)


def _lab(samples: np.ndarray) -> Image.Image:
    """Lab as a TIFF has it: L from 0 to the top, a and b as signed numbers."""
    if samples.dtype == np.uint16:
        light = (samples[..., :1] / 257.0).round().astype(np.uint8)
        ab = (samples[..., 1:].view(np.int16) / 256.0).round().clip(-128, 127).astype(np.int8).view(np.uint8)
        samples = np.concatenate((light, ab), -1)
    height, width = samples.shape[:2]
    return Image.frombytes("LAB", (width, height), np.ascontiguousarray(samples).tobytes(), "raw", "LAB")
