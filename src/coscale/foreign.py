"""What Pillow cannot decode, or only with a loss: PNG of 16 bit, TIFF of 16 bit and of rarer kinds.

The decoders are those of the extra ``16bit``, imported where they are needed.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from coscale.containers import check_size
from coscale.errors import ImageError
from coscale.profiles import cmyk_to_srgb

# Compressions of a TIFF that Pillow's libtiff has in some builds, and those that no libtiff has.
RARE = {34887, 50001} | (_NOT_IN_LIBTIFF := {33003, 33004, 33005, 34712, 34892, 34933, 34934, 50002, 52546})
_MOST_CHANNELS = 16
_ORIENTATION = 274
_RAW = {32803, 34892}  # a sensor's samples, as they are and without their mosaic


@dataclass(frozen=True)
class Decoded:
    """H x W x channels, uint8 or uint16: grey or RGB and then, for an even number of channels, alpha."""

    samples: np.ndarray
    orientation: int = 1
    icc: bytes | None = None


def png(path: object, data: bytes) -> np.ndarray:
    """The samples of a 16-bit PNG, H x W x channels. Raises ImageError without the extra."""
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageError(f"{path} has 16-bit samples, which need: pip install 'coscale[16bit]'") from error
    samples = imagecodecs.png_decode(data)
    return samples if samples.ndim == 3 else samples[..., None]


def tiff(path: object, data: bytes, limit: int) -> Decoded:
    """The first page of a TIFF: grey, RGB, CMYK or Lab of any depth, with or without alpha.

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
