"""Luma, which the field measures on."""

import torch
from jaxtyping import Float
from torch import Tensor

_Y_WEIGHTS = (65.481, 128.553, 24.966)


def luma(colour: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Y of BT.601 in its studio range, so in [16 / 255, 235 / 255]; grey (c = 1) counts as R = G = B."""
    weights = torch.tensor(_Y_WEIGHTS, dtype=colour.dtype, device=colour.device)[:, None, None]
    weighted = colour * weights if colour.shape[1] == 3 else colour * weights.sum()
    return (16 + weighted.sum(1, keepdim=True)) / 255
