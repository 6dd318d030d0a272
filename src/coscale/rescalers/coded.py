"""A pair for LR images that a lossy codec keeps: bicubic, and an upscaler that is told how coarse the codec was.

    LR --and a plane that says the level--> convolutions --> + LR, each pixel repeated --pixel shuffle--> HR

One network serves all codecs and qualities. Bicubic is the downscaler because a learned one hides what it keeps in
fine detail, which a codec has to pay for. Sources: a plane that tells the noise level (FFDNet, Zhang et al., TIP 2018);
the rest as ``light``.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale import resize
from coscale.levels import AN_OCTAVE, LEVELS, step_of
from coscale.rescalers.base import Network, Rescaler, Wrapped
from coscale.rescalers.light import COLOURS, Convolutions


def told_as(steps: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Give what the network is told of quantiser steps in grey levels: the level's share of the highest, unrounded."""
    return AN_OCTAVE / (LEVELS - 1) * steps.clamp(min=1).log2()


class Coded(Network):
    """The pair of bicubic and a small residual network that is told the level, for any whole ``scale``."""

    is_told = True

    def __init__(self, scale: int, width: int = 64, blocks: int = 5) -> None:
        super().__init__()
        self.scale = scale
        self.receptive_field = 2 * blocks + 2  # a pixel for each of so many convolutions of 3 x 3
        self.up = Convolutions(COLOURS + 1, COLOURS * scale**2, width, blocks)

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map HR to LR by bicubic, not clipped."""
        return resize.downscale(hr, self.scale)

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map an LR that nothing was lost of to HR, not clipped."""
        return self.restore(lr, lr.new_zeros(len(lr)))

    def restore(self, lr: Float[Tensor, "b 3 h w"], told: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR images to HR, not clipped; ``told`` is what ``told_as`` says of each."""
        plane = told[:, None, None, None].expand(-1, 1, *lr.shape[-2:])
        added = self.up(torch.cat([lr, plane], 1))
        return F.pixel_shuffle(lr.repeat_interleave(self.scale**2, 1) + added, self.scale)

    def told(self, level: int) -> Rescaler:
        """Give the pair for LR images of a level."""
        return Told(self, level) if level else self


class Told(Wrapped):
    """A coded pair for LR images of one ``level``."""

    def __init__(self, inner: Coded, level: int) -> None:
        super().__init__(inner)
        self.coded = inner
        # A tensor: by a number all would be compiled anew at each level.
        self.level_told = told_as(torch.tensor([step_of(level)]))
        self.identity = f"{self.identity} {level}" if self.identity else ""

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        return self.coded.downscale(hr)

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        return self.coded.restore(lr, self.level_told.to(lr).expand(len(lr)))

    def told(self, level: int) -> Rescaler:
        """Give the pair for LR images of another level."""
        return self.coded.told(level)
