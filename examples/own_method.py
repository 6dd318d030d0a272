"""Your own method: where it starts, what one step does, and which small images it proposes. The loop is coscale's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

import coscale
from coscale.alpha import as_seen
from coscale.collaborate.method import Candidate, Method, State, beginning
from coscale.collaborate.problem import Problem
from coscale.objectives import mse

PHOTO = Path(__file__).parent / "butterfly.png"


def errors(restored: Tensor, photo: Tensor) -> Tensor:
    """Give one value an image, as a row; others could follow below."""
    return mse(*as_seen(restored, photo))[None]


@dataclass(frozen=True)
class DescentState(State):
    """Where the descent stands: the small image, and the steps that are left."""

    x: Tensor
    left: int


@dataclass(frozen=True)
class Descent(Method[DescentState]):
    """Plain gradient descent on the small image, with steps of ``rate`` times the gradient."""

    rate: float = 300.0
    steps: int = 8

    name = "descent"

    @property
    def passes(self) -> int:
        return self.steps

    def begin(self, problem: Problem) -> DescentState:
        lr = problem.plain_lr(problem.original)
        return DescentState(*beginning(self.judged(problem, lr)), x=lr, left=self.steps)

    def step(self, problem: Problem, state: DescentState) -> DescentState:
        (loss,), slope = problem.gradient(state.x, errors)
        x = (state.x - self.rate * slope).clamp(0, 1)
        return replace(state, x=x, loss=loss, left=state.left - 1, finished=state.left == 1)

    def propose(self, problem: Problem, state: DescentState) -> Sequence[Candidate]:
        return [self.judged(problem, state.x)]

    def judged(self, problem: Problem, lr: Tensor) -> Candidate:
        (loss,) = problem.judge(lr, errors)
        return Candidate(lr, loss, loss[None][:0])


def main() -> None:
    photo = coscale.Photo(coscale.read(PHOTO).colour[..., 64:160, 64:160])
    pair = coscale.load("light-x2")
    for method in (coscale.PLAIN, Descent(), coscale.Coscale()):
        encoded = coscale.encode_photo(photo, pair, method)
        restored = coscale.decode_photo(encoded.lr, pair, encoded.origin)
        error = (restored.colour - photo.colour).square().mean()
        print(f"{method.name:10}{-10 * error.log10():6.2f} dB")


if __name__ == "__main__":
    main()
