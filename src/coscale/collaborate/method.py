"""What a method is: settings that, called, improve the LR of photos; and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from jaxtyping import Float
from torch import Tensor

from coscale.rescalers import Rescaler
from coscale.tiles import WHOLE, Tiling

Progress = Callable[[int, int], None]
Images = Float[Tensor, "b c h w"]
PerImage = Float[Tensor, " b"]
Watch = Callable[[int, PerImage], None]
# All passes used; the loss fell no more; no change of the LR matters; no file was better than without the method.
Stop = Literal["passes", "converged", "no gradient", "nothing better"]


@dataclass(frozen=True)
class Stage:
    """The course of one stage: a loss for each gradient, and in HCD for the last iterate, for every image of a batch.

    ``loss`` is what is descended, ``rounded`` that of the 8-bit photo which the 8-bit LR restores; NaN where that was
    not measured.
    """

    loss: Float[Tensor, "iterations b"]
    rounded: Float[Tensor, "iterations b"]


@dataclass(frozen=True)
class Result:
    """What came out, and what it cost.

    - ``lr``: the collaborative LR in [0, 1]; the file holds it rounded to multiples of 1/255.
    - ``hr``: the collaborative HR, which is the original where a method leaves that alone.
    - ``before`` and ``after``: the loss of the 8-bit photo that the 8-bit LR restores, without and with the method.
    - ``hr_stage`` and ``lr_stage``: their courses; None for a stage that was left out.
    - ``downscales`` and ``upscales``: forward passes through g and f; ``gradients``: backward passes.
    - ``stopped``: why it ended, for each image.
    """

    lr: Float[Tensor, "b c h2 w2"]
    hr: Float[Tensor, "b c h w"]
    before: Float[Tensor, " b"]
    after: Float[Tensor, " b"]
    hr_stage: Stage | None
    lr_stage: Stage | None
    downscales: int
    upscales: int
    gradients: int
    stopped: tuple[Stop, ...]


class Method(Protocol):
    """A way to improve LR images."""

    name: ClassVar[str]  # what the command calls it
    maps: ClassVar[int]  # that a pass goes through: 1 where it is f alone, 2 where some go through g and f

    @property
    def passes(self) -> int:
        """Gradients at most."""
        ...

    def __call__(
        self,
        rescaler: Rescaler,
        original: Images,
        *,
        alpha: Images | None = None,
        twin: Rescaler | None = None,
        tiling: Tiling = WHOLE,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> Result:
        """Improve the LR of a batch of photos in [0, 1], each for itself; h and w are multiples of the scale.

        ``alpha``: the photos' opacity, B x 1 x h x w; then the objective is that of the composite over the original's
        own colours, so that an error counts times its pixel's opacity, and one that nobody sees not at all.
        ``twin`` is a cheaper stand-in for the rescaler (one in lower precision) that the gradients are taken through;
        what an LR is worth is always measured through the rescaler itself. ``tiling``: the tiles that passes run on,
        with halos for all ``maps``. ``progress`` is called with the gradients taken and their most, ``watch`` with
        their number and the loss that the last one was of. What either raises ends the method.
        """
        ...
