"""Images in memory to photos and back: Pillow images, numpy arrays and torch tensors."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from coscale.errors import ImageError
from coscale.image import Photo, from_pillow, to_pillow

Kind = TypeVar("Kind", Image.Image, np.ndarray, Tensor)
Back = Callable[[Sequence[Photo]], Any]


def photos_of(image: Image.Image | np.ndarray | Tensor) -> tuple[list[Photo], Back]:
    """Give the photos in ``image``, several for a batch, and a function that makes photos into what ``image`` is.

    A Pillow image is taken as ``from_pillow`` does. An array is H x W x 3, H x W x 1 or H x W, of uint8, uint16 or
    floats in [0, 1]; a tensor C x H x W or B x C x H x W with 1 or 3 channels, of uint8 or floats in [0, 1]. What is
    made back is 8 bit: uint8 of integers, and of floats multiples of 1/255 in their own type. Raises ImageError for
    anything else.
    """
    if isinstance(image, Image.Image):
        return [from_pillow(image)], lambda photos: to_pillow(photos[0])
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    raise ImageError(f"this is a {type(image).__name__}; give a Pillow image, a numpy array or a torch tensor")


def carries_text(image: Image.Image | np.ndarray | Tensor) -> bool:
    """Say whether what ``photos_of`` makes of photos keeps their text, such as the note about an LR's origin."""
    return isinstance(image, Image.Image)


def _of_array(array: np.ndarray) -> tuple[list[Photo], Back]:
    shape, kind = array.shape, array.dtype
    if len(shape) not in (2, 3) or (*shape, 1)[2] not in (1, 3) or 0 in shape:
        raise ImageError(f"the array has shape {shape}; give height x width x 3 (RGB), or height x width for grey")
    if kind not in (np.uint8, np.uint16) and kind.kind != "f":
        raise ImageError(f"the array is of {kind}; give uint8, uint16, or floats in [0, 1]")
    if kind.kind == "f":
        _check_values(float(array.min()), float(array.max()), "array")
    levels = 1 if kind.kind == "f" else np.iinfo(kind).max
    planes = np.moveaxis(array.reshape(*shape[:2], -1), -1, 0)[None]
    if kind == np.uint8:
        pixels = torch.from_numpy(np.array(planes, order="C"))
    else:
        pixels = torch.from_numpy(np.ascontiguousarray(planes.astype(np.float32))).div_(levels)

    def back(photos: Sequence[Photo]) -> np.ndarray:
        levels = photos[0].levels[0].permute(1, 2, 0).numpy()
        levels = np.ascontiguousarray(levels if len(shape) == 3 else levels[..., 0])
        return np.divide(levels, 255, dtype=kind.newbyteorder("=")).astype(kind) if kind.kind == "f" else levels

    return [Photo(pixels)], back


def _of_tensor(tensor: Tensor) -> tuple[list[Photo], Back]:
    shape, kind, device = tuple(tensor.shape), tensor.dtype, tensor.device
    if len(shape) not in (3, 4) or shape[-3] not in (1, 3) or 0 in shape:
        raise ImageError(
            f"the tensor has shape {shape}; give channels x height x width, or a batch of these, with 1 or 3 channels"
        )
    if kind != torch.uint8 and not kind.is_floating_point:
        raise ImageError(f"the tensor is of {str(kind).removeprefix('torch.')}; give uint8, or floats in [0, 1]")
    # Of what was made in inference mode, no gradient could be taken.
    tensor = tensor.clone() if tensor.is_inference() else tensor.detach()
    batch = tensor.reshape(-1, *shape[-3:])
    if kind.is_floating_point:
        _check_values(float(batch.min()), float(batch.max()), "tensor")
    batch = batch.to(torch.float32) if kind.is_floating_point else batch

    def back(photos: Sequence[Photo]) -> Tensor:
        pixels = torch.cat([photo.levels for photo in photos]).to(device)
        pixels = pixels.to(kind) / 255 if kind.is_floating_point else pixels
        return pixels if len(shape) == 4 else pixels[0]

    return [Photo(image[None]) for image in batch], back


def _check_values(least: float, most: float, what: str) -> None:
    if least != least or most != most:
        raise ImageError(f"the {what} has values that are not a number; give values in [0, 1]")
    if least < 0 or most > 1:
        raise ImageError(f"the {what} has values from {least:.6g} to {most:.6g}; scale or clip them to [0, 1]")
