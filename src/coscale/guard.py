"""Never less than the plain way: no neighbourhood's colours come back much worse than by bicubic.

Networks restore what is like the photos that they were trained on. A fine mesh, a dither or flat saturated colours may
come back in another colour altogether. A neighbourhood is 16 x 16 pixels, one begins every 8; its error is that of the
mean of a channel, once the LR and what it restores to are rounded to 8 bit.

    restore     the LR as the method left it; neighbourhoods fail that are over 4 levels worse than by bicubic
    correct     there the LR is moved against the error, a few times
    give up     what still fails is left to bicubic, down and up; the LR file says where

An LR of which nothing fails is left as it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from coscale import resize, tiles
from coscale.areas import REACH, Areas, areas_of, grown, pixels
from coscale.cells import CELL, CellErrors, Cells, ComparedPhoto
from coscale.quantize import from_uint8, quantize, to_uint8
from coscale.rescalers import Rescaler
from coscale.strips import strips
from coscale.tiles import Tiling

LIMIT = 4.0  # grey levels by which the mean of a neighbourhood may be worse than bicubic's
_AIM, _NEAR = 2.0, 3  # by how many a correction leaves it worse, and how near to what fails it is made
_CORRECTIONS, _CORRECTIONS_BETWEEN = 6, 1  # at most, at first, and each time that something was left to bicubic
_MOSTLY = 0.6  # of the photo; where so much is left to bicubic, all is
_MOST_RUNS = 2500  # of cells, in a note
_BICUBIC_TILES = Tiling(192, 3 + REACH)  # an LR pixel depends on less than 3 others on each side of it

Levels = UInt8[Tensor, "1 c h w"]
Neighbourhoods = Bool[Tensor, "rows columns"]


@dataclass(frozen=True)
class Guarded:
    """What the guard made of an LR.

    - ``lr``: the LR, as grey levels.
    - ``areas``: what of it is restored by bicubic; None for nothing.
    - ``corrected`` and ``bicubic``: the shares of the photo whose LR was changed, and that are restored by bicubic.
    - ``failing``: the share that still fails, which is possible only where there may be no areas.
    - ``worst``: by how many grey levels the worst neighbourhood was worse than by bicubic before.
    """

    lr: Levels
    areas: Areas | None = None
    corrected: float = 0.0
    bicubic: float = 0.0
    failing: float = 0.0
    worst: float = 0.0

    def warnings(self, rescaler: str, what: str) -> Iterator[str]:
        """Say what of ``what`` is left to bicubic, or cannot be."""
        off = f"{rescaler} would restore its colours worse than bicubic, by up to {self.worst:.0f} grey levels"
        if self.areas:
            yield f"{_percent(self.bicubic)} of {what} is left to bicubic: {off}"
        if self.failing:
            yield f"in {_percent(self.failing)} of {what} {off}; what carries a note (a Pillow image, a file) is mended"


@torch.no_grad()
def guard(
    rescaler: Rescaler,
    lr: Levels,
    original: ComparedPhoto,
    tiling: Tiling,
    allow_areas: bool = True,
    known: Sequence[CellErrors] | None = None,
) -> Guarded:
    """Change ``lr``, the LR of one photo, until none of its neighbourhoods fails.

    Arguments:
        rescaler: what restores the photo from ``lr``.
        lr: as grey levels.
        original: the photo.
        tiling: the tiles to restore in.
        allow_areas: without it nothing is left to bicubic, and what cannot be corrected goes on failing.
        known: the errors of what ``lr`` restores to, tile by tile, where they are known.
    """
    return _Guard(rescaler, original, tiling).run(lr, allow_areas, known)


@dataclass(frozen=True)
class _Restored:
    """An LR, what of it is left to bicubic, and the errors of what it restores to, in all and by tile."""

    lr: Levels
    cells: Bool[Tensor, "rows columns"]  # of the areas
    tiles: tuple[CellErrors, ...]
    total: Cells


class _Guard:
    """One photo, the tiles to work in, and what bicubic makes of it."""

    def __init__(self, rescaler: Rescaler, original: ComparedPhoto, tiling: Tiling) -> None:
        self.rescaler, self.original, self.tiling = rescaler, original, tiling
        self.hr, size = original.hr, original.size
        self.scale = rescaler.scale
        self.side = CELL // gcd(CELL, self.scale)  # of the areas' cells, which so hold whole cells of the sums
        rows, columns = (_counts(side, self.hr.device) for side in size)
        self.pixels = (rows[:, None] * columns)[None]
        self.bicubic_lr, self.bicubic = self._by_bicubic()

    def run(self, lr: Levels, allow_areas: bool, known: Sequence[CellErrors] | None) -> Guarded:
        rows, columns = (-(-side // self.side) for side in lr.shape[-2:])
        nowhere = torch.zeros(rows, columns, dtype=torch.bool, device=lr.device)
        now = self.restore(lr, nowhere, None) if known is None else self._restored(lr, nowhere, known)
        worst = max(0.0, float(self.excess(now.total).max()))
        now = self.correct(now, _CORRECTIONS)
        given_up = 0
        while allow_areas and self.fails(now.total).any():
            now = self.correct(self.give_up(now, margin=2**given_up // 8), _CORRECTIONS_BETWEEN)
            given_up += 1
        inside = self.inside(now.cells)
        changed = (now.lr != lr).any(1)[0] & ~inside
        still = self.in_lr(self.fails(now.total))
        areas = areas_of(now.cells, self.side) if given_up else None
        return Guarded(now.lr, areas, _share(changed), _share(inside), _share(still), worst)

    def correct(self, now: _Restored, most: int) -> _Restored:
        """Move the LR against the errors until nothing fails, or no step helps, ``most`` times at most."""
        step = 1.0
        for _ in range(most):
            if not self.fails(now.total).any() or step < 0.5:
                break
            found = self.restore(self.corrected(now, step), now.cells, now)
            if self.failure(found.total) < self.failure(now.total):
                now = found
            else:
                step /= 2
        return now

    def corrected(self, now: _Restored, step: float) -> Levels:
        """Move the LR against what the mean errors have too much, where neighbourhoods fail and near to that."""
        mean = self._mean(now.total).abs()
        share = ((mean - self._mean(self.bicubic).abs() - _AIM) / mean.clamp(min=1e-6)).clamp(min=0)
        share = self._cells_of(share * grown(self.fails(now.total), _NEAR))
        error = F.interpolate((share * now.total / self.pixels)[None], now.lr.shape[-2:], mode="bilinear") / 255
        moved = torch.empty_like(now.lr)
        for rows in strips(*error.shape[-2:]):
            by = error[..., rows, :].mul_(-step)
            moved[..., rows, :] = to_uint8(by.add_(from_uint8(now.lr[..., rows, :])))
        return torch.where(grown(self.inside(now.cells), REACH), now.lr, moved)

    def give_up(self, now: _Restored, margin: int) -> _Restored:
        """Leave what fails, and ``margin`` cells around it, to bicubic."""
        failing = self.in_lr(self.fails(now.total))
        found = F.max_pool2d(failing[None].float(), self.side, ceil_mode=True)[0] > 0
        cells = _simple(now.cells | grown(found, margin))
        if _share(cells) > _MOSTLY:
            cells = torch.ones_like(cells)  # islands of sharpness in what is blurred would be no gain
        lr = torch.where(grown(self.inside(cells), REACH), self.bicubic_lr, now.lr)
        return self.restore(lr, cells, now)

    def inside(self, cells: Bool[Tensor, "rows columns"]) -> Bool[Tensor, "h w"]:
        """Give the LR pixels that the cells of areas hold."""
        height, width = self.bicubic_lr.shape[-2:]
        return pixels(cells, self.side, (height, width))

    def restore(self, lr: Levels, cells: Bool[Tensor, "rows columns"], before: _Restored | None) -> _Restored:
        """Measure what ``lr`` restores to. What is as it was ``before`` is not restored anew."""
        changed = None if before is None else (lr != before.lr).any(1)[0]
        parts: list[CellErrors] = []
        todo: list[tuple[tiles.Tile, CellErrors]] = []
        for number, tile in enumerate(self.tiling.tiles(*lr.shape[-2:])):
            if before is None or changed is None or changed[tiles.at(tile.outer, 1)].any():
                todo.append((tile, self.original.none_in(tile)))
                parts.append(todo[-1][1])
            else:
                parts.append(before.tiles[number])
        for tile, part in todo:
            restored = quantize(self.rescaler.upscale(from_uint8(lr[tiles.at(tile.outer, 1)])))
            self.original.measure(restored[tiles.at(tile.inner, self.scale)], tile, part)
        return self._restored(lr, cells, parts)

    def _restored(self, lr: Levels, cells: Bool[Tensor, "rows columns"], parts: Sequence[CellErrors]) -> _Restored:
        """What the tiles' errors are together, those of bicubic where that restores."""
        total = self.original.no_errors()
        for part in parts:
            part.add_to(total)
        by_bicubic = pixels(cells, self.side * self.scale // CELL, (total.shape[1], total.shape[2]))
        return _Restored(lr, cells, tuple(parts), torch.where(by_bicubic, self.bicubic, total))

    def _by_bicubic(self) -> tuple[Levels, Cells]:
        """The bicubic LR, and the sums of the errors of what bicubic restores from that."""
        scale = self.scale
        small = tiles.downscale(lambda hr: to_uint8(resize.downscale(hr, scale)), self.hr, scale, _BICUBIC_TILES)
        total = self.original.no_errors()
        for tile in _BICUBIC_TILES.tiles(*small.shape[-2:]):
            restored = quantize(resize.upscale(from_uint8(small[tiles.at(tile.outer, 1)]), scale))
            part = self.original.none_in(tile)
            self.original.measure(restored[tiles.at(tile.inner, scale)], tile, part)
            part.add_to(total)
        return small, total

    def excess(self, total: Cells) -> Float[Tensor, "rows columns"]:
        """By how many levels the mean of each neighbourhood is worse than by bicubic."""
        return (self._mean(total).abs() - self._mean(self.bicubic).abs()).amax(0)

    def failure(self, total: Cells) -> float:
        """Say how much fails, and by how much."""
        return float((self.excess(total) - LIMIT).clamp(min=0).sum())

    def fails(self, total: Cells) -> Neighbourhoods:
        return self.excess(total) > LIMIT

    def _mean(self, total: Cells) -> Cells:
        """The means of neighbourhoods."""
        return _pooled(total) / _pooled(self.pixels)

    def in_lr(self, chosen: Neighbourhoods) -> Bool[Tensor, "h w"]:
        """Give the LR pixels that the chosen neighbourhoods are of."""
        cells = self._cells_of(chosen[None].float())[0] > 0
        (top, bottom), (left, right) = self._first_and_last(0), self._first_and_last(1)
        down = cells[top] | cells[bottom]
        return down[:, left] | down[:, right]

    def _cells_of(self, values: Float[Tensor, "c m n"]) -> Cells:
        """For each cell the largest value of the neighbourhoods that it is part of."""
        rows, columns = self.pixels.shape[-2:]
        padded = F.pad(values, (1, int(columns > 1), 1, int(rows > 1)))
        return F.max_pool2d(padded, 2, 1)[:, :rows, :columns]

    def _first_and_last(self, axis: int) -> tuple[Tensor, Tensor]:
        """The first and the last cell that each LR pixel along an axis lies in."""
        count = self.hr.shape[2 + axis] // self.scale
        first = torch.arange(count, device=self.hr.device) * self.scale
        last = self.pixels.shape[1 + axis] - 1
        return (first // CELL).clamp(max=last), ((first + self.scale - 1) // CELL).clamp(max=last)


def _simple(cells: Bool[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
    """Cells, and more around them if there are so many areas that a note would become long."""
    found, size = cells, 1
    while len(areas_of(found, 1).runs) > _MOST_RUNS:
        size *= 2
        found = pixels(
            F.max_pool2d(cells[None].float(), size, ceil_mode=True)[0] > 0, size, (len(cells), len(cells[0]))
        )
    return found


def _pooled(cells: Cells) -> Cells:
    """The sums of 2 x 2 cells, or of fewer where there are no more."""
    window = min(2, cells.shape[1]), min(2, cells.shape[2])
    return F.avg_pool2d(cells, window, 1, divisor_override=1)


def _counts(side: int, device: torch.device) -> Float[Tensor, " cells"]:
    """How many of ``side`` pixels in a row each cell has."""
    return (side - CELL * torch.arange(-(-side // CELL), device=device)).clamp(max=CELL).float()


def _percent(share: float) -> str:
    return f"{round(100 * share)}%" if share >= 0.005 else "less than 1%"


def _share(mask: Tensor) -> float:
    return float(mask.float().mean())
