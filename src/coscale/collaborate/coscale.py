"""coscale's own method: descend on the LR alone, by steps in grey levels a pixel, and round it with care.

    x = g(y)
    learned   x = x + h(what a pass at x found)              where a step makes it worse, it is taken back
    descend   x = x - inverse(H) gradient of the loss        H: the curvature, known and as passes show it
              x = drawn back to the fidelity to g(y)         and into [0, 1]; where the loss rises, x goes back
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
from coscale.choices import Effort, ObjectiveName
from coscale.collaborate.coefficients import Coefficients
from coscale.collaborate.curvature import Curvature, curvature_of
from coscale.collaborate.method import Candidate, Method, State, Stop, beginning
from coscale.collaborate.nudges import Nudges
from coscale.collaborate.problem import Errors, Images, PerImage, Problem
from coscale.collaborate.quasi_newton import descent, dot, rms
from coscale.errors import SettingsError
from coscale.memory import bytes_of_loss
from coscale.objectives import NAMED, Objective, WeightedLuma, chroma_mse, mse, y_mse
from coscale.quantize import Pixels, as_float, quantize, to_uint8
from coscale.rescalers import Rescaler
from coscale.rescalers.light import COLOURS
from coscale.storage import Storage
from coscale.strips import strips
from coscale.tiles import Window, at


@dataclass(frozen=True)
class _Course:
    """How many passes each phase has at most, and how the descent begins and ends.

    - ``step``: how long its first step is, in grey levels.
    - ``still``: it ends for an image whose loss fell by less than this share in ``_PATIENCE`` passes.
    """

    learned: int
    descent: int
    settling: int
    step: float = 0.4
    still: float = 1e-3

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
    "fast": _Course(0, 6, 0, 0.6),
    "balanced": _Course(0, 20, 0, 0.6, still=8e-3),
    "best": _Course(0, 40, 20, 0.6),
}
_BY_LEARNED_STEPS: dict[Effort, _Course] = {
    "instant": _Course(1, 0, 0),
    "fast": _Course(2, 0, 0),
    "balanced": _Course(3, 5, 0, 0.3),
    "best": _Course(3, 37, 20, 0.3),
}
_MOST_OF_THE_ERROR = 0.2  # the first step is at most this share of the root mean square error of RGB
_REACH = 16 / 255  # the farthest that a value may move; on photos few get there, on line art a corner would
_CHROMA = 10**0.03  # what the errors of Cb and Cr may become, as a factor: 0.3 dB
_PRICE = 4.0  # how fast the weights of Cb and Cr grow with what their errors are too large by
_DEAREST = 4.0  # the largest weight of Cb and Cr
_LONGEST = 1 / 255  # root mean square of a step of the descent, at most; half of it after each that was taken back
_CAREFUL = 0.5  # the share of the rate, which the curvature seen so far allows, that settling takes
_LITTLE = 2e-4  # the share of the loss that tiles which rest may lose by one pass,
_FIRST_GAIN = 0.1  # of which the first is taken for so much of a tile's own loss;
_AROUND = 0.2  # none rest where what has to stand still around one is more than so much of it
_PATIENCE = 4  # passes, over which an image has to gain something
_ROUNDING = 1 / 255**2 / 12  # the mean square by which rounding moves a pixel
_ROUNDED = 1.5  # a file may be worse than its LR before rounding by so many times what rounding cost g's LR

Phase = Literal["learned", "stepped", "descend", "descended", "settle", "settled"]


@dataclass(frozen=True)
class _Seen:
    """What a pass saw of an LR.

    - ``shares``: of each tile the loss, and the errors of Cb and Cr where these are watched; their sum is the image's.
    - ``slope``: the gradient of the loss and these errors by weight.
    """

    x: Images
    shares: Float[Tensor, "t k b"]
    slope: Images

    @property
    def loss(self) -> PerImage:
        """Give the loss of each image."""
        return self.shares[:, 0].sum(0)

    @property
    def chroma(self) -> Float[Tensor, "k b"]:
        """Give the errors of Cb and Cr of each image."""
        return self.shares[:, 1:].sum(0)

    def total(self, weight: Float[Tensor, "k b"] | None) -> PerImage:
        """Give what is descended."""
        return _weighed(self.shares.sum(0), weight)[0]

    def without_slope(self) -> "_Seen":
        """Leave out the gradient, which is as large as the LR, before the photo is restored."""
        return replace(self, slope=_nothing_like(self.slope))

    def where(self, chosen: Bool[Tensor, " b"], other: "_Seen") -> "_Seen":
        """Take the ``chosen`` images of this, and the rest of ``other``."""
        if chosen.all() or not chosen.any():  # as with a single photo, of which no copy is made
            return self if chosen.all() else other
        each, shares = _each(chosen), torch.where(chosen, self.shares, other.shares)
        return _Seen(torch.where(each, self.x, other.x), shares, torch.where(each, self.slope, other.slope))


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
    - ``seen``: in learned steps and the descent the least loss so far, and in settling the last; before the first pass
      the LR without the method, at a loss without end.
    - ``step``: of the descent: root mean square of a step where nothing has been seen of the curvature yet;
      ``longest``: that of any step.
    - ``resting``: the numbers of the tiles that passes leave out, since what they gain does not matter.
    - ``part``, ``rate``: of settling: which pass rounds each value, and the length of a step by the gradient's.
    - ``start``, ``first``: where learned steps begin, None once there are no more, and the loss there, which without
      such steps is not known and stands at minus infinity.
    """

    x: Images
    phase: Phase
    done: int
    bounds: _Bounds
    chroma_weight: Float[Tensor, "2 b"] | None
    losses: tuple[PerImage, ...]
    seen: _Seen
    resting: frozenset[int]
    step: Float[Tensor, "b 1 1 1"]
    longest: Float[Tensor, "b 1 1 1"]
    part: UInt8[Tensor, "1 c h w"] | None
    rate: Float[Tensor, "b 1 1 1"]
    start: Images | None
    first: PerImage


