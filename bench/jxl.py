"""python -m bench.jxl: LR files that viewers of JPEG XL restore, beside what libjxl makes of the photos itself.

For each photo a row goes to results/jxl.jsonl, of PSNR of Y in dB as libjxl decodes the files: jxl-x2 and jxl-x4
without a method and with coscale's best; libjxl's own route, which is given the photo and its setting RESAMPLING; and
lossy JPEG XL at full size: both of the distance that takes as many bytes as coscale's file. What is there is not
measured again.
"""

import ctypes
import itertools
import json
from pathlib import Path

import imagecodecs
import numpy as np
import pylibjxl
import torch

from bench.readme import ROOT, read_rows
from coscale.collaborate import PLAIN, Coscale
from coscale.colour import luma
from coscale.image import Photo, read
from coscale.lrfile import lr_bytes
from coscale.metrics import psnr
from coscale.pipeline import encode_photo
from coscale.storage import find
from coscale.weights.load import load

RESULTS = ROOT / "results" / "jxl.jsonl"
TESTS = ROOT.parent / "shared" / "data" / "test"
PHOTOS = [f"Set14/img_{number:03}.png" for number in (1, 2, 12, 14)]
FIDELITY = 20.0  # dB: nobody sees the LR, so that it need not look well
HEIGHT, WIDTH = 384, 512  # of the crops of DIV2K, the middle of each photo
_RESAMPLING, _EFFORT = 2, 0  # in JxlEncoderFrameSettingId
_BASIC_INFO = 512  # bytes, more than the structure has
_XSIZE, _YSIZE, _BITS = 1, 2, 3  # fields of it, in words of 32 bit


def by_libjxl(samples: np.ndarray, factor: int, distance: float) -> bytes:
    """Give the lossy file of a photo, H x W x 3, that libjxl downsamples by its own means where the factor is not 1."""
    imagecodecs.jpegxl_version()  # which loads the library, and those that it needs
    (path,) = (Path(imagecodecs.__file__).parents[1] / "imagecodecs.libs").glob("libjxl-*.so*")
    jxl = ctypes.CDLL(str(path))
    for name in ("JxlEncoderCreate", "JxlEncoderFrameSettingsCreate"):
        getattr(jxl, name).restype = ctypes.c_void_p
    encoder = ctypes.c_void_p(jxl.JxlEncoderCreate(None))
    info = (ctypes.c_uint32 * (_BASIC_INFO // 4))()
    jxl.JxlEncoderInitBasicInfo(info)
    info[_YSIZE], info[_XSIZE], info[_BITS] = *samples.shape[:2], 8
    settings = ctypes.c_void_p(jxl.JxlEncoderFrameSettingsCreate(encoder, None))
    colours = (ctypes.c_uint8 * _BASIC_INFO)()
    jxl.JxlColorEncodingSetToSRGB(colours, 0)
    pixels = np.ascontiguousarray(samples)
    form = (ctypes.c_uint64 * 3)(3 | 2 << 32, 0, 0)  # channels, uint8; endianness; alignment
    size, option = ctypes.c_size_t(pixels.nbytes), jxl.JxlEncoderFrameSettingsSetOption
    option.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int64]
    failed = (
        jxl.JxlEncoderSetBasicInfo(encoder, info)
        or jxl.JxlEncoderSetColorEncoding(encoder, colours)
        or option(settings, _EFFORT, 7)
        or option(settings, _RESAMPLING, factor)
        or jxl.JxlEncoderSetFrameDistance(settings, ctypes.c_float(distance))
        or jxl.JxlEncoderAddImageFrame(settings, form, ctypes.c_void_p(pixels.ctypes.data), size)
    )
    jxl.JxlEncoderCloseInput(encoder)
    room = ctypes.create_string_buffer(2 * pixels.nbytes + 10_000)
    place, left = ctypes.c_void_p(ctypes.addressof(room)), ctypes.c_size_t(len(room))
    failed = failed or jxl.JxlEncoderProcessOutput(encoder, ctypes.byref(place), ctypes.byref(left))
    jxl.JxlEncoderDestroy(encoder)
    if failed:
        raise RuntimeError(f"libjxl gives {failed}")
    return room.raw[: len(room) - left.value]


def at_bytes(samples: np.ndarray, factor: int, most: int) -> bytes:
    """Give lossy JPEG XL of at most so many bytes, the largest that is found."""
    low, high = 0.05, 25.0
    for _ in range(7):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if len(by_libjxl(samples, factor, middle)) <= most else (middle, high)
    return by_libjxl(samples, factor, high)


def shown(file: bytes, photo: Photo) -> float:
    """Give the PSNR of Y of what libjxl shows."""
    image = torch.from_numpy(pylibjxl.decode(file).copy()).permute(2, 0, 1)[None] / 255
    return round(float(psnr(image, photo.colour, luma)), 3)


def measure(photo: Photo, scale: int) -> dict[str, float]:
    """Give a row's figures for one photo."""
    pair, storage = load(f"jxl-x{scale}"), find("jxl")
    row: dict[str, float] = {}
    for name, method in (("plain", PLAIN), ("coscale", Coscale("best", fidelity=FIDELITY))):
        encoded = encode_photo(photo, pair, method, storage=storage)
        file = lr_bytes(encoded.lr, encoded.origin, storage)
        row |= {f"{name}_bytes": len(file), name: shown(file, photo)}
    samples = (photo.colour[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    own, lossy = (at_bytes(samples, factor, int(row["coscale_bytes"])) for factor in (scale, 1))
    row |= {"libjxl_bytes": len(own), "libjxl": shown(own, photo)}
    return row | {"lossy_bytes": len(lossy), "lossy": shown(lossy, photo)}


def main() -> None:
    """Measure what is not in the results yet."""
    done = {(row["image"], row["scale"]) for row in read_rows(RESULTS)}
    large = [f"DIV2K_valid_4/{path.name}" for path in sorted((TESTS / "DIV2K_valid_4").iterdir())]
    for name in itertools.chain(*zip(PHOTOS, large, strict=True)):
        colour = read(TESTS / name).colour
        top, left = (max(0, side - most) // 2 for side, most in zip(colour.shape[-2:], (HEIGHT, WIDTH), strict=True))
        photo = Photo(colour[..., top : top + HEIGHT, left : left + WIDTH].contiguous())
        for scale in (2, 4):
            if (name, scale) not in done:
                row = {"image": name, "scale": scale, **measure(photo, scale)}
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
