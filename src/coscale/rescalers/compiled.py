"""A rescaler made from another: compiled. Imported where it is used, since the compiler takes a second to import."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from coscale.errors import CoscaleWarning
from coscale.rescalers.base import Rescaler, Wrapped


class Compiled(Wrapped):
    """A rescaler whose maps are compiled, which pays where images of one shape pass through them again and again.

    The first pass of each shape takes up to a minute. On a GPU passes are replayed as CUDA graphs. Where compiling
    fails, for want of a compiler above all, a warning is given and the rescaler itself runs.
    """

    def __init__(self, rescaler: Rescaler, device: torch.device) -> None:
        super().__init__(rescaler)
        self._device = device
        mode = "reduce-overhead" if device.type == "cuda" else None
        self._eager = {"downscale": rescaler.downscale, "upscale": rescaler.upscale}
        self._maps = {way: torch.compile(run, dynamic=False, mode=mode) for way, run in self._eager.items()}

    def downscale(self, hr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self._run("downscale", hr)

    def upscale(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self._run("upscale", lr)

    def told(self, level: int) -> Rescaler:
        """Give the same for LR images of a level, of which all levels share what is compiled."""
        told = self.inner.told(level)
        return self if told is self.inner else Compiled(told, self._device)

    def lean(self) -> Rescaler:
        """Give itself: what is compiled keeps the activations that it was compiled with."""
        return self

    def as_much_memory(self) -> Rescaler:
        """Give what was compiled, which takes about as much."""
        return self.inner.as_much_memory()

    def _run(self, way: str, x: Tensor) -> Tensor:
        try:
            return self._maps[way](x)
        except TorchDynamoException as problem:
            self._maps = self._eager
            reason = str(problem).strip().splitlines()[0]
            warnings.warn(f"goes on without compiling, which failed: {reason}", CoscaleWarning, stacklevel=3)
            return self._eager[way](x)