@dataclass(frozen=True)
class Coscale(Method[CoscaleState]):
    """coscale's method: its settings, and called with (rescaler, original) the method itself.

    - ``effort``: how many passes through f and back: instant, fast, balanced or best are 1, 2, 8 or at most 60 with
      learned steps; 4, 6, or at most 20 or 60 without; and 4, 8, 20 or at most 60 where no curvature is known either.
    - ``luma``: the weight W of Y's error beside that of RGB, in the loss RGB-MSE + W Y-MSE.
    - ``fidelity``: the lowest PSNR in dB that the LR file may have against round(g(y)); above 58.9 dB, which rounding
      alone costs, the LR stays as it is.
    - ``objective``: what is minimised in place of RGB-MSE + W Y-MSE, which is ``"psnr"``: 1 - MS-SSIM for ``"ssim"``,
      an error in XYB for ``"perceptual"``, see ``likeness``; or a function of (restored, original), B x C x H x W in
      [0, 1], that gives one value an image. Of a photo that is worked on in tiles it is the tiles' mean by area.

    With the default objective no result is worse than without the method, in RGB-MSE or Y-MSE of the 8-bit files, and
    what Cb and Cr pay for that is small: their errors join the loss as soon as one of them is 0.3 dB above g's.
    Raises SettingsError for values that make no sense.
    """

    effort: Effort = "balanced"
    luma: float = 0.5
    fidelity: float = 40.0
    objective: Objective | ObjectiveName | None = None

    name = "coscale"

    def __post_init__(self) -> None:
        if self.effort not in get_args(Effort):
            raise SettingsError(f"effort is {self.effort!r}; choose one of {', '.join(get_args(Effort))}")
        WeightedLuma(self.luma)
        if self.objective == "psnr":  # so that rows and notes say the same of it as before it had a name
            object.__setattr__(self, "objective", None)
        if self.objective_name not in (None, "psnr", *NAMED):
            options = ", ".join(get_args(ObjectiveName))
            raise SettingsError(f"objective is {self.objective!r}; choose one of {options}, or give a function")
        if not math.isfinite(self.fidelity):
            raise SettingsError(f"fidelity is {self.fidelity}; it must be a number of dB")

    @property
    def passes(self) -> int:
        """Give the most passes that this effort takes."""
        return _BY_GRADIENTS[self.effort].passes

    @property
    def objective_name(self) -> ObjectiveName | None:
        """Give the name of the objective; None for a function of a user's."""
        return None if callable(self.objective) else "psnr" if self.objective is None else self.objective

    def bytes_of_loss(self, channels: int) -> float:
        """Give what an objective with a name takes; a user's function may be for one photo alone, and is not tried."""
        return bytes_of_loss(self.value, channels) if self.objective_name in NAMED else 0.0

    @property
    def takes_steps(self) -> bool:
        """Say that it takes them, for the objective that is the default, which they were trained for."""
        return self.objective is None

    def curvature(self, rescaler: Rescaler, device: torch.device) -> Curvature | None:
        """Give that of the objective that is the default, which serves the others that have a name as well."""
        return curvature_of(rescaler, self.luma, device) if self.objective_name else None

    def through(self, storage: Storage) -> Method[Any]:
        """Give itself for a lossless storage, and what descends on its coefficients for JPEG."""
        if storage.lossless:
            return self
        if self.objective is not None:
            raise SettingsError(
                f"an LR file as {storage.name} is made for squared errors and few bytes; leave out the objective, or "
                "take a lossless format"
            )
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
        unlimited = torch.full_like(plain.loss, math.inf)
        rows = 1 if most_chroma is None else 3
        return CoscaleState(
            *beginning(plain),
            x=start if course.learned else plain.lr,
            phase=phase,
            done=0,
            bounds=bounds,
            chroma_weight=None if most_chroma is None else torch.zeros_like(most_chroma),
            losses=(),
            seen=_Seen(
                plain.lr,
                torch.cat([unlimited[None], unlimited.new_zeros(rows - 1, len(unlimited))])[None],
                _nothing_like(start),
            ),
            resting=frozenset(),
            step=step,
            longest=torch.full_like(step, _LONGEST),
            part=None,
            rate=torch.full_like(step, math.inf),
            start=start if course.learned else None,
            first=-unlimited,
        )

    def step(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Make one pass: a learned step, or one of the descent or of settling."""
        if state.phase == "learned":
            return self._learned(problem, state)
        if state.phase == "descend":
            return self._descend(problem, state)
        return self._settle(problem, state)

    def propose(self, problem: Problem, state: CoscaleState) -> Sequence[Candidate]:
        """Propose the LR rounded all at once after learned steps or the descent, and what has settled."""
        if state.phase in ("stepped", "descended"):
            return self._with_files(problem, state)
        if state.phase == "settled":
            return (self._file(problem, to_uint8(state.x)),)
        return ()

    def prefers(self, state: CoscaleState, candidate: Candidate, best: Candidate) -> Bool[Tensor, " b"]:
        """Prefer a lower loss where the LR is faithful to g's and, by the default objective, RGB and Y do not lose."""
        chosen = (candidate.loss < best.loss) & (_apart(candidate.pixels, state.plain.pixels) <= state.bounds.limit)
        if self.objective is None:
            chosen &= (candidate.errors[:2] <= state.plain.errors[:2]).all(0)
        return chosen

    def value(self, restored: Images, original: Images) -> PerImage:
        """Give the value of the objective."""
        objective = self.objective or WeightedLuma(self.luma)
        return (objective if callable(objective) else NAMED[objective])(restored, original)

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
            value = self.value(restored, photo)[None]
            return value if weight is None else _weighed(torch.cat([value, chroma_mse(restored, photo)]), weight)

        return errors

    def _looked(self, problem: Problem, state: CoscaleState) -> _Seen:
        """Look at ``x``, in a pass and back."""
        found, slope = problem.gradient_by_tiles(state.x, self._errors(state.chroma_weight), _shares_at_rest(state))
        return _seen(problem, state, found, slope)

    def _learned(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Take a learned step; what one has made worse goes back to before it, and takes no more."""
        course, weight = self._course(problem), state.chroma_weight
        assert state.start is not None
        before, resting = state.seen.slope if state.done else None, _shares_at_rest(state)
        found, slope, step = problem.learned_step(
            state.done, state.x, self._errors(weight), state.start, before, resting
        )
        here = _seen(problem, state, found, slope)
        if weight is not None:
            weight, _ = _reweighed(state, here.chroma)
        better = here.total(weight) < state.seen.total(weight)
        seen, at_rest = here.where(better, state.seen), self._at_rest(problem, state, here, better)
        x = _where(better, _within(step.add_(state.x), state), seen.x)
        state = replace(
            state,
            x=_calmed(x, seen.x, problem.calm(x, at_rest)),
            loss=here.loss,
            first=here.loss if state.done == 0 else state.first,
            chroma_weight=weight,
            seen=seen,
            resting=at_rest,
            done=state.done + 1,
        )
        if state.done < course.learned and better.any():
            return state
        if course.descent:
            return replace(state, phase="descend", start=None, done=0)
        return replace(state, phase="stepped", start=None, seen=state.seen.without_slope(), finished=True)

    def _at_rest(
        self, problem: Problem, state: CoscaleState, here: _Seen, better: Bool[Tensor, " b"]
    ) -> frozenset[int]:
        """The tiles that passes can leave out from here on: those whose gain, all together, does not matter."""
        still = problem.around(state.x) <= _AROUND and not self._course(problem).settling  # which moves all
        if not still or not better.all():
            return state.resting
        loss, before = (one.shares[:, 0] for one in (here, state.seen))
        gain = (before - loss).abs() if before.isfinite().all() else _FIRST_GAIN * loss
        part = (gain / loss.sum(0)).amax(1)
        part[sorted(state.resting)] = 0
        order = part.argsort()
        little = part[order].cumsum(0) <= _LITTLE
        little[-1] = False  # something is left to do
        return frozenset(order[little].tolist()) | state.resting

    def _with_files(self, problem: Problem, state: CoscaleState) -> Sequence[Candidate]:
        """Judge the LR after the last step; if that has made an image worse, the least that a pass saw too."""
        last = self._file(problem, _as_file(problem, state))
        rounding = (state.plain.loss - state.first).clamp(min=0)
        if (last.loss <= torch.minimum(state.seen.loss + _ROUNDED * rounding, state.plain.loss)).all():
            return (last,)
        before = self._file(problem, _as_file(problem, replace(state, x=state.seen.x)))
        return before, last

    def _descend(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Take a step from the least loss so far; what gains no more comes to rest there."""
        course = self._course(problem)
        here = self._looked(problem, state)
        weight, free = state.chroma_weight, torch.ones_like(here.loss, dtype=torch.bool)
        if weight is not None:
            weight, free = _reweighed(state, here.chroma)
        better = here.total(weight) <= state.seen.total(weight)
        seen, at_rest = here.where(better, state.seen), self._at_rest(problem, state, here, better)
        longest = torch.where(_each(better), state.longest, state.longest / 2)
        losses = (*state.losses, seen.loss)[-_PATIENCE - 1 :]
        stopped = _stopped(state.stopped, losses, course.still, here.slope, free)
        moved, bent = here.x - state.seen.x, here.slope - state.seen.slope
        x = descent(problem.descent_of, seen.slope, moved, bent, state.step)
        del moved, bent  # as large as the LR, as is ``x``, on which is worked in place
        x.mul_((longest / rms(x)).clamp(max=1))
        x = _within(torch.sub(seen.x, x, out=x), state)
        going = torch.tensor([why == "passes" for why in stopped], device=x.device)
        state = replace(
            state,
            x=_calmed(_where(going, x, seen.x), seen.x, problem.calm(x, at_rest)),
            loss=here.loss,
            losses=losses,
            seen=seen,
            chroma_weight=weight,
            stopped=stopped,
            resting=at_rest,
            longest=longest,
            done=state.done + 1,
        )
        if state.done < course.descent and going.any() and state.bounds.radius:
            return state
        nothing_to_settle = not course.settling or torch.equal(state.x, state.plain.lr)
        if nothing_to_settle:
            state = replace(state, seen=state.seen.without_slope())
        return replace(state, phase="descended", done=0, finished=nothing_to_settle)

    def _settle(self, problem: Problem, state: CoscaleState) -> CoscaleState:
        """Round a part of ``x`` for good; what is not rounded yet makes up for what is.

        The rate comes from the curvature that the rounding itself shows, at no pass of its own: half of the least
        s y / y y so far, for rounding moves ``x`` in all directions alike, and y y is ruled by the most curved.
        """
        passes = self._course(problem).settling
        part = _dispersed(state.x, passes + 1) if state.part is None else state.part
        state = replace(state, x=torch.where(part == state.done, quantize(state.x), state.x), part=part)
        here = self._looked(problem, state)
        moved, bent = here.x - state.seen.x, here.slope - state.seen.slope
        found = dot(moved, bent) / dot(bent, bent).clamp(min=1e-30)
        rate = torch.where(found > 0, torch.minimum(state.rate, found), state.rate)
        step = torch.where(rate.isfinite(), _CAREFUL * rate, 0) * here.slope
        x = torch.where(part <= state.done, state.x, _within(state.x - step, state))
        state = replace(state, x=x, loss=here.loss, seen=here, rate=rate, phase="settle", done=state.done + 1)
        if state.done < passes:
            return state
        return replace(state, x=quantize(x), phase="settled", finished=True)


def _reweighed(state: CoscaleState, chroma: Tensor) -> tuple[Tensor, Bool[Tensor, " b"]]:
    """Weights of Cb and Cr, larger while their errors are too large, smaller when not; and where they are not."""
    assert state.chroma_weight is not None
    assert state.bounds.chroma is not None
    excess = chroma / state.bounds.chroma.clamp(min=1e-12) - 1
    return (state.chroma_weight + _PRICE * excess).clamp(0, _DEAREST), (excess < 0.01).all(0)


def _weighed(rows: Float[Tensor, "k *b"], weight: Float[Tensor, "c b"] | None) -> Float[Tensor, "k *b"]:
    """The loss with Cb's and Cr's errors by their weights, and these errors."""
    return rows if weight is None else torch.cat([rows[:1] + (weight * rows[1:]).sum(0, keepdim=True), rows[1:]])


def _seen(problem: Problem, state: CoscaleState, found: Tensor, slope: Images) -> _Seen:
    """What a pass saw at ``x``, of the rows that it found; where nothing moves the gradient is that of before."""
    weight = state.chroma_weight
    shares = torch.stack([_weighed(rows, None if weight is None else -weight) for rows in found])
    return _Seen(state.x, shares, _calmed(slope, state.seen.slope, problem.calm(state.x, state.resting)))


def _shares_at_rest(state: CoscaleState) -> dict[int, Tensor]:
    """What the tiles that rest add to the rows that a pass finds."""
    return {number: _weighed(state.seen.shares[number], state.chroma_weight) for number in sorted(state.resting)}


def _calmed(images: Images, before: Images, calm: Sequence[Window]) -> Images:
    """``images``, changed in place to those before in windows where nothing is to move."""
    for window in calm:
        images[at(window, 1)] = before[at(window, 1)]
    return images


def _stopped(
    stopped: tuple[Stop, ...], losses: tuple[PerImage, ...], least: float, slope: Images, free: Bool[Tensor, " b"]
) -> tuple[Stop, ...]:
    """Why each image gains less than the share ``least``, if it does; those not ``free`` still have to mend."""
    still = torch.zeros_like(free)
    if len(losses) > _PATIENCE:
        still = losses[-1] > (1 - least) * losses[-1 - _PATIENCE]
    flat = (slope == 0).flatten(1).all(1)
    return tuple(
        why if why != "passes" else "no gradient" if no_slope else "converged" if at_rest else why
        for why, at_rest, no_slope in zip(stopped, (still & free).tolist(), flat.tolist(), strict=True)
    )


def _within(x: Images, state: CoscaleState) -> Images:
    """``x``, changed in place: drawn back until it keeps the fidelity once it is rounded, its reach, and [0, 1]."""
    base = state.plain.pixels
    for rows in strips(*x.shape[-2:]):
        x[..., rows, :].sub_(as_float(base[..., rows, :])).clamp_(-_REACH, _REACH)
    x.mul_((state.bounds.radius / rms(x)).clamp(max=1))
    for rows in strips(*x.shape[-2:]):
        x[..., rows, :].add_(as_float(base[..., rows, :])).clamp_(0, 1)
    return x


def _as_file(problem: Problem, state: CoscaleState) -> UInt8[Tensor, "b c h w"]:
    """``x`` rounded all at once, drawn towards g's as far as the fidelity of what is rounded asks for."""
    lr, delta = problem.rounded(state.x), None
    for _ in range(8):
        over = _apart(lr, state.plain.pixels) > state.bounds.limit
        if not over.any():
            break
        base = state.plain.lr
        delta = state.x - base if delta is None else delta
        delta = torch.where(_each(over), 0.9 * delta, delta)
        lr = problem.rounded(base + delta)
    return lr


def _apart(lr: Pixels, other: Pixels) -> PerImage:
    """The mean squared difference of two LR images, of which no more than a strip is converted at a time."""
    total = torch.zeros(len(lr), dtype=torch.float64, device=lr.device)
    for rows in strips(*lr.shape[-2:]):
        total += (as_float(lr[..., rows, :]) - as_float(other[..., rows, :])).square().sum((1, 2, 3))
    return (total / lr[0].numel()).float()


def _dispersed(x: Images, parts: int) -> UInt8[Tensor, "1 c h w"]:
    """A part, from 0 to ``parts`` - 1, for each value of an image, such that those of each lie evenly over it.

    Source: the R2 sequence (Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018).
    """
    channels, height, width = (torch.arange(n, dtype=torch.float64, device=x.device) for n in x.shape[1:])
    first = channels[:, None, None] / 3 + 0.5698402909980532 * width
    # A row at a time, since float64 of a large image would take eight times the memory of the parts.
    rows = [((first + 0.7548776662466927 * y) % 1 * parts).to(torch.uint8) for y in height]
    return torch.cat(rows, 1)[None]


def _where(chosen: Bool[Tensor, " b"], images: Images, others: Images) -> Images:
    """The chosen images and the rest of the others, without a copy where that is all or none, as with one photo."""
    if chosen.all() or not chosen.any():
        return images if chosen.all() else others
    return torch.where(_each(chosen), images, others)


def _nothing_like(images: Images) -> Images:
    """As many zeros, which take no memory."""
    return images.new_zeros(()).expand_as(images)


def _each(values: Tensor) -> Tensor:
    """One value for each image of a batch."""
    return values[:, None, None, None]
