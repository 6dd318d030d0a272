"""Photos at full size by image codecs, which LR files are compared with."""

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, features

from coscale.errors import DataError

Pixels = np.ndarray  # H x W x 3, 8 bit
MOZJPEG = "mozjpeg"
_NAMES = ("JPEG", MOZJPEG, "WebP", "AVIF", "AVIF, slow", "JPEG XL")


@dataclass(frozen=True)
class Codec:
    """What stores a photo at full size.

    - ``encode(image, quality)``: its file; ``qualities``: those that are measured, from small files to large ones.
    - ``decode(data)``: the image in a file.
    - ``tells``: whether its files say how coarse they are, as the tables of JPEG do.
    - ``filtered``: whether it is also measured with an artefact filter behind it.
    """

    name: str
    encode: Callable[[Image.Image, int], bytes]
    decode: Callable[[bytes], Pixels]
    qualities: tuple[int, ...]
    tells: bool = False
    filtered: bool = True


def _by_pillow(image: Image.Image, quality: int, kind: str, **settings: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, quality=quality, **settings)
    return stream.getvalue()


def _pillow_decode(data: bytes) -> Pixels:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _by_mozjpeg(image: Image.Image, quality: int, package: Path) -> bytes:
    """With flat tables and trellis quantisation, which are best for PSNR."""
    program = Path(__file__).parent / "mozjpeg.mjs"
    command = ["node", str(program), str(package.resolve()), *map(str, (*image.size, quality))]
    try:
        done = subprocess.run(command, input=image.convert("RGBA").tobytes(), capture_output=True)  # noqa: S603
    except OSError as error:
        raise DataError("mozjpeg needs Node.js, which is not here; install it, or leave out --mozjpeg") from error
    if done.returncode or not done.stdout:
        raise DataError(f"{package} is not the folder of the npm package @jsquash/jpeg; unpack it, and give that")
    return done.stdout


def jpeg_xl_distance(quality: int) -> float:
    """Give the Butteraugli distance that libjxl's programs take for a quality from 1 to 100."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def codecs_here(mozjpeg: Path | None = None) -> list[Codec]:
    """Give the codecs that this machine has.

    These are JPEG always, mozjpeg with the folder of the npm package @jsquash/jpeg, WebP, AVIF as it is by default and
    slow and tuned for PSNR, and JPEG XL with the extra ``16bit``. Each has colours at half resolution, as is usual, but
    JPEG XL.
    """
    jpeg = partial(_by_pillow, kind="JPEG", optimize=True, progressive=True)
    found = [Codec("JPEG", jpeg, _pillow_decode, (8, 16, 28, 45, 65, 82), tells=True)]
    if mozjpeg is not None:
        encode = partial(_by_mozjpeg, package=mozjpeg)
        found.append(Codec(MOZJPEG, encode, _pillow_decode, (5, 11, 20, 33, 50, 68), tells=True))
    if features.check("webp"):
        webp = partial(_by_pillow, kind="WEBP", method=6)
        found.append(Codec("WebP", webp, _pillow_decode, (1, 10, 28, 50, 70, 86)))
    if features.check("avif"):
        # One thread: the bytes of several may differ from machine to machine.
        usual = partial(_by_pillow, kind="AVIF", max_threads=1)
        slow = partial(usual, speed=2, advanced={"tune": "psnr"})
        qualities = (18, 28, 38, 48, 60, 74)
        found.append(Codec("AVIF", usual, _pillow_decode, qualities, filtered=False))
        found.append(Codec("AVIF, slow", slow, _pillow_decode, qualities))
    try:
        from imagecodecs import JPEGXL, jpegxl_decode, jpegxl_encode
    except ImportError:
        return found
    if JPEGXL.available:

        def by_libjxl(image: Image.Image, quality: int) -> bytes:
            return bytes(jpegxl_encode(np.asarray(image), distance=jpeg_xl_distance(quality), effort=7, numthreads=1))

        def decode(data: bytes) -> Pixels:
            return np.asarray(jpegxl_decode(data))[..., :3]

        found.append(Codec("JPEG XL", by_libjxl, decode, (8, 20, 35, 52, 68, 82), filtered=False))
    return found


def missing(codecs: Iterable[Codec]) -> list[str]:
    """Give the names of the codecs that are not among these."""
    here = {codec.name for codec in codecs}
    return [name for name in _NAMES if name not in here]
