"""What a network that says nothing about itself takes and makes: found by trying it on a small image."""

import torch
from torch import Tensor, nn

from coscale import resize
from coscale.errors import RescalerError, ran_out_of_memory, reason
from coscale.rescalers.superres import SuperResolution, image_in

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)  # that the sides of a program's images may have to be of
SIDES = (25, 39)  # of the image that a program is tried on, made up to these


@torch.no_grad()
def tried(network: nn.Module, device: torch.device, what: str, channels: int = 3) -> SuperResolution:
    """Give the pair of bicubic and a network that takes ``channels``, with the scale that it has on a small image, and
    the least multiple and the least size that it takes as sides.

    Raises RescalerError, which begins with ``what``, when it takes no such image, or makes none that is larger.
    """
    small = resize.upscale(torch.linspace(0, 1, 3 * 5 * 7).reshape(1, 3, 5, 7), 16)[:, :channels].to(device)
    first: Exception | None = None
    for multiple in MULTIPLES:
        height, width = (-(-side // multiple) * multiple for side in SIDES)
        try:
            out = network(small[..., :height, :width])
        except Exception as error:  # what a network makes of a size that it does not take is its own affair
            if ran_out_of_memory(error):
                raise
            first = first or error
            continue
        scale = scale_of(image_in(out, what), small[..., :height, :width], what)
        return SuperResolution(
            network,
            scale,
            channels=channels,
            multiple=multiple,
            minimum=_least(network, small, scale, multiple, height),
        )
    assert first is not None
    raise RescalerError(
        f"{what} takes no image whose sides are multiples of {MULTIPLES[-1]} or less ({reason(first)}); "
        "export it for images of any height and width, on the device that is used here"
    )


def scale_of(restored: Tensor, lr: Tensor, what: str) -> int:
    """Give how many times as large as ``lr`` an image is. Raises RescalerError unless it is a whole number above 1."""
    scale = restored.shape[-1] // lr.shape[-1] if restored.ndim else 0
    if scale < 2 or tuple(restored.shape) != (*lr.shape[:2], scale * lr.shape[-2], scale * lr.shape[-1]):
        kind = "RGB images" if lr.shape[1] == 3 else "images of luma"
        raise RescalerError(
            f"{what} makes {tuple(restored.shape)} of an image {tuple(lr.shape)}; give a network that makes {kind} "
            "a whole number of times as large"
        )
    return scale


def _least(network: nn.Module, small: Tensor, scale: int, multiple: int, most: int) -> int:
    """The least side, of those that double from ``multiple`` on, of a square that a network takes; ``most``: one that
    it is known to take."""
    side = multiple
    while side < most:
        part = small[..., :side, :side]
        try:
            if image_in(network(part), "").shape[-2:] == (scale * side, scale * side):
                return side
        except Exception as error:  # here too
            if ran_out_of_memory(error):
                raise
        side *= 2
    return most
