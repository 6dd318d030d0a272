"""Bicubic down and up: no weights, and the least that a learned pair must beat."""

from jaxtyping import Float
from torch import Tensor

from coscale import resize
from coscale.rescalers.base import Network


class Bicubic(Network):
    """MATLAB-style bicubic as a rescaler of any whole ``scale``."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def downscale(self, hr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Map HR to LR by the antialiased kernel, not clipped."""
        return resize.downscale(hr, self.scale)

    def upscale(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Map LR to HR, not clipped."""
        return resize.upscale(lr, self.scale)
