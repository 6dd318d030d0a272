"""CAR & EDSR (Sun and Chen, "Learned image downscaling for upscaling using content adaptive resampler", TIP 2020).

    HR --kernel generator--> a kernel for each LR pixel, an offset for each of its taps
    HR --resampling with those--> LR --EDSR--> HR

Parameter names are those of the authors' ``kgn.pth`` and ``usn.pth``: give the folder with the two as weights.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.utils.checkpoint import checkpoint

from coscale.rescalers.base import Network
from coscale.rescalers.edsr import COLOURS, EDSR, MeanShift

Function = TypeVar("Function", bound=Callable[..., Tensor])

WIDTH = 256
COARSEST = 8  # HR pixels for one pixel of the generator's coarsest features


class Residual(nn.Module):
    """x + convolution(leaky ReLU(convolution(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(
            *convolution(width, width), nn.LeakyReLU(0.2, inplace=True), *convolution(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.transform(x)


class KernelGenerator(nn.Module):
    """HR to kernels and offsets for an LR that is 2 or 4 times smaller."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        taps = (3 * scale + 1) ** 2
        self.sub_mean = MeanShift(-1)
        self.ds_1 = nn.Sequential(*convolution(COLOURS, 64, 5), nn.LeakyReLU(0.2, inplace=True))
        self.ds_2 = downsampling(64, 128)
        self.ds_4 = downsampling(128, 128)
        self.res_4 = nn.Sequential(*(Residual(128) for _ in range(5)))
        self.ds_8 = downsampling(128, WIDTH)
        self.kernels_trunk = trunk(COARSEST // scale)
        self.kernels_weight = branch(taps)
        self.offsets_trunk = trunk(COARSEST // scale)
        self.offsets_h_generation = branch(taps)
        self.offsets_v_generation = branch(taps)

    def forward(
        self, hr: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b k2 h2 w2"], Float[Tensor, "b k2 h2 w2"], Float[Tensor, "b k2 h2 w2"]]:
        """(kernels, whose taps are positive and sum to 1, offsets to the right, offsets down, both in LR pixels).

        h and w are multiples of ``scale``.
        """
        size = hr.shape[-2:]
        # Reflection inside the network needs features of two pixels or more at the coarsest level.
        below, beside = (max(2, math.ceil(length / COARSEST)) * COARSEST - length for length in size)
        hr = mirrored(hr, 0, beside, 0, below)
        # bfloat16 has no place for all 256 grey levels: autocast comes after the first convolution.
        with torch.autocast(hr.device.type, enabled=False):
            features = self.ds_1(self.sub_mean(hr))
        features = self.ds_4(self.ds_2(features))
        features = self.ds_8(features + self.res_4(features))
        bends = self.offsets_trunk(features)
        height, width = (length // self.scale for length in size)
        kernels, offsets_h, offsets_v = (
            out[..., :height, :width].to(hr.dtype)
            for out in (
                self.kernels_weight(self.kernels_trunk(features)),
                self.offsets_h_generation(bends),
                self.offsets_v_generation(bends),
            )
        )
        kernels = kernels.clamp(1e-6, 1)
        return kernels / kernels.sum(1, keepdim=True), offsets_h.tanh(), offsets_v.tanh()


class CAR(Network):
    """The pair (downscale, upscale) for a ``scale`` of 2 or 4; ``blocks`` and ``width`` are EDSR's."""

    def __init__(self, scale: int, blocks: int = 32, width: int = 256) -> None:
        super().__init__()
        self.scale = scale
        self.multiple = COARSEST // scale  # LR pixels: the generator sees the image through a grid of blocks
        self.kgn = KernelGenerator(scale)
        self.usn = EDSR(scale, blocks, width)

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h2 w2"], None]:
        """Map HR to (LR, None): what an LR leaves out is not kept. For training."""
        return self.downscale(hr), None

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map HR to LR, neither clipped nor rounded; h and w are multiples of ``scale``."""
        return resample(hr, *self.kgn(hr))

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR, not clipped."""
        return self.usn(lr)


def _not_compiled(function: Function) -> Function:
    """torch's mark, with the function's type; torch.compiler.disable would import the compiler here and now."""
    return _disable_dynamo(function)  # type: ignore[return-value]


@_not_compiled  # its loop takes minutes to compile and a hundredth of the pass to run
def resample(
    hr: Float[Tensor, "b c h w"],
    kernels: Float[Tensor, "b k2 h2 w2"],
    offsets_h: Float[Tensor, "b k2 h2 w2"],
    offsets_v: Float[Tensor, "b k2 h2 w2"],
) -> Float[Tensor, "b c h2 w2"]:
    """Map HR to LR by a kernel of its own for each LR pixel, whose taps are moved by offsets, in LR pixels.

    Tap (u, v) of LR pixel (i, j) weighs what the HR image, continued by reflection, has at
    y = scale (i + 1/2 + offset_v) + u - k // 2 - 1/2, and x likewise with j, offset_h and v, by bilinear interpolation.
    """
    taps = math.isqrt(kernels.shape[1])
    scale = hr.shape[-1] // kernels.shape[-1]
    reach = taps // 2
    hr = mirrored(hr, reach, reach, reach, reach).contiguous()
    lr = hr.new_zeros(*hr.shape[:2], *kernels.shape[-2:])
    rows = (x.split(taps, 1) for x in (kernels, scale * offsets_h, scale * offsets_v))
    for u, (weights, right, down) in enumerate(zip(*rows, strict=True)):
        # k rows of k taps make many copies of the image: gradients compute each row anew, and none is kept.
        lr = lr + checkpoint(_row, hr, weights, right, down, u, scale, use_reentrant=False)  # type: ignore[operator]
    return lr


def _row(
    padded: Float[Tensor, "b c h w"],
    weights: Float[Tensor, "b k h2 w2"],
    right: Float[Tensor, "b k h2 w2"],
    down: Float[Tensor, "b k h2 w2"],
    u: int,
    scale: int,
) -> Float[Tensor, "b c h2 w2"]:
    """What row ``u`` of all kernels adds to the LR; ``right`` and ``down`` are in HR pixels."""
    channels, rows, columns = padded.shape[1:]
    grid = weights.shape[1:]
    v, i, j = (torch.arange(length, device=padded.device) for length in grid)
    top, beta = _place(scale * i[:, None] + u, down + (scale - 1) / 2, rows)
    left, alpha = _place(scale * j + v[:, None, None], right + (scale - 1) / 2, columns)
    flat = padded.flatten(2)

    def pixels(y: Tensor, x: Tensor) -> Tensor:
        index = (columns * y + x).flatten(1)[:, None]
        return flat.gather(2, index.expand(-1, channels, -1)).unflatten(2, grid)

    # Farther out than the image is continued, indices stop at its border, as in the authors' CUDA kernel.
    bottom, end = (top + 1).clamp(max=rows - 1), (left + 1).clamp(max=columns - 1)
    upper = torch.lerp(pixels(top, left), pixels(top, end), alpha[:, None])
    lower = torch.lerp(pixels(bottom, left), pixels(bottom, end), alpha[:, None])
    return (torch.lerp(upper, lower, beta[:, None]) * weights[:, None]).sum(2)


def _place(
    start: Int64[Tensor, "*grid"], shift: Float[Tensor, "b k h2 w2"], size: int
) -> tuple[Int64[Tensor, "b k h2 w2"], Float[Tensor, "b k h2 w2"]]:
    """(index, fraction) of ``start`` + ``shift``; apart, since a float32 of a large image has few digits after it."""
    whole = shift.detach().floor()
    return (start + whole.long()).clamp(0, size - 1), shift - whole


def mirrored(x: Float[Tensor, "b c h w"], left: int, right: int, top: int, bottom: int) -> Float[Tensor, "b c h2 w2"]:
    """Continue ``x`` by reflection, its border not repeated, however far; torch's own goes as far as x is large."""
    # Each step goes from one border to the other, where it is reflected again; torch refuses sides of one pixel.
    height, width = (max(1, length - 1) for length in x.shape[-2:])
    most = (width, width, height, height)
    rest = [left, right, top, bottom]
    while any(rest):
        steps = [min(pair) for pair in zip(rest, most, strict=True)]
        x = F.pad(x, steps, mode="reflect")
        rest = [far - step for far, step in zip(rest, steps, strict=True)]
    return x


def convolution(channels_in: int, channels_out: int, size: int = 3) -> tuple[nn.Module, nn.Module]:
    """Give a convolution of an image continued by reflection; two modules, as the official names count them."""
    return nn.ReflectionPad2d(size // 2), nn.Conv2d(channels_in, channels_out, size)


def downsampling(channels_in: int, channels_out: int) -> nn.Sequential:
    """Half the size."""
    steps = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels_in, channels_out, 1))
    return nn.Sequential(OrderedDict(downsample=steps))


def trunk(factor: int) -> nn.Sequential:
    """Features at the coarsest level to features at LR size, ``factor`` times as large."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [*convolution(WIDTH, WIDTH), nn.ReLU(inplace=True)]
    upsample = nn.Sequential(nn.Conv2d(WIDTH, factor**2 * WIDTH, 1), nn.PixelShuffle(factor))
    layers += [nn.Sequential(OrderedDict(upsample=upsample)), *convolution(WIDTH, WIDTH), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def branch(channels_out: int) -> nn.Sequential:
    """Give a trunk's features to one number for each tap."""
    return nn.Sequential(*convolution(WIDTH, WIDTH), nn.ReLU(inplace=True), *convolution(WIDTH, channels_out))
