"""Descent on what a JPEG file holds: whole numbers, each of which moves by one, or to zero, where that pays.

    code = the coefficients of g(y), divided by their steps and rounded
    x    = the image that the code stands for
    c    = curvature of the loss, for each plane and frequency: from the gradients at the code and near it
    G    = gradient of the loss, by each coefficient
    for -1, +1 and to zero:  change = G e + c e e / 2 + lambda (bits after - bits before)      e: what the move changes
    make a random part of the moves that pay
    keep the best of loss + lambda bits

An upscaler amplifies some frequencies more than others, and the better it is the more so; what that makes of a move is
seen in all blocks at once, each coefficient moved a little in a random direction. The loss is seen from one point at
which all move at once, so that only a part of the moves is made at a time. Rounding with a straight-through gradient,
as it serves for grey levels, makes coefficients waver between two values, each of which costs bits. The estimate of
bits is that of run-length codes: a frequency that is seldom other than zero is dear.
Sources: quantisation by rate and distortion, as encoders do it (Crouse and Ramchandran, 1997).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coscale.choices import Effort
from coscale.collaborate.method import Candidate, Method, State, beginning
from coscale.collaborate.problem import Images, PerImage, Problem
from coscale.errors import SettingsError
from coscale.objectives import WeightedLuma, mse, y_mse
from coscale.quantize import Pixels, quantize
from coscale.storage.jpeg import Jpeg

_PASSES: dict[Effort, int] = {"instant": 1, "fast": 3, "balanced": 7, "best": 23}  # beside that for the curvature
PRICE = 1.0  # of a bit a pixel, in squared steps: what lambda is
_TOGETHER = 1.2  # by how much more the loss curves because many coefficients move at once
_PROBE = 0.25  # of a step: how far each coefficient is moved to see the curvature
_PRIOR = 32  # blocks: how many the curvature of an upscaler that only repeats pixels counts as
_LEAST_OF_PRIOR = 0.25  # of that curvature: the least that is taken for one
_SHARE, _LAST_SHARE, _LAST = 0.6, 0.3, 3  # the share of the moves that is made, and in the last passes
_CHROMA_GAIN = 4 * 0.6  # a coefficient of halved chroma moves four pixels, less what interpolation smooths
_RED_AND_GREEN_OF_CR = (1.402**2 + 0.714**2) / 3
_BLUE_AND_GREEN_OF_CB = (1.772**2 + 0.344**2) / 3
_OF_LUMA = 0.737  # the square of Y in studio range over that of the grey it is of
_FIRST_PULL = 0.2
_OF_A_VALUE, _MOST_OF_A_VALUE, _SIGN = 0.3, 9.0, 1.2  # bits of being other than zero: least, most, and of the sign


@dataclass(frozen=True)
class CoefficientState(State):
    """Where the descent stands: g's LR, the ``code``, how many passes are ``done``, and what the last ``looked`` at.

    ``bends`` is the curvature of the loss by the coefficients of each plane, for each frequency; empty as yet unknown.
    ``pull`` is how much the difference from g's LR weighs, which grows where that is more than fidelity allows.
    """

    base: Images
    code: Float[Tensor, "b n"]
    bends: tuple[Tensor, ...]
    done: int
    looked: Candidate
    pull: PerImage


@dataclass(frozen=True)
class Coefficients(Method[CoefficientState]):
    """coscale's method for LR images as JPEG; ``effort``: instant, fast, balanced or best are 2, 4, 8 or 24 passes.

    - ``luma``: the weight W of Y's error beside that of RGB, in the loss RGB-MSE + W Y-MSE.
    - ``fidelity``: what the method may add to the difference between bicubic's LR and what decoders see of the file,
      beside what the codec alone adds: so much less than white, in dB.
    - ``price``: of a bit a pixel, in squares of the step.
    """

    effort: Effort = "balanced"
    luma: float = 0.5
    fidelity: float = 40.0
    price: float = PRICE
    seed: int = 0

    name = "coscale"

    def __post_init__(self) -> None:
        if self.effort not in get_args(Effort):
            raise SettingsError(f"effort is {self.effort!r}; choose one of {', '.join(get_args(Effort))}")

    @property
    def passes(self) -> int:
        """Give the passes of this effort, that for the curvature among them."""
        return 1 + _PASSES[self.effort]

    def begin(self, problem: Problem) -> CoefficientState:
        """Start at the code of g(y)."""
        storage = _storage(problem)
        base = problem.plain_lr(problem.pixels)
        code = storage.code_of(base)
        plain = self._candidate(problem, code, base)
        pull = torch.zeros_like(plain.loss)
        return CoefficientState(*beginning(plain), base=base, code=code, bends=(), done=0, looked=plain, pull=pull)

    def step(self, problem: Problem, state: CoefficientState) -> CoefficientState:
        """Take the gradient at the code's image, and make a part of the moves that pay."""
        code = state.code
        errors, seen, by_code = self._slope(problem, state, code)
        looked = self._judged(problem, code, seen, state.base, errors)
        if not state.bends:
            state = replace(state, bends=self._bends(problem, state, by_code))
        last = state.done >= _PASSES[self.effort] - _LAST
        chosen = _random(code, self.seed + state.done) < (_LAST_SHARE if last else _SHARE)
        moved = torch.where(chosen, self._moved(problem, state, by_code), code)
        done = state.done + 1
        return replace(
            state,
            code=moved,
            looked=looked,
            loss=looked.loss,
            rounded=looked.loss,
            pull=self._pulled(state, looked),
            done=done,
            finished=done == _PASSES[self.effort],
        )

    def _slope(self, problem: Problem, state: CoefficientState, code: Tensor) -> tuple[Tensor, Images, Tensor]:
        """The errors at a code's image, that image, and the gradient by the code."""
        base = state.base
        with torch.enable_grad():
            leaf = code.detach().requires_grad_()
            x = _storage(problem).image_of(leaf, _size(base))
            seen = quantize(x.detach())
            errors, slope = problem.gradient(seen, self._errors)
            slope = slope + (2 * state.pull / base[0].numel())[:, None, None, None] * (seen - base)
            (by_code,) = torch.autograd.grad(x, leaf, slope)
        return errors, seen, by_code

    def _bends(self, problem: Problem, state: CoefficientState, by_code: Tensor) -> tuple[Tensor, ...]:
        """How the loss curves by the coefficients of each plane, by frequency, from one more pass near the code."""
        storage, size = _storage(problem), _size(state.base)
        away = _PROBE * (2 * (_random(state.code, self.seed) < 0.5).to(state.code) - 1)
        _, _, near = self._slope(problem, state, state.code + away)
        bent = storage.planes_of((near - by_code) * away / _PROBE**2, size)
        usual = self._usual_bends(problem, state)
        found = []
        for plane, prior in zip(bent, usual, strict=True):
            blocks = plane.shape[1] * plane.shape[2]
            mean = (plane.sum((1, 2), keepdim=True) + _PRIOR * prior) / (blocks + _PRIOR)
            found.append(_TOGETHER * torch.maximum(mean, _LEAST_OF_PRIOR * prior))
        return tuple(found)

    def propose(self, problem: Problem, state: CoefficientState) -> Sequence[Candidate]:
        """Propose what the pass looked at, and after the last pass what it gave."""
        if not state.finished:
            return (state.looked,)
        return state.looked, self._candidate(problem, state.code, state.base)

    def prefers(self, state: CoefficientState, candidate: Candidate, best: Candidate) -> Bool[Tensor, " b"]:
        """Prefer a lower sum of loss and bits, where the LR is as near to g's as fidelity asks for."""
        return (candidate.loss < best.loss) & (candidate.errors[2] <= self._limit(state))

    def _limit(self, state: CoefficientState) -> PerImage:
        """The most that what decoders see may differ from g's LR, in mean squares."""
        return state.plain.errors[2] + 10 ** (-self.fidelity / 10)

    def _pulled(self, state: CoefficientState, looked: Candidate) -> PerImage:
        """More pull where the LR is too far from g's, and less where not."""
        far = looked.errors[2] > self._limit(state)
        return torch.where(far, 2 * state.pull + _FIRST_PULL, state.pull / 2)

    def _errors(self, restored: Images, photo: Images) -> Tensor:
        restored = restored.clamp(0, 1)
        return torch.stack([WeightedLuma(self.luma)(restored, photo), mse(restored, photo), y_mse(restored, photo)])

    def _candidate(self, problem: Problem, code: Tensor, base: Images) -> Candidate:
        """A code as a candidate, with the errors of the 8-bit photo that it restores."""
        x = quantize(_storage(problem).image_of(code, _size(base)))
        return self._judged(problem, code, x, base, problem.judge(x, self._errors, stored=True))

    def _judged(self, problem: Problem, code: Tensor, x: Images, base: Images, errors: Tensor) -> Candidate:
        """The candidate whose errors are known: its loss has the bits in it, and one error is what lies between it and
        g's LR.
        """
        planes = _storage(problem).planes_of(code, _size(base))
        bits = sum((_bits(p, _prices(p)).sum((1, 2, 3)) for p in planes), torch.zeros_like(errors[0]))
        loss = errors[0] + self._lambda(problem) * bits
        return Candidate(x, loss, torch.stack([errors[1], errors[2], mse(x, base)]), code)

    def _lambda(self, problem: Problem) -> float:
        """What a bit costs: of the loss of one photo."""
        height, width = _size(problem.pixels)
        return self.price * (_storage(problem).step / 255) ** 2 / (height * width)

    def _usual_bends(self, problem: Problem, state: CoefficientState) -> tuple[Tensor, ...]:
        """What the curvature would be for an upscaler that only repeats pixels."""
        luma, chroma = _storage(problem).tables.to(state.code).square()
        height, width = _size(problem.pixels)
        a_pixel = 2 * problem.rescaler.scale**2 / (height * width) / 255**2
        return (
            a_pixel * (1 + self.luma * _OF_LUMA) * luma,
            a_pixel * _CHROMA_GAIN * _BLUE_AND_GREEN_OF_CB * chroma,
            a_pixel * _CHROMA_GAIN * _RED_AND_GREEN_OF_CR * chroma,
        )

    def _moved(self, problem: Problem, state: CoefficientState, slope: Tensor) -> Tensor:
        """The code after all moves that pay, each for itself."""
        storage, size, price = _storage(problem), _size(state.base), self._lambda(problem)
        planes, slopes = storage.planes_of(state.code, size), storage.planes_of(slope, size)
        pulls = (state.pull[:, None, None, None] * usual for usual in self._usual_bends(problem, state))
        moved = [
            _best_moves(plane, by, bend + pull, price)
            for plane, by, bend, pull in zip(planes, slopes, state.bends, pulls, strict=True)
        ]
        return torch.cat([plane.flatten(1) for plane in moved], 1)


