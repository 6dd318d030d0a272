"""Any size in bounded memory: maps that run tile by tile, and gradients that are summed over tiles.

    |<- halo ->|<------ core ------>|<- halo ->|     a tile is run whole; of what comes out, only the core is kept

Cores cover the image once. With a halo as wide as the map's receptive field, nothing that is kept sees the tile's edge,
and the result is that of the whole image; with the narrower halo of a network that sees very far, nearly so. All tiles
of an image have one shape, but for the last where they begin at multiples.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType, MappingProxyType
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from coscale.alpha import with_alpha
from coscale.errors import CoscaleWarning, MemoryNeededError, SettingsError, ran_out_of_memory
from coscale.memory import bytes_per_pixel, bytes_per_pixel_alone, free_memory
from coscale.quantize import Pixels, as_float
from coscale.remembered import remembered
from coscale.rescalers import Rescaler

Images = Float[Tensor, "b c h w"]
Map = Callable[[Tensor], Tensor]
Losses = Callable[[Images, Images], Float[Tensor, "k b"]]
Window = tuple[slice, slice]
T = TypeVar("T")
_MEASURED = "receptive field 1"  # what is kept under this name was measured as it is here
_PROBE = 97  # side in LR pixels of the image on which a receptive field is measured
_WIDE = 10  # LR pixels; a halo for the whole of a wider field would be most of the work,
_TOLERANCE = 1e-4  # so this share of it may lie outside
# Side in LR pixels, and in halos, of tiles that are as fast a pixel as any on a CPU, and take less than larger ones.
_FAST, _FAST_HALOS = 272, 32
_WHOLE, _WHOLE_HALOS = 400, 40  # the same of an image that is not cut, for whose halos much of the work would be
_ENOUGH = 2 * 2**30  # bytes that are taken without being asked for
_LEAN = 1.3  # about how much longer a gradient takes that keeps no activations
_CORE = 8  # side in LR pixels of the least core


@dataclass(frozen=True)
class Tile:
    """Where a tile lies in the LR image: all that is run, and what of it is kept."""

    outer: Window
    core: Window

    @property
    def area(self) -> int:
        """Give LR pixels of the core."""
        rows, columns = self.core
        return (rows.stop - rows.start) * (columns.stop - columns.start)

    @property
    def inner(self) -> Window:
        """Give the core, seen from the outer's corner."""
        rows, columns = (
            slice(core.start - outer.start, core.stop - outer.start)
            for core, outer in zip(self.core, self.outer, strict=True)
        )
        return rows, columns


