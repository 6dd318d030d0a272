"""SAFMN as its authors entered it in NTIRE 2023's challenge on efficient super-resolution.

Sun et al., "Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution", ICCV 2023.

    LR --convolution--> response normalisation --> blocks --convolution, pixel shuffle--> + LR upscaled bilinearly = HR

The entry differs from the paper's network: one normalisation in place of one in each block, convolutions without bias,
and coarser pools. Parameter names are the authors'.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.edsr import COLOURS, convolution
from coscale.rescalers.superres import SuperResolution

_POOLS = (1, 4, 8, 16)  # how much coarser than the LR each quarter of the channels is seen
LEAST_SIDE = _POOLS[-1]
_TINY = 1e-6


class ResponseNorm(nn.Module):
    """Weighs each channel by its strength over the whole image, the mean strength being 1 (GRN of ConvNeXt V2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        strength = x.square().sum((2, 3), keepdim=True).sqrt()
        return self.gamma * (x * strength / (strength.mean(1, keepdim=True) + _TINY)) + self.beta + x


class Modulation(nn.Module):
    """What each value is multiplied by: quarters of the channels, seen as finely as ``_POOLS`` says, mixed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        part = width // len(_POOLS)
        self.mfr = nn.ModuleList(nn.Conv2d(part, part, 3, padding=1, groups=part, bias=False) for _ in _POOLS)
        self.aggr = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        seen = []
        for part, layer, pool in zip(x.chunk(len(_POOLS), 1), self.mfr, _POOLS, strict=True):
            if pool == 1:
                seen.append(layer(part))
            else:
                coarse = F.adaptive_max_pool2d(part, (size[0] // pool, size[1] // pool))
                seen.append(F.interpolate(layer(coarse), size, mode="nearest"))
        return F.gelu(self.aggr(torch.cat(seen, 1))) * x


class Mixer(nn.Module):
    """Two convolutions, ``hidden`` wide between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.ccm = nn.Sequential(
            nn.Conv2d(width, hidden, 3, padding=1, bias=False), nn.GELU(), nn.Conv2d(hidden, width, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.ccm(x)


class Block(nn.Module):
    """The modulation and the mixer, each added to what it got."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.safm = Modulation(width)
        self.ccm = Mixer(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = self.safm(x) + x
        return self.ccm(x) + x


class SAFMN(nn.Module):
    """``blocks`` of ``width``, ``hidden`` wide inside; 8, 36 and 72 are the published sizes."""

    def __init__(self, scale: int, width: int = 36, blocks: int = 8, hidden: int = 72) -> None:
        super().__init__()
        self.scale = scale
        self.norm = ResponseNorm(width)
        self.to_feat = convolution(COLOURS, width)
        self.feats = nn.Sequential(*(Block(width, hidden) for _ in range(blocks)))
        self.to_img = nn.Sequential(convolution(width, COLOURS * scale**2), nn.PixelShuffle(scale))

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        plain = F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return self.to_img(self.feats(self.norm(self.to_feat(lr)))) + plain


def recognise(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether a checkpoint is one of this SAFMN; spandrel knows the paper's."""
    return {"norm.gamma", "to_feat.weight", "feats.0.safm.aggr.weight", "feats.0.ccm.ccm.0.weight"} <= set(tensors)


def build(tensors: Mapping[str, Tensor], _: int | None) -> tuple[SuperResolution, dict[str, Tensor]]:
    """Give the network that a checkpoint is of, and its tensors."""
    width, hidden = tensors["to_feat.weight"].shape[0], tensors["feats.0.ccm.ccm.0.weight"].shape[0]
    blocks = sum(name.endswith(".safm.aggr.weight") for name in tensors)
    scale = math.isqrt(tensors["to_img.0.weight"].shape[0] // COLOURS)
    return SuperResolution(SAFMN(scale, width, blocks, hidden), scale, minimum=LEAST_SIDE), dict(tensors)
