"""What a method works on: photos, the rescaler that restores them, and the tiles to work in. It counts the passes."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from coscale import tiles
from coscale.alpha import as_seen
from coscale.cells import CellErrors, ComparedPhoto
from coscale.collaborate.curvature import Curvature
from coscale.collaborate.rolling import Rolling, inside, overlap
from coscale.machine import give_back_freed_memory
from coscale.quantize import Pixels, as_float, quantize, to_uint8
from coscale.rescalers import Maps
from coscale.rescalers.steps import LearnedSteps, Seen, unshuffled
from coscale.storage import PNG, Storage
from coscale.tiles import NONE_RESTS, WHOLE, Comparison, Resting, Tile, Tiling, Window, at, grown

Images = Float[Tensor, "b c h w"]
PerImage = Float[Tensor, " b"]
# From what was restored and its original, which has its alpha as a last channel if any (``alpha.as_seen`` takes it
# apart), to k values an image: the first is descended.
Errors = Callable[[Images, Images], Float[Tensor, "k b"]]


@dataclass
class Problem:
    """The photos of which the LR is to be found; see ``Method.__call__`` for the fields.

    ``pixels`` has the photos as they were given, in [0, 1] or as grey levels; ``original`` has them in [0, 1].
    ``downscales`` and ``upscales`` count the forward passes through g and f, ``gradients`` the backward passes. Of
    these ``work`` counts the ones by the LR, each by the share of the LR that it went over.
    """

    rescaler: Maps
    pixels: Pixels
    alpha: Images | None = None
    twin: Maps | None = None
    tiling: Tiling = WHOLE
    storage: Storage = PNG
    steps: LearnedSteps | None = None
    curvature: Curvature | None = None
    by_cells: ComparedPhoto | None = None
    downscales: int = 0
    upscales: int = 0
    gradients: int = 0
    work: float = 0.0
    _judged: tuple[UInt8[Tensor, "b c h w"], tuple[CellErrors, ...]] | None = None  # an LR and its errors by cells

    @property
    def original(self) -> Images:
        """Give the photos in [0, 1]; of those given as grey levels this is four times as large, and made each time."""
        return as_float(self.pixels)

    @property
    def through(self) -> Maps:
        """Give what gradients are taken through."""
        return self.twin or self.rescaler

    @torch.no_grad()
    def downscaled(self, hr: Pixels) -> Images:
        """Give g(hr)."""
        self.downscales += 1
        return tiles.downscale(self.rescaler.downscale, hr, self.rescaler.scale, self.tiling)

    def plain_lr(self, hr: Pixels) -> Images:
        """Give round(g(hr)), as a file holds it."""
        return quantize(self.downscaled(hr))

    def rounded(self, lr: Images) -> UInt8[Tensor, "b c h2 w2"]:
        """Round an LR to grey levels as a file holds it, with its errors fed back where the curvature is known."""
        return self.curvature.rounded(lr) if self.curvature else to_uint8(lr)

    def descent_of(self, slope: Images) -> Images:
        """Give the direction of descent for a gradient, of any length: by the curvature, where that is known."""
        return self.curvature.step(slope) if self.curvature else slope

    @torch.no_grad()
    def judge(self, lr: Pixels, errors: Errors, stored: bool = False) -> Float[Tensor, "k b"]:
        """Give the errors of the 8-bit photo that the LR restores as the storage keeps it.

        ``stored``: whether the LR is what a decoder sees already.
        """
        self.upscales += 1
        self._judged = None
        given = to_uint8(lr)
        lr = given if stored or self.storage.lossless else to_uint8(self.storage.project(as_float(lr)))
        original = self.by_cells
        found: tuple[CellErrors, ...] = ()
        if original:
            found = tuple(original.none_in(tile) for tile in self.tiling.tiles(*lr.shape[-2:]))
        rest = iter(found)

        def restore(part: Images) -> Images:
            return quantize(self.rescaler.upscale(part))

        def keep(tile: Tile, restored: Images, photo: Images) -> None:
            if original:
                original.measure(restored, tile, next(rest))

        losses = self._compared(restore, self.pixels, errors, keep=keep).mean(lr)
        self._judged = (given, found) if original else None
        return losses

    def errors_of(self, lr: Pixels) -> tuple[CellErrors, ...] | None:
        """Give the errors by cells of what the file of an LR restores to, if it was the last that was judged."""
        if self._judged is None or not torch.equal(to_uint8(lr), self._judged[0]):
            return None
        return self._judged[1]

    def gradient(self, lr: Images, errors: Errors, target: Pixels | None = None) -> tuple[Float[Tensor, "k b"], Images]:
        """Give the errors of what an LR restores to, and the gradient of the first.

        Arguments:
            lr: where the gradient is taken.
            errors: what is measured.
            target: what it is measured against, in place of the original.
        """
        found, slope = self.gradient_by_tiles(lr, errors, target=target)
        return found.sum(0), slope

    def gradient_by_tiles(
        self, lr: Images, errors: Errors, resting: Resting = NONE_RESTS, target: Pixels | None = None
    ) -> tuple[Float[Tensor, "t k b"], Images]:
        """Give what ``gradient`` does, each tile's share of the errors by itself.

        ``resting`` has these of the tiles that the pass leaves out, by their numbers.
        """
        self._count_pass(lr, resting)
        target = self.pixels if target is None else target
        slope = torch.zeros_like(lr)
        compared = self._compared(self.through.upscale, target, errors)
        return compared.tile_by_tile(lr, slope, resting), slope

    def calm(self, lr: Images, resting: Iterable[int]) -> list[Window]:
        """Give where an LR must not move for tiles to rest, so that no pass would see anything new of them.

        Whatever an LR value in no such window changes, or a learned step there sees, lies in other tiles.
        """
        tiles_here = self.tiling.tiles(lr.shape[-2], lr.shape[-1])
        return [grown(tiles_here[number].core, self._margin, lr.shape[-2:]) for number in resting]

    def around(self, lr: Images) -> float:
        """Give how much more than a tile has to stand still for it to rest, as a share of the tile."""
        first = self.tiling.tiles(lr.shape[-2], lr.shape[-1])[0]
        rows, columns = (side.stop - side.start for side in first.core)
        return (1 + 2 * self._margin / rows) * (1 + 2 * self._margin / columns) - 1

    @property
    def _margin(self) -> int:
        return max(self.tiling.halo, self.steps.receptive_field if self.steps else 0)

    def _count_pass(self, lr: Images, resting: Resting) -> None:
        self.upscales += 1
        self.gradients += 1
        self._judged = None  # an LR that is judged last is not followed by a gradient
        height, width = lr.shape[-2:]
        areas = [tile.area for tile in self.tiling.tiles(height, width)]
        self.work += sum(area for number, area in enumerate(areas) if number not in resting) / (height * width)

    def learned_step(
        self,
        number: int,
        lr: Images,
        errors: Errors,
        start: Images,
        before: Images | None,
        resting: Resting = NONE_RESTS,
    ) -> tuple[Float[Tensor, "t k b"], Images, Images]:
        """Give what ``gradient_by_tiles`` does, and what a learned step adds to the LR.

        What a step sees of the error is of the photo's size. So each tile's step is taken as soon as the tiles that it
        sees have been passed, and their errors are dropped.

        Arguments:
            number: of the step.
            lr: where the gradient is taken.
            errors: what is measured.
            start: the LR that learned steps began at.
            before: the gradient of the pass before; None for the first.
            resting: as in ``gradient_by_tiles``. The error in these tiles is taken for none, and within ``calm`` of
                them the step is of no use.
        """
        steps = self.steps
        assert steps is not None
        scale, size, (height, width) = self.rescaler.scale, lr[0].numel(), lr.shape[-2:]
        halo = steps.receptive_field
        # Of the same memory as a pass, and never without a core.
        taken = Tiling(max(self.tiling.side, 3 * halo), halo).tiles(height, width)
        passed = self.tiling.tiles(height, width)
        last = [max(k for k, other in enumerate(passed) if overlap(tile.outer, other.outer)) for tile in taken]
        waiting = deque(zip(taken, last, strict=True))
        # Half precision holds an error of a grey level to a thousandth of that.
        none = lr.new_zeros(1, lr.shape[1] * scale**2, 1, 1, dtype=torch.float16).expand(len(lr), -1, -1, -1)
        seen = Rolling([tile.core for tile in passed], [tile.outer for tile in taken], last, none)
        calm = self.calm(lr, resting)

        def keep(tile: Tile, restored: Images, photo: Images) -> None:
            restored, photo = as_seen(restored.clamp(0, 1), photo)
            seen.write(unshuffled(photo - restored, scale))

        self._count_pass(lr, resting)
        slope, step = torch.zeros_like(lr), torch.empty_like(lr)
        before = slope if before is None else before

        def done(k: int) -> None:
            if k in resting:
                rows, columns = (side.stop - side.start for side in passed[k].core)
                seen.write(none.expand(-1, -1, rows, columns))
            while waiting and waiting[0][1] <= k:
                tile, _ = waiting.popleft()
                if any(inside(tile.core, still) for still in calm):
                    seen.skip()
                    step[at(tile.core, 1)] = 0
                    continue
                x, slope_here, base, slope_before = (image[at(tile.outer, 1)] for image in (lr, slope, start, before))
                told = Seen(x, seen.read().float(), size * slope_here, base, size * slope_before)
                step[at(tile.core, 1)] = steps(number, told)[at(tile.inner, 1)]

        compared = self._compared(self.through.upscale, self.pixels, errors, keep=keep)
        return compared.tile_by_tile(lr, slope, resting, done), slope, step

    @torch.no_grad()
    def value(self, lr: Images, errors: Errors, target: Pixels | None = None) -> Float[Tensor, "k b"]:
        """Give what ``gradient`` does without the gradient."""
        self.upscales += 1
        target = self.pixels if target is None else target
        return self._compared(self.through.upscale, target, errors).mean(lr)

    def gradient_of_hr(self, hr: Images, errors: Errors) -> tuple[Float[Tensor, "k b"], Images]:
        """Give the errors of what an HR comes back as through g, rounding and f, and the gradient of the first."""
        self.downscales, self.upscales, self.gradients = self.downscales + 1, self.upscales + 1, self.gradients + 1
        return self._compared(self._there_and_back, self.pixels, errors, self.rescaler.scale).gradient(hr)

    @torch.no_grad()
    def value_of_hr(self, hr: Images, errors: Errors) -> Float[Tensor, "k b"]:
        """Give what ``gradient_of_hr`` does without the gradient."""
        self.downscales, self.upscales = self.downscales + 1, self.upscales + 1
        return self._compared(self._there_and_back, self.pixels, errors, self.rescaler.scale).mean(hr)

    def _there_and_back(self, hr: Images) -> Images:
        return self.through.upscale(quantize(self.through.downscale(hr)))

    def _compared(
        self, run: tiles.Map, target: Pixels, losses: tiles.Losses, unit: int = 1, keep: tiles.Keep | None = None
    ) -> Comparison:
        compared = Comparison(run, target, self.rescaler.scale, losses, self.tiling, unit, keep, self.alpha)
        if target.shape[-1] > self.tiling.side * self.rescaler.scale:
            # What was freed lies in pieces that what comes next does not fit in, and a pass over many tiles is long.
            give_back_freed_memory()
        return compared
