"""One or two small steps through a codec that is a black box: what the upscaler misses is added to what is encoded.

    seen = what a decoder sees of x
    x    = x - a step along the gradient, at seen, of loss + lambda bits
    keep the best of loss + lambda bits, these counted in the file

More steps make it worse: what they add up is what the codec cannot keep, and pays for. The gradient of the bits is that
of an estimate, log2(1 + |coefficient / step|) over the DCT of 8 x 8 pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from coscale.choices import Effort
from coscale.collaborate.lossy import LossyMethod, LossyState, lossy_of
from coscale.collaborate.method import Candidate, beginning
from coscale.collaborate.problem import Images, PerImage, Problem
from coscale.quantize import quantize

_RATE = 0.2  # of the step that would undo the error, were the upscaler one that repeats pixels
_AMPLIFIED = 1.8  # what an upscaler's error weighs over that one's, in RGB and Y together
_MOMENTUM = 0.3


@dataclass(frozen=True)
class NudgedState(LossyState):
    """Where the steps stand.

    - ``x``: what the codec is given; ``seen``, ``bits``: what a decoder sees of it, and the bits of its file.
    - ``velocity``: the decaying sum of the gradients.
    """

    x: Images
    seen: Images
    bits: PerImage
    velocity: Images


@dataclass(frozen=True)
class Nudges(LossyMethod[NudgedState]):
    """coscale's method for a lossy storage that is a black box.

    ``effort``: instant and fast are 1 pass, balanced and best 2 and 4.
    """

    price = 0.6
    efforts: ClassVar[Mapping[Effort, int]] = {"instant": 1, "fast": 1, "balanced": 2, "best": 4}

    def begin(self, problem: Problem) -> NudgedState:
        """Start at g(y)."""
        base = problem.plain_lr(problem.pixels)
        seen, bits = lossy_of(problem).kept(base)
        plain = self._judged(problem, base, seen, base, bits)
        still = torch.zeros_like(base)
        return NudgedState(
            *beginning(plain), base=base, done=0, looked=plain, x=base, seen=seen, bits=bits, velocity=still
        )

    def step(self, problem: Problem, state: NudgedState) -> NudgedState:
        """Take the gradient where the decoder is, and move what the encoder is given."""
        storage, x = lossy_of(problem), state.x
        errors, slope = problem.gradient(state.seen, self.errors)
        looked = self.candidate(problem, x, state.seen, state.base, errors, state.bits)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            rate = storage.rate(leaf)
            assert rate is not None
            (by_bits,) = torch.autograd.grad(self.price_of_a_bit(problem) * rate.sum(), leaf)
        velocity = _MOMENTUM * state.velocity + slope + by_bits
        pixels = problem.pixels[0, 0].numel()
        length = _RATE * x.shape[1] * pixels / (2 * _AMPLIFIED * problem.rescaler.scale**2)
        moved = quantize(x - length * velocity)
        seen, bits = storage.kept(moved)
        done = state.done + 1
        return replace(
            state,
            x=moved,
            seen=seen,
            bits=bits,
            velocity=velocity,
            looked=looked,
            loss=looked.loss,
            rounded=looked.loss,
            done=done,
            finished=done == self.passes,
        )

    def last(self, problem: Problem, state: NudgedState) -> Candidate:
        """Give where the last step led."""
        return self._judged(problem, state.x, state.seen, state.base, state.bits)

    def _judged(self, problem: Problem, x: Images, seen: Images, base: Images, bits: PerImage) -> Candidate:
        """What the encoder is given as a candidate, with the errors of the 8-bit photo that its file restores to."""
        return self.candidate(problem, x, seen, base, problem.judge(seen, self.errors, stored=True), bits)
