"""Learned steps: small networks that see what a pass found and give the step to take, where descent would need many.

    r = y - f(x)                             what the LR does not restore
    g = gradient of the objective at x
    x = x + h_k(r, g, x)                     k = 0, 1, ...: each step has a network of its own

The curvature of a learned f differs by orders of magnitude between directions, so that gradient steps gain little
until there are many. h learns, for one f, what to make of a gradient; everything is computed at LR size.
Sources: learned optimisers (Andrychowicz et al., NeurIPS 2016); learned gradient descent for inverse problems (Adler
and Öktem, Inverse Problems 2017); iterative encoding (Marino et al., ICML 2018).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale.choices import Precision
from coscale.rescalers.light import COLOURS, Convolutions

# What brings each input, and the step, to the size of about 1.
_ERRORS, _SLOPES, _OFFSETS, _STEPS = 8.0, 4.0, 64.0, 1 / 64


@dataclass(frozen=True)
class Seen:
    """What a pass found at an LR, for a step from there.

    - ``x``: the LR, not rounded, B x 3 x h x w in [0, 1].
    - ``error``: original - restored, unshuffled to LR size: B x (3 scale^2) x h x w.
    - ``slope``: the gradient by the LR of the objective's sum over the LR's values, of the size of an error.
    - ``base``: g's LR, clipped but not rounded, where the first step begins.
    - ``before``: ``slope`` of the pass before; of the first pass its own.
    """

    x: Float[Tensor, "b 3 h w"]
    error: Float[Tensor, "b c h w"]
    slope: Float[Tensor, "b 3 h w"]
    base: Float[Tensor, "b 3 h w"]
    before: Float[Tensor, "b 3 h w"]


class Steps(nn.Module):
    """The networks h_k of an upscaler of ``scale``, one for each of ``count`` steps; ``identity`` tells files apart."""

    identity = ""

    def __init__(self, scale: int, count: int = 3, width: int = 48, blocks: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.sizes = {"count": count, "width": width, "blocks": blocks}
        self.receptive_field = 2 * blocks + 2  # a pixel for each of so many convolutions of 3 x 3
        channels = COLOURS * (scale**2 + 4)
        self.networks = nn.ModuleList(Convolutions(channels, COLOURS, width, blocks) for _ in range(count))
        # How far each goes along the gradient beside what its network adds; the first training steps gain so at once.
        self.lengths = nn.Parameter(torch.full((count,), math.log(0.004)))  # as logarithms

    def forward(self, number: int, seen: Seen) -> Float[Tensor, "b 3 h w"]:
        """Give what step ``number`` adds to the LR."""
        inputs = (
            _ERRORS * seen.error,
            seen.x - 0.5,
            _SLOPES * seen.slope,
            _SLOPES * seen.before,
            _OFFSETS * (seen.x - seen.base),
        )
        # A later step is shorter, and so is what the noise of training makes of it.
        size = _STEPS / 2**number
        return size * self.networks[number](torch.cat(inputs, 1)).float() - self.lengths[number].exp() * seen.slope


@dataclass(frozen=True)
class LearnedSteps:
    """Learned steps as a method takes them, in ``precision`` on the way."""

    steps: Steps
    precision: Precision = "float32"

    @property
    def receptive_field(self) -> int:
        """Give how far, in LR pixels, a step sees."""
        return self.steps.receptive_field

    @torch.no_grad()
    def __call__(self, number: int, seen: Seen) -> Float[Tensor, "b 3 h w"]:
        """Give what step ``number`` adds to the LR."""
        with torch.autocast(seen.x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.steps(number, seen)


def unshuffled(error: Float[Tensor, "b 3 h w"], scale: int) -> Float[Tensor, "b c h2 w2"]:
    """Give an error at LR size."""
    return F.pixel_unshuffle(error, scale)
