"""RFANet (Liu et al., "Residual Feature Aggregation Network for Image Super-Resolution", CVPR 2020).

    LR --convolution--> aggregation blocks --convolution--> + the first --pixel shuffle--> HR

Its authors have published the attention alone, not the network or its weights. Parameter names here are theirs for the
attention and those of EDSR-PyTorch, on which it is built, around it: a checkpoint must have these.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.edsr import COLOURS, FACTORS, MeanShift, convolution, scale_of, white_of
from coscale.rescalers.superres import SuperResolution

LEAST_SIDE = 15  # the attention's stride and pool leave nothing of smaller images


class Attention(nn.Module):
    """Enhanced spatial attention: how much of each value to keep, seen from far at a quarter of the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 4
        self.conv1 = nn.Conv2d(width, inner, 1)
        self.conv_f = nn.Conv2d(inner, inner, 1)
        self.conv_max = convolution(inner, inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv3 = convolution(inner, inner)
        self.conv3_ = convolution(inner, inner)
        self.conv4 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.conv1(x)
        far = F.relu(self.conv_max(F.max_pool2d(self.conv2(near), 7, stride=3)))
        far = self.conv3_(F.relu(self.conv3(far)))
        far = F.interpolate(far, x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(far + self.conv_f(near)))


class Residual(nn.Module):
    """What a block adds: two convolutions and the attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, width), Attention(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Aggregation(nn.Module):
    """Residual blocks, of which what each added is aggregated."""

    def __init__(self, width: int, residuals: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(width) for _ in range(residuals))
        self.fuse = nn.Conv2d(width * residuals, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        before, added = x, []
        for block in self.blocks:
            added.append(block(x))
            x = x + added[-1]
        return before + self.fuse(torch.cat(added, 1))


class RFANet(nn.Module):
    """``blocks`` aggregations of ``residuals`` blocks each; 30, 4 and width 64 are the published sizes.

    Values are in the range of the mean colour, which a checkpoint has.
    """

    def __init__(self, scale: int, width: int = 64, blocks: int = 30, residuals: int = 4) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.Sequential(convolution(COLOURS, width))
        self.body = nn.Sequential(*(Aggregation(width, residuals) for _ in range(blocks)), convolution(width, width))
        steps: list[nn.Module] = []
        for factor in FACTORS[scale]:
            steps += [convolution(width, width * factor**2), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(nn.Sequential(*steps), convolution(width, COLOURS))

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        x = self.head(self.sub_mean(lr))
        return self.add_mean(self.tail(x + self.body(x)))


def recognise(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether a checkpoint is one of RFANet."""
    return "body.0.blocks.0.body.3.conv_max.weight" in tensors


def build(tensors: Mapping[str, Tensor], scale: int | None) -> tuple[SuperResolution, dict[str, Tensor]]:
    """Give the network that a checkpoint is of, and its tensors."""
    width, fused = tensors["body.0.fuse.weight"].shape[:2]
    blocks, residuals = sum(name.endswith(".fuse.weight") for name in tensors), fused // width
    if blocks * residuals > len(tensors):
        raise ValueError(f"{blocks} blocks of {residuals} are more than it has tensors for")
    found = scale_of(tensors, "tail.0", width)
    network = RFANet(found, width, blocks, residuals)
    return SuperResolution(network, found, minimum=LEAST_SIDE, white=white_of(tensors)), dict(tensors)
