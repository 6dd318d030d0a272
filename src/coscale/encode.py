"""From a photo to its LR image: pad, collaborate, round, and make sure that its colours come back."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coscale import __version__, resize, tiles
from coscale.collaborate import Method, Progress, Result, Watch
from coscale.colour import is_grey
from coscale.errors import CoscaleWarning
from coscale.guard import Guarded, guard
from coscale.image import Photo
from coscale.lrfile import Origin, can_note
from coscale.quantize import quantize
from coscale.rescalers import IRN, Bfloat16, Grey, Greyed, Precision, Rescaler, Reversible
from coscale.tiles import ANY_ROOM, Plan, Room
from coscale.weights.load import Loaded


@dataclass(frozen=True)
class Encoded:
    """What comes of a photo.

    - ``lr``: the LR photo, already rounded to 8 bit: multiples of 1/255.
    - ``origin``: what an upscaler must know, which ``write_lr`` puts into the file.
    - ``result``: what the method did, before the guard; None without one.
    - ``guarded``: what the guard changed of that; None where there was none.
    """

    lr: Photo
    origin: Origin
    result: Result | None
    guarded: Guarded | None = None


def encode_photo(
    photo: Photo,
    pair: Loaded,
    method: Method | None,
    progress: Progress | None = None,
    precision: Precision = "float32",
    room: Room = ANY_ROOM,
    watch: Watch | None = None,
    guarded: bool = True,
    noted: bool = True,
    what: str = "the photo",
) -> Encoded:
    """Downscale ``photo`` by ``pair``, improved by ``method`` where one is given; any size of at least 1 x 1.

    A size that is no multiple of the scale is padded by repeating the last row and column, so the LR's size is that
    of the photo over the scale, rounded up. Transparency is resampled by bicubic, not optimised; colours that it hides
    are filled from those that are seen, and the method counts errors as they are seen.
    ``precision`` is that of the method's gradients; what is kept is always measured in float32. Large photos are worked
    on in tiles, as ``room`` says, and in smaller ones, with a warning, when memory runs out. Raises MemoryNeededError
    when the smallest tiles do not fit.

    A grey photo, of one channel or of three that are equal, has an LR in colour where that holds more, and comes back
    exactly grey. With ``guarded`` no neighbourhood's colours come back worse than by bicubic by more than 4 levels; the
    LR is changed where they would, and what cannot be helped is left to bicubic, with a warning. ``noted`` says that
    ``origin`` will go along with the LR; without it neither is possible, so that grey has a grey LR, and areas that
    cannot be helped are only warned of. ``what`` is what warnings call the photo.
    """
    grey = noted and is_grey(photo.colour) and can_note(photo.icc)
    hr = pad(photo.shown[:, :1] if grey else photo.shown, pair.scale).to(pair.device)
    hr = hr.expand(-1, 3, -1, -1) if grey else hr
    alpha = None if photo.alpha is None else pad(photo.alpha, pair.scale)
    # Where nothing is transparent the method need not look, and does what it does without.
    seen = None if alpha is None or bool((alpha == 1).all()) else alpha.to(pair.device)
    size, channels = (hr.shape[-2] // pair.scale, hr.shape[-1] // pair.scale), hr.shape[1]

    def shown(network: Rescaler) -> Rescaler:
        if grey:
            return Greyed(network)
        return Grey(network) if channels == 1 else network

    def for_gradients(network: Rescaler) -> Rescaler:
        return Bfloat16(network) if precision == "bfloat16" else network

    rescaler = shown(pair.rescaler)
    usual = for_gradients(rescaler)
    compiled = for_gradients(shown(pair.compiled)) if pair.compiled else usual
    lean = for_gradients(shown(Reversible(pair.rescaler))) if isinstance(pair.rescaler, IRN) else None

    def made(plan: Plan) -> Result | Tensor:
        if method:
            twin = compiled if plan.rescaler is usual else plan.rescaler
            twin = None if twin is rescaler else twin
            return method(rescaler, hr, alpha=seen, twin=twin, tiling=plan.tiling, progress=progress, watch=watch)
        with torch.no_grad():
            return tiles.downscale(rescaler.downscale, hr, pair.scale, plan.tiling)

    def run(plan: Plan) -> tuple[Result | None, Tensor, Guarded | None]:
        found = made(plan)
        lr = quantize(found.lr if isinstance(found, Result) else found)
        result = found if isinstance(found, Result) else None
        if not guarded:
            return result, lr, None
        checked = guard(rescaler, lr, hr, photo.size, plan.tiling, allow_areas=noted)
        return result, checked.lr, checked

    maps = method.maps if method else 1
    gradients = method is not None
    network = usual if method else rescaler
    result, lr, checked = tiles.work(run, network, size, channels, pair.device, room, maps, lean, gradients)
    if checked:
        _warn(checked, pair, what)
    lr = lr.cpu()
    if grey and is_grey(lr) and (photo.icc is None or photo.mode == "L"):
        lr = lr[:, :1].contiguous()
    alpha = None if alpha is None else quantize(resize.downscale(alpha, pair.scale))
    height, width = photo.size
    origin = Origin(
        *(pair.name, pair.weights_hash, pair.scale, width, height, __version__),
        grey=photo.mode if grey else None,
        # A profile for grey has no place beside an LR in colour.
        profile=photo.icc if lr.shape[1] != photo.colour.shape[1] else None,
        bicubic=checked.areas if checked else None,
    )
    icc = None if origin.profile else photo.icc
    small = replace(photo, colour=lr, alpha=alpha, icc=icc, text={})
    return Encoded(small, origin, result, checked)


@contextmanager
def said_before() -> Iterator[None]:
    """Work without the warnings that encoding a photo has given already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CoscaleWarning)
        yield


def _warn(checked: Guarded, pair: Loaded, what: str) -> None:
    """Say what is left to bicubic, or cannot be."""
    off = f"{pair.name} would restore its colours worse than bicubic, by up to {checked.worst:.0f} grey levels"
    if checked.areas:
        warnings.warn(f"{_percent(checked.bicubic)} of {what} is left to bicubic: {off}", CoscaleWarning, stacklevel=3)
    if checked.failing:
        text = f"in {_percent(checked.failing)} of {what} {off}; what carries a note (a Pillow image, a file) is mended"
        warnings.warn(text, CoscaleWarning, stacklevel=3)


def _percent(share: float) -> str:
    return f"{round(100 * share)}%" if share >= 0.005 else "less than 1%"


def pad(x: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c h2 w2"]:
    """``x`` with its last row and column repeated up to multiples of ``scale``."""
    right, below = -x.shape[-1] % scale, -x.shape[-2] % scale
    return F.pad(x, (0, right, 0, below), mode="replicate") if right or below else x
