"""Any super-resolution network as upscaler, with bicubic as downscaler.

    HR --bicubic--> LR
    LR --pad to a size it takes--> times ``white`` --network--> over ``white`` --crop--> HR

Most super-resolution networks are trained on bicubic LR images, so bicubic is the downscaler that they know.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale import resize
from coscale.colour import luma
from coscale.errors import NetworkError, RescalerError, ran_out_of_memory, reason
from coscale.rescalers.base import Network

_FULL_RANGE = 255 / 219  # what R, G and B gain where Y gains one and chroma stays


class SuperResolution(Network):
    """The pair of MATLAB's bicubic and ``network``, which makes images ``scale`` times as large.

    ``channels``: 3 for a network of RGB; 1 for one of luma, which then gets Y of BT.601, and the chroma is bicubic.
    ``multiple``, ``minimum``, ``square``: what sides in LR pixels the network takes. ``white``: its value of white, 1
    or 255. A network that gives several images gives the restored one first.
    """

    def __init__(
        self,
        network: nn.Module,
        scale: int,
        *,
        channels: int = 3,
        multiple: int = 1,
        minimum: int = 1,
        square: bool = False,
        white: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.channels = channels
        self.multiple, self.minimum, self.square = multiple, minimum, square
        self.white = white

    def forward(self, hr: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 h2 w2"], None]:
        """Map HR to (LR, None): what an LR leaves out is not kept. For training."""
        return self.downscale(hr), None

    def downscale(self, hr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map HR to LR by the antialiased kernel, not clipped."""
        return resize.downscale(hr, self.scale)

    def upscale(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Map LR to HR, not clipped.

        Raises RescalerError when what comes out is not ``scale`` times as large, and NetworkError when nothing does.
        """
        height, width = lr.shape[-2] * self.scale, lr.shape[-1] * self.scale
        if self.channels == 3:
            return self._run(lr)[..., :height, :width]
        plain = resize.upscale(lr, self.scale)
        return plain + (self._run(luma(lr))[..., :height, :width] - luma(plain)) * _FULL_RANGE

    def _run(self, lr: Tensor) -> Tensor:
        x = self._pad(lr)
        restored = image_in(self._called(x * self.white), "the network")
        wanted = (*x.shape[:-2], x.shape[-2] * self.scale, x.shape[-1] * self.scale)
        if tuple(restored.shape) != wanted:
            raise RescalerError(
                f"the network makes {tuple(restored.shape)} of {tuple(x.shape)}, not {wanted}; "
                "give one that makes images a whole number of times as large, and its own scale"
            )
        return restored.to(lr.dtype) / self.white

    def _called(self, x: Tensor) -> object:
        if torch.compiler.is_compiling():  # whoever traces it has errors of its own
            return self.network(x)
        try:
            return self.network(x)
        except Exception as error:  # what a network makes of an image is its own affair
            if ran_out_of_memory(error):
                raise
            raise NetworkError(
                f"the network fails on an image {tuple(x.shape)}: {reason(error)}; give one that takes any size"
            ) from error

    def taken(self, height: int, width: int) -> tuple[int, int]:
        """Give the least size that the network takes of those that hold an LR image of this one."""
        more = self.multiple - 1  # no negative numbers here: ONNX divides them otherwise
        height, width = ((max(side, self.minimum) + more) // self.multiple * self.multiple for side in (height, width))
        if self.square:
            height = width = max(height, width)
        return height, width

    def _pad(self, x: Tensor) -> Tensor:
        """``x`` with rows and columns added below and on the right, mirrored as far as there are any, up to a size
        that the network takes."""
        if (self.multiple, self.minimum, self.square) == (1, 1, False):
            return x
        height, width = self.taken(x.shape[-2], x.shape[-1])
        return mirrored(mirrored(x, -2, height), -1, width)


def image_in(out: object, what: str) -> Tensor:
    """Give the restored image in what a network gives: a tensor, or the first of several.

    Raises NetworkError otherwise.
    """
    image = out[0] if isinstance(out, tuple | list) and out else out
    if not isinstance(image, Tensor):
        raise NetworkError(f"{what} gives no tensor but a {type(image).__name__}; give one that gives the image")
    if image.is_complex() or image.layout != torch.strided:
        raise NetworkError(f"{what} gives values that are no colours ({image.dtype}); give one that gives the image")
    return image


def mirrored(x: Tensor, axis: int, size: int) -> Tensor:
    """Give ``x`` made ``size`` long by its mirror image, as far as there is one, and then by its first row.

    No size is compared, so that a tracer sees one way for all of them.
    """
    last = x.shape[axis] - 1
    index = torch.arange(size, device=x.device)
    return x.index_select(axis, (last - (index - last).abs()).clamp(min=0))
