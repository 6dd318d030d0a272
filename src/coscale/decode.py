"""From an LR image back to the photo: one pass through the upscaler."""

from dataclasses import replace

import torch
from torch import Tensor

from coscale import __version__, resize, tiles
from coscale.areas import restore_areas
from coscale.errors import RescalerError
from coscale.image import Photo
from coscale.lrfile import Origin
from coscale.quantize import quantize
from coscale.rescalers import FROM_FILE, Grey, Greyed, Sampler
from coscale.tiles import ANY_ROOM, Plan, Room
from coscale.weights.load import Loaded


@torch.no_grad()
def decode_photo(
    lr: Photo, pair: Loaded, origin: Origin | None = None, seed: int | None = None, room: Room = ANY_ROOM
) -> Photo:
    """Upscale ``lr`` by ``pair`` to the size that ``origin`` gives, or to scale times its own; rounded to 8 bit.

    With ``seed`` the latent is drawn from a normal distribution instead of 0, for the whole image at once; else large
    images are restored in tiles, as ``room`` says, and in smaller ones when memory runs out. Raises RescalerError
    when the rescaler has no latent to draw or is not the one that wrote ``origin``, and LRFileError when ``lr`` has
    another size. A photo that was grey comes back grey, and areas that ``origin`` leaves to bicubic are restored by it.
    """
    if origin:
        check(origin, pair)
        origin.check_size(lr)
    if seed is not None and not isinstance(pair.rescaler, Sampler):
        raise RescalerError(f"{pair.name} has no latent to draw; leave out --sample")
    grey = origin.grey if origin else None
    rescaler = pair.rescaler
    if lr.colour.shape[1] == 1:
        rescaler = Grey(rescaler)
    elif grey:
        rescaler = Greyed(rescaler)
    # What an LR file hides was made to restore what is seen beside it; what another image hides can be anything.
    x = (lr.colour if origin else lr.shown).to(pair.device)
    if seed is not None and isinstance(rescaler, Sampler):
        colour = _one_channel(quantize(rescaler.sample(x, seed)), grey)
    else:

        def run(plan: Plan) -> Tensor:  # rounded tile by tile, so that nothing but the result is of its size
            return tiles.upscale(
                lambda lr: quantize(_one_channel(rescaler.upscale(lr), grey)), x, pair.scale, plan.tiling
            )

        size, channels = (x.shape[-2], x.shape[-1]), x.shape[1]
        colour = tiles.work(run, rescaler, size, channels, pair.device, room, gradients=False)
    if origin and origin.bicubic:
        restore_areas(
            colour, x if x.shape[1] == colour.shape[1] else x.mean(1, keepdim=True), origin.bicubic, pair.scale
        )
    alpha = None if lr.alpha is None else resize.upscale(lr.alpha, pair.scale)
    height, width = (origin.height, origin.width) if origin else (colour.shape[-2], colour.shape[-1])
    colour = colour[..., :height, :width].cpu()
    alpha = None if alpha is None else quantize(alpha[..., :height, :width])
    if grey == "RGB":
        colour = colour.expand(-1, 3, -1, -1).contiguous()
    icc = origin.profile if origin and origin.profile else lr.icc
    return replace(lr, colour=colour, alpha=alpha, icc=icc, text={})


def _one_channel(colour: Tensor, grey: str | None) -> Tensor:
    return colour[:, :1] if grey else colour


def check(origin: Origin, pair: Loaded) -> None:
    """Raise RescalerError when ``pair`` is not what wrote the LR file, which it would then restore wrongly."""
    if origin.rescaler != pair.name:
        raise RescalerError(f"the LR file is by {origin.rescaler}, not by {pair.name}")
    if origin.scale != pair.scale:
        raise RescalerError(f"the LR file says scale {origin.scale}, but {pair.name} has scale {pair.scale}")
    if origin.weights_hash != pair.weights_hash:
        theirs, ours = origin.weights_hash[:12] or "none", pair.weights_hash[:12] or "none"
        option = "--upscaler" if origin.rescaler.startswith(FROM_FILE) else "--weights"
        raise RescalerError(
            f"the LR file was made by other weights of {origin.rescaler} ({theirs}) than these ({ours}) of coscale "
            f"{__version__}; give the right ones with {option}, or use the coscale that made it ({origin.version})"
        )
