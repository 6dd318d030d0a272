"""What a method is: where it starts, its step, and which LR images it proposes; and the loop that all share.

    state = begin(problem)                      the LR as the rescaler makes it
    while not state.finished:
        state = step(problem, state)            one pass through f, or through g and f, and back
        for candidate in propose(...):          LR files, each with its errors
            best = candidate where it is preferred

A state is what a step needs to know of those before it, and a step leaves it as it is and gives a new one. What counts,
records, shows progress and remembers the best stands outside: in ``Problem`` and in ``improve``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coscale.cells import CellErrors, ComparedPhoto
from coscale.choices import ObjectiveName
from coscale.collaborate.curvature import Curvature
from coscale.collaborate.problem import Images, PerImage, Problem
from coscale.errors import SettingsError
from coscale.quantize import Pixels, as_float
from coscale.rescalers import Maps, Rescaler
from coscale.rescalers.steps import LearnedSteps
from coscale.storage import PNG, Storage
from coscale.tiles import WHOLE, Tiling

# Called after each pass that took a gradient: how many have been, how many there are at most, the loss it was taken of.
Watch = Callable[[int, int, PerImage], None]
# All passes used; the loss fell no more; no change of the LR matters; no file was better than without the method.
Stop = Literal["passes", "converged", "no gradient", "nothing better"]
StageName = Literal["hr", "lr"]


@dataclass(frozen=True)
class Candidate:
    """An LR of each image of a batch, and how far what its file restores to is from the originals.

    - ``pixels``: the LR in [0, 1], which a file holds rounded, or as grey levels; ``lr`` has either in [0, 1].
    - ``loss``: by the objective, of the 8-bit photo that the 8-bit LR restores.
    - ``errors``: others that the method watches, one a row.
    - ``code``: what a storage with a code of its own writes for this LR; None where it writes the LR.
    """

    pixels: Pixels
    loss: PerImage
    errors: Float[Tensor, "k b"]
    code: Float[Tensor, "b n"] | None = None

    @property
    def lr(self) -> Images:
        """Give the LR in [0, 1]; of one that is kept as grey levels it is made each time."""
        return as_float(self.pixels)

    def where(self, chosen: Bool[Tensor, " b"], other: "Candidate") -> "Candidate":
        """Take the ``chosen`` images of this one, and the rest of ``other``."""
        if chosen.all() or not chosen.any():  # as always with a single photo, of which no copy is made
            return self if chosen.all() else other
        alike = self.pixels.dtype == other.pixels.dtype
        mine, others = (self.pixels, other.pixels) if alike else (self.lr, other.lr)
        lr = torch.where(chosen[:, None, None, None], mine, others)
        code = None
        if self.code is not None and other.code is not None:
            code = torch.where(chosen[:, None], self.code, other.code)
        loss, errors = torch.where(chosen, self.loss, other.loss), torch.where(chosen, self.errors, other.errors)
        return Candidate(lr, loss, errors, code)


@dataclass(frozen=True)
class State:
    """What every method's state has.

    - ``plain``: the LR without the method.
    - ``finished``: whether no step is left.
    - ``stage``: what the last pass moved, the HR or the LR.
    - ``loss``: of the iterate that the last pass saw; ``rounded``: of its file, NaN where that was not measured.
    - ``stopped``: why the method ends, for each image.
    """

    plain: Candidate
    finished: bool
    stage: StageName
    loss: PerImage
    rounded: PerImage
    stopped: tuple[Stop, ...]


Common = tuple[Candidate, bool, StageName, PerImage, PerImage, tuple[Stop, ...]]


def beginning(plain: Candidate, stage: StageName = "lr") -> Common:
    """Give what every method's state has before the first pass, in the order of the fields of ``State``."""
    unknown = torch.full_like(plain.loss, torch.nan)
    stopped: tuple[Stop, ...] = ("passes",) * len(unknown)
    return plain, False, stage, unknown, unknown, stopped


AnyState = TypeVar("AnyState", bound=State)


