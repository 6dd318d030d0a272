"""TAD & TAU, a downscaler and an upscaler trained as one autoencoder (Kim et al., "Task-aware image downscaling",
ECCV 2018).

    HR --convolutions, pixel unshuffle--> features --> residual blocks --> LR --EDSR of the same size--> HR

The paper has the LR follow bicubic by a guidance loss. There are no official code and weights; from the paper are the
form, the guidance, and training through the rounded LR. The number of blocks and channels are ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.base import Network
from coscale.rescalers.edsr import COLOURS, EDSR, ResidualBlock, convolution


class Downscaler(nn.Module):
    """HR to LR, half the size ``halvings`` times."""

    def __init__(self, halvings: int, blocks: int, width: int) -> None:
        super().__init__()
        self.head = convolution(COLOURS, width // 4)
        unshuffling: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for _ in range(halvings - 1):
            unshuffling += [convolution(width, width // 4), nn.PixelUnshuffle(2)]
        self.unshuffling = nn.Sequential(*unshuffling)
        self.body = nn.Sequential(*(ResidualBlock(width, 1.0) for _ in range(blocks)), convolution(width, width))
        self.tail = convolution(width, COLOURS)

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        # bfloat16 has no place for all 256 grey levels, and an LR's last bit counts: the ends are left in float32.
        with torch.autocast(hr.device.type, enabled=False):
            features = self.head(hr)
        features = self.unshuffling(features)
        features = features + self.body(features)
        with torch.autocast(hr.device.type, enabled=False):
            return self.tail(features.to(hr.dtype))


class TAD(Network):
    """The pair (downscale, upscale) of two residual networks, for a ``scale`` of 2 or 4."""

    def __init__(self, scale: int, blocks: int = 3, width: int = 64) -> None:
        super().__init__()
        self.scale = scale
        self.down = Downscaler(scale.bit_length() - 1, blocks, width)
        self.up = EDSR(scale, blocks, width, res_scale=1.0)

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h2 w2"], None]:
        """Map HR to (LR, None): what an LR leaves out is not kept. For training."""
        return self.downscale(hr), None

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map HR to LR, neither clipped nor rounded; h and w are multiples of ``scale``."""
        return self.down(hr)

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR, not clipped."""
        return self.up(lr)
