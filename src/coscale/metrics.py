"""PSNR and SSIM as the field measures them: on RGB and on Y, of 8-bit images, without a border.

All take images in [0, 1] as B x C x H x W and return one value an image. They do not round: give them what a file
holds.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale.colour import luma

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def crop_border(x: Float[Tensor, "b c h w"], border: int) -> Float[Tensor, "b c h2 w2"]:
    """``x`` without ``border`` pixels on each side; an axis too short to lose them is kept whole."""
    for axis in (2, 3):
        if x.shape[axis] > 2 * border:
            x = x.narrow(axis, border, x.shape[axis] - 2 * border)
    return x


def psnr(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB with peak 1 (255 grey levels); infinite for equal images."""
    mse = (a.double() - b.double()).square().mean((1, 2, 3))
    return -10 * mse.log10()


def ssim(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Structural similarity, the mean over channels and over the valid 11 x 11 windows; NaN below 11 pixels a side.

    Gaussian window with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance.
    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    if min(a.shape[-2:]) < _WINDOW:
        return torch.full((a.shape[0],), math.nan, dtype=torch.float64, device=a.device)
    a, b = a.double(), b.double()
    offsets = torch.arange(_WINDOW, dtype=torch.float64, device=a.device) - _WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    window /= window.sum()

    def blur(x: Tensor) -> Tensor:
        planes = x.reshape(-1, 1, *x.shape[-2:])
        planes = F.conv2d(F.conv2d(planes, window.reshape(1, 1, -1, 1)), window.reshape(1, 1, 1, -1))
        return planes.reshape(*x.shape[:2], *planes.shape[-2:])

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return similarity.mean((1, 2, 3))


def compare(
    restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"], border: int
) -> dict[str, Float[Tensor, " b"]]:
    """PSNR and SSIM on RGB and on Y of what was restored, with ``border`` pixels left out on each side."""
    restored, original = crop_border(restored, border), crop_border(original, border)
    restored_y, original_y = luma(restored.double()), luma(original.double())
    return {
        "psnr_y": psnr(restored_y, original_y),
        "ssim_y": ssim(restored_y, original_y),
        "psnr_rgb": psnr(restored, original),
        "ssim_rgb": ssim(restored, original),
    }
