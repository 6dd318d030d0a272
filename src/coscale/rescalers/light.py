"""A light pair for phones and browsers: all convolutions at LR size, fewer than 0.3 M parameters a map.

    HR --pixel unshuffle--> convolutions --> + bicubic LR --> LR
    LR --> convolutions --> + LR, each pixel repeated --pixel shuffle--> HR

Unlike IRN's, its two maps are separate networks that only training makes a pair.
Sources: sub-pixel convolution (Shi et al., CVPR 2016); a downscaler trained with its upscaler (TAD & TAU, Kim et al.,
ECCV 2018); residual blocks without normalisation (EDSR, Lim et al., CVPRW 2017).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale import resize
from coscale.rescalers.base import Network, Rescaler

COLOURS = 3


class Residual(nn.Module):
    """x + convolution(ReLU(convolution(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.xavier_normal_(self.second.weight, gain=0.1)
        for conv in (self.first, self.second):
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class Convolutions(nn.Module):
    """What a map adds to its plain counterpart; nothing before training."""

    def __init__(self, channels_in: int, channels_out: int, width: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels_in, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, channels_out, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        # bfloat16 has no place for all 256 grey levels, and an LR's last bit counts: autocast comes after the head.
        with torch.autocast(x.device.type, enabled=False):
            features = self.head(x)
        return self.tail(self.blocks(features))


class Light(Network):
    """The pair (downscale, upscale) of two small residual networks, for a ``scale`` of 2 or more.

    Arguments:
        scale: HR size over LR size.
        width, blocks: of f, and of g where ``down`` does not say that.
        down: width and blocks of g.
    """

    def __init__(self, scale: int, width: int = 64, blocks: int = 3, down: tuple[int, int] | None = None) -> None:
        super().__init__()
        down = down or (width, blocks)
        self.scale = scale
        self.receptive_field = 2 * max(blocks, down[1]) + 2  # a pixel for each of so many convolutions of 3 x 3
        subpixels = COLOURS * scale**2
        self.down = Convolutions(subpixels, COLOURS, *down)
        self.up = Convolutions(COLOURS, subpixels, width, blocks)

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h2 w2"], None]:
        """Map HR to (LR, None): what an LR leaves out is not kept. For training."""
        return self.downscale(hr), None

    def quick(self) -> Rescaler:
        """Give itself run by ncnn. Raises ImportError where that is not installed."""
        from coscale.rescalers.by_ncnn import ByNcnn

        return ByNcnn(self)

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map HR to LR, neither clipped nor rounded; h and w are multiples of ``scale``."""
        return resize.downscale(hr, self.scale) + self.down(F.pixel_unshuffle(hr, self.scale))

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR, not clipped."""
        return F.pixel_shuffle(lr.repeat_interleave(self.scale**2, 1) + self.up(lr), self.scale)
