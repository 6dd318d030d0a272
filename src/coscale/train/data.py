"""Training photos, decoded once to uint8 and cropped at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from coscale.errors import DataError
from coscale.image import SUFFIXES, read
from coscale.quantize import from_uint8, to_uint8

VALIDATION_EVERY = 26  # each 26th photo, by sorted name, is held out


@dataclass(frozen=True)
class Photos:
    """Photos of any size, 3 x H x W uint8, drawn in proportion to their area."""

    images: Sequence[UInt8[Tensor, "3 h w"]]

    def batch(self, count: int, patch: int, generator: torch.Generator) -> Float[Tensor, "count 3 patch patch"]:
        """Random crops in [0, 1], each flipped and turned in one of the 8 ways of the square."""
        areas = torch.tensor([float(image.shape[1] * image.shape[2]) for image in self.images])
        crops = []
        for index in torch.multinomial(areas, count, replacement=True, generator=generator).tolist():
            image = self.images[index]
            top, left, turn = (
                int(torch.randint(limit, (1,), generator=generator))
                for limit in (image.shape[1] - patch + 1, image.shape[2] - patch + 1, 8)
            )
            crop = image[:, top : top + patch, left : left + patch]
            if turn & 1:
                crop = crop.flip(2)
            if turn & 2:
                crop = crop.flip(1)
            crops.append(crop.transpose(1, 2) if turn & 4 else crop)
        return from_uint8(torch.stack(crops))


def load(folders: Sequence[Path], patch: int, crop: int = 128) -> tuple[Photos, Float[Tensor, "n 3 crop crop"]]:
    """(training photos, validation crops) from all images below ``folders``.

    Validation takes the top left ``crop`` pixels of each photo held out. Images smaller than a patch or than
    such a crop are left out. Raises ImageError when one cannot be read and DataError when too few are left.
    """
    smallest = max(patch, crop)
    paths = sorted(
        (path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES),
        key=lambda path: path.name,
    )
    images = []
    for path in paths:
        photo = read(path)
        if min(photo.size) >= smallest:
            images.append(to_uint8(photo.colour[0].expand(3, -1, -1)))
    if len(images) < 2:
        where = ", ".join(map(str, folders))
        raise DataError(f"fewer than 2 images of at least {smallest} pixels a side in {where}; give a folder of photos")
    held_out = images[::VALIDATION_EVERY]
    kept = [image for i, image in enumerate(images) if i % VALIDATION_EVERY]
    return Photos(kept), from_uint8(torch.stack([image[:, :crop, :crop] for image in held_out]))
