"""Two nodes: a small image made for an upscaler, and the image restored from it.

    IMAGE, B x H x W x 3 --downscale--> IMAGE, B x H/scale x W/scale x 3 --restore--> IMAGE, B x H x W x 3

What comes out is of 8 bit, in float32, so that what the host saves as PNG or WebP without loss is restored as well.
Neither node has a seed: the same inputs give the same image.
"""

import copy
from collections.abc import Callable
from itertools import count
from typing import Any, get_args

import torch
from comfy import model_management  # type: ignore[import-not-found]
from comfy.utils import ProgressBar  # type: ignore[import-not-found]
from torch import Tensor

import coscale
from coscale.choices import Effort
from coscale.collaborate import METHODS, Method
from coscale.errors import ImageError, SettingsError
from coscale.rescalers import RESCALERS
from coscale.weights.architectures import Described, pair_of
from coscale.weights.load import imported

Inputs = dict[str, dict[str, tuple[Any, ...]]]  # as the host has it: a type, and what its widget is to be like
SIDE = ("INT", {"default": 0, "min": 0, "max": 1 << 20, "tooltip": "Of the original; 0: the scale times the image's."})


class Downscale:
    """Makes images small, so that an upscaler restores them well."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "downscale"
    CATEGORY = "image/upscaling"
    DESCRIPTION = "Makes a small image that one upscaler restores better than any other small image."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Give the node's inputs."""
        inputs = _inputs()
        inputs["required"] |= {
            "method": (list(METHODS), {"default": coscale.Coscale.name, "tooltip": "none: as the rescaler makes it."}),
            "effort": (list(get_args(Effort)), {"default": coscale.Coscale.effort, "tooltip": "Of coscale alone."}),
        }
        return inputs

    def downscale(
        self, image: Tensor, rescaler: str, method: str, effort: Effort, upscale_model: Described | None = None
    ) -> tuple[Tensor]:
        """Give the small images, each side the scale times smaller, rounded up."""
        how = _method(method, effort)
        images = _planes(image)
        pair = _pair(rescaler, upscale_model)
        small = pair.downscale(images, how, watch=_watch(len(images)))
        return (small.movedim(1, -1),)


class Restore:
    """Makes small images large again."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "restore"
    CATEGORY = "image/upscaling"
    DESCRIPTION = "Restores what coscale made small, by the same rescaler or the same upscale model."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Give the node's inputs."""
        inputs = _inputs()
        inputs["optional"] |= {"width": SIDE, "height": SIDE}
        return inputs

    def restore(
        self, image: Tensor, rescaler: str, upscale_model: Described | None = None, width: int = 0, height: int = 0
    ) -> tuple[Tensor]:
        """Give the restored images, of the original's size where it is told."""
        if bool(width) != bool(height):
            raise SettingsError("width and height are the original's: give both, or leave both at 0")
        images = _planes(image)
        restored = _pair(rescaler, upscale_model).upscale(images, (height, width) if width else None)
        return (restored.movedim(1, -1),)


NODE_CLASS_MAPPINGS = {"coscale_downscale": Downscale, "coscale_restore": Restore}
NODE_DISPLAY_NAME_MAPPINGS = {
    "coscale_downscale": "coscale: downscale for an upscaler",
    "coscale_restore": "coscale: restore",
}


def _inputs() -> Inputs:
    """What both nodes ask for."""
    # A scale of 1 makes nothing smaller, and weights that are not here cannot be chosen.
    names = [
        named.name
        for named in RESCALERS
        if named.scale > 1 and (named.checkpoint != "yours" or imported(named).is_file())
    ]
    chosen = {"default": "light-x2", "tooltip": "Makes and restores the image, where no upscale model is connected."}
    model = {"tooltip": "Restores the image in place of the rescaler; bicubic makes it small."}
    return {
        "required": {"image": ("IMAGE",), "rescaler": (names, chosen)},
        "optional": {"upscale_model": ("UPSCALE_MODEL", model)},
    }


def _planes(image: Tensor) -> Tensor:
    """The images as B x 3 x H x W in [0, 1]; values beyond are clipped, as the host does where it saves an image."""
    shape = tuple(image.shape)
    if image.ndim in (2, 3):
        raise ImageError(
            f"this is a MASK, of shape {shape}, and no IMAGE; make one of it by the node Convert Mask to Image"
        )
    if image.ndim == 4 and shape[-1] == 4:
        raise ImageError(
            f"this IMAGE has 4 channels, the last of which is opacity (its shape is {shape}); "
            "take that off by the node Split Image with Alpha, and make it small by a node for masks"
        )
    if image.ndim != 4 or shape[-1] not in (1, 3):
        raise ImageError(f"this is no IMAGE, since its shape is {shape}; give batch x height x width x 3")
    # Half precision would not do: the host cuts off fractions where it saves an image, and half of the levels would
    # come out lower by one.
    return image.float().movedim(-1, 1).clamp(0, 1)


def _method(name: str, effort: Effort) -> Method:
    return coscale.Coscale(effort) if name == coscale.Coscale.name else METHODS[name]()


@torch.inference_mode(False)
def _pair(rescaler: str, upscale_model: Described | None) -> coscale.Pair:
    device = model_management.get_torch_device()
    device = device if device.type == "cuda" else torch.device("cpu")
    if upscale_model is None:
        return coscale.load(rescaler, device=device)
    pair = pair_of(upscale_model, "this upscale model")
    # The host's network stays where it is, and as it is.
    pair.network = copy.deepcopy(pair.network).float()
    return coscale.load_upscaler(pair, device=device)


def _watch(images: int) -> Callable[[int, int, Tensor], None]:
    """What moves the host's bar on after each pass, and stops where its user has."""
    bar, passes = ProgressBar(images), count(1)

    def watch(done: int, most: int, loss: Tensor) -> None:
        model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(next(passes), images * most)

    return watch