@dataclass(frozen=True)
class Stage:
    """The course of one stage: a loss for each pass, for every image of a batch.

    ``loss`` is what is descended, ``rounded`` that of the 8-bit photo which the 8-bit LR restores; NaN where that was
    not measured.
    """

    loss: Float[Tensor, "iterations b"]
    rounded: Float[Tensor, "iterations b"]


@dataclass(frozen=True)
class Result:
    """What came out, and what it cost.

    - ``pixels``: the collaborative LR as its candidate has it; ``lr`` has it in [0, 1]. The file holds it rounded to
      multiples of 1/255.
    - ``hr``: the collaborative HR, which is the original, as it was given, where a method leaves that alone.
    - ``before`` and ``after``: the loss of the 8-bit photo that the 8-bit LR restores, without and with the method; NaN
      for a method that changes nothing, and so measures nothing.
    - ``errors``: by cells, what ``lr`` restores to; None where the method did not look at that last, or was not asked.
    - ``plain_pixels``: the LR without the method, of which ``plain`` has it in [0, 1].
    - ``hr_stage`` and ``lr_stage``: their courses; None for a stage that was left out.
    - ``downscales`` and ``upscales``: forward passes through g and f; ``gradients``: backward passes.
    - ``stopped``: why it ended, for each image.
    - ``code``: what the storage writes, where it has a code of its own for images; None where it writes ``lr``.
    """

    pixels: Pixels
    hr: Pixels
    before: Float[Tensor, " b"]
    after: Float[Tensor, " b"]
    plain_pixels: Pixels
    errors: tuple[CellErrors, ...] | None
    hr_stage: Stage | None
    lr_stage: Stage | None
    downscales: int
    upscales: int
    gradients: int
    stopped: tuple[Stop, ...]
    code: Float[Tensor, "b n"] | None = None

    @property
    def lr(self) -> Images:
        """Give the collaborative LR in [0, 1]; of one that is kept as grey levels it is made each time."""
        return as_float(self.pixels)

    @property
    def plain(self) -> Images:
        """Give the LR without the method in [0, 1], in the same way."""
        return as_float(self.plain_pixels)


@dataclass(frozen=True)
class Method(ABC, Generic[AnyState]):
    """A way to improve LR images: its settings, and called with (rescaler, original) the method itself.

    - ``name``: what the command calls it.
    - ``maps``: how many a pass goes through, 1 where it is f alone, 2 where some passes go through g and f.
    - ``changes``: whether it changes the LR at all.
    """

    name: ClassVar[str]
    maps: ClassVar[int] = 1
    changes: ClassVar[bool] = True

    @property
    @abstractmethod
    def passes(self) -> int:
        """Give the number of gradients that it takes at most."""

    @property
    def objective_name(self) -> ObjectiveName | None:
        """Say what its losses are: psnr for squared errors, None for what has no name."""
        return "psnr"

    def bytes_of_loss(self, channels: int) -> float:
        """Give the bytes that a pass keeps for each pixel of a photo beside what squared errors do."""
        return 0.0

    @property
    def takes_steps(self) -> bool:
        """Say whether the method goes by learned steps where there are any."""
        return False

    def curvature(self, rescaler: Rescaler, device: torch.device) -> Curvature | None:
        """Give the curvature that the method goes by, for a rescaler of three channels; None where it goes by none."""
        return None

    def through(self, storage: Storage) -> "Method[Any]":
        """Give the form of the method for what a storage leaves of an LR, which for a lossless one is the method.

        Raises SettingsError where there is none.
        """
        if storage.lossless:
            return self
        raise SettingsError(f"the method {self.name} is for lossless LR files; take coscale for {storage.name}")

    def passes_on(self, problem: Problem) -> int:
        """Give the number of gradients that it takes at most on a problem, where that makes a difference."""
        return self.passes

    @abstractmethod
    def begin(self, problem: Problem) -> AnyState:
        """Give the state before the first pass."""

    @abstractmethod
    def step(self, problem: Problem, state: AnyState) -> AnyState:
        """Make one pass and move."""

    @abstractmethod
    def propose(self, problem: Problem, state: AnyState) -> Sequence[Candidate]:
        """Give the LR images that may be kept at this point."""

    def prefers(self, state: AnyState, candidate: Candidate, best: Candidate) -> Bool[Tensor, " b"]:
        """Say of which images a candidate is better than the best so far."""
        return candidate.loss < best.loss

    def hr_of(self, problem: Problem, state: AnyState) -> Pixels:
        """Give the HR that the LR was made from."""
        return problem.pixels

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
    ) -> Result:
        """Improve the LR of a batch of photos, each for itself.

        Arguments:
            rescaler: what makes the LR and restores it; any object with ``scale``, ``downscale`` and ``upscale``.
            original: B x C x h x w, in [0, 1] or as grey levels in uint8; h and w are multiples of the scale.
            alpha: the photos' opacity, B x 1 x h x w. The objective is then that of the composite over the original's
                own colours, so that an error counts times its pixel's opacity, and one that nobody sees not at all.
            twin: a cheaper stand-in for the rescaler (one in lower precision) that the gradients are taken through;
                what an LR is worth is always measured through the rescaler itself.
            tiling: the tiles that passes run on, with halos for all ``maps``.
            storage: what the LR will be kept by; what an LR is worth is what that leaves of it.
            steps: learned steps of this very rescaler, for methods that take them.
            curvature: that of this very rescaler, for methods that go by it; see ``curvature_of``.
            by_cells: of one photo, what the errors of its cells are measured by where the guard will ask for them.
            watch: called after each pass; what it raises ends the method.
        """
        problem = Problem(rescaler, original, alpha, twin, tiling, storage, steps, curvature, by_cells)
        return improve(self, problem, self.begin(problem), watch)


