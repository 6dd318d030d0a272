"""The upsampler that every decoder of JPEG XL has, with bicubic as downscaler: an LR file that any viewer restores.

    LR --5 x 5 kernel for each place of a pixel of HR--> clamp to the least and most of those 25 --> HR

Beyond the edges an image goes on mirrored. The kernels are the default ones of the format; each is the mirror image of
one in its upper left quarter, and all of these together, as one square table, are symmetric.
Source: ISO/IEC 18181-1, upsampling; libjxl's image_metadata.cc and stage_upsampling.cc (BSD, the JPEG XL authors).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale import resize
from coscale.rescalers.base import Network

_REACH = 2  # LR pixels to each side
_SIDE = 2 * _REACH + 1
# fmt: off
_WEIGHTS = {  # the upper triangle of the table, row by row
    2: (-0.01716200, -0.03452303, -0.04022174, -0.02921014, -0.00624645,
        0.14111091, 0.28896755, 0.00278718, -0.01610267, 0.56661550,
        0.03777607, -0.01986694, -0.03144731, -0.01185068, -0.00213539),
    4: (-0.02419067, -0.03491987, -0.03693351, -0.03094285, -0.00529785,
        -0.01663432, -0.03556863, -0.03888905, -0.03516850, -0.00989469,
        0.23651958, 0.33392945, -0.01073543, -0.01313181, -0.03556694,
        0.13048175, 0.40103025, 0.03951150, -0.02077584, 0.46914198,
        -0.00209270, -0.01484589, -0.04064806, 0.18942530, 0.56279892,
        0.06674400, -0.02335494, -0.03551682, -0.00754830, -0.02267919,
        -0.02363578, 0.00315804, -0.03399098, -0.01359519, -0.00091653,
        -0.00335467, -0.01163294, -0.01610294, -0.00974088, -0.00191622,
        -0.01095446, -0.03198464, -0.04455121, -0.02799790, -0.00645912,
        0.06390599, 0.22963888, 0.00630981, -0.01897349, 0.67537268,
        0.08483369, -0.02534994, -0.02205197, -0.01667999, -0.00384443),
}
# fmt: on


class JpegXlUpsampling(Network):
    """The pair of MATLAB's bicubic and JPEG XL's upsampling, of the scales 2 and 4."""

    shown_by = "jxl"

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("kernels", _kernels(scale), persistent=False)
        self.kernels: Tensor

    def downscale(self, hr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Map HR to LR by the antialiased kernel, not clipped."""
        return resize.downscale(hr, self.scale)

    def upscale(self, lr: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Map LR to HR, never beyond the values nearby, so not beyond [0, 1] where the LR is not."""
        batch, channels, height, width = lr.shape
        x = _mirrored(_mirrored(lr, -2), -1).flatten(0, 1)[:, None]
        spread = F.conv2d(x, self.kernels.to(x))
        # In each direction for itself, which gives the same.
        most = F.max_pool2d(F.max_pool2d(x, (_SIDE, 1), 1), (1, _SIDE), 1)
        least = -F.max_pool2d(F.max_pool2d(-x, (_SIDE, 1), 1), (1, _SIDE), 1)
        restored = F.pixel_shuffle(torch.minimum(torch.maximum(spread, least), most), self.scale)
        return restored.view(batch, channels, height * self.scale, width * self.scale)


def _kernels(scale: int) -> Float[Tensor, "places 1 5 5"]:
    """The kernel of each HR pixel of an LR pixel, row by row."""
    half = scale // 2
    side = _SIDE * half
    table = torch.zeros(side, side)
    rows, columns = torch.triu_indices(side, side)
    table[rows, columns] = table[columns, rows] = torch.tensor(_WEIGHTS[scale])
    quarter = table.view(half, _SIDE, half, _SIDE).transpose(1, 2)
    left = torch.cat((quarter, quarter.flip(0, 2)), 0)
    return torch.cat((left, left.flip(1, 3)), 1).reshape(-1, 1, _SIDE, _SIDE)


def _mirrored(x: Tensor, axis: int) -> Tensor:
    """``x`` with more at both ends, the outermost value first again, as often as a short side needs."""
    size = x.shape[axis]
    place = torch.arange(-_REACH, size + _REACH, device=x.device) % (2 * size)
    return x.index_select(axis, torch.minimum(place, 2 * size - 1 - place))
