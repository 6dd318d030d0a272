"""Training photos: decoded once to uint8, kept on the device, and cropped there."""

import bisect
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from coscale.errors import DataError, ImageError
from coscale.image import SUFFIXES, read
from coscale.quantize import from_uint8, to_uint8

VALIDATION_EVERY = 26  # each 26th file, by sorted name, is held out
VALIDATION_CROP = 128


class Photos:
    """Photos of any size on one device, drawn in proportion to their area.

    They lie one after the other in one tensor, so that a batch is one gather however many photos it comes from.
    """

    def __init__(self, images: Sequence[UInt8[Tensor, "3 h w"]], device: torch.device | str = "cpu") -> None:
        self.sizes = [(image.shape[1], image.shape[2]) for image in images]
        self.starts = [0, *itertools.accumulate(3 * h * w for h, w in self.sizes)]
        self.values = torch.cat([image.flatten() for image in images]).to(device)

    def batch(
        self, count: int, patch: int, generator: torch.Generator, part: slice = slice(None)
    ) -> Float[Tensor, "count 3 patch patch"]:
        """Random crops in [0, 1], each flipped and turned in one of the 8 ways of the square.

        Of the ``count`` crops that are drawn, those of ``part`` are made. Drawing is done on the CPU, where the
        generator lives, so that every device and any number of processes see the same crops.
        """
        draws = torch.rand(count, 4, generator=generator, dtype=torch.float64).tolist()
        corners = []
        for where, down, right, turn in draws[part]:
            # A photo starts at a share of all values, so a uniform draw over them picks it by area.
            index = min(bisect.bisect(self.starts, where * self.starts[-1]), len(self.sizes)) - 1
            height, width = self.sizes[index]
            top, left = int(down * (height - patch + 1)), int(right * (width - patch + 1))
            corners.append((self.starts[index] + top * width + left, width, height * width, int(turn * 8)))
        first, width, plane, turn = self._sent(torch.tensor(corners)).reshape(-1, 4, 1, 1, 1).unbind(1)
        device = self.values.device
        rows = torch.arange(patch, device=device).reshape(1, 1, -1, 1)
        columns = rows.mT
        rows, columns = torch.where(turn & 4 > 0, columns, rows), torch.where(turn & 4 > 0, rows, columns)
        rows = torch.where(turn & 2 > 0, patch - 1 - rows, rows)
        columns = torch.where(turn & 1 > 0, patch - 1 - columns, columns)
        colours = torch.arange(3, device=device).reshape(1, 3, 1, 1)
        return from_uint8(self.values[first + colours * plane + rows * width + columns])

    def _sent(self, values: Tensor) -> Tensor:
        """To the device, without a wait for what the device still has to do."""
        if self.values.is_cuda:
            values = values.pin_memory()
        return values.to(self.values.device, non_blocking=True)


@dataclass(frozen=True)
class Dataset:
    """What a run learns from, and what it is measured on."""

    images: list[UInt8[Tensor, "3 h w"]]
    validation: Float[Tensor, "n 3 crop crop"]
    sources: dict[str, int]  # how many of the images come from which folder, as seen from the one given
    fingerprint: str  # of names and sizes, in order


def load(folders: Sequence[Path], patch: int, say: Callable[[str], None] = lambda _: None) -> Dataset:
    """Photos to train on from all images below ``folders``.

    Validation takes the top left 128 x 128 pixels of each 26th photo, which training then never sees. Images smaller
    than a patch or than such a crop are left out, and so are those that cannot be read; ``say`` is told of both.
    Raises DataError when a folder does not exist or too few images are left.
    """
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder; give a folder of photos with --data")
    smallest = max(patch, VALIDATION_CROP)
    roots = {path.resolve(): root for root in map(Path.resolve, folders) for path in root.rglob("*")}
    paths = sorted((p for p in roots if p.suffix.lower() in SUFFIXES), key=lambda path: (path.name, str(path)))

    def decode(path: Path) -> Tensor | ImageError:
        try:
            return to_uint8(read(path).shown[0].expand(3, -1, -1))
        except ImageError as error:
            return error

    images: list[Tensor] = []
    crops: list[Tensor] = []
    sources: Counter[str] = Counter()
    digest, small = hashlib.sha256(), 0
    with ThreadPoolExecutor() as pool:
        for i, (path, decoded) in enumerate(zip(paths, pool.map(decode, paths), strict=True)):
            if isinstance(decoded, ImageError):
                say(f"left out: {decoded}")
            elif min(decoded.shape[1:]) < smallest:
                small += 1
            elif i % VALIDATION_EVERY == 0:
                crops.append(decoded[:, :VALIDATION_CROP, :VALIDATION_CROP])
            else:
                images.append(decoded)
                below = path.parent.relative_to(roots[path])
                sources[str(below) if below.parts else roots[path].name] += 1
                digest.update(f"{path.name} {tuple(decoded.shape)}\n".encode())
    if small:
        say(f"left out: {small} images smaller than {smallest} pixels a side")
    if not images or not crops:
        where = ", ".join(map(str, folders))
        raise DataError(
            f"fewer than 2 usable images of at least {smallest} pixels a side in {where}; give a folder of photos"
        )
    return Dataset(images, from_uint8(torch.stack(crops)), dict(sources), digest.hexdigest())
