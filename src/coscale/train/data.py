"""What is trained on: photos, decoded once to uint8 and kept on the device, and drawn images; batches are cut there."""

import bisect
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from coscale.colour import luma
from coscale.errors import DataError, ImageError
from coscale.quantize import from_uint8, to_uint8

T = TypeVar("T")
VALIDATION_EVERY = 26  # each 26th file, by sorted name, is held out
VALIDATION_CROP = 128
BANK = 768  # images that no camera took, which a run draws once
GREY_PHOTOS = 0.25  # of these: crops of photos without their colours


@dataclass(frozen=True)
class Crop:
    """A square of an image: where its first value lies, the image's width and values a colour, and how it is turned.

    ``drawn``: the image is none that a camera took.
    """

    first: int
    width: int
    plane: int
    turn: int  # 4: rows become columns; before that, 2: bottom up; 1: right to left
    drawn: bool


class Photos:
    """Images of any size on one device, picked in proportion to their area; of these a ``share`` from ``drawn``.

    They lie one after the other in one tensor, so that a batch is one gather however many images it comes from.
    """

    def __init__(
        self,
        images: Sequence[UInt8[Tensor, "3 h w"]],
        device: torch.device | str = "cpu",
        drawn: Sequence[UInt8[Tensor, "3 h w"]] = (),
        share: float = 0.0,
    ) -> None:
        everything = [*images, *drawn]
        self.sizes = [(image.shape[1], image.shape[2]) for image in everything]
        self.starts = [0, *itertools.accumulate(3 * h * w for h, w in self.sizes)]
        self.values = torch.cat([image.flatten() for image in everything]).to(device)
        self.photos = self.starts[len(images)]  # values of photos, before those of what is drawn
        self.share = share if drawn else 0.0

    def batch(
        self, count: int, patch: int, generator: torch.Generator, part: slice = slice(None)
    ) -> Float[Tensor, "count 3 patch patch"]:
        """Give random crops in [0, 1], each flipped and turned in one of the 8 ways of the square.

        Of the ``count`` crops that are picked, those of ``part`` are made. Picking is done on the CPU, where the
        generator lives, so that every device and any number of processes see the same crops.
        """
        return from_uint8(self.cut(self.picked(count, patch, generator)[part], patch))

    def picked(self, count: int, patch: int, generator: torch.Generator) -> list[Crop]:
        """Say where ``count`` random crops lie."""
        crops = []
        for where, down, right, turn in torch.rand(count, 4, generator=generator, dtype=torch.float64).tolist():
            # An image starts at a share of all values, so a uniform number over them picks it by area.
            if where < self.share:
                place = self.photos + where / self.share * (self.starts[-1] - self.photos)
            else:
                place = (where - self.share) / (1 - self.share) * self.photos
            index = min(bisect.bisect(self.starts, place), len(self.sizes)) - 1
            height, width = self.sizes[index]
            top, left = int(down * (height - patch + 1)), int(right * (width - patch + 1))
            first = self.starts[index] + top * width + left
            crops.append(Crop(first, width, height * width, int(turn * 8), where < self.share))
        return crops

    def cut(self, crops: Sequence[Crop], patch: int) -> UInt8[Tensor, "count 3 patch patch"]:
        """Give the pixels of crops."""
        return self._gathered(crops, patch) if self.values.is_cuda else self._copied(crops, patch)

    def _copied(self, crops: Sequence[Crop], patch: int) -> UInt8[Tensor, "count 3 patch patch"]:
        """By copies of one colour of one crop, which PyTorch does in the calling thread alone.

        So this can go on beside a training step without taking cores from it.
        """
        batch = torch.empty(len(crops), 3, patch, patch, dtype=torch.uint8)
        for into, crop in zip(batch, crops, strict=True):
            for colour in range(3):
                start = crop.first + colour * crop.plane
                plane = self.values.as_strided((patch, patch), (crop.width, 1), start)
                plane = plane.flip([axis for axis, bit in ((0, 2), (1, 1)) if crop.turn & bit])
                into[colour] = plane.mT if crop.turn & 4 else plane
        return batch

    def _gathered(self, crops: Sequence[Crop], patch: int) -> UInt8[Tensor, "count 3 patch patch"]:
        """By one gather, without a wait for what the device still has to do."""
        places = torch.tensor([(crop.first, crop.width, crop.plane, crop.turn) for crop in crops])
        first, width, plane, turn = self._sent(places).reshape(-1, 4, 1, 1, 1).unbind(1)
        device = self.values.device
        rows = torch.arange(patch, device=device).reshape(1, 1, -1, 1)
        columns = rows.mT
        rows, columns = torch.where(turn & 4 > 0, columns, rows), torch.where(turn & 4 > 0, rows, columns)
        rows = torch.where(turn & 2 > 0, patch - 1 - rows, rows)
        columns = torch.where(turn & 1 > 0, patch - 1 - columns, columns)
        colours = torch.arange(3, device=device).reshape(1, 3, 1, 1)
        return self.values[first + colours * plane + rows * width + columns]

    def _sent(self, values: Tensor) -> Tensor:
        """To the device, without a wait for what the device still has to do."""
        if self.values.is_cuda:
            values = values.pin_memory()
        return values.to(self.values.device, non_blocking=True)


