"""From a photo to its LR image: pad, collaborate, round."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale import __version__, resize
from coscale.collaborate import HCD, Result, memory, optimize
from coscale.collaborate.hcd import Progress
from coscale.image import Photo
from coscale.lrfile import Origin
from coscale.quantize import quantize
from coscale.rescalers import Bfloat16, Grey, Precision
from coscale.weights.load import Loaded


@dataclass(frozen=True)
class Encoded:
    """The LR photo, already rounded to 8 bit, its origin, and what the method did (None without one)."""

    lr: Photo
    origin: Origin
    result: Result | None


def encode_photo(
    photo: Photo,
    pair: Loaded,
    method: HCD | None,
    progress: Progress | None = None,
    precision: Precision = "float32",
) -> Encoded:
    """Downscale ``photo`` by ``pair``, improved by ``method`` where one is given; any size of at least 1 x 1.

    A size that is no multiple of the scale is padded by repeating the last row and column, so the LR's size is that
    of the photo over the scale, rounded up. Grey stays grey. Transparency is resampled by bicubic, not optimised.
    ``precision`` is that of the method's gradients; what is kept is always measured in float32. Raises
    MemoryNeededError when the photo is too large for the method here.
    """
    hr = pad(photo.colour, pair.scale).to(pair.device)
    rescaler = Grey(pair.rescaler) if hr.shape[1] == 1 else pair.rescaler
    twin = Bfloat16(rescaler) if precision == "bfloat16" else None
    if method:
        memory.check(twin or rescaler, hr.shape[-2] * hr.shape[-1], hr.shape[1], pair.device, both=method.hr_steps > 0)
    result = optimize(rescaler, hr, method, twin=twin, progress=progress) if method else None
    with torch.no_grad():
        lr = quantize(result.lr if result else rescaler.downscale(hr)).cpu()
    alpha = None if photo.alpha is None else quantize(resize.downscale(pad(photo.alpha, pair.scale), pair.scale))
    height, width = photo.size
    origin = Origin(pair.name, pair.weights_hash, pair.scale, width, height, __version__)
    return Encoded(Photo(lr, alpha, photo.icc), origin, result)


def pad(x: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c h2 w2"]:
    """``x`` with its last row and column repeated up to multiples of ``scale``."""
    return F.pad(x, (0, -x.shape[-1] % scale, 0, -x.shape[-2] % scale), mode="replicate")
