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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from coscale.choices import Effort
from coscale.collaborate.lossy import LossyMethod, LossyState
from coscale.collaborate.method import Candidate, beginning
from coscale.collaborate.problem import Images, PerImage, Problem
from coscale.colour import luma
from coscale.dct import GAINS
from coscale.quantize import Pixels, quantize
from coscale.storage import Jpeg

_TOGETHER = 1.2  # by how much more the loss curves because many coefficients move at once
_PROBE = 0.25  # of a step: how far each coefficient is moved to see the curvature
_PRIOR = 32  # blocks: how many the curvature of an upscaler that only repeats pixels counts as
_LEAST_OF_PRIOR = 0.25  # of that curvature: the least that is taken for one
_SHARE, _LAST_SHARE, _LAST = 0.6, 0.3, 3  # the share of the moves that is made, and in the last passes
_CHROMA_GAIN = 4 * 0.6  # a coefficient of halved chroma moves four pixels, less what interpolation smooths
_OF_LUMA = float(luma(torch.ones(1, 3, 1, 1)) - luma(torch.zeros(1, 3, 1, 1))) ** 2  # of a grey, the square of its Y
_FIRST_PULL = 0.2
_OF_A_VALUE, _MOST_OF_A_VALUE, _SIGN = 0.3, 9.0, 1.2  # bits of being other than zero: least, most, and of the sign


@dataclass(frozen=True)
class CoefficientState(LossyState):
    """Where the descent stands.

    - ``code``: the coefficients as they are now.
    - ``bends``: the curvature of the loss by the coefficients of each plane, for each frequency; empty as yet unknown.
    - ``pull``: how much the difference from g's LR weighs, which grows where that is more than fidelity allows.
    """

    code: Float[Tensor, "b n"]
    bends: tuple[Tensor, ...]
    pull: PerImage


@dataclass(frozen=True)
class Coefficients(LossyMethod[CoefficientState]):
    """coscale's method for LR images as JPEG; ``effort``: instant, fast, balanced or best are 2, 4, 8 or 24 passes.

    The first pass is taken twice, for the curvature.
    """

    price = 1.0
    efforts: ClassVar[Mapping[Effort, int]] = {"instant": 2, "fast": 4, "balanced": 8, "best": 24}

    @property
    def moves(self) -> int:
        """Give how often coefficients are moved."""
        return self.passes - 1

    def begin(self, problem: Problem) -> CoefficientState:
        """Start at the code of g(y)."""
        storage = _storage(problem)
        base = problem.plain_lr(problem.pixels)
        code = storage.code_of(base)
        plain = self._judged(problem, code, base)
        pull = torch.zeros_like(plain.loss)
        return CoefficientState(*beginning(plain), base=base, done=0, looked=plain, code=code, bends=(), pull=pull)

    def step(self, problem: Problem, state: CoefficientState) -> CoefficientState:
        """Take the gradient at the code's image, and make a part of the moves that pay."""
        code = state.code
        errors, seen, by_code = self._slope(problem, state, code)
        looked = self._with_bits(problem, code, seen, state.base, errors)
        if not state.bends:
            state = replace(state, bends=self._bends(problem, state, by_code))
        last = state.done >= self.moves - _LAST
        chosen = _random(code, state.done) < (_LAST_SHARE if last else _SHARE)
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
            finished=done == self.moves,
        )

    def _slope(self, problem: Problem, state: CoefficientState, code: Tensor) -> tuple[Tensor, Images, Tensor]:
        """The errors at a code's image, that image, and the gradient by the code."""
        base = state.base
        with torch.enable_grad():
            leaf = code.detach().requires_grad_()
            x = _storage(problem).image_of(leaf, _size(base))
            seen = quantize(x.detach())
            errors, slope = problem.gradient(seen, self.errors)
            slope = slope + (2 * state.pull / base[0].numel())[:, None, None, None] * (seen - base)
            (by_code,) = torch.autograd.grad(x, leaf, slope)
        return errors, seen, by_code

    def _bends(self, problem: Problem, state: CoefficientState, by_code: Tensor) -> tuple[Tensor, ...]:
        """How the loss curves by the coefficients of each plane, by frequency, from one more pass near the code."""
        storage, size = _storage(problem), _size(state.base)
        away = _PROBE * (2 * (_random(state.code, 0) < 0.5).to(state.code) - 1)
        _, _, near = self._slope(problem, state, state.code + away)
        bent = storage.planes_of((near - by_code) * away / _PROBE**2, size)
        usual = self._usual_bends(problem, state)
        found = []
        for plane, prior in zip(bent, usual, strict=True):
            blocks = plane.shape[1] * plane.shape[2]
            mean = (plane.sum((1, 2), keepdim=True) + _PRIOR * prior) / (blocks + _PRIOR)
            found.append(_TOGETHER * torch.maximum(mean, _LEAST_OF_PRIOR * prior))
        return tuple(found)

    def last(self, problem: Problem, state: CoefficientState) -> Candidate:
        """Give what the last moves gave."""
        return self._judged(problem, state.code, state.base)

    def _pulled(self, state: CoefficientState, looked: Candidate) -> PerImage:
        """More pull where the LR is too far from g's, and less where not."""
        far = looked.errors[2] > self.limit(state)
        return torch.where(far, 2 * state.pull + _FIRST_PULL, state.pull / 2)

    def _judged(self, problem: Problem, code: Tensor, base: Images) -> Candidate:
        """A code as a candidate, with the errors of the 8-bit photo that it restores."""
        x = quantize(_storage(problem).image_of(code, _size(base)))
        return self._with_bits(problem, code, x, base, problem.judge(x, self.errors, stored=True))

    def _with_bits(self, problem: Problem, code: Tensor, x: Images, base: Images, errors: Tensor) -> Candidate:
        """A code as a candidate, whose errors are known."""
        planes = _storage(problem).planes_of(code, _size(base))
        bits = torch.stack([_bits(plane, _prices(plane)).sum((1, 2, 3)) for plane in planes]).sum(0)
        return self.candidate(problem, x, x, base, errors, bits, code)

    def _usual_bends(self, problem: Problem, state: CoefficientState) -> tuple[Tensor, ...]:
        """What the curvature would be for an upscaler that only repeats pixels."""
        by_luma, by_chroma = _storage(problem).tables.to(state.code).square()
        a_pixel = 2 * problem.rescaler.scale**2 / problem.pixels[0, 0].numel() / 255**2
        _, of_cb, of_cr = (a_pixel * _CHROMA_GAIN * GAINS).tolist()
        return a_pixel * (1 + self.luma * _OF_LUMA) * by_luma, of_cb * by_chroma, of_cr * by_chroma

    def _moved(self, problem: Problem, state: CoefficientState, slope: Tensor) -> Tensor:
        """The code after all moves that pay, each for itself."""
        storage, size, price = _storage(problem), _size(state.base), self.price_of_a_bit(problem)
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
