"""RLFN (Kong et al., "Residual Local Feature Network for Efficient Super-Resolution", CVPRW 2022).

    LR --convolution--> blocks --convolution--> + the first --convolution, pixel shuffle--> HR

Parameter names are those of the authors' checkpoints, whose images are in [0, 255].
"""

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.edsr import COLOURS, convolution
from coscale.rescalers.superres import SuperResolution

LEAST_SIDE = 15  # the attention's stride and pool leave nothing of smaller images
WHITE = 255.0
_SLOPE = 0.05  # of the leaky ReLU


class Attention(nn.Module):
    """Enhanced spatial attention: how much of each value to keep, seen from far at a smaller width."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, inner, 1)
        self.conv_f = nn.Conv2d(inner, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv3 = convolution(inner, inner)
        self.conv4 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.conv1(x)
        far = self.conv3(F.max_pool2d(self.conv2(near), 7, stride=3))
        far = F.interpolate(far, x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(far + self.conv_f(near)))


class Block(nn.Module):
    """Three convolutions around which the features go too, one that mixes channels, and the attention."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.c1_r, self.c2_r, self.c3_r = (convolution(width, width) for _ in range(3))
        self.c5 = nn.Conv2d(width, width, 1)
        self.esa = Attention(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in (self.c1_r, self.c2_r, self.c3_r):
            out = F.leaky_relu(layer(out), _SLOPE)
        return self.esa(self.c5(out + x))


class RLFN(nn.Module):
    """``blocks`` of ``width``, whose attentions are ``inner`` wide; 6, 52 and 16 are the published sizes."""

    def __init__(self, scale: int, width: int = 52, blocks: int = 6, inner: int = 16) -> None:
        super().__init__()
        self.blocks = blocks
        self.conv_1 = convolution(COLOURS, width)
        for number in range(1, blocks + 1):
            self.add_module(f"block_{number}", Block(width, inner))
        self.conv_2 = convolution(width, width)
        self.upsampler = nn.Sequential(convolution(width, COLOURS * scale**2), nn.PixelShuffle(scale))

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        first = features = self.conv_1(lr)
        for number in range(1, self.blocks + 1):
            features = self.get_submodule(f"block_{number}")(features)
        return self.upsampler(self.conv_2(features) + first)


def recognise(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether a checkpoint is one of RLFN."""
    return {"conv_1.weight", "block_1.c1_r.weight", "block_1.esa.conv_f.weight", "upsampler.0.weight"} <= set(tensors)


def build(tensors: Mapping[str, Tensor], _: int | None) -> tuple[SuperResolution, dict[str, Tensor]]:
    """Give the network that a checkpoint is of, and its tensors."""
    width, inner = tensors["conv_1.weight"].shape[0], tensors["block_1.esa.conv_f.weight"].shape[0]
    blocks = sum(re.fullmatch(r"block_\d+\.c5\.weight", name) is not None for name in tensors)
    scale = math.isqrt(tensors["upsampler.0.weight"].shape[0] // COLOURS)
    return SuperResolution(RLFN(scale, width, blocks, inner), scale, minimum=LEAST_SIDE, white=WHITE), dict(tensors)
