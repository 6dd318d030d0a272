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


def codecs_here() -> list[Codec]:
    """Give the codecs that this machine has: JPEG always, WebP, AVIF, and JPEG XL with the extra ``16bit``."""
    found = [Codec("JPEG", partial(_by_pillow, kind="JPEG", optimize=True, progressive=True), _pillow_decode, most=100)]
    if features.check("webp"):
        found.append(Codec("WebP", partial(_by_pillow, kind="WEBP", method=6), _pillow_decode))
    if features.check("avif"):
        found.append(Codec("AVIF", partial(_by_pillow, kind="AVIF", speed=6), _pillow_decode))
    try:
        from imagecodecs import JPEGXL, jpegxl_decode, jpegxl_encode
    except ImportError:
        return found
    if JPEGXL.available:

        def encode(image: Image.Image, quality: int) -> bytes:
            # Butteraugli distance: 0 is lossless, 1 is hardly visible; beyond 15 files hardly shrink.
            return bytes(jpegxl_encode(np.asarray(image), distance=0.05 + 0.15 * (100 - quality), effort=5))

        found.append(Codec("JPEG XL", encode, lambda data: np.asarray(jpegxl_decode(data))[..., :3]))
    return found


def missing() -> str:
    """Give a sentence on the codecs that this machine lacks, or nothing."""
    lacking = sorted({"JPEG", "WebP", "AVIF", "JPEG XL"} - {codec.name for codec in codecs_here()})
    return f" Not measured, as they are not here: {', '.join(lacking)}." if lacking else ""


class Ladder:
    """An image in a codec's qualities, each encoded once, when it is asked for."""

    def __init__(self, codec: Codec, image: Pixels) -> None:
        self.original = image
        self._codec, self._picture = codec, Image.fromarray(image)
        self._steps: dict[int, Coded] = {}

    def at(self, quality: int) -> Coded:
        if quality not in self._steps:
            data = self._codec.encode(self._picture, quality)
            self._steps[quality] = Coded(len(data), quality, self._codec.decode(data))
        return self._steps[quality]

    def at_most(self, limit: int) -> Coded | None:
        """Give the best quality in at most ``limit`` bytes, by bisection; None where even the least takes more."""
        low, high = self._codec.least, self._codec.most
        best = None
        while low <= high:
            coded = self.at((low + high) // 2)
            if coded.size <= limit:
                best, low = coded, coded.quality + 1
            else:
                high = coded.quality - 1
        return best
