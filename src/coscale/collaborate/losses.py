"""How far a restored photo is from the original: functions of (restored, original) that give one value an image."""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from coscale.colour import chroma, luma

Loss = Callable[[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]], Float[Tensor, " b"]]
LossName = Literal["mse", "l1", "y-mse"]


def mse(restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Mean squared error over all channels."""
    return (restored - original).square().mean((1, 2, 3))


def l1(restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Mean absolute error over all channels."""
    return (restored - original).abs().mean((1, 2, 3))


def y_mse(restored: Float[Tensor, "b c h w"], original: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Mean squared error of the luma alone."""
    return mse(luma(restored), luma(original))


def chroma_mse(restored: Float[Tensor, "b 3 h w"], original: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "2 b"]:
    """Mean squared errors of Cb and of Cr."""
    return (chroma(restored) - chroma(original)).square().mean((2, 3)).T


LOSSES: dict[LossName, Loss] = {"mse": mse, "l1": l1, "y-mse": y_mse}
