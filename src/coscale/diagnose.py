"""Whether a network that coscale has not seen can be optimised through: tried on a small image.

Each finding is one sentence, and has a section in docs/upscalers.md.
"""

import warnings
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from coscale import resize, tiles
from coscale.errors import CoscaleWarning, NetworkError, RescalerError, ran_out_of_memory, reason
from coscale.rescalers import Bfloat16, Precision, Rescaler
from coscale.weights.load import Loaded

_HALF_A_LEVEL = 0.5 / 255
_FAR = 0.1  # mean difference from the LR, of what is restored and shrunk again: any upscaler stays well below
_CORE = 48  # side in LR pixels of the cores that tiles are tried with


def diagnose(pair: Loaded, precision: Precision = "float32", optimised: bool = True) -> None:
    """Try the upscaler of ``pair``; ``optimised``: also what only a method needs, its gradient in ``precision``, tiles.

    Raises RescalerError for what would make results worthless: the network fails, gives images of another size or
    values that are no numbers, two passes differ, no gradient comes back. Warns of what may be meant: values far from
    those of the LR, tiles that show.
    """
    lr = _image(48, 40).to(pair.device)
    with torch.no_grad():
        restored = _run(pair, lr)
        if not restored.isfinite().all():
            _refuse(pair, "it gives values that are no numbers", "not-a-number")
        difference = float((_run(pair, lr) - restored).abs().max())
    if difference > _HALF_A_LEVEL:
        _refuse(pair, f"two passes differ by {255 * difference:.1f} grey levels", "two-passes-differ")
    off = float((resize.downscale(restored, pair.scale) - lr).abs().mean())
    if off > _FAR:
        problem = f"what it restores, shrunk again, is {255 * off:.0f} grey levels from the LR on average"
        _warn(pair, problem, "another-range")
    if optimised:
        _check_gradient(pair, lr, precision)
        _check_tiles(pair)


def _image(height: int, width: int) -> Float[Tensor, "1 3 h w"]:
    """An image with shapes and some noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    shapes = resize.resize(torch.rand(1, 3, height // 8, width // 8, generator=generator), (height, width))
    return (shapes + 0.05 * torch.randn(shapes.shape, generator=generator)).clamp(0, 1)


def _run(pair: Loaded, lr: Tensor) -> Tensor:
    try:
        return pair.rescaler.upscale(lr)
    except Exception as error:  # a network may fail in any way
        if ran_out_of_memory(error):
            raise
        if isinstance(error, RescalerError) and not isinstance(error, NetworkError):
            _refuse(pair, str(error), "another-size")
        _refuse(pair, f"it fails on a small image: {reason(error.__cause__ or error)}", "it-fails")


def _check_gradient(pair: Loaded, lr: Tensor, precision: Precision) -> None:
    rescaler: Rescaler = Bfloat16(pair.rescaler) if precision == "bfloat16" else pair.rescaler
    x = lr.clone().requires_grad_()
    try:
        with torch.enable_grad():
            restored = rescaler.upscale(x)
        direction = torch.rand(restored.shape, generator=torch.Generator().manual_seed(0)).to(restored)
        (slope,) = torch.autograd.grad(restored, x, direction, allow_unused=True, materialize_grads=True)
    except Exception as error:  # here too
        if ran_out_of_memory(error):
            raise
        problem = f"no gradient comes back through it in {precision}: {reason(error.__cause__ or error)}"
        _refuse(pair, problem, "no-gradient")
    if not slope.isfinite().all():
        _refuse(pair, f"its gradient in {precision} is not finite", "gradient-not-finite")
    if not slope.any():
        _refuse(pair, "its gradient is zero, so no change of the LR would matter", "no-gradient")


@torch.no_grad()
def _check_tiles(pair: Loaded) -> None:
    halo = tiles.halo_of(pair.rescaler, 3, pair.device)
    multiple = pair.rescaler.multiple
    tiling = tiles.Tiling(_CORE + tiles.around(halo, multiple), halo, multiple)
    lr = _image(_CORE, 2 * halo + 2 * _CORE).to(pair.device)
    whole = pair.rescaler.upscale(lr)
    difference = float((tiles.upscale(pair.rescaler.upscale, lr, pair.scale, tiling) - whole).abs().max())
    if difference > _HALF_A_LEVEL:
        problem = f"in tiles it restores a photo otherwise than whole, by up to {255 * difference:.1f} grey levels"
        _warn(pair, problem, "tiles-show")


def _refuse(pair: Loaded, problem: str, section: str) -> NoReturn:
    raise RescalerError(f"{pair.name} cannot be used: {problem}; see docs/upscalers.md#{section}")


def _warn(pair: Loaded, problem: str, section: str) -> None:
    warnings.warn(f"{pair.name}: {problem}; see docs/upscalers.md#{section}", CoscaleWarning, stacklevel=3)
