"""coscale's own method: descend on the LR alone, by steps in grey levels a pixel, and round it with care.

    x = g(y)
    learned   x = x + h(what a pass at x found)              where a step makes it worse, it is taken back
    descend   v = momentum v + inverse(H) gradient of loss   H: the curvature, where that is known
              x = x - step v / rms(v)                        the step shrinks to 0
              x = drawn back to the fidelity to g(y)         and into [0, 1]
    round     x, its errors fed back by H
    settle    round a part of x for good, each time another  the parts lie dispersed over the image
              x = x - rate gradient, of what is not rounded  which so makes up for what is
    keep      the best file that is worse neither in RGB nor in Y

An effort says how many passes each phase has. Without learned steps for the upscaler (``steps``) all are of descent.
The paper's step and ball are norms over the whole image, so the larger a photo, the less each pixel may move and the
less is gained. Here both are root mean squares over the pixels, which a photo's size does not change. No pass goes
through g: from wherever the descent starts, it ends at the same loss (docs/study.md#where-to-start).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from coscale.alpha import as_seen, seen_share
from coscale.choices import Effort
from coscale.collaborate.coefficients import Coefficients
from coscale.collaborate.curvature import Curvature, curvature_of
from coscale.collaborate.method import Candidate, Method, State, Stop, beginning
from coscale.collaborate.nudges import Nudges
from coscale.collaborate.problem import Errors, Images, PerImage, Problem
from coscale.errors import SettingsError
from coscale.objectives import Objective, WeightedLuma, chroma_mse, mse, y_mse
from coscale.quantize import quantize, to_uint8
from coscale.rescalers import Rescaler
from coscale.rescalers.light import COLOURS
from coscale.storage import Storage


@dataclass(frozen=True)
class _Course:
    """How many passes each phase has at most, and how long the first step of the descent is in grey levels."""

    learned: int
    descent: int
    settling: int
    step: float = 0.4

    @property
    def passes(self) -> int:
        return self.learned + self.descent + self.settling


_BY_GRADIENTS: dict[Effort, _Course] = {
    "instant": _Course(0, 4, 0),
    "fast": _Course(0, 8, 0),
    "balanced": _Course(0, 14, 6),
    "best": _Course(0, 40, 20),
}
_BY_CURVATURE: dict[Effort, _Course] = {
    "instant": _Course(0, 4, 0, 0.6),
    "fast": _Course(0, 8, 0, 0.6),
    "balanced": _Course(0, 14, 0, 0.5),
    "best": _Course(0, 40, 20, 0.5),
}
_BY_LEARNED_STEPS: dict[Effort, _Course] = {
    "instant": _Course(1, 0, 0),
    "fast": _Course(2, 0, 0),
    "balanced": _Course(3, 7, 0, 0.3),
    "best": _Course(3, 37, 20, 0.3),
}
_MOST_OF_THE_ERROR = 0.2  # the first step is at most this share of the root mean square error of RGB
_REACH = 16 / 255  # the farthest that a value may move; on photos few get there, on line art a corner would
_CHROMA = 10**0.03  # what the errors of Cb and Cr may become, as a factor: 0.3 dB
_PRICE = 4.0  # how fast the weights of Cb and Cr grow with what their errors are too large by
_DEAREST = 4.0  # the largest weight of Cb and Cr
_MOMENTUM = 0.7  # what a step keeps of the one before
_CAREFUL = 0.5  # the share of the rate, which the curvature seen so far allows, that settling takes
_STILL = 1e-3  # an image has stalled when its loss fell by less than this share,
_PATIENCE = 4  # in so many passes
_REST = 5  # passes in which the step of an image that has stalled shrinks to 0
_ROUNDING = 1 / 255**2 / 12  # the mean square by which rounding moves a pixel
_ROUNDED = 1.5  # a file may be worse than its LR before rounding by so many times what rounding cost g's LR

Looked = tuple[Images, PerImage, Images | None]  # an LR, the loss there, and its gradient while that is needed
Phase = Literal["learned", "stepped", "descend", "descended", "settle", "settled"]


@dataclass(frozen=True)
class _Bounds:
    """What an optimisation has to keep.

    - ``limit``: the largest mean square by which the LR file may differ from g's; ``radius``: the root mean square by
      which it may before it is rounded.
    - ``chroma``: the largest errors of Cb and of Cr; None where they are not watched.
    """

    limit: float
    radius: float
    chroma: Float[Tensor, "2 b"] | None


@dataclass(frozen=True)
class CoscaleState(State):
    """Where coscale's method stands.

    - ``x``: the LR as it is now.
    - ``phase``: learned, descend or settle; stepped, descended and settled right after the last pass of each.
    - ``done``: the passes of the phase so far.
    - ``bounds``: what has to be kept.
    - ``chroma_weight``: how much the errors of Cb and Cr weigh; 0 while they are small.
    - ``losses``: the last ones, newest last.
    - ``seen``: where the last gradient was taken, and that gradient; kept for settling alone.
    - ``velocity``, ``step``, ``brake``: of the descent: the gradients' decaying sum, None before the first, the length
      of a step, and what each step is shorter than the last.
    - ``part``, ``rate``: of settling: which pass rounds each value, and the length of a step by the gradient's.
    - ``least``: of the learned steps: where the loss was least, that loss, and the gradient there; None before the
      first and once the descent has begun.
    - ``start``, ``first``: where learned steps begin, None once there are no more, and the loss there.
    """

    x: Images
    phase: Phase
    done: int
    bounds: _Bounds
    chroma_weight: Float[Tensor, "2 b"] | None
    losses: tuple[PerImage, ...]
    seen: tuple[Images, Images] | None
    velocity: Images | None
    step: Float[Tensor, "b 1 1 1"]
    brake: Float[Tensor, "b 1 1 1"]
    part: UInt8[Tensor, "1 c h w"] | None
    rate: Float[Tensor, "b 1 1 1"]
    least: Looked | None
    start: Images | None
    first: PerImage


@dataclass(frozen=True)
class Coscale(Method[CoscaleState]):
    """coscale's method: its settings, and called with (rescaler, original) the method itself.

    - ``effort``: how many passes through f and back: instant, fast, balanced or best are 1, 2, 10 or at most 60 with
      learned steps; 4, 8, 14 or at most 60 without; and 4, 8, 20 or at most 60 where no curvature is known either.
    - ``luma``: the weight W of Y's error beside that of RGB, in the loss RGB-MSE + W Y-MSE.
    - ``fidelity``: the lowest PSNR in dB that the LR file may have against round(g(y)); above 58.9 dB, which rounding
      alone costs, the LR stays as it is.
    - ``objective``: a function of (restored, original), B x C x H x W in [0, 1], that gives one value an image, in
      place of RGB-MSE + W Y-MSE; of a photo that is worked on in tiles, the mean of the tiles' by area.

    With the default objective no result is worse than without the method, in RGB-MSE or Y-MSE of the 8-bit files, and
    what Cb and Cr pay for that is small: their errors join the loss as soon as one of them is 0.3 dB above g's.
    Raises SettingsError for values that make no sense.
    """

    effort: Effort = "balanced"
    luma: float = 0.5
    fidelity: float = 40.0
    objective: Objective | None = None

    name = "coscale"

    def __post_init__(self) -> None:
        if self.effort not in get_args(Effort):
            raise SettingsError(f"effort is {self.effort!r}; choose one of {', '.join(get_args(Effort))}")
        WeightedLuma(self.luma)
        if not math.isfinite(self.fidelity):
            raise SettingsError(f"fidelity is {self.fidelity}; it must be a number of dB")

    @property
    def passes(self) -> int:
        """Give the most passes that this effort takes."""
        return _BY_GRADIENTS[self.effort].passes

    @property
    def takes_steps(self) -> bool:
        """Say that it takes them, for the objective that is the default, which they were trained for."""
        return self.objective is None

    def curvature(self, rescaler: Rescaler, device: torch.device) -> Curvature | None:
        """Give it for the objective that is the default."""
        return None if self.objective else curvature_of(rescaler, self.luma, device)

    def through(self, storage: Storage) -> Method[Any]:
        """Give itself for a lossless storage, and what descends on its coefficients for JPEG."""
        if storage.lossless:
            return self
        if self.objective is not None:
            raise SettingsError(f"an LR file as {storage.name} has the objective that is the default; leave it out")
        kind = Coefficients if storage.codes else Nudges
        return kind(self.effort, self.luma, self.fidelity)

    def passes_on(self, problem: Problem) -> int:
        """Give the passes of this effort on a problem."""
        return self._course(problem).passes

    def _course(self, problem: Problem) -> _Course:
        """The course on a problem; learned steps were trained on colour."""
        learned = problem.steps and self.takes_steps and problem.pixels.shape[1] == COLOURS
        by = _BY_LEARNED_STEPS if learned else _BY_CURVATURE if problem.curvature else _BY_GRADIENTS
        return by[self.effort]

    def begin(self, problem: Problem) -> CoscaleState:
        """Start at round(g(y)), or for learned steps at g(y)."""
        start, course = problem.downscaled(problem.pixels).clamp(0, 1), self._course(problem)
        plain = self._file(problem, to_uint8(start))
        share = 1.0 if problem.alpha is None else float(seen_share(problem.alpha).min())
        limit = 10 ** (-self.fidelity / 10) * share
        rgb, watched = plain.errors[0], self.objective is None and len(plain.errors) == 4
        most_chroma = _CHROMA * plain.errors[2:] if watched else None
        bounds = _Bounds(limit, math.sqrt(max(0.0, limit - _ROUNDING)), most_chroma)
        # The error of what is seen, of which the first step is a share.
        step = (_MOST_OF_THE_ERROR * (rgb / max(share, 1e-9)).sqrt()).clamp(max=course.step / 255)[:, None, None, None]
        phase: Phase = "learned" if course.learned else "descend"
        return CoscaleState(
            *beginning(plain),
            x=start if course.learned else plain.lr,
            phase=phase,
            done=0,
            bounds=bounds,
            chroma_weight=None if most_chroma is None else torch.zeros_like(most_chroma),
            losses=(),
            seen=None,
            velocity=None,
            step=step,
            brake=step / max(1, course.descent),
            part=None,
            rate=torch.full_like(step, math.inf),
            least=None,
            start=start if course.learned else None,
            first=plain.loss,
        )

    def step(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Make one pass: a learned step, or one of the descent or of settling."""
        if state.phase == "learned":
            return self._learned(problem, state)
        if state.phase == "descend":
            return self._descend(problem, state)
        return self._settle(problem, state)

    def propose(self, problem: Problem, state: CoscaleState) -> Sequence[Candidate]:
        """Propose what learned steps alone gave, the LR rounded all at once after the descent, and what has settled."""
        if state.phase == "stepped":
            return self._with_files(problem, state)
        if state.phase == "descended":
            lr = _as_file(problem, state)
        elif state.phase == "settled":
            lr = to_uint8(state.x)
        else:
            return ()
        return (self._file(problem, lr),)

    def prefers(self, state: CoscaleState, candidate: Candidate, best: Candidate) -> Bool[Tensor, " b"]:
        """Prefer a lower loss where the LR is faithful to g's and, by the default objective, RGB and Y do not lose."""
        chosen = (candidate.loss < best.loss) & (mse(candidate.lr, state.plain.lr) <= state.bounds.limit)
        if self.objective is None:
            chosen &= (candidate.errors[:2] <= state.plain.errors[:2]).all(0)
        return chosen

    def value(self, restored: Images, original: Images) -> PerImage:
        """Give the value of the objective."""
        return (self.objective or WeightedLuma(self.luma))(restored, original)

    def _file(self, problem: Problem, lr: UInt8[Tensor, "b c h w"]) -> Candidate:
        """An LR with the loss of its file, and the errors of RGB, of Y and, where there is colour, of Cb and Cr."""

        def errors(restored: Images, photo: Images) -> Tensor:
            restored, photo = as_seen(restored, photo)
            rows = [self.value(restored, photo)[None], mse(restored, photo)[None], y_mse(restored, photo)[None]]
            return torch.cat([*rows, chroma_mse(restored, photo)] if photo.shape[1] == 3 else rows)

        found = problem.judge(lr, errors)
        return Candidate(lr, found[0], found[1:])

    def _errors(self, weight: Tensor | None) -> Errors:
        """The loss with Cb's and Cr's errors by their weights, and these errors."""

        def errors(restored: Images, photo: Images) -> Tensor:
            restored, photo = as_seen(restored.clamp(0, 1), photo)
            rows = [self.value(restored, photo)[None]]
            if weight is not None:
                chroma = chroma_mse(restored, photo)
                rows = [rows[0] + (weight * chroma).sum(0, keepdim=True), chroma]
            return torch.cat(rows)

        return errors

    def _gradient(self, problem: Problem, state: CoscaleState) -> tuple[PerImage, Images, Tensor]:
        """The loss at ``x``, the gradient of it and of Cb's and Cr's errors by their weights, and these errors."""
        weight = state.chroma_weight
        found, slope = problem.gradient(state.x, self._errors(weight))
        loss, chroma = found[0], found[1:]
        return loss if weight is None else loss - (weight * chroma).sum(0), slope, chroma

    def _learned(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Take a learned step; what one has made worse goes back to before it, and takes no more."""
        course, weight = self._course(problem), state.chroma_weight
        assert state.start is not None
        before = state.least[2] if state.least else None
        found, slope, step = problem.learned_step(state.done, state.x, self._errors(weight), state.start, before)
        loss, chroma = found[0], found[1:]
        if weight is not None:
            loss = loss - (weight * chroma).sum(0)
            weight, _ = _reweighed(state, chroma)
        better = loss < (state.least[1] if state.least else math.inf)
        unlimited = torch.full_like(loss, math.inf)
        least = _least(better, (state.x, loss, slope), state.least or (state.plain.lr, unlimited, None))
        moved = _where(better, _within(step.add_(state.x), state), least[0])
        state = replace(
            state,
            x=moved,
            loss=loss,
            first=loss if state.done == 0 else state.first,
            chroma_weight=weight,
            least=least,
            done=state.done + 1,
        )
        if state.done < course.learned and better.any():
            return state
        if course.descent:
            return replace(state, phase="descend", start=None, done=0)
        return replace(state, phase="stepped", start=None, least=(least[0], least[1], None), finished=True)

    def _with_files(self, problem: Problem, state: CoscaleState) -> Sequence[Candidate]:
        """Judge what the learned steps gave; if the last has made an image worse, what there was before it too."""
        last = self._file(problem, _as_file(problem, state))
        rounding = (state.plain.loss - state.first).clamp(min=0)
        assert state.least is not None
        if (last.loss <= state.least[1] + _ROUNDED * rounding).all():
            return (last,)
        before = self._file(problem, _as_file(problem, replace(state, x=state.least[0])))
        return before, last

    def _descend(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Take a normalised step with momentum, shorter than the last; what gains no more comes to rest."""
        course = self._course(problem)
        loss, slope, chroma = self._gradient(problem, state)
        if state.least:  # the last learned step has not been looked at yet
            x, loss, slope = _least(loss < state.least[1], (state.x, loss, slope), state.least)
            assert slope is not None
            state = replace(state, x=x, least=None)
        losses = (*state.losses, loss)[-_PATIENCE - 1 :]
        weight, free = _reweighed(state, chroma) if state.chroma_weight is not None else (None, loss == loss)
        stalled, stopped = _just_stalled(state.stopped, losses, slope, free)
        brake = torch.where(stalled, state.step / _REST, state.brake)
        any_slope, seen = slope.any(), (state.x, slope) if course.settling else None
        velocity = problem.descent_of(slope)
        del slope  # as large as the LR, as is all that is made from here on, so that it is worked on in place
        velocity = velocity if state.velocity is None else (_MOMENTUM * state.velocity).add_(velocity)
        x = velocity * (state.step / _rms(velocity))
        x = _within(torch.sub(state.x, x, out=x), state)
        step = state.step - brake
        step = torch.where(step > brake / 2, step, 0)  # what is left is an error of rounding
        state = replace(
            state,
            x=x,
            loss=loss,
            losses=losses,
            seen=seen,
            chroma_weight=weight,
            stopped=stopped,
            velocity=velocity,
            step=step,
            brake=brake,
            done=state.done + 1,
        )
        if state.done < course.descent and step.any() and state.bounds.radius and any_slope:
            return state
        nothing_to_settle = not course.settling or torch.equal(x, state.plain.lr)
        return replace(state, phase="descended", velocity=None, done=0, finished=nothing_to_settle)

    def _settle(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Round a part of ``x`` for good; what is not rounded yet makes up for what is.

        The rate comes from the curvature that the rounding itself shows, at no pass of its own: half of the least
        s y / y y so far, for rounding moves ``x`` in all directions alike, and y y is ruled by the most curved.
        """
        passes = self._course(problem).settling
        part = _dispersed(state.x, passes + 1) if state.part is None else state.part
        state = replace(state, x=torch.where(part == state.done, quantize(state.x), state.x), part=part)
        loss, slope, _ = self._gradient(problem, state)
        assert state.seen is not None
        moved, bent = state.x - state.seen[0], slope - state.seen[1]
        found = _dot(moved, bent) / _dot(bent, bent).clamp(min=1e-30)
        rate = torch.where(found > 0, torch.minimum(state.rate, found), state.rate)
        step = torch.where(rate.isfinite(), _CAREFUL * rate, 0) * slope
        x = torch.where(part <= state.done, state.x, _within(state.x - step, state))
        state = replace(state, x=x, loss=loss, seen=(state.x, slope), rate=rate, phase="settle", done=state.done + 1)
        if state.done < passes:
            return state
        return replace(state, x=quantize(x), phase="settled", finished=True)


def _reweighed(state: CoscaleState, chroma: Tensor) -> tuple[Tensor, Bool[Tensor, " b"]]:
    """Weights of Cb and Cr, larger while their errors are too large, smaller when not; and where they are not."""
    assert state.chroma_weight is not None
    assert state.bounds.chroma is not None
    excess = chroma / state.bounds.chroma.clamp(min=1e-12) - 1
    return (state.chroma_weight + _PRICE * excess).clamp(0, _DEAREST), (excess < 0.01).all(0)


def _just_stalled(
    stopped: tuple[Stop, ...], losses: tuple[PerImage, ...], slope: Images, free: Bool[Tensor, " b"]
) -> tuple[Bool[Tensor, "b 1 1 1"], tuple[Stop, ...]]:
    """Which images gain no more since this pass, and why each stops; those not ``free`` still have to mend."""
    still = torch.zeros_like(free)
    if len(losses) > _PATIENCE:
        still = losses[-1] > (1 - _STILL) * losses[-1 - _PATIENCE]
    flat = (slope == 0).flatten(1).all(1)
    new = torch.tensor([why == "passes" for why in stopped], device=still.device) & ((still & free) | flat)
    reasons: tuple[Stop, ...] = tuple(
        ("no gradient" if no_slope else "converged") if is_new else why
        for why, is_new, no_slope in zip(stopped, new.tolist(), flat.tolist(), strict=True)
    )
    return new[:, None, None, None], reasons


def _within(x: Images, state: CoscaleState) -> Images:
    """``x``, changed in place: drawn back until it keeps the fidelity once it is rounded, its reach, and [0, 1]."""
    base = state.plain.lr
    delta = x.sub_(base).clamp_(-_REACH, _REACH)
    return delta.mul_((state.bounds.radius / _rms(delta)).clamp(max=1)).add_(base).clamp_(0, 1)


def _as_file(problem: Problem, state: CoscaleState) -> UInt8[Tensor, "b c h w"]:
    """``x`` rounded all at once, drawn towards g's as far as the fidelity of what is rounded asks for."""
    base, lr, delta = state.plain.lr, problem.rounded(state.x), None
    for _ in range(8):
        over = mse(lr, base) > state.bounds.limit
        if not over.any():
            break
        delta = state.x - base if delta is None else delta
        delta = torch.where(over[:, None, None, None], 0.9 * delta, delta)
        lr = problem.rounded(base + delta)
    return to_uint8(lr)


def _dispersed(x: Images, parts: int) -> UInt8[Tensor, "1 c h w"]:
    """A part, from 0 to ``parts`` - 1, for each value of an image, such that those of each lie evenly over it.

    Source: the R2 sequence (Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018).
    """
    channels, height, width = (torch.arange(n, dtype=torch.float64, device=x.device) for n in x.shape[1:])
    first = channels[:, None, None] / 3 + 0.5698402909980532 * width
    # A row at a time, since float64 of a large image would take eight times the memory of the parts.
    rows = [((first + 0.7548776662466927 * y) % 1 * parts).to(torch.uint8) for y in height]
    return torch.cat(rows, 1)[None]


def _least(better: Bool[Tensor, " b"], found: Looked, least: Looked) -> Looked:
    """What was found where it is better, and the least so far elsewhere."""
    x, loss, slope = found
    if slope is not None:
        slope = _where(better, slope, torch.zeros_like(slope) if least[2] is None else least[2])
    return _where(better, x, least[0]), torch.where(better, loss, least[1]), slope


def _where(chosen: Bool[Tensor, " b"], images: Images, others: Images) -> Images:
    """The chosen images and the rest of the others, without a copy where that is all or none, as with one photo."""
    if chosen.all() or not chosen.any():
        return images if chosen.all() else others
    return torch.where(chosen[:, None, None, None], images, others)


def _dot(a: Images, b: Images) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


def _rms(x: Images) -> Tensor:
    """Root mean square of each image; tiny instead of zero, which nothing can be divided by."""
    return (torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True) / x[0].numel() ** 0.5).clamp(min=1e-30)