@dataclass(frozen=True)
class Tiling:
    """Tiles of at most ``side`` LR pixels a side, ``halo`` of them on each side for the neighbours' sake.

    Tiles begin at a ``multiple`` of pixels, for networks that see the image through a grid of windows. Raises
    SettingsError for a side that leaves no core.
    """

    side: int
    halo: int
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.most_core < 1:
            raise SettingsError(f"a tile of {self.side} leaves nothing between halos of {self.halo}; make it larger")

    @property
    def most_core(self) -> int:
        """Side of the largest core: a tile that begins at a multiple begins up to so many pixels before its halo."""
        return self.side - around(self.halo, self.multiple)

    def tiles(self, height: int, width: int) -> list[Tile]:
        """Give the tiles of an LR image; a single one where the image is no larger than a tile."""
        rows, columns = (self._axis(size) for size in (height, width))
        return [Tile((top[0], left[0]), (top[1], left[1])) for top in rows for left in columns]

    def _axis(self, size: int) -> list[tuple[slice, slice]]:
        if size <= self.side:
            return [(slice(0, size), slice(0, size))]
        count = -(-size // self.most_core)
        outer = min(size, -(-size // count) + around(self.halo, self.multiple))
        parts = []
        for i in range(count):
            core = slice(size * i // count, size * (i + 1) // count)
            first = min(max(0, core.start - self.halo), size - outer) // self.multiple * self.multiple
            parts.append((slice(first, size if i == count - 1 else first + outer), core))
        return parts


def around(halo: int, multiple: int) -> int:
    """Say how much longer the side of a tile is than that of its core."""
    return 2 * halo + multiple - 1


WHOLE = Tiling(2**31, 0)
Keep = Callable[[Tile, Images, Images], None]
# The numbers of tiles that a pass leaves out, and their shares of the losses.
Resting = Mapping[int, Float[Tensor, "k b"]]
NONE_RESTS: Resting = MappingProxyType({})


def at(window: Window, scale: int) -> tuple[EllipsisType, slice, slice]:
    """Give an index that takes a window of LR pixels out of an image ``scale`` times as large."""
    rows, columns = window
    return (
        ...,
        slice(rows.start * scale, rows.stop * scale),
        slice(columns.start * scale, columns.stop * scale),
    )


def upscale(run: Map, lr: Images, scale: int, tiling: Tiling) -> Tensor:
    """Run ``run``, a map from LR to HR of ``scale`` times the size, in the tiles of ``tiling``."""
    tiles = tiling.tiles(lr.shape[-2], lr.shape[-1])
    if len(tiles) == 1:
        return run(lr)
    out: Tensor | None = None  # made once it is known what ``run`` gives
    for tile in tiles:
        part = run(lr[at(tile.outer, 1)])[at(tile.inner, scale)]
        if out is None:
            out = part.new_empty(*part.shape[:-2], lr.shape[-2] * scale, lr.shape[-1] * scale)
        out[at(tile.core, scale)] = part
    assert out is not None
    return out


def downscale(run: Map, hr: Pixels, scale: int, tiling: Tiling) -> Tensor:
    """Run ``run``, a map from HR to LR, in the tiles of ``tiling``; the sides of ``hr`` are multiples of ``scale``."""
    height, width = hr.shape[-2] // scale, hr.shape[-1] // scale
    tiles = tiling.tiles(height, width)
    if len(tiles) == 1:
        return run(as_float(hr))
    out: Tensor | None = None  # made once it is known what ``run`` gives
    for tile in tiles:
        part = run(as_float(hr[at(tile.outer, scale)]))[at(tile.inner, 1)]
        if out is None:
            out = part.new_empty(*part.shape[:-2], height, width)
        out[at(tile.core, 1)] = part
    assert out is not None
    return out


def grown(window: Window, margin: int, size: tuple[int, ...]) -> Window:
    """Give a window with a margin around it, as far as the image of ``size`` goes."""
    rows, columns = (
        slice(max(0, side.start - margin), min(length, side.stop + margin))
        for side, length in zip(window, size, strict=True)
    )
    return rows, columns


@dataclass(frozen=True)
class Comparison:
    """What is made of images, compared with a photo tile by tile, whatever its size.

    - ``run``: a map to HR.
    - ``hr``: the photo, in [0, 1] or as grey levels, of which no more than a tile is converted at a time.
    - ``scale``: HR size over LR size.
    - ``losses``: gives k losses for each image, and averages over the pixels: those of the image are the means of the
      tiles', by area.
    - ``tiling``: the tiles.
    - ``unit``: the pixels that what ``run`` is given has a side for each LR pixel, 1 for an LR, the scale for an HR.
    - ``keep``: is given each tile with what was restored of its core and the photo's part there.
    - ``alpha``: the photo's opacity, which its parts then have as a last channel.
    """

    run: Map
    hr: Pixels
    scale: int
    losses: Losses
    tiling: Tiling
    unit: int = 1
    keep: Keep | None = None
    alpha: Images | None = None

    def gradient(self, x: Images) -> tuple[Float[Tensor, "k b"], Images]:
        """Give the losses of what ``run`` makes of ``x``, an LR or an HR, and the gradient of the first by ``x``."""
        slope = torch.zeros_like(x)
        return self.tile_by_tile(x, slope).sum(0), slope

    def tile_by_tile(
        self, x: Images, slope: Images, resting: Resting = NONE_RESTS, done: Callable[[int], None] | None = None
    ) -> Float[Tensor, "t k b"]:
        """Give each tile's share of the losses, and add its gradient to ``slope``.

        Arguments:
            x: an LR or an HR.
            slope: what the gradient is added to, of the size of ``x``.
            resting: the shares of the tiles that are left out, by their numbers.
            done: called with the number of each tile once its gradient has been added.
        """
        out: Tensor | None = None  # of all tiles: one of each by itself would lie amidst the memory of the next
        tiles = list(_shares(x, self.unit, self.tiling))
        for number, (tile, share) in enumerate(tiles):
            value = resting.get(number)
            if value is None:
                part = x[at(tile.outer, self.unit)].detach().requires_grad_()
                with torch.enable_grad():
                    value = share * self._losses(part, tile)
                    (found,) = torch.autograd.grad(value[0].sum(), part)
                slope[at(tile.outer, self.unit)] += found
                value = value.detach()
            out = value.new_empty(len(tiles), *value.shape) if out is None else out
            out[number] = value
            if done:
                done(number)
        assert out is not None
        return out

    @torch.no_grad()
    def mean(self, x: Pixels) -> Float[Tensor, "k b"]:
        """Give the losses alone; ``x`` may also be grey levels."""
        total: Tensor | float = 0.0
        for tile, share in _shares(x, self.unit, self.tiling):
            total = total + share * self._losses(as_float(x[at(tile.outer, self.unit)]), tile)
        assert isinstance(total, Tensor)
        return total

    def _losses(self, part: Images, tile: Tile) -> Float[Tensor, "k b"]:
        """The losses of a tile, of which ``part`` is the outer."""
        core = at(tile.core, self.scale)
        restored = self.run(part)[at(tile.inner, self.scale)]
        photo = with_alpha(as_float(self.hr[core]), None if self.alpha is None else self.alpha[core])
        if self.keep:
            self.keep(tile, restored.detach(), photo)
        return self.losses(restored, photo)


def _shares(x: Pixels, unit: int, tiling: Tiling) -> Iterator[tuple[Tile, float]]:
    """The tiles of an image, and what part of it each is."""
    height, width = x.shape[-2] // unit, x.shape[-1] // unit
    for tile in tiling.tiles(height, width):
        yield tile, tile.area / (height * width)


def receptive_field(
    run: Map, unit_in: int, unit_out: int, channels: int, device: torch.device, tolerance: float = 0.0
) -> int:
    """Say how far, in LR pixels, what ``run`` makes at an LR pixel depends on the image around it.

    It is measured on noise. Fields wider than 48 pixels are told as 48.

    Arguments:
        run: g or f.
        unit_in, unit_out: the pixels a side that its images have for each LR pixel: 1 and the scale for f, the scale
            and 1 for g.
        channels: of the images.
        device: where it runs.
        tolerance: the share of the gradient that may lie beyond the distance which is told.
    """
    generator = torch.Generator().manual_seed(0)
    side = _PROBE * unit_in
    x = torch.rand(1, channels, side, side, generator=generator).to(device).requires_grad_()
    middle = _PROBE // 2
    with torch.enable_grad():
        centre = run(x)[at((slice(middle, middle + 1), slice(middle, middle + 1)), unit_out)]
        (slope,) = torch.autograd.grad(centre, x, torch.rand(centre.shape, generator=generator).to(centre))
    size = slope.abs().sum((0, 1)).double().reshape(_PROBE, unit_in, _PROBE, unit_in).sum((1, 3))
    away = (torch.arange(_PROBE, device=device) - middle).abs()
    distance = torch.maximum(away[:, None], away).flatten()
    at_least = torch.zeros(middle + 1, dtype=size.dtype, device=device).index_add_(0, distance, size.flatten())
    beyond = at_least.flip(0).cumsum(0).flip(0) / at_least.sum()
    return int((beyond > tolerance).nonzero().max())


def halo_of(rescaler: Rescaler, channels: int, device: torch.device) -> int:
    """Give the wider receptive field of g and f where it is small, else what all but a ten-thousandth of it takes."""

    def widest(tolerance: float) -> int:
        down = receptive_field(rescaler.downscale, rescaler.scale, 1, channels, device, tolerance)
        return max(down, receptive_field(rescaler.upscale, 1, rescaler.scale, channels, device, tolerance))

    def kept(tolerance: float) -> int:
        key = rescaler.identity and f"{_MEASURED} {rescaler.identity} {channels} {device.type} {tolerance:g}"
        return remembered(key, lambda: [widest(tolerance)])[0]

    field = kept(0) if rescaler.receptive_field is None else rescaler.receptive_field
    return field if field <= _WIDE else kept(_TOLERANCE)


@dataclass(frozen=True)
class Room:
    """What the passes may take: tiles of ``tile`` LR pixels a side, or as many ``memory`` bytes as these.

    Without either, tiles have the side that is fastest, or less where so much memory is not free. Raises SettingsError
    for what makes no sense.
    """

    tile: int | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("tile", self.tile), ("memory", self.memory)):
            if value is not None and not 1 <= value < math.inf:
                raise SettingsError(f"{name} is {value}; it must be at least 1")


ANY_ROOM = Room()


@dataclass(frozen=True)
class Passes:
    """What tiles are planned for.

    - ``rescaler``, ``device``: what is run, and where.
    - ``size``, ``channels``: (height, width) of the LR image, and how many channels it has.
    - ``maps``: how many a pass goes through, 1 for f alone, 2 for g and f.
    - ``gradients``: whether passes go back too, for which they keep activations.
    - ``of_loss``: the bytes that an objective keeps for each HR pixel, where it is none of squared errors.
    """

    rescaler: Rescaler
    size: tuple[int, int]
    channels: int
    device: torch.device
    maps: int = 1
    gradients: bool = True
    of_loss: float = 0.0

    @property
    def halo(self) -> int:
        """Give LR pixels around a core for its neighbours' sake."""
        return self.maps * halo_of(self.rescaler, self.channels, self.device)

    def bytes_each(self, rescaler: Rescaler) -> float:
        """Give the memory that a pass through ``rescaler`` takes for each LR pixel."""
        if self.gradients:
            taken = bytes_per_pixel(rescaler, self.channels, self.device, both=self.maps == 2) + self.of_loss
        else:
            taken = bytes_per_pixel_alone(rescaler, self.channels, self.device)
        return taken * rescaler.scale**2


@dataclass(frozen=True)
class TilePlan:
    """The tiles to work in, and whether gradients are to be those of the lean form of the rescaler."""

    tiling: Tiling
    lean: bool = False


def choose(passes: Passes, room: Room) -> TilePlan:
    """Plan the tiles: none where an image is small and fits, else as large as is fast and fits.

    The lean form of a rescaler, whose gradients take less memory and more time, is chosen where tiles as small as the
    memory asks for would take longer. The plan is the same on every machine with memory to spare. Warns where memory
    asks for smaller tiles than are fast. Raises SettingsError for a tile that leaves no core, and MemoryNeededError
    where the smallest does not fit.
    """
    rescaler, size, device, maps = passes.rescaler, passes.size, passes.device, passes.maps
    multiple = rescaler.multiple
    if room.tile is not None:
        return TilePlan(Tiling(room.tile, passes.halo, multiple))
    free = free_memory(device) / 2
    memory = (free if device.type == "cuda" else min(free, _ENOUGH)) if room.memory is None else room.memory
    taken = passes.bytes_each(rescaler)
    whole = size[0] * size[1] * taken
    if whole <= memory and (max(size) <= _WHOLE or device.type == "cuda"):  # what fills a GPU's memory keeps it busy
        return TilePlan(WHOLE)
    halo = passes.halo
    if room.memory is None and halo >= maps * (_PROBE // 2):
        memory = free  # it may see the whole image, which tiles change
    if whole <= memory and max(size) <= _WHOLE_HALOS * halo:
        return TilePlan(WHOLE)
    fast = max(_FAST, _FAST_HALOS * halo) if device.type != "cuda" else max(size)

    def largest(bytes_each: float) -> int:
        return min(fast, math.isqrt(int(min(memory, 1e15) / bytes_each)))

    side, is_lean, lean = largest(taken), False, rescaler.lean()
    if passes.gradients and lean is not rescaler and side < fast:
        lean_taken = passes.bytes_each(lean)
        lean_side = largest(lean_taken)
        if _LEAN * _work_of(lean_side, halo) < _work_of(side, halo):
            is_lean, side, taken = True, lean_side, lean_taken
    least = _CORE + around(halo, multiple)
    if side < least:
        enough = math.ceil(taken * least**2 / 1e6)
        raise MemoryNeededError(
            f"the smallest tile, of {least} LR pixels a side, takes {enough} MB of memory, and there is less; "
            f"free some, or give --memory {enough}MB"
        )
    if side < fast and memory < _ENOUGH:
        warnings.warn(f"memory is short: working in tiles of {side} LR pixels a side", CoscaleWarning, stacklevel=3)
    return TilePlan(Tiling(side, halo, multiple), is_lean)


def _work_of(side: int, halo: int) -> float:
    """What tiles of that side cost for each pixel that is kept of them; infinite where none is."""
    return (side / (side - 2 * halo)) ** 2 if side >= 2 * halo + _CORE else math.inf


def within_room(run: Callable[[TilePlan], T], passes: Passes, room: Room) -> T:
    """Give what ``run`` gives by the plan of ``choose``, and in smaller tiles each time that memory runs out.

    Raises as ``choose`` does, and MemoryNeededError where it runs out in the smallest tiles.
    """
    plan = choose(passes, room)
    while True:
        try:
            return run(plan)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
        halo = passes.halo if plan.tiling == WHOLE else plan.tiling.halo
        side, multiple = min(plan.tiling.side, max(passes.size)) // 2, passes.rescaler.multiple
        if side < _CORE + around(halo, multiple):
            raise MemoryNeededError("memory ran out even in small tiles; take a smaller photo, or free some")
        warnings.warn(f"memory ran out: going on in tiles of {side} LR pixels a side", CoscaleWarning, stacklevel=2)
        plan = TilePlan(Tiling(side, halo, multiple), plan.lean)
