"""How unlike two photos are to the eye, by formulas with a gradient that need no trained weights.

    MS-SSIM      RGB  --windows--> means, variances, covariance --> similarities, multiplied over up to 5 scales
    perceptual   XYB  --windows--> the same --> lost structure, and errors that contrast does not hide, over up to 4

Windows at an edge count what they have of the photo. So any size has a value, and every pixel a gradient.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "b c h w"]
PerImage = Float[Tensor, " b"]

WINDOW, _SIGMA = 11, 1.5  # of SSIM: pixels a side, and how wide its Gaussian is
C1, C2 = 0.01**2, 0.03**2  # of SSIM, of images in [0, 1]
_BY_SCALE = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, finest scale first
_LEAST = 1e-3  # of a mean similarity that is raised to such a power

_XYB_SCALES, _LEAST_SIDE = 4, 8  # how many there are at most, and the fewest pixels a side of one
_XYB_STEP = 2  # pixels from window to window, which overlap all the same
_ABSORBED = ((0.3, 0.622, 0.078), (0.23, 0.692, 0.078), (0.24342268924547819, 0.20476744424496821, 0.5518098665095536))
_BIAS = 0.0037930732552754493
_RED_GREEN = 14.0  # X is as large as Y where it is seen as well
_C_XYB = 0.03**2
_WORST = 0.3  # how much the 4-norm of what is lost of structure counts beside its mean: a few bad places are seen
_VISIBLE = 1.0  # how much errors count that contrast does not hide,
_CONTRAST = 1e-3  # which is the variance around a pixel, over this
_FLAT = 1e-8  # keeps the gradient of the 4-norm finite


def ms_ssim_error(restored: Images, original: Images) -> PerImage:
    """Give 1 - MS-SSIM, the mean of the channels: 0 for equals.

    A photo with fewer than 176 pixels a side has fewer than the five scales, whose exponents then sum to 1 all the
    same. Source: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003.
    """
    scales = 1 + int(math.log2(max(1.0, min(restored.shape[-2:]) / WINDOW)))
    exponents = _BY_SCALE[:scales]
    similarity = torch.ones(restored.shape[:2], dtype=restored.dtype, device=restored.device)
    for number, exponent in enumerate(exponents, 1):
        mean_a, mean_b, var_a, var_b, covariance = _moments(restored, original)
        likeness = (2 * covariance + C2) / (var_a + var_b + C2)
        if number == len(exponents):
            likeness = likeness * (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        similarity = similarity * likeness.mean((2, 3)).clamp(min=_LEAST) ** (exponent / sum(exponents))
        restored, original = _half(restored), _half(original)
    return 1 - similarity.mean(1)


def xyb_error(restored: Images, original: Images) -> PerImage:
    """Give how unlike two photos are in XYB, colours by the cube root of what cones absorb: 0 for equals.

    At each scale it is the loss of structure, by mean and by 4-norm over the windows, and the mean of squared errors
    over the variance in their window, since contrast hides errors.
    Sources: XYB and its numbers, JPEG XL (ISO/IEC 18181-1); similarity in XYB, SSIMULACRA 2 (Sneyers, 2023), of which
    neither the trained weights nor the terms for edges are here; masking by contrast, Legge and Foley, 1980.
    """
    total, scales = restored.new_zeros(len(restored)), 0
    for a, b in _in_xyb(restored, original):
        mean_a, mean_b, var_a, var_b, covariance = _moments(a, b, _XYB_STEP)
        likeness = (1 - (mean_a - mean_b) ** 2) * (2 * covariance + _C_XYB) / (var_a + var_b + _C_XYB)
        lost = 1 - likeness
        worst = ((lost**4).mean((2, 3)) + _FLAT) ** 0.25 - _FLAT**0.25
        error = var_a + var_b - 2 * covariance + (mean_a - mean_b) ** 2
        visible = error.sum(1) / (var_b.sum(1).clamp(min=0) + _CONTRAST)
        total = total + lost.mean((1, 2, 3)) + _WORST * worst.mean(1) + _VISIBLE * visible.mean((1, 2))
        scales += 1
    return total / scales


def _in_xyb(a: Images, b: Images) -> Iterator[tuple[Images, Images]]:
    """Two images in XYB, and then each time at half the size, which is taken of their light."""
    light = [_light(x) for x in (a, b)]
    for number in range(_XYB_SCALES):
        if number and min(light[0].shape[-2:]) < 2 * _LEAST_SIDE:
            return
        light = [_half(x) for x in light] if number else light
        yield _xyb(light[0]), _xyb(light[1])


def _light(x: Images) -> Float[Tensor, "b 3 h w"]:
    """Linear light of sRGB; grey counts as R = G = B."""
    x = x.clamp(min=0).expand(-1, 3, -1, -1)
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _xyb(light: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """X, Y and B - Y, sized so that an error of each is about as visible."""
    absorbed = torch.einsum("kc,bchw->bkhw", torch.tensor(_ABSORBED).to(light), light)
    long, middle, short = ((absorbed + _BIAS) ** (1 / 3) - _BIAS ** (1 / 3)).unbind(1)
    y = (long + middle) / 2
    return torch.stack((_RED_GREEN * (long - middle) / 2, y, short - y), 1)


def _moments(a: Images, b: Images, step: int = 1) -> tuple[Images, Images, Images, Images, Images]:
    """Means, variances and the covariance in the windows around pixels, one every ``step``."""
    mean_a, mean_b, aa, bb, ab = _windowed(torch.stack((a, b, a * a, b * b, a * b)), step)
    return mean_a, mean_b, aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b


def gaussian(like: Tensor) -> Float[Tensor, " 11"]:
    """Give the window of SSIM along one axis, 1 in its middle, of the type and on the device of a tensor."""
    offsets = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    return torch.exp(-(offsets**2) / (2 * _SIGMA**2))


def _windowed(x: Float[Tensor, "*n h w"], step: int) -> Float[Tensor, "*n h2 w2"]:
    """Means in the windows around pixels, one every ``step``."""
    window = gaussian(x)
    out = x.reshape(1, -1, *x.shape[-2:])
    for kernel in (window[:, None], window[None]):
        half, count = (kernel.shape[0] // 2, kernel.shape[1] // 2), out.shape[1]
        steps = tuple(step if length > 1 else 1 for length in kernel.shape)
        inside = F.conv2d(torch.ones_like(out[:, :1]), kernel[None, None], padding=half, stride=steps)
        # A plane each: as images of one channel PyTorch takes ten times as long.
        out = F.conv2d(out, kernel.expand(count, 1, -1, -1), padding=half, stride=steps, groups=count) / inside
    return out.reshape(*x.shape[:-2], *out.shape[-2:])


def _half(x: Images) -> Images:
    """Half as many pixels a side, each the mean of those that it stands for."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
