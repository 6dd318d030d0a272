"""Errors of what an LR restores to, summed over cells of 8 x 8 pixels: what the guard judges colours by.

They are so few that they can be kept where the restored photo cannot: a method that looks at an LR last leaves them for
the guard.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coscale import tiles
from coscale.quantize import Pixels, as_float
from coscale.tiles import Images

CELL = 8  # HR pixels a side

Cells = Float[Tensor, "c rows columns"]


@dataclass(frozen=True)
class CellErrors:
    """The sums of errors over the cells of a part of a photo, and where the first of these lies."""

    sums: Cells
    row: int
    column: int

    def add_to(self, total: Cells) -> None:
        """Add these to the sums of the whole photo."""
        total[:, self.row : self.row + self.sums.shape[1], self.column : self.column + self.sums.shape[2]] += self.sums


@dataclass(frozen=True)
class ComparedPhoto:
    """The photo that is compared with what an LR restores to.

    - ``hr``: in [0, 1] or as grey levels, 1 x C x H x W, whose sides are multiples of ``scale``.
    - ``size``: (height, width) of the photo without what was added to make them so.
    - ``scale``: HR size over LR size.
    """

    hr: Pixels
    size: tuple[int, int]
    scale: int

    def no_errors(self) -> Cells:
        """Give as many sums as the photo has cells, all zero."""
        rows, columns = (-(-side // CELL) for side in self.size)
        return torch.zeros(self.hr.shape[1], rows, columns, device=self.hr.device)

    def none_in(self, tile: tiles.Tile) -> CellErrors:
        """Give the sums of a tile's core, all zero, which ``measure`` fills.

        Those of all tiles are made before the first is restored: one made by the way would lie amidst the memory of the
        next.
        """
        (top, left), part = self._core(tile)
        shape = ((start % CELL + length - 1) // CELL + 1 for start, length in zip((top, left), part, strict=True))
        return CellErrors(torch.zeros(self.hr.shape[1], *shape, device=self.hr.device), top // CELL, left // CELL)

    def measure(self, restored: Images, tile: tiles.Tile, found: CellErrors) -> None:
        """Put into ``found`` the sums of a tile's core, of which ``restored`` is what it restores to."""
        (top, left), (height, width) = self._core(tile)
        error = restored[..., :height, :width] - as_float(self.hr[..., top : top + height, left : left + width])
        found.sums.copy_(_sums(255 * error, top, left))

    def _core(self, tile: tiles.Tile) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where a tile's core begins in the photo, and how much of the photo it has."""
        top, left = (side.start * self.scale for side in tile.core)
        bottom, right = (min(side.stop * self.scale, length) for side, length in zip(tile.core, self.size, strict=True))
        return (top, left), (max(0, bottom - top), max(0, right - left))


def _sums(values: Images, top: int, left: int) -> Cells:
    """The sums over the cells of a part of an image that begins at ``top`` and ``left``."""
    out = values[0]
    for axis, start in ((1, top), (2, left)):
        cell = (start % CELL + torch.arange(out.shape[axis], device=out.device)) // CELL
        shape = list(out.shape)
        shape[axis] = int(cell[-1]) + 1 if len(cell) else 0
        out = out.new_zeros(shape).index_add_(axis, cell, out)
    return out
