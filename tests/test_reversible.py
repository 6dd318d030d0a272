"""Reversible gradients: those of autograd, in memory that does not grow with the blocks."""

import pytest
import torch
from torch import Tensor

from coscale.rescalers import IRN, Bfloat16, Reversible
from coscale.weights.load import load
from tests.golden import fill


def gradient(rescaler: IRN | Reversible | Bfloat16, way: str, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = getattr(rescaler, way)(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=x.dtype).reshape(y.shape)
    return y.detach(), torch.autograd.grad((weights * y.square()).sum(), x)[0]


@pytest.mark.parametrize("way", ["upscale", "downscale"])
@pytest.mark.parametrize("blocks", [(3,), (2, 2)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_gradients_are_autograds(
    crop: Tensor, way: str, blocks: tuple[int, ...], dtype: torch.dtype, bound: float
) -> None:
    irn = fill(IRN(blocks)).to(dtype).requires_grad_(False)
    assert isinstance(irn, IRN)
    x = crop[..., :24, :32].to(dtype)
    y, slope = gradient(irn, way, x)
    same_y, same_slope = gradient(Reversible(irn), way, x)
    assert torch.equal(y, same_y)
    assert (slope - same_slope).abs().max() < bound * slope.abs().max()


@pytest.mark.parametrize("name", ["irn-x2-4b", "irn-x4-4b"])
def test_with_the_weights_in_the_package(crop: Tensor, name: str) -> None:
    irn = load(name).rescaler
    assert isinstance(irn, IRN)
    for way in ("upscale", "downscale"):
        slope, same = (gradient(r, way, crop)[1] for r in (irn, Reversible(irn)))
        # Where an activation is 0 but for its last bit, a leaky ReLU may take its other slope: a pixel or two.
        assert (slope - same).norm() < 1e-4 * slope.norm()


def test_under_autocast(crop: Tensor) -> None:
    irn = load("irn-x2-4b").rescaler
    assert isinstance(irn, IRN)
    slope, same = (gradient(Bfloat16(r), "upscale", crop)[1] for r in (irn, Reversible(irn)))
    assert (slope - same).norm() < 0.05 * slope.norm()  # bfloat16 has 8 bits, and rounds elsewhere


def test_memory_does_not_grow_with_the_blocks() -> None:
    def kept(blocks: int, reversible: bool) -> int:
        irn = IRN((blocks,)).requires_grad_(False)
        total = 0

        def count(x: Tensor) -> Tensor:
            nonlocal total
            total += x.untyped_storage().nbytes()
            return x

        x = torch.rand(1, 3, 32, 32, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            (Reversible(irn) if reversible else irn).upscale(x)
        return total

    assert kept(8, False) > 3 * kept(2, False)
    assert kept(8, True) == kept(2, True) < kept(2, False) / 10
