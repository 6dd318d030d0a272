"""What methods for lossy storages share: a loss that has the bits in it, and a bound on what the method may add."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coscale.choices import Effort
from coscale.collaborate.method import Candidate, Method, State
from coscale.collaborate.problem import Images, PerImage, Problem
from coscale.objectives import WeightedLuma, mse, y_mse
from coscale.storage import Lossy, Storage


@dataclass(frozen=True)
class LossyState(State):
    """What the states have in common: g's LR, how many passes are ``done``, and what the last one ``looked`` at."""

    base: Images
    done: int
    looked: Candidate


AnyLossyState = TypeVar("AnyLossyState", bound=LossyState)


@dataclass(frozen=True)
class LossyMethod(Method[AnyLossyState]):
    """A form of coscale's method for lossy storages, whose settings have been checked there.

    - ``effort``: how many passes.
    - ``luma``: the weight W of Y's error beside that of RGB, in the loss RGB-MSE + W Y-MSE.
    - ``fidelity``: what the method may add to the difference between bicubic's LR and what decoders see of the file,
      beside what the codec alone adds: so much less than white, in dB.
    """

    effort: Effort = "balanced"
    luma: float = 0.5
    fidelity: float = 40.0

    name = "coscale"
    price: ClassVar[float]  # of a bit a pixel, in squares of the quantiser's step: what lambda is
    efforts: ClassVar[Mapping[Effort, int]]  # the passes of each

    @property
    def passes(self) -> int:
        """Give the passes of this effort."""
        return self.efforts[self.effort]

    def through(self, storage: Storage) -> "LossyMethod[AnyLossyState]":
        """Give itself, which is the form for a lossy storage."""
        return self

    def propose(self, problem: Problem, state: AnyLossyState) -> Sequence[Candidate]:
        """Propose what the pass looked at, and after the last pass what it gave."""
        return (state.looked, self.last(problem, state)) if state.finished else (state.looked,)

    @abstractmethod
    def last(self, problem: Problem, state: AnyLossyState) -> Candidate:
        """Give what the last pass gave."""

    def prefers(self, state: AnyLossyState, candidate: Candidate, best: Candidate) -> Bool[Tensor, " b"]:
        """Prefer a lower sum of loss and bits, where the LR is as near to g's as fidelity asks for."""
        return (candidate.loss < best.loss) & (candidate.errors[2] <= self.limit(state))

    def limit(self, state: AnyLossyState) -> PerImage:
        """Give the most that what decoders see may differ from g's LR, in mean squares."""
        return state.plain.errors[2] + 10 ** (-self.fidelity / 10)

    def errors(self, restored: Images, photo: Images) -> Float[Tensor, "3 b"]:
        """Give the loss, and the errors of RGB and of Y."""
        restored = restored.clamp(0, 1)
        return torch.stack([WeightedLuma(self.luma)(restored, photo), mse(restored, photo), y_mse(restored, photo)])

    def price_of_a_bit(self, problem: Problem) -> float:
        """Give what a bit costs of the loss of one photo."""
        step = lossy_of(problem).step / 255
        return self.price * step**2 / problem.pixels[0, 0].numel()

    def candidate(
        self,
        problem: Problem,
        x: Images,
        seen: Images,
        base: Images,
        errors: Float[Tensor, "3 b"],
        bits: PerImage,
        code: Float[Tensor, "b n"] | None = None,
    ) -> Candidate:
        """Give an LR as a candidate.

        Arguments:
            problem: the photos.
            x: the LR.
            seen: what decoders see of it.
            base: g's LR, from which the candidate's last error is.
            errors: of what ``seen`` restores to.
            bits: of its file, each of which adds its price to the loss.
            code: what the storage writes for it.
        """
        loss = errors[0] + self.price_of_a_bit(problem) * bits
        return Candidate(x, loss, torch.stack([errors[1], errors[2], mse(seen, base)]), code)


def lossy_of(problem: Problem) -> Lossy:
    """Give the storage of a problem, which is a lossy one."""
    assert isinstance(problem.storage, Lossy)
    return problem.storage
