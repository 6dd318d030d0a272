"""Any super-resolution network as upscaler, with bicubic as downscaler.

    HR --bicubic--> LR
    LR --pad to a size it takes--> times ``white`` --network--> over ``white`` --crop--> HR

Most super-resolution networks are trained on bicubic LR images, so bicubic is the downscaler that they know.
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale import resize
from coscale.colour import luma
from coscale.errors import RescalerError

_FULL_RANGE = 255 / 219  # what R, G and B gain where Y gains one and chroma stays


class SuperResolution(nn.Module):
    """The pair of MATLAB's bicubic and ``network``, which makes images ``scale`` times as large.

    ``channels``: 3 for a network of RGB; 1 for one of luma, which then gets Y of BT.601, and the chroma is bicubic.
    ``multiple``, ``minimum``, ``square``: what sides in LR pixels the network takes. ``white``: its value of white, 1
    or 255. A network that gives several images gives the restored one first.
    """

    def __init__(
        self,
        network: nn.Module,
        scale: int,
        *,
        channels: int = 3,
        multiple: int = 1,
        minimum: int = 1,
        square: bool = False,
        white: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.channels = channels
        self.multiple, self.minimum, self.square = multiple, minimum, square
        self.white = white

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h2 w2"], None]:
        """HR to (LR, None): what an LR leaves out is not kept. For training."""
        return self.downscale(hr), None

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """HR to LR by the antialiased kernel, not clipped."""
        return resize.downscale(hr, self.scale)

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """LR to HR, not clipped. Raises RescalerError when what comes out is not ``scale`` times as large."""
        height, width = lr.shape[-2] * self.scale, lr.shape[-1] * self.scale
        if self.channels == 3:
            return self._run(lr)[..., :height, :width]
        plain = resize.upscale(lr, self.scale)
        return plain + (self._run(luma(lr))[..., :height, :width] - luma(plain)) * _FULL_RANGE

    def _run(self, lr: Tensor) -> Tensor:
        x = self._pad(lr)
        out: Any = self.network(x * self.white)
        restored = out[0] if isinstance(out, tuple | list) else out
        wanted = (*x.shape[:-2], x.shape[-2] * self.scale, x.shape[-1] * self.scale)
        if tuple(restored.shape) != wanted:
            raise RescalerError(
                f"the network makes {tuple(restored.shape)} of {tuple(x.shape)}, not {wanted}; "
                "give one that makes images a whole number of times as large, and its own scale"
            )
        return restored.to(lr.dtype) / self.white

    def _pad(self, x: Tensor) -> Tensor:
        """``x`` with rows and columns added below and on the right, mirrored as far as there are any, up to a size
        that the network takes."""
        sides = [-(-max(side, self.minimum) // self.multiple) * self.multiple for side in x.shape[-2:]]
        if self.square:
            sides = [max(sides)] * 2
        below, right = sides[0] - x.shape[-2], sides[1] - x.shape[-1]
        mirrored = min(below, x.shape[-2] - 1), min(right, x.shape[-1] - 1)
        if any(mirrored):
            x = F.pad(x, (0, mirrored[1], 0, mirrored[0]), mode="reflect")
        if mirrored != (below, right):
            x = F.pad(x, (0, right - mirrored[1], 0, below - mirrored[0]), mode="replicate")
        return x
