"""Photos as one file of uint8 tensors, for a machine that has nothing to read images with.

Each photo gives one crop, so that all of them are there. Neighbouring pixels and colours are much alike: what is kept
is the difference of each to its neighbour, deflated, which is about half as large and the same pixels.
"""

import ctypes
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from coscale.train.data import Dataset

MIB = 2**20
Image = UInt8[Tensor, "3 h w"]


def deflated(image: Image) -> tuple[tuple[int, int], UInt8[Tensor, " bytes"]]:
    """Make an image small: its size, and its differences."""
    red, green, blue = image
    colours = torch.stack([green, red - green, blue - green])  # modulo 256, as bytes are
    colours[:, :, 1:] = colours[:, :, 1:] - colours[:, :, :-1].clone()
    colours[:, 1:] = colours[:, 1:] - colours[:, :-1].clone()
    data = zlib.compress(colours.numpy().tobytes(), 6)
    return (image.shape[1], image.shape[2]), torch.frombuffer(bytearray(data), dtype=torch.uint8)


def inflated(size: tuple[int, int], data: UInt8[Tensor, " bytes"]) -> Image:
    """Make the image of its differences again."""
    # A tensor's bytes at once, without NumPy, which may be missing where this runs.
    values = zlib.decompress(ctypes.string_at(data.data_ptr(), data.numel()))
    differences = torch.frombuffer(bytearray(values), dtype=torch.uint8).reshape(3, *size)
    green, red, blue = differences.int().cumsum(1).cumsum(2).to(torch.uint8)
    return torch.stack([red + green, green, blue + green])


def write_pack(
    data: Dataset, path: Path, limit: int, part: int, parts: int, generator: torch.Generator, least: int
) -> tuple[int, int]:
    """Write the photos of one part of ``parts`` as a file of at most ``limit`` bytes; give its photos and bytes.

    Arguments:
        data: all photos; those of part k are each ``parts``-th, beginning with the k-th.
        generator: draws where each photo is cropped.
        least: the smallest side that a crop may have.
    """
    images = list(data.images)[part - 1 :: parts]
    drawn = [deflated(image) for image in data.drawn]
    room = limit - sum(len(values) for _, values in drawn) - data.validation.numel() - MIB
    side = 1024
    while True:
        kept = [deflated(_crop(image, side, generator)) for image in images]
        total = sum(len(values) for _, values in kept)
        if total <= room or side <= least:
            break
        side = max(least, int(side * (room / total) ** 0.5 * 0.98))
    while total > room:
        total -= len(kept.pop()[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "photos": kept,
            "drawn": drawn,
            "validation": (data.validation * 255).round().to(torch.uint8),
            "sources": data.sources,
            "fingerprint": f"{data.fingerprint} {part}/{parts}",
        },
        path,
    )
    return len(kept), path.stat().st_size


def _crop(image: Image, side: int, generator: torch.Generator) -> Image:
    """A crop of at most ``side`` pixels a side, anywhere in the image."""
    for axis in (1, 2):
        room = image.shape[axis] - side
        if room > 0:
            image = image.narrow(axis, int(torch.randint(room + 1, (1,), generator=generator)), side)
    return image


def read_packs(paths: Sequence[Path]) -> Dataset:
    """The photos of all files together; what is drawn and what is validated on is that of the first."""
    packs = [torch.load(path, "cpu", weights_only=True) for path in paths]
    first = packs[0]
    return Dataset(
        [inflated(*image) for pack in packs for image in pack["photos"]],
        first["validation"].float() / 255,
        first["sources"],
        " ".join(pack["fingerprint"] for pack in packs),
        [inflated(*image) for image in first["drawn"]],
    )
