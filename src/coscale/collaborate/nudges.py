"""One or two small steps through a codec that is a black box: what the upscaler misses is added to what is encoded.

    seen = what a decoder sees of x
    x    = x - a step along the gradient, at seen, of loss + lambda bits
    keep the best of loss + lambda bits, these counted in the file

More steps make it worse: what they add up is what the codec cannot keep, and pays for. The gradient of the bits is that
of an estimate, log2(1 + |coefficient / step|) over the DCT of 8 x 8 pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from coscale.choices import Effort
from coscale.collaborate.method import Candidate, Method, State, beginning
from coscale.collaborate.problem import Images, Problem
from coscale.dct import bits_by_logarithm
from coscale.image import Photo
from coscale.levels import LEVELS, step_of
from coscale.objectives import WeightedLuma, mse, y_mse
from coscale.quantize import Pixels, as_float, quantize
from coscale.rescalers import Rescaler
from coscale.storage import Storage
from coscale.storage.lossy import Lossy

_PASSES: dict[Effort, int] = {"instant": 1, "fast": 1, "balanced": 2, "best": 4}
_PRICE = 0.6  # of a bit a pixel, in squared steps: what lambda is
_RATE = 0.2  # of the step that would undo the error, were the upscaler one that repeats pixels
_AMPLIFIED = 1.8  # what an upscaler's error weighs over that one's, in RGB and Y together
_MOMENTUM = 0.3
_PROBE = 128  # side in LR pixels of what a level is looked for on
_COARSE, _FINE = 32, 8  # levels between those that are tried


@dataclass(frozen=True)
class NudgedState(State):
    """Where the steps stand: g's LR, what the codec is given next, the ``velocity``, and what the last pass saw."""

    base: Images
    x: Images
    velocity: Images
    done: int
    looked: Candidate


@dataclass(frozen=True)
class Nudges(Method[NudgedState]):
    """coscale's method for a lossy storage that is a black box; see ``Coefficients`` for its settings.

    ``effort``: instant and fast are 1 pass, balanced and best 2 and 4.
    """

    effort: Effort = "balanced"
    luma: float = 0.5
    fidelity: float = 40.0
    price: float = _PRICE

    name = "coscale"

    @property
    def passes(self) -> int:
        """Give the passes of this effort."""
        return _PASSES[self.effort]

    def begin(self, problem: Problem) -> NudgedState:
        """Start at g(y)."""
        base = problem.plain_lr(problem.pixels)
        plain = self._candidate(problem, base, base)
        return NudgedState(*beginning(plain), base=base, x=base, velocity=torch.zeros_like(base), done=0, looked=plain)

    def step(self, problem: Problem, state: NudgedState) -> NudgedState:
        """Take the gradient where the decoder is, and move what the encoder is given."""
        storage, x = _storage(problem), state.x
        seen = storage.seen(x)
        errors, slope = problem.gradient(seen, self._errors)
        looked = self._judged(problem, x, seen, state.base, errors)
        step = step_of(storage.level or 0)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            bits = bits_by_logarithm(leaf, step).sum()
            (by_bits,) = torch.autograd.grad(self._lambda(problem) * bits, leaf)
        velocity = _MOMENTUM * state.velocity + slope + by_bits
        pixels = problem.pixels[0, 0].numel()
        rate = _RATE * x.shape[1] * pixels / (2 * _AMPLIFIED * problem.rescaler.scale**2)
        done = state.done + 1
        return replace(
            state,
            x=quantize(x - rate * velocity),
            velocity=velocity,
            looked=looked,
            loss=looked.loss,
            rounded=looked.loss,
            done=done,
            finished=done == self.passes,
        )

    def propose(self, problem: Problem, state: NudgedState) -> Sequence[Candidate]:
        """Propose what the pass looked at, and after the last pass what it gave."""
        if not state.finished:
            return (state.looked,)
        return state.looked, self._candidate(problem, state.x, state.base)

    def prefers(self, state: NudgedState, candidate: Candidate, best: Candidate) -> Bool[Tensor, " b"]:
        """Prefer a lower sum of loss and bits, where the LR is as near to g's as fidelity asks for."""
        most = state.plain.errors[2] + 10 ** (-self.fidelity / 10)
        return (candidate.loss < best.loss) & (candidate.errors[2] <= most)

    def _errors(self, restored: Images, photo: Images) -> Tensor:
        restored = restored.clamp(0, 1)
        return torch.stack([WeightedLuma(self.luma)(restored, photo), mse(restored, photo), y_mse(restored, photo)])

    def _candidate(self, problem: Problem, x: Images, base: Images) -> Candidate:
        seen = _storage(problem).seen(x)
        return self._judged(problem, x, seen, base, problem.judge(seen, self._errors, stored=True))

    def _judged(self, problem: Problem, x: Images, seen: Images, base: Images, errors: Tensor) -> Candidate:
        """What the encoder is given as a candidate: its loss has the bits of its file in it."""
        bits = torch.tensor([8.0 * len(_storage(problem).encode(Photo(one[None].cpu()))) for one in x])
        loss = errors[0] + self._lambda(problem) * bits.to(errors)
        return Candidate(x, loss, torch.stack([errors[1], errors[2], mse(seen, base)]))

    def _lambda(self, problem: Problem) -> float:
        """What a bit costs: of the loss of one photo."""
        return self.price * (step_of(_storage(problem).level or 0) / 255) ** 2 / problem.pixels[0, 0].numel()


@torch.no_grad()
def fitting_level(storage: Storage, rescaler: Rescaler, hr: Pixels) -> int:
    """Give the level which, told to a rescaler, has it restore most of what a codec leaves of an LR.

    It is looked for in the middle of the photo.
    """
    scale = rescaler.scale
    rows, columns = (
        slice(scale * first, scale * min(side, first + _PROBE))
        for side in (hr.shape[-2] // scale, hr.shape[-1] // scale)
        for first in [max(0, (side - _PROBE) // 2)]
    )
    part = as_float(hr[..., rows, columns])
    seen = storage.project(quantize(rescaler.downscale(part)))

    def loss(level: int) -> float:
        return float(WeightedLuma()(rescaler.told(level).upscale(seen).clamp(0, 1), part).mean())

    known: dict[int, float] = {}
    best = 0
    for levels in (range(0, LEVELS, _COARSE), range(-_COARSE + _FINE, _COARSE, _FINE)):
        known |= {best + level: loss(best + level) for level in levels if 0 <= best + level < LEVELS}
        best = min(known, key=lambda level: known[level])
    return best


def _storage(problem: Problem) -> Lossy:
    assert isinstance(problem.storage, Lossy)
    return problem.storage