@dataclass(frozen=True)
class Dataset:
    """What a run learns from, and what it is measured on."""

    images: Sequence[UInt8[Tensor, "3 h w"]]
    validation: Float[Tensor, "n 3 crop crop"]
    sources: dict[str, int]  # how many of the images come from which folder, as seen from the one given
    fingerprint: str  # of names and sizes, in order
    drawn: Sequence[UInt8[Tensor, "3 h w"]] = ()  # to be learnt beside the photos, see bank


def load(folders: Sequence[Path], patch: int, say: Callable[[str], None] = lambda _: None) -> Dataset:
    """Photos to train on from all images below ``folders``.

    Validation takes the top left 128 x 128 pixels of each 26th photo, which training then never sees. Images smaller
    than a patch or than such a crop are left out, and so are those that cannot be read; ``say`` is told of both.
    Raises DataError when a folder does not exist or too few images are left.
    """
    # Imported here, so that a machine without Pillow can train on photos that it gets as tensors.
    from coscale.folders import photos_below
    from coscale.image import read

    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder; give a folder of photos with --data")
    smallest = max(patch, VALIDATION_CROP)
    # Each file once, however many links lead to it; it counts for the folder that it was found in.
    found = {
        Path(photo).resolve(): (Path(photo).parent, root)
        for root in map(Path.resolve, folders)
        for photo in photos_below(root).photos
    }
    paths = sorted(found, key=lambda path: (path.name, str(path)))

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
                folder, root = found[path]
                sources[root.name if folder == root else str(folder.relative_to(root))] += 1
                digest.update(f"{path.name} {tuple(decoded.shape)}\n".encode())
    if small:
        say(f"left out: {small} images smaller than {smallest} pixels a side")
    if not images or not crops:
        where = ", ".join(map(str, folders))
        raise DataError(
            f"fewer than 2 usable images of at least {smallest} pixels a side in {where}; give a folder of photos"
        )
    return Dataset(images, from_uint8(torch.stack(crops)), dict(sources), digest.hexdigest())


def bank(images: Sequence[UInt8[Tensor, "3 h w"]], side: int, seed: int) -> list[UInt8[Tensor, "3 side side"]]:
    """Make what photos do not teach: drawn images, and crops of the photos in grey. The same for the same ``seed``.

    A network that has seen photos alone gives fine grey patterns, flat colours and grey photos colours of its own.
    """
    from coscale.train.graphics import sheet  # needs numpy and Pillow, see load

    count = round(GREY_PHOTOS * BANK)
    crops = Photos(images).batch(count, side, torch.Generator().manual_seed(seed))
    return [*to_uint8(luma(crops).expand(-1, 3, -1, -1)), *sheet(BANK - count, side, seed)]


def generator_of(seed: int, number: int, what: str) -> torch.Generator:
    """Give the random numbers of batch ``number``, for one use: any batch can be made without those before it."""
    digest = hashlib.sha256(f"{seed} {number} {what}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4]))  # PyTorch takes 32 bits of a seed


class Ahead(Generic[T]):
    """Numbered batches, the next one made in a thread while the one before is in use."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self.make = make
        self.pool = ThreadPoolExecutor(1, "next batch")
        self.number, self.next = -1, Future[T]()

    def take(self, number: int) -> T:
        """Give the batch ``number``, at once if it follows the one that was taken last."""
        batch = self.next.result() if number == self.number else self.make(number)
        self.number, self.next = number + 1, self.pool.submit(self.make, number + 1)
        return batch
