"""PSNR and SSIM as the field measures them: on RGB and on Y, of 8-bit images, without a border.

All take images in [0, 1] or grey levels as B x C x H x W and return one value an image. They do not round: give them
what a file holds. With ``alpha``, the opacity of the original, they count what is seen: an error is that of the
composite, which is alpha times the error of the colour on every background, and the mean is over the pixels that are
not wholly transparent (of SSIM over the windows around them).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from coscale.alpha import as_seen, fill_hidden, with_alpha
from coscale.colour import chroma, is_grey, luma
from coscale.likeness import C1, C2, WINDOW, gaussian
from coscale.quantize import Pixels, as_float
from coscale.strips import strips

# Pixels that are measured at once, so that large photos take little memory in float64, and the fewest rows of them.
_STRIP, _ROWS = 2**19, 2 * WINDOW

Images = Float[Tensor, "b c h w"]
Part = Callable[[Images], Images]  # of an image: its luma, for example
Alpha = Float[Tensor, "b 1 h w"]


def crop_border(x: Pixels, border: int) -> Pixels:
    """Give ``x`` without ``border`` pixels on each side; an axis too short to lose them is kept whole."""
    for axis in (2, 3):
        if x.shape[axis] > 2 * border:
            x = x.narrow(axis, border, x.shape[axis] - 2 * border)
    return x


def _all(x: Images) -> Images:
    return x


def psnr(a: Pixels, b: Pixels, part: Part = _all, alpha: Alpha | None = None) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB of a ``part`` of both; the peak is 1 (255 grey levels). Infinite for equals.

    ``b`` is the original, whose ``alpha`` says what is seen of it; infinite too where nothing is.
    """
    total = torch.zeros(a.shape[0], dtype=torch.float64, device=a.device)
    count = torch.zeros_like(total)
    for rows in strips(*a.shape[-2:], pixels=_STRIP, least=_ROWS):
        opacity = None if alpha is None else alpha[..., rows, :]
        seen, original = as_seen(as_float(a[..., rows, :]), with_alpha(as_float(b[..., rows, :]), opacity))
        error = part(seen).double() - part(original).double()
        total += error.square().sum((1, 2, 3))
        count += error[0].numel() if opacity is None else error.shape[1] * (opacity > 0).sum((1, 2, 3))
    return -10 * (total / count.clamp(min=1)).log10()


def ssim(a: Pixels, b: Pixels, part: Part = _all, alpha: Alpha | None = None) -> Float[Tensor, " b"]:
    """Structural similarity of a ``part`` of both, the mean over its channels and over the valid 11 x 11 windows.

    NaN below 11 pixels a side, and where no window is around a pixel that is seen. Gaussian window with sigma 1.5,
    K1 = 0.01, K2 = 0.03, population covariance.
    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    height = a.shape[-2] - WINDOW + 1  # of the map of windows
    if height < 1 or a.shape[-1] < WINDOW:
        return torch.full((a.shape[0],), math.nan, dtype=torch.float64, device=a.device)
    total = torch.zeros(a.shape[0], dtype=torch.float64, device=a.device)
    count = torch.zeros_like(total)
    for windows in strips(height, a.shape[-1], pixels=_STRIP, least=_ROWS):
        rows = slice(windows.start, windows.stop + WINDOW - 1)
        opacity = None if alpha is None else alpha[..., rows, :]
        seen, original = as_seen(as_float(a[..., rows, :]), with_alpha(as_float(b[..., rows, :]), opacity))
        similarity = _similarity(part(seen).double(), part(original).double())
        if opacity is None:
            total = total + similarity.sum(2).mean((1, 2))
            count += similarity.shape[2]
        else:
            inside = slice(WINDOW // 2, -(WINDOW // 2))
            centres = opacity[..., inside, inside] > 0
            total = total + (similarity.mean(1, keepdim=True) * centres).sum((1, 2, 3))
            count += centres.sum((1, 2, 3))
    return total / count


def _similarity(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """The similarity at every valid window."""
    window = gaussian(a)
    window /= window.sum()

    def blur(x: Tensor) -> Tensor:
        for axis in (2, 3):  # sums of shifted images: PyTorch's convolutions in float64 are several times slower
            size = x.shape[axis] - WINDOW + 1
            total = window[0] * x.narrow(axis, 0, size)
            for i in range(1, WINDOW):
                total.addcmul_(window[i], x.narrow(axis, i, size))
            x = total
        return x

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    return ((2 * mean_a * mean_b + C1) * (2 * covariance + C2)) / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))


def compare(
    restored: Pixels, original: Pixels, border: int, alpha: Alpha | None = None
) -> dict[str, Float[Tensor, " b"]]:
    """Give PSNR and SSIM on RGB and on Y of what was restored, with ``border`` pixels left out on each side.

    Of what has colour also the PSNR of Cb and Cr: what is gained on one must not be lost on another unseen. ``alpha``:
    the original's opacity.
    """
    if alpha is not None:  # a window of SSIM at an edge has hidden pixels in it, which should say nothing either
        original = as_float(original)
        original = torch.where(alpha > 0, original, fill_hidden(original, alpha))
        alpha = crop_border(alpha, border)
    restored, original = crop_border(restored, border), crop_border(original, border)
    measured = {
        "psnr_y": psnr(restored, original, luma, alpha),
        "ssim_y": ssim(restored, original, luma, alpha),
        "psnr_rgb": psnr(restored, original, alpha=alpha),
        "ssim_rgb": ssim(restored, original, alpha=alpha),
    }
    if restored.shape[1] == 3 and not is_grey(original):
        measured["psnr_cb"] = psnr(restored, original, lambda x: chroma(x)[:, :1], alpha)
        measured["psnr_cr"] = psnr(restored, original, lambda x: chroma(x)[:, 1:], alpha)
    return measured
