"""RDN, the residual dense network (Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018).

    LR --two convolutions--> residual dense blocks --all of them fused--> + the first --pixel shuffle--> HR

Parameter names are those of yjn870/RDN-pytorch, whose checkpoints work in [0, 1]; those of EDSR-PyTorch, in [0, 255],
load too.
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.edsr import COLOURS, FACTORS, convolution, scale_of
from coscale.rescalers.superres import SuperResolution


class Dense(nn.Module):
    """A convolution whose result joins the channels that it saw."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv = convolution(width, growth)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, F.relu(self.conv(x))), 1)


class Block(nn.Module):
    """A residual dense block: dense layers, fused to the width that came in."""

    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Dense(width + growth * i, growth) for i in range(layers)))
        self.lff = nn.Conv2d(width + growth * layers, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.lff(self.layers(x))


class RDN(nn.Module):
    """``blocks`` of ``layers`` each; 16, 8, width 64 and growth 64 are the published sizes."""

    def __init__(self, scale: int, width: int = 64, growth: int = 64, blocks: int = 16, layers: int = 8) -> None:
        super().__init__()
        self.sfe1 = convolution(COLOURS, width)
        self.sfe2 = convolution(width, width)
        self.rdbs = nn.ModuleList(Block(width, growth, layers) for _ in range(blocks))
        self.gff = nn.Sequential(nn.Conv2d(width * blocks, width, 1), convolution(width, width))
        steps: list[nn.Module] = []
        for i, factor in enumerate(FACTORS[scale]):
            steps += [convolution(growth if i else width, growth * factor**2), nn.PixelShuffle(factor)]
        self.upscale = nn.Sequential(*steps)
        self.output = convolution(growth, COLOURS)

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        first = self.sfe1(lr)
        x = self.sfe2(first)
        features = []
        for block in self.rdbs:
            x = block(x)
            features.append(x)
        return self.output(self.upscale(self.gff(torch.cat(features, 1)) + first))


def recognise(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether a checkpoint is one of RDN."""
    return "rdbs.0.layers.0.conv.weight" in tensors or "RDBs.0.convs.0.conv.0.weight" in tensors


def build(tensors: Mapping[str, Tensor], scale: int | None) -> tuple[SuperResolution, dict[str, Tensor]]:
    """Give the network that a checkpoint is of, and its tensors by our names."""
    white = 1.0 if "rdbs.0.layers.0.conv.weight" in tensors else 255.0
    tensors = {_renamed(name, tensors): value for name, value in tensors.items()}
    growth, width = tensors["rdbs.0.layers.0.conv.weight"].shape[:2]
    blocks = tensors["gff.0.weight"].shape[1] // width
    layers = (tensors["rdbs.0.lff.weight"].shape[1] - width) // growth
    if blocks * layers > len(tensors):
        raise ValueError(f"{blocks} blocks of {layers} layers are more than it has tensors for")
    found = scale_of(tensors, "upscale", growth)
    return SuperResolution(RDN(found, width, growth, blocks, layers), found, white=white), tensors


def _renamed(name: str, tensors: Mapping[str, Tensor]) -> str:
    """Our name for one of EDSR-PyTorch, where the last convolution of ``UPNet`` is our ``output``."""
    last = 4 if "UPNet.4.weight" in tensors else 2
    name = name.replace(f"UPNet.{last}.", "output.").replace("UPNet.", "upscale.")
    name = re.sub(r"^RDBs\.(\d+)\.convs\.(\d+)\.conv\.0\.", r"rdbs.\1.layers.\2.conv.", name)
    return name.replace("SFENet", "sfe").replace("RDBs.", "rdbs.").replace("LFF.", "lff.").replace("GFF.", "gff.")