def improve(method: Method[AnyState], problem: Problem, state: AnyState, watch: Watch | None = None) -> Result:
    """Run a method to its end from ``state``, and keep the best LR of each image."""
    best = state.plain
    taken = torch.zeros_like(best.loss, dtype=torch.bool)
    courses: dict[StageName, list[tuple[PerImage, PerImage]]] = {"hr": [], "lr": []}
    while not state.finished:
        gradients = problem.gradients
        state = method.step(problem, state)
        courses[state.stage].append((state.loss, state.rounded))
        if watch and problem.gradients > gradients:
            watch(problem.gradients, method.passes_on(problem), state.loss)
        for candidate in method.propose(problem, state):
            preferred = method.prefers(state, candidate, best)
            best, taken = candidate.where(preferred, best), taken | preferred
    hr_stage, lr_stage = (
        Stage(*map(torch.stack, zip(*course, strict=True))) if course else None for course in courses.values()
    )
    stopped: tuple[Stop, ...] = tuple(
        why if better or why == "no gradient" or not method.changes else "nothing better"
        for why, better in zip(state.stopped, taken.tolist(), strict=True)
    )
    return Result(
        pixels=best.pixels,
        hr=method.hr_of(problem, state),
        before=state.plain.loss,
        after=best.loss,
        plain_pixels=state.plain.pixels,
        errors=problem.errors_of(best.pixels),
        hr_stage=hr_stage,
        lr_stage=lr_stage,
        downscales=problem.downscales,
        upscales=problem.upscales,
        gradients=problem.gradients,
        stopped=stopped,
        code=best.code,
    )


@dataclass(frozen=True)
class Plain(Method[State]):
    """No method: the LR as the rescaler makes it, rounded as a file is."""

    name = "none"
    changes = False

    @property
    def passes(self) -> int:
        """Give 0."""
        return 0

    def through(self, storage: Storage) -> "Plain":
        """Give itself: whatever keeps the LR, nothing is changed."""
        return self

    def begin(self, problem: Problem) -> State:
        """Give a state that is finished."""
        lr = problem.plain_lr(problem.pixels)
        unknown = lr.new_full((len(lr),), torch.nan)
        plain = Candidate(lr, unknown, unknown[None][:0])
        return replace(State(*beginning(plain)), finished=True)

    def step(self, problem: Problem, state: State) -> State:
        """Never called: the state that it starts from is finished."""
        return replace(state, finished=True)

    def propose(self, problem: Problem, state: State) -> Sequence[Candidate]:
        """Propose nothing."""
        return ()
