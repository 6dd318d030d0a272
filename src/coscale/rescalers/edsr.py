"""EDSR, a residual super-resolution network (Lim et al., CVPRW 2017), here the upscaler of CAR and of TAD.

    LR - mean --> head --> residual blocks --> + head's features --> tail (sub-pixel convolutions) --> + mean = HR

Parameter names are those of the authors' network. Images are in [0, 1], as in CAR's ``usn.pth``; the authors' own
checkpoints are for images in [0, 255].
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

COLOURS = 3
MEAN = (0.4488, 0.4371, 0.4040)  # of the photos of DIV2K
FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}  # one sub-pixel convolution each


def scale_of(tensors: Mapping[str, Tensor], upsampling: str, width: int) -> int:
    """Give the scale that a checkpoint's sub-pixel convolutions, the parts of ``upsampling``, are for.

    Raises ValueError for one that there is no such network of.
    """
    scale = (
        4 if f"{upsampling}.2.weight" in tensors else math.isqrt(tensors[f"{upsampling}.0.weight"].shape[0] // width)
    )
    if scale not in FACTORS:
        raise ValueError(f"it would upscale by {scale}, not by 2, 3 or 4")
    return scale


class MeanShift(nn.Module):
    """Adds ``sign`` times the mean colour: a 1x1 convolution that training leaves as it is."""

    weight: Tensor
    bias: Tensor

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(COLOURS).reshape(COLOURS, COLOURS, 1, 1))
        self.register_buffer("bias", sign * torch.tensor(MEAN))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return F.conv2d(x, self.weight, self.bias)


class ResidualBlock(nn.Module):
    """x + ``res_scale`` times convolution(ReLU(convolution(x))), without normalisation."""

    def __init__(self, width: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(width, width), nn.ReLU(inplace=True), convolution(width, width))
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.body(x), alpha=self.res_scale)


class EDSR(nn.Module):
    """LR to HR, ``scale`` times (2, 3 or 4) as high and as wide: (b, 3, h, w) in [0, 1], the result not clipped.

    32 blocks of width 256 are the published network, 16 of width 64 its baseline. A wide one trains only with
    residuals made small by ``res_scale``.
    """

    def __init__(self, scale: int, blocks: int = 32, width: int = 256, res_scale: float = 0.1) -> None:
        super().__init__()
        self.scale = scale
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(1)
        self.head = nn.Sequential(convolution(COLOURS, width))
        self.body = nn.Sequential(*(ResidualBlock(width, res_scale) for _ in range(blocks)), convolution(width, width))
        upsampling: list[nn.Module] = []
        for factor in FACTORS[scale]:
            upsampling += [convolution(width, factor**2 * width), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(nn.Sequential(*upsampling), convolution(width, COLOURS))

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        # bfloat16 has no place for all 256 grey levels: autocast comes after the head and ends before the mean.
        with torch.autocast(lr.device.type, enabled=False):
            features = self.head(self.sub_mean(lr))
        details = self.tail(features + self.body(features))
        with torch.autocast(lr.device.type, enabled=False):
            return self.add_mean(details.to(lr.dtype))


def convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """3x3, the image continued by zeros."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


def white_of(tensors: Mapping[str, Tensor]) -> float:
    """Give the value of white that a checkpoint's mean colour is for: 1 or 255."""
    bias = tensors["sub_mean.bias"]
    if tuple(bias.shape) != (len(MEAN),) or not bias.isfinite().all():
        raise ValueError("its sub_mean.bias is no mean colour")
    white = round(sum(-value / mean for value, mean in zip(bias.tolist(), MEAN, strict=True)) / len(MEAN))
    if white not in (1, 255):
        raise ValueError(f"its mean colour is that of images whose white is {white}, not 1 or 255")
    return float(white)
