"""The same two steps for hosts whose images are NumPy arrays in BGR, such as chaiNNer and whatever reads by OpenCV.

An image is H x W x 3 (BGR), H x W x 1 or H x W (grey), float32 in [0, 1]; what comes out is of 8 bit, in the same type.

    from plain import downscale, restore

    pair = coscale.load("light-x2")  # or coscale.load_upscaler("4x_network.pth")
    small = downscale(image, pair)
    image = restore(small, pair, size=image.shape[:2])
"""

import numpy as np

from coscale import Coscale, Pair
from coscale.collaborate import Method
from coscale.errors import ImageError


def downscale(image: np.ndarray, pair: Pair, method: Method | None = None) -> np.ndarray:
    """Give the small image, each side ``pair.scale`` times smaller, rounded up.

    ``method`` is that of ``Pair.downscale``, by default ``coscale.Coscale()``. Raises ImageError for what is no image.
    """
    return _swapped(pair.downscale(_swapped(image), method or Coscale()))


def restore(image: np.ndarray, pair: Pair, size: tuple[int, int] | None = None) -> np.ndarray:
    """Give the restored image, of ``pair.scale`` times the size or of the original's ``size``, (height, width).

    Raises ImageError for what is no image, and SettingsError for a size that is not that of its original.
    """
    return _swapped(pair.upscale(_swapped(image), size))


def _swapped(image: np.ndarray) -> np.ndarray:
    """BGR as RGB and the other way round; grey as it is. Raises ImageError for an image with opacity."""
    if image.ndim == 3 and image.shape[2] == 4:
        raise ImageError(
            f"the array has shape {image.shape}, with opacity in its fourth channel; take that off, "
            "and make it small by itself"
        )
    return np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image
