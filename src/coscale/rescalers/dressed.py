"""A network of images in other values, colours or layout, or of one size alone, as one from RGB to RGB in [0, 1].

    [0, 1] --to its range, order and layout--> network --back--> [0, 1]

A network of one size runs in windows of that size, which overlap by a halo:

    |<- halo ->|<------ kept ------>|<- halo ->|
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale.rescalers.superres import image_in, mirrored


@dataclass(frozen=True)
class Range:
    """The values that a network has for black and for white."""

    black: float
    white: float

    def to(self, x: Tensor) -> Tensor:
        """Give an image in [0, 1] in these values."""
        return x if self == UNIT else x * (self.white - self.black) + self.black

    def back(self, x: Tensor) -> Tensor:
        """Give an image in these values in [0, 1]."""
        return x if self == UNIT else (x - self.black) / (self.white - self.black)


UNIT = Range(0, 1)
RANGES = (UNIT, Range(0, 255), Range(-1, 1))


@dataclass(frozen=True)
class Dress:
    """How a network has its images: the range of what it takes and of what it gives, whether colours are BGR in each,
    and whether they are the last axis in place of the second."""

    takes: Range = UNIT
    gives: Range = UNIT
    takes_bgr: bool = False
    gives_bgr: bool = False
    channels_last: bool = False


PLAIN = Dress()


class Dressed(nn.Module):
    """``network``, called with one image at a time, as ``dress`` says; ``whole`` numbers where it takes no others."""

    def __init__(self, network: nn.Module, dress: Dress = PLAIN, whole: bool = False) -> None:
        super().__init__()
        self.network, self.dress, self.whole = network, dress, whole

    def forward(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Give each image as the network restores it, not clipped."""
        return self.undressed(
            torch.cat([image_in(self.network(each), "the network") for each in self.dressed(lr).split(1)])
        )

    def dressed(self, lr: Float[Tensor, "b c h w"]) -> Tensor:
        """Give images as the network takes them."""
        x = self.dress.takes.to(lr)
        x = x.flip(1) if self.dress.takes_bgr else x
        x = x.movedim(1, -1) if self.dress.channels_last else x
        # Rounding has no gradient, so only the values are rounded.
        return x + (x.round() - x).detach() if self.whole else x

    def undressed(self, restored: Tensor) -> Float[Tensor, "b c h2 w2"]:
        """Give in [0, 1] what the network gave."""
        x = restored if restored.is_floating_point() else restored.float()
        x = x.movedim(-1, 1) if self.dress.channels_last else x
        x = x.flip(1) if self.dress.gives_bgr else x
        return self.dress.gives.back(x)


class Windows(nn.Module):
    """``network``, which takes images of ``size`` alone, for images of any size; smaller ones are mirrored up to it.

    ``halo``: how many LR pixels at a window's edge are left to its neighbour.
    """

    def __init__(self, network: nn.Module, size: tuple[int, int], halo: int, scale: int) -> None:
        super().__init__()
        self.network, self.size, self.halo, self.scale = network, size, halo, scale

    def forward(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Give each image, restored window by window."""
        height, width = lr.shape[-2:]
        x = mirrored(mirrored(lr, -2, max(height, self.size[0])), -1, max(width, self.size[1]))
        rows = []
        for top, kept_rows in self._axis(x.shape[-2], self.size[0]):
            row = []
            for left, kept in self._axis(x.shape[-1], self.size[1]):
                window = x[..., top : top + self.size[0], left : left + self.size[1]]
                row.append(self.network(window)[..., self._scaled(kept_rows), self._scaled(kept)])
            rows.append(torch.cat(row, -1))
        return torch.cat(rows, -2)[..., : height * self.scale, : width * self.scale]

    def _axis(self, length: int, side: int) -> Iterator[tuple[int, slice]]:
        """Where each window begins, and what is kept of it."""
        count = 1 if length == side else -(-(length - 2 * self.halo) // (side - 2 * self.halo))
        for i in range(count):
            first, end = length * i // count, length * (i + 1) // count
            start = min(max(0, (first + end - side) // 2), length - side)
            yield start, slice(first - start, end - start)

    def _scaled(self, kept: slice) -> slice:
        return slice(kept.start * self.scale, kept.stop * self.scale)
