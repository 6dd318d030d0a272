"""HCFlow against the reference implementation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from coscale.rescalers import HCFlow
from tests.golden import described, fill, vectors

NAMES = ["hcflow_x4", "hcflow_x4_small"]


def untrained(name: str) -> HCFlow:
    about = described(name)
    conditional = about["after_flowstep"][0]
    return HCFlow(about["K"] - conditional, conditional, about["RRDB_nb"])


def network(name: str) -> HCFlow:
    hcflow = fill(untrained(name))
    assert isinstance(hcflow, HCFlow)
    return hcflow


@pytest.mark.parametrize("name", NAMES)
def test_layout_is_that_of_the_official_checkpoints(name: str) -> None:
    hcflow = untrained(name)
    assert {key: list(value.shape) for key, value in hcflow.state_dict().items()} == described(name)["shapes"]


def test_defaults_are_those_of_the_paper() -> None:
    shapes = {key: list(value.shape) for key, value in HCFlow().state_dict().items()}
    assert shapes == described("hcflow_x4")["shapes"]


@pytest.mark.parametrize("name", NAMES)
def test_reference_vectors(name: str) -> None:
    hcflow, golden = network(name), vectors(name)
    lr, z = hcflow(golden["hr"])
    assert torch.equal(lr, hcflow.downscale(golden["hr"]))
    assert (lr - golden["lr"]).abs().max() < 1e-5
    assert (F.pixel_shuffle(z[:, :24], 2) - golden["z1"]).abs().max() < 1e-5
    assert (z[:, 24:] - golden["z2"]).abs().max() < 1e-5
    restored = hcflow.upscale(golden["lr_8bit"].float() / 255)
    assert (restored - golden["upscaled_tau0"]).abs().max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_inverse(name: str) -> None:
    hcflow, hr = network(name), vectors(name)["hr"]
    assert (hcflow.inverse(*hcflow(hr)) - hr).abs().max() < 1e-4
    exact = copy.deepcopy(hcflow).double()
    assert (exact.inverse(*exact(hr.double())) - hr.double()).abs().max() < 1e-9


def test_gradients() -> None:
    hcflow = fill(HCFlow(2, 1, (1, 0)).double())
    assert isinstance(hcflow, HCFlow)
    hr = torch.rand(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    lr = torch.rand(1, 3, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(hcflow, hr)
    assert torch.autograd.gradcheck(hcflow.upscale, lr)


def test_untrained_is_haar() -> None:
    hcflow, hr = HCFlow(2, 1, (1, 1)), torch.rand(2, 3, 8, 12)
    mean = F.avg_pool2d(hr, 4)
    assert torch.allclose(hcflow.downscale(hr), mean, atol=1e-6)
    assert torch.allclose(hcflow.upscale(mean), mean.repeat_interleave(4, 2).repeat_interleave(4, 3), atol=1e-6)


def test_untrained_sampling_adds_as_much_detail_as_photos_have(crop: Tensor) -> None:
    hcflow = HCFlow(2, 1, (1, 1))
    lr, z = hcflow(crop)
    assert 0.3 < z.std() < 3
    assert 0.02 < (hcflow.sample(lr, 0) - hcflow.upscale(lr)).std() < 0.1


def test_sampling_is_seeded_and_has_a_temperature() -> None:
    hcflow, lr = network("hcflow_x4_small"), torch.rand(1, 3, 3, 5)
    assert torch.equal(hcflow.sample(lr, 1), hcflow.sample(lr, 1))
    assert not torch.equal(hcflow.sample(lr, 1), hcflow.sample(lr, 2))
    assert torch.equal(hcflow.sample(lr, 1, temperature=0), hcflow.upscale(lr))
    z = torch.randn(1, 45, 3, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(hcflow.sample(lr, 1, temperature=0.5), hcflow.inverse(lr, 0.5 * z))


def test_autocast_keeps_the_sums_in_float32() -> None:
    hcflow, hr = network("hcflow_x4_small"), vectors("hcflow_x4_small")["hr"]
    with torch.autocast("cpu", torch.bfloat16):
        lr, z = hcflow(hr)
        back = hcflow.inverse(lr, z)
    assert lr.dtype == z.dtype == back.dtype == torch.float32
    assert (lr - hcflow(hr)[0]).abs().max() < 5e-3
    assert (back - hr).abs().max() < 1e-2
