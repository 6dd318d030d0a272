"""Areas of an LR image that are restored by bicubic, where the rescaler would get the colours wrong.

They are made of square cells of LR pixels, ``side`` a side; the last of a row or column may be cut by the image's edge.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from coscale import resize
from coscale.quantize import Pixels, to_uint8

REACH = 2  # how many LR pixels on each side what bicubic restores of one depends on


@dataclass(frozen=True)
class Areas:
    """Cells of an LR image, counted along its rows of cells, one row after the other.

    ``runs`` has the number of cells that lie outside of the areas, then of those inside, then outside, and so on.
    Raises ValueError for what cannot be that.
    """

    side: int
    runs: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = (type(number) is int for number in (self.side, *self.runs))
        if not all(whole) or self.side < 1 or not self.runs or self.runs[0] < 0 or min(self.runs[1:], default=1) < 1:
            raise ValueError("areas are a side and numbers of cells in turn outside and inside")

    def count(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of cells that an LR image of ``size`` = (height, width) has."""
        return ceil(size[0] / self.side), ceil(size[1] / self.side)

    def fit(self, size: tuple[int, int]) -> bool:
        """Say whether these are areas of an LR image of ``size``."""
        rows, columns = self.count(size)
        return sum(self.runs) == rows * columns

    def cells(self, size: tuple[int, int]) -> Bool[Tensor, "rows columns"]:
        """Say which cells of an LR image of ``size`` are inside."""
        inside = torch.zeros(sum(self.runs), dtype=torch.bool)
        for number, (first, end) in enumerate(pairwise(accumulate((0, *self.runs)))):
            inside[first:end] = number % 2 == 1
        return inside.reshape(self.count(size))


def areas_of(cells: Bool[Tensor, "rows columns"], side: int) -> Areas:
    """Give the areas that ``cells`` of ``side`` LR pixels are."""
    _, counts = torch.unique_consecutive(torch.cat((cells.new_zeros(1), cells.flatten().cpu())), return_counts=True)
    runs = counts.tolist()
    runs[0] -= 1  # the cell that was put before the first, so that the runs begin outside
    return Areas(side, tuple(runs))


@torch.no_grad()
def restore_areas(restored: Pixels, lr: Float[Tensor, "b c h w"], areas: Areas, scale: int) -> None:
    """Put what bicubic restores of ``lr`` into the ``areas`` of ``restored``, as grey levels where that has them."""
    height, width = lr.shape[-2:]
    cells = areas.cells((height, width))
    for row in cells.any(1).nonzero().flatten().tolist():
        top, bottom = row * areas.side, min((row + 1) * areas.side, height)
        first = max(0, top - REACH)
        strip = resize.upscale(lr[..., first : bottom + REACH, :], scale).clamp_(0, 1)
        strip = to_uint8(strip) if restored.dtype == torch.uint8 else strip
        strip = strip[..., (top - first) * scale : (bottom - first) * scale, :]
        inside = cells[row].repeat_interleave(areas.side * scale)[: width * scale].to(restored.device)
        part = restored[..., top * scale : bottom * scale, :]
        part.copy_(torch.where(inside, strip.to(restored.device), part))


def pixels(cells: Bool[Tensor, "rows columns"], side: int, size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """Say which pixels of an image of ``size`` lie in ``cells`` of ``side`` pixels."""
    return cells.repeat_interleave(side, 0)[: size[0]].repeat_interleave(side, 1)[:, : size[1]]


def grown(mask: Bool[Tensor, "h w"], by: int) -> Bool[Tensor, "h w"]:
    """Give a mask and what lies within ``by`` pixels of it."""
    return F.max_pool2d(mask[None].float(), 2 * by + 1, 1, by)[0] > 0 if by else mask
