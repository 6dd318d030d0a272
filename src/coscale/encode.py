"""From a photo to its LR image: pad, collaborate, round."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale import __version__, resize, tiles
from coscale.collaborate import Method, Progress, Result, Watch
from coscale.image import Photo
from coscale.lrfile import Origin
from coscale.quantize import quantize
from coscale.rescalers import IRN, Bfloat16, Grey, Precision, Rescaler, Reversible
from coscale.tiles import ANY_ROOM, Plan, Room
from coscale.weights.load import Loaded


@dataclass(frozen=True)
class Encoded:
    """What comes of a photo.

    - ``lr``: the LR photo, already rounded to 8 bit: multiples of 1/255.
    - ``origin``: what an upscaler must know, which ``write_lr`` puts into the file.
    - ``result``: what the method did; None without one.
    """

    lr: Photo
    origin: Origin
    result: Result | None


def encode_photo(
    photo: Photo,
    pair: Loaded,
    method: Method | None,
    progress: Progress | None = None,
    precision: Precision = "float32",
    room: Room = ANY_ROOM,
    watch: Watch | None = None,
) -> Encoded:
    """Downscale ``photo`` by ``pair``, improved by ``method`` where one is given; any size of at least 1 x 1.

    A size that is no multiple of the scale is padded by repeating the last row and column, so the LR's size is that
    of the photo over the scale, rounded up. Grey stays grey. Transparency is resampled by bicubic, not optimised;
    colours that it hides are filled from those that are seen, and the method counts errors as they are seen.
    ``precision`` is that of the method's gradients; what is kept is always measured in float32. Large photos are worked
    on in tiles, as ``room`` says, and in smaller ones, with a warning, when memory runs out. Raises MemoryNeededError
    when the smallest tiles do not fit.
    """
    hr = pad(photo.shown, pair.scale).to(pair.device)
    alpha = None if photo.alpha is None else pad(photo.alpha, pair.scale)
    # Where nothing is transparent the method need not look, and does what it does without.
    seen = None if alpha is None or bool((alpha == 1).all()) else alpha.to(pair.device)
    size, channels = (hr.shape[-2] // pair.scale, hr.shape[-1] // pair.scale), hr.shape[1]

    def shown(network: Rescaler) -> Rescaler:
        return Grey(network) if channels == 1 else network

    def for_gradients(network: Rescaler) -> Rescaler:
        return Bfloat16(network) if precision == "bfloat16" else network

    rescaler = shown(pair.rescaler)
    usual = for_gradients(rescaler)
    compiled = for_gradients(shown(pair.compiled)) if pair.compiled else usual
    lean = for_gradients(shown(Reversible(pair.rescaler))) if isinstance(pair.rescaler, IRN) else None

    def run(plan: Plan) -> Result | Tensor:
        if method:
            twin = compiled if plan.rescaler is usual else plan.rescaler
            twin = None if twin is rescaler else twin
            return method(rescaler, hr, alpha=seen, twin=twin, tiling=plan.tiling, progress=progress, watch=watch)
        with torch.no_grad():
            return tiles.downscale(rescaler.downscale, hr, pair.scale, plan.tiling)

    maps = method.maps if method else 1
    gradients = method is not None
    found = tiles.work(run, usual if method else rescaler, size, channels, pair.device, room, maps, lean, gradients)
    lr = quantize(found.lr if isinstance(found, Result) else found).cpu()
    alpha = None if alpha is None else quantize(resize.downscale(alpha, pair.scale))
    height, width = photo.size
    origin = Origin(pair.name, pair.weights_hash, pair.scale, width, height, __version__)
    small = replace(photo, colour=lr, alpha=alpha, text={})
    return Encoded(small, origin, found if isinstance(found, Result) else None)


def pad(x: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c h2 w2"]:
    """``x`` with its last row and column repeated up to multiples of ``scale``."""
    right, below = -x.shape[-1] % scale, -x.shape[-2] % scale
    return F.pad(x, (0, right, 0, below), mode="replicate") if right or below else x
