"""HCD: Algorithm 1 of "Downscaled Representation Matters" (ICCV 2023), in both stages and in either alone.

    HR stage   photo y     --descend-->  y + delta_y,  the loss taken through round(g(.)) and f
    LR stage   round(g(y + delta_y))  --descend-->  x,  the loss taken through f

Each step goes ``alpha`` along the normalised gradient, back into the ball of radius ``eps`` around the stage's start
(norms over the whole image, as in the paper), and back into [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from coscale.alpha import as_seen
from coscale.cells import ComparedPhoto
from coscale.choices import Direction, Keep, LossName, LRTarget, Norm, Start
from coscale.collaborate.ball import project, random_point, steepest
from coscale.collaborate.curvature import Curvature
from coscale.collaborate.method import Candidate, Method, Result, State, Watch, beginning, improve
from coscale.collaborate.problem import Images, PerImage, Problem
from coscale.errors import SettingsError
from coscale.objectives import LOSSES, Objective
from coscale.quantize import Pixels, quantize
from coscale.rescalers import Maps
from coscale.rescalers.steps import LearnedSteps
from coscale.storage import PNG, Storage
from coscale.tiles import WHOLE, Tiling


@dataclass(frozen=True)
class HCDState(State):
    """Where HCD stands.

    - ``image``, ``base``: the iterate of the stage, and the centre of its ball.
    - ``left``: the steps that the stage has left; its last pass only judges.
    - ``hr``, ``hr_loss``: the HR that is kept so far, and its loss; without an HR stage the photo as it was given.
    - ``in_hr``: whether the next pass is of the HR stage.
    - ``lr_delta``: where the LR stage starts, from the centre of its ball.
    - ``found``: the candidates of the last pass.
    """

    image: Pixels
    base: Pixels
    left: int
    hr: Pixels
    hr_loss: PerImage
    in_hr: bool
    lr_delta: Images | None
    found: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class HCD(Method[HCDState]):
    """The paper's method: its settings, and called with (rescaler, original) the method itself.

    - ``hr_steps`` (N_y) and ``lr_steps`` (N_x): iterations of each stage; 0 leaves a stage out.
    - ``alpha``, ``eps``, ``norm``: step and budget, in units of [0, 1], in l2 over an image or in linf.
    - ``loss``: a name, or any function of (restored, original) that gives one value an image.
    - ``start``: a random point of the ball, drawn by ``seed``, or its centre.
    - ``lr_target``: what the LR stage restores: the original (equation 3), or the collaborative HR (the authors' code).
    - ``direction``: ascent makes the paper's adversarial example instead.
    - ``keep``: the best LR seen, after rounding, or the last one, as the authors do.

    The defaults are the paper's. Raises SettingsError for values that make no sense. Source: "Downscaled Representation
    Matters: Improving Image Rescaling with Collaborative Downscaled Images", ICCV 2023, Algorithm 1.
    """

    hr_steps: int = 15
    lr_steps: int = 15
    alpha: float = 20 / 255
    eps: float = 0.3
    norm: Norm = "l2"
    loss: LossName | Objective = "mse"
    start: Start = "random"
    seed: int = 0
    lr_target: LRTarget = "original"
    direction: Direction = "descent"
    keep: Keep = "best"

    name = "hcd"
    maps = 2

    def __post_init__(self) -> None:
        for name in ("hr_steps", "lr_steps"):
            if not isinstance(getattr(self, name), int):
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be a whole number")
        for name in ("hr_steps", "lr_steps", "alpha", "eps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be finite and not negative")
        choices = {"norm": Norm, "start": Start, "lr_target": LRTarget, "direction": Direction, "keep": Keep}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                options = ", ".join(get_args(kind))
                raise SettingsError(f"{name} is {getattr(self, name)!r}; choose one of {options}")
        if isinstance(self.loss, str) and self.loss not in LOSSES:
            raise SettingsError(f"loss is {self.loss!r}; choose one of {', '.join(LOSSES)}, or give a function")

    @property
    def passes(self) -> int:
        """Give N_y + N_x."""
        return self.hr_steps + self.lr_steps

    def __call__(
        self,
        rescaler: Maps,
        original: Pixels,
        *,
        alpha: Images | None = None,
        twin: Maps | None = None,
        tiling: Tiling = WHOLE,
        storage: Storage = PNG,
        steps: LearnedSteps | None = None,
        curvature: Curvature | None = None,
        by_cells: ComparedPhoto | None = None,
        watch: Watch | None = None,
        hr_start: Images | None = None,
        lr_start: Images | None = None,
    ) -> Result:
        """Run Algorithm 1; see ``Method``.

        ``hr_start`` and ``lr_start`` replace the random starts of the stages, relative to the centres of their balls.
        Of a photo that is worked on in tiles, the loss is the mean of the tiles' by area; steps and balls are norms
        over the whole image all the same.
        """
        problem = Problem(rescaler, original, alpha, twin, tiling, storage, steps, curvature, by_cells)
        return improve(self, problem, self.begin(problem, hr_start, lr_start), watch)

    def begin(self, problem: Problem, hr_delta: Images | None = None, lr_delta: Images | None = None) -> HCDState:
        """Give the start of the first stage; the stages start so far from their centres, or at random."""
        # The HR stage moves the photo itself, in float.
        original = problem.original if self.hr_steps else problem.pixels
        lr = problem.plain_lr(problem.pixels)
        plain = self._judged(problem, lr)
        if self.start == "random":
            # The same for each image, so that a photo's result does not depend on its place in a batch.
            generator = torch.Generator().manual_seed(self.seed)
            if hr_delta is None and self.hr_steps:
                hr_delta = random_point(original[:1].shape, self.eps, self.norm, generator).to(original)
            if lr_delta is None and self.lr_steps:
                lr_delta = random_point(lr[:1].shape, self.eps, self.norm, generator).to(lr)
        # A twin's losses are compared among themselves.
        twins = bool(problem.twin and self.hr_steps)
        hr_loss = problem.value_of_hr(original, self._with_file)[1] if twins else plain.loss
        state = HCDState(
            *beginning(plain, "hr"),
            *(_moved(original, hr_delta), original, self.hr_steps, original, hr_loss, True, lr_delta),
        )
        return state if self.hr_steps else self._to_lr_stage(state, plain)

    def step(self, problem: Problem, state: HCDState) -> HCDState:
        """Make a pass of either stage, and go ``alpha`` along the gradient, into the ball and into [0, 1]."""
        state, slope = (self._hr_pass if state.in_hr else self._lr_pass)(problem, state)
        if slope is not None:
            moved = state.image - self._sign * self.alpha * steepest(slope, self.norm)
            image = (state.base + project(moved - state.base, self.eps, self.norm)).clamp(0, 1)
            return replace(state, image=image, left=state.left - 1)
        return self._end_hr_stage(problem, state) if state.in_hr else replace(state, finished=True)

    def propose(self, problem: Problem, state: HCDState) -> Sequence[Candidate]:
        """Propose the LR of the HR stage's end, and the LR stage's iterates."""
        return state.found

    def prefers(self, state: HCDState, candidate: Candidate, best: Candidate) -> Bool[Tensor, " b"]:
        """Prefer the lower loss, in an ascent the higher, or whatever came last."""
        return self._preferred(candidate.loss, best.loss)

    def hr_of(self, problem: Problem, state: HCDState) -> Pixels:
        """Give the HR that the HR stage kept."""
        return state.hr

    def _hr_pass(self, problem: Problem, state: HCDState) -> tuple[HCDState, Images | None]:
        """Measure the iterate of the HR stage; its loss as a file comes from the same pass."""
        slope = None
        if state.left:
            (loss, rounded), slope = problem.gradient_of_hr(state.image, self._with_file)
        else:
            loss, rounded = problem.value_of_hr(state.image, self._with_file)
        state = replace(state, stage="hr", loss=loss, rounded=rounded, found=())
        if self.keep == "last" and state.left:
            return state, slope
        chosen = self._preferred(rounded, state.hr_loss)
        hr = torch.where(chosen[:, None, None, None], state.image, state.hr)
        return replace(state, hr=hr, hr_loss=torch.where(chosen, rounded, state.hr_loss)), slope

    def _end_hr_stage(self, problem: Problem, state: HCDState) -> HCDState:
        """Make the LR of the HR that is kept; one that a twin chose has to be better by the rescaler itself too."""
        lr = problem.plain_lr(state.hr)
        candidate = self._judged(problem, lr) if problem.twin else Candidate(lr, state.hr_loss, state.plain.errors)
        if problem.twin:
            chosen = self._preferred(candidate.loss, state.plain.loss)
            candidate = candidate.where(chosen, state.plain)
            hr = torch.where(chosen[:, None, None, None], state.hr, problem.original)
            state = replace(state, hr=hr, hr_loss=candidate.loss)
        return self._to_lr_stage(replace(state, found=(candidate,)), candidate)

    def _to_lr_stage(self, state: HCDState, centre: Candidate) -> HCDState:
        """Begin the LR stage around an LR; without steps there is none."""
        if not self.lr_steps:
            return replace(state, finished=True)
        image = _moved(centre.lr, state.lr_delta)
        return replace(state, base=centre.lr, image=image, left=self.lr_steps, in_hr=False)

    def _lr_pass(self, problem: Problem, state: HCDState) -> tuple[HCDState, Images | None]:
        """Measure the iterate of the LR stage."""
        target = problem.pixels if self.lr_target == "original" else state.hr
        slope = None
        if state.left:
            (loss,), slope = problem.gradient(state.image, self._errors, target)
        else:
            (loss,) = problem.value(state.image, self._errors, target)
        state = replace(state, stage="lr", loss=loss, rounded=torch.full_like(loss, torch.nan), found=())
        if self.keep == "last" and state.left not in (0, self.lr_steps):
            return state, slope
        candidate = self._judged(problem, state.image)
        found = (candidate,) if self.keep == "best" or not state.left else ()
        return replace(state, rounded=candidate.loss, found=found), slope

    @property
    def _sign(self) -> int:
        return 1 if self.direction == "descent" else -1

    def _preferred(self, loss: PerImage, best: PerImage) -> Bool[Tensor, " b"]:
        return torch.ones_like(loss, dtype=torch.bool) if self.keep == "last" else self._sign * loss < self._sign * best

    def _judged(self, problem: Problem, lr: Images) -> Candidate:
        (loss,) = problem.judge(lr, self._errors)
        return Candidate(lr, loss, loss[None][:0])

    def _errors(self, restored: Images, photo: Images) -> Tensor:
        objective = self.loss if callable(self.loss) else LOSSES[self.loss]
        return objective(*as_seen(restored, photo))[None]

    def _with_file(self, restored: Images, photo: Images) -> Tensor:
        return torch.cat((self._errors(restored, photo), self._errors(quantize(restored.detach()), photo)))


def _moved(base: Pixels, delta: Images | None) -> Pixels:
    return base if delta is None else (base + delta).clamp(0, 1)
