"""What is minimised: functions of (restored, original) that give one value an image, and the one that coscale uses."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from coscale.choices import LossName, ObjectiveName
from coscale.colour import chroma, luma
from coscale.errors import SettingsError
from coscale.likeness import ms_ssim_error, xyb_error

# Of images in [0, 1]. Of a photo that is worked on in tiles it is the mean of the tiles' values, by area.
Objective = Callable[[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]], Float[Tensor, " b"]]

_LEAST = 1e-9  # of a squared error that a gain is taken of


def mse(restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Give mean squared error over all channels."""
    return (restored - original).square().mean((1, 2, 3))


def l1(restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Give mean absolute error over all channels."""
    return (restored - original).abs().mean((1, 2, 3))


def y_mse(restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Give mean squared error of the luma alone."""
    return mse(luma(restored), luma(original))


def chroma_mse(restored: Float[Tensor, "b 3 h w"], original: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "2 b"]:
    """Give mean squared errors of Cb and of Cr."""
    return (chroma(restored) - chroma(original)).square().mean((2, 3)).T


@dataclass(frozen=True)
class WeightedLuma:
    """RGB-MSE + ``luma`` times Y-MSE. Raises SettingsError for a weight that is negative or not finite."""

    luma: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.luma < math.inf:
            raise SettingsError(f"luma is {self.luma}; it must be finite and not negative")

    def __call__(self, restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Give the value of each image."""
        value = mse(restored, original)
        return value + self.luma * y_mse(restored, original) if self.luma else value


# What coscale's method minimises by name in place of squared errors, which are what "psnr" stands for.
NAMED: dict[ObjectiveName, Objective] = {"ssim": ms_ssim_error, "perceptual": xyb_error}
LOSSES: dict[LossName, Objective] = {"mse": mse, "l1": l1, "y-mse": y_mse}


def gain_of(before: float, after: float) -> float:
    """Give the gain in dB of a squared error that fell; one below a thousandth of rounding's counts as that."""
    return 10 * math.log10(max(before, _LEAST) / max(after, _LEAST))
