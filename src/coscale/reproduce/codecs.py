"""The same photos by image codecs, at the number of bytes that an LR PNG takes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from PIL import Image, features

Pixels = np.ndarray  # H x W x 3, 8 bit


@dataclass(frozen=True)
class Codec:
    """``encode(image, quality)`` with whole qualities from ``least``, the smallest file, to ``most``."""

    name: str
    encode: Callable[[Image.Image, int], bytes]
    decode: Callable[[bytes], Pixels]
    least: int = 1
    most: int = 100


@dataclass(frozen=True, eq=False)
class Coded:
    """What a codec makes of an image."""

    size: int
    quality: int
    image: Pixels


def _by_pillow(image: Image.Image, quality: int, kind: str, **settings: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, quality=quality, **settings)
    return stream.getvalue()


def _pillow_decode(data: bytes) -> Pixels:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def available() -> list[Codec]:
    """The codecs that this machine has: JPEG always, WebP, AVIF, and JPEG XL with the extra ``16bit``."""
    found = [Codec("JPEG", partial(_by_pillow, kind="JPEG", optimize=True, progressive=True), _pillow_decode, most=95)]
    if features.check("webp"):
        found.append(Codec("WebP", partial(_by_pillow, kind="WEBP", method=6), _pillow_decode))
    if features.check("avif"):
        found.append(Codec("AVIF", partial(_by_pillow, kind="AVIF", speed=4), _pillow_decode))
    try:
        from imagecodecs import JPEGXL, jpegxl_decode, jpegxl_encode
    except ImportError:
        return found
    if JPEGXL.available:

        def encode(image: Image.Image, quality: int) -> bytes:
            # Butteraugli distance: 0 is lossless, 1 is hardly visible, 25 is the most.
            return bytes(jpegxl_encode(np.asarray(image), distance=25 - 0.25 * (quality - 1), effort=7))

        found.append(Codec("JPEG XL", encode, lambda data: np.asarray(jpegxl_decode(data))[..., :3], most=99))
    return found


def at_most(image: Pixels, codec: Codec, limit: int) -> Coded | None:
    """The best quality in at most ``limit`` bytes, by bisection; None where even the least takes more."""
    picture = Image.fromarray(image)
    low, high = codec.least, codec.most
    best: tuple[int, bytes] | None = None
    while low <= high:
        quality = (low + high) // 2
        data = codec.encode(picture, quality)
        if len(data) <= limit:
            best, low = (quality, data), quality + 1
        else:
            high = quality - 1
    return Coded(len(best[1]), best[0], codec.decode(best[1])) if best else None