def _best_moves(plane: Tensor, slope: Tensor, bend: Tensor, price: float) -> Tensor:
    """Each coefficient moved to where the estimate of loss and bits is least: by one, to zero, or not at all."""
    prices = _prices(plane)
    best, least = plane, torch.zeros_like(plane)
    before = _bits(plane, prices)
    to_zero = torch.zeros_like(plane)
    to_zero[..., 0] = plane[..., 0]  # the mean of a block is coded as a difference: zero is nothing special there
    for after in (plane - 1, plane + 1, to_zero):
        moved = after - plane
        change = slope * moved + bend * moved.square() / 2 + price * (_bits(after, prices) - before)
        better = change < least
        best, least = torch.where(better, after, best), torch.where(better, change, least)
    return best


def _prices(plane: Float[Tensor, "b rows columns 64"]) -> Float[Tensor, "b 1 1 64"]:
    """What it costs in bits that a coefficient is not zero, by its frequency: the less usual, the more."""
    share = ((plane != 0).float().sum((1, 2), keepdim=True) + 0.3) / (plane.shape[1] * plane.shape[2] + 1)
    return ((1 - share).clamp(min=0.02) / share).log2().clamp(_OF_A_VALUE, _MOST_OF_A_VALUE) + _SIGN


def _bits(plane: Float[Tensor, "b rows columns 64"], prices: Tensor) -> Float[Tensor, "b rows columns 64"]:
    """About how many bits each coefficient takes; the means of blocks are left out, which hardly change."""
    bits = torch.where(plane == 0, 0, prices + 2 * plane.abs().clamp(min=1).log2())
    bits[..., 0] = 0
    return bits


def _random(code: Tensor, seed: int) -> Tensor:
    """A number from 0 to 1 for each coefficient, the same for all images of a batch."""
    return torch.rand(code.shape[1], generator=torch.Generator().manual_seed(seed)).to(code.device)


def _size(image: Pixels) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _storage(problem: Problem) -> Jpeg:
    assert isinstance(problem.storage, Jpeg)
    return problem.storage
