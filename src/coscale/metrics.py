"""PSNR and SSIM as the field measures them: on RGB and on Y, of 8-bit images, without a border.

All take images in [0, 1] as B x C x H x W and return one value an image. They do not round: give them what a file
holds.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale.colour import chroma, luma

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_STRIP = 256  # rows that are measured at once, so that large photos take little memory in float64


def crop_border(x: Float[Tensor, "b c h w"], border: int) -> Float[Tensor, "b c h2 w2"]:
    """``x`` without ``border`` pixels on each side; an axis too short to lose them is kept whole."""
    for axis in (2, 3):
        if x.shape[axis] > 2 * border:
            x = x.narrow(axis, border, x.shape[axis] - 2 * border)
    return x


def psnr(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB with peak 1 (255 grey levels); infinite for equal images."""
    total = torch.zeros(a.shape[0], dtype=torch.float64, device=a.device)
    for top in range(0, a.shape[-2], _STRIP):
        rows = slice(top, top + _STRIP)
        total += (a[..., rows, :].double() - b[..., rows, :].double()).square().sum((1, 2, 3))
    return -10 * (total / a[0].numel()).log10()


def ssim(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Structural similarity, the mean over channels and over the valid 11 x 11 windows; NaN below 11 pixels a side.

    Gaussian window with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance.
    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    height = a.shape[-2] - _WINDOW + 1  # of the map of windows
    if height < 1 or a.shape[-1] < _WINDOW:
        return torch.full((a.shape[0],), math.nan, dtype=torch.float64, device=a.device)
    total = torch.zeros(a.shape[0], dtype=torch.float64, device=a.device)
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height) + _WINDOW - 1)
        similarity = _similarity(a[..., rows, :].double(), b[..., rows, :].double())
        total = total + similarity.sum(2).mean((1, 2))
    return total / height


def _similarity(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """The similarity at every valid window."""
    offsets = torch.arange(_WINDOW, dtype=a.dtype, device=a.device) - _WINDOW // 2
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
    return ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def compare(
    restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"], border: int
) -> dict[str, Float[Tensor, " b"]]:
    """PSNR and SSIM on RGB and on Y of what was restored, with ``border`` pixels left out on each side.

    For colour also the PSNR of Cb and Cr: what is gained on one must not be lost on another unseen.
    """
    restored, original = crop_border(restored, border), crop_border(original, border)
    restored_y, original_y = luma(restored), luma(original)
    measured = {
        "psnr_y": psnr(restored_y, original_y),
        "ssim_y": ssim(restored_y, original_y),
        "psnr_rgb": psnr(restored, original),
        "ssim_rgb": ssim(restored, original),
    }
    if restored.shape[1] == 3:
        restored_c, original_c = chroma(restored), chroma(original)
        for i, name in enumerate(("psnr_cb", "psnr_cr")):
            measured[name] = psnr(restored_c[:, i : i + 1], original_c[:, i : i + 1])
    return measured
