"""TAD & TAU: what the two maps are, and that training makes them a pair."""

import pytest
import torch

from coscale import resize
from coscale.quantize import quantize
from coscale.rescalers import TAD
from coscale.train.objective import Objective, factors
from coscale.train.recipes import find
from tests.golden import fill


@pytest.mark.parametrize("scale", [2, 4])
def test_maps(scale: int) -> None:
    tad, hr = TAD(scale, blocks=1, width=16), torch.rand(2, 3, 8, 12)
    lr, latent = tad(hr)
    assert latent is None
    assert torch.equal(lr, tad.downscale(hr))
    assert lr.shape == (2, 3, 8 // scale, 12 // scale)
    assert tad.upscale(lr).shape == hr.shape


def test_gradients() -> None:
    tad = fill(TAD(2, blocks=1, width=8).double())
    assert isinstance(tad, TAD)
    hr = torch.rand(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tad.upscale(tad.downscale(x)), hr)


def test_autocast_keeps_an_lr_of_256_levels() -> None:
    tad, hr = fill(TAD(4)), torch.rand(1, 3, 16, 16)
    assert isinstance(tad, TAD)
    with torch.autocast("cpu", torch.bfloat16):
        lr = tad.downscale(hr)
    assert lr.dtype == torch.float32
    assert (lr - tad.downscale(hr)).abs().max() < 4e-3


def test_training_restores_and_follows_bicubic(crop: torch.Tensor) -> None:
    torch.manual_seed(0)
    tad, recipe = TAD(4, blocks=1, width=32), find("tad-x4")
    objective, optimiser = Objective(tad, autocast=False), torch.optim.Adam(tad.parameters(), 2e-3)
    bicubic = resize.downscale(crop, 4)
    losses = []
    for _ in range(60):
        loss, _ = objective(crop, bicubic, factors(recipe, False, crop.device), torch.zeros(len(crop)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 3
    with torch.no_grad():
        lr = quantize(tad.downscale(crop))
        assert (lr - bicubic).square().mean().sqrt() < 0.1
        assert (tad.upscale(lr) - crop).abs().mean() < 0.15
