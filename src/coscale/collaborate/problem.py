"""What a method works on: photos, the rescaler that restores them, and the tiles to work in. It counts the passes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coscale import tiles
from coscale.alpha import with_alpha
from coscale.quantize import quantize
from coscale.rescalers import Maps
from coscale.storage import PNG, Storage
from coscale.tiles import WHOLE, Tiling

Images = Float[Tensor, "b c h w"]
PerImage = Float[Tensor, " b"]
# From what was restored and its original, which has its alpha as a last channel if any (``alpha.as_seen`` takes it
# apart), to k values an image: the first is descended.
Errors = Callable[[Images, Images], Float[Tensor, "k b"]]


@dataclass
class Problem:
    """The photos of which the LR is to be found; see ``Method.__call__`` for the fields.

    ``downscales`` and ``upscales`` count the forward passes through g and f, ``gradients`` the backward passes.
    """

    rescaler: Maps
    original: Images
    alpha: Images | None = None
    twin: Maps | None = None
    tiling: Tiling = WHOLE
    storage: Storage = PNG
    downscales: int = 0
    upscales: int = 0
    gradients: int = 0

    @property
    def through(self) -> Maps:
        """Give what gradients are taken through."""
        return self.twin or self.rescaler

    @torch.no_grad()
    def plain_lr(self, hr: Images) -> Images:
        """Give round(g(hr)), as a file holds it."""
        self.downscales += 1
        return quantize(tiles.downscale(self.rescaler.downscale, hr, self.rescaler.scale, self.tiling))

    @torch.no_grad()
    def judge(self, lr: Images, errors: Errors) -> Float[Tensor, "k b"]:
        """Give the errors of the 8-bit photo that the LR restores as the storage keeps it."""
        self.upscales += 1

        def of_file(restored: Images, photo: Images) -> Tensor:
            return errors(quantize(restored), photo)

        return self._mean(self.rescaler.upscale, self.storage.project(lr), self.original, of_file, 1)

    def gradient(self, lr: Images, errors: Errors, target: Images | None = None) -> tuple[Float[Tensor, "k b"], Images]:
        """Give the errors of what an LR restores to, and the gradient of the first.

        Arguments:
            lr: where the gradient is taken.
            errors: what is measured.
            target: what it is measured against, in place of the original.
        """
        self.upscales += 1
        self.gradients += 1
        target = self.original if target is None else target
        return self._gradient(self.through.upscale, lr, target, errors, 1)

    @torch.no_grad()
    def value(self, lr: Images, errors: Errors, target: Images | None = None) -> Float[Tensor, "k b"]:
        """Give what ``gradient`` does without the gradient."""
        self.upscales += 1
        return self._mean(self.through.upscale, lr, self.original if target is None else target, errors, 1)

    def gradient_of_hr(self, hr: Images, errors: Errors) -> tuple[Float[Tensor, "k b"], Images]:
        """Give the errors of what an HR comes back as through g, rounding and f, and the gradient of the first."""
        self.downscales, self.upscales, self.gradients = self.downscales + 1, self.upscales + 1, self.gradients + 1
        return self._gradient(self._there_and_back, hr, self.original, errors, self.rescaler.scale)

    @torch.no_grad()
    def value_of_hr(self, hr: Images, errors: Errors) -> Float[Tensor, "k b"]:
        """Give what ``gradient_of_hr`` does without the gradient."""
        self.downscales, self.upscales = self.downscales + 1, self.upscales + 1
        return self._mean(self._there_and_back, hr, self.original, errors, self.rescaler.scale)

    def _there_and_back(self, hr: Images) -> Images:
        return self.through.upscale(quantize(self.through.downscale(hr)))

    def _mean(self, run: tiles.Map, x: Images, target: Images, losses: tiles.Losses, unit: int) -> Tensor:
        return tiles.mean(run, x, with_alpha(target, self.alpha), self.rescaler.scale, losses, self.tiling, unit)

    def _gradient(
        self, run: tiles.Map, x: Images, target: Images, losses: tiles.Losses, unit: int
    ) -> tuple[Tensor, Images]:
        return tiles.gradient(run, x, with_alpha(target, self.alpha), self.rescaler.scale, losses, self.tiling, unit)
