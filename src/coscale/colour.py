"""Luma, which the field measures on, chroma, and what has none."""

import torch
from jaxtyping import Float
from torch import Tensor

_Y_WEIGHTS = (65.481, 128.553, 24.966)
_CHROMA_WEIGHTS = ((-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))


def luma(colour: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Give Y of BT.601 in its studio range, so in [16 / 255, 235 / 255]; grey (c = 1) counts as R = G = B."""
    weights = torch.tensor(_Y_WEIGHTS, dtype=colour.dtype, device=colour.device)[:, None, None]
    weighted = colour * weights if colour.shape[1] == 3 else colour * weights.sum()
    return (16 + weighted.sum(1, keepdim=True)) / 255


def chroma(colour: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Give Cb and Cr of BT.601 in their studio range, so in [16 / 255, 240 / 255]."""
    weights = torch.tensor(_CHROMA_WEIGHTS, dtype=colour.dtype, device=colour.device)
    return (128 + torch.einsum("kc,bchw->bkhw", weights, colour)) / 255


def is_grey(colour: Float[Tensor, "b c h w"]) -> bool:
    """Say whether images have no colour: one channel, or three that are equal."""
    red, *others = colour.unbind(1)
    return all(torch.equal(red, other) for other in others)
