"""IRN against the reference implementation."""

import copy

import pytest
import torch

from coscale.rescalers import IRN
from tests.golden import described, fill, vectors

NAMES = ["irn_x2", "irn_x4", "irn_x2_small"]


def network(name: str) -> IRN:
    irn = fill(IRN(described(name)["blocks"]))
    assert isinstance(irn, IRN)
    return irn


@pytest.mark.parametrize("name", NAMES)
def test_layout_is_that_of_the_official_checkpoints(name: str) -> None:
    about = described(name)
    irn = IRN(about["blocks"])
    assert {key: list(value.shape) for key, value in irn.state_dict().items()} == about["shapes"]
    assert irn.scale == about["scale"]


@pytest.mark.parametrize("name", NAMES)
def test_reference_vectors(name: str) -> None:
    irn, golden = network(name), vectors(name)
    lr, z = irn(golden["hr"])
    assert (lr - golden["lr"]).abs().max() < 1e-5
    assert (z - golden["z"]).abs().max() < 1e-5
    restored = irn.upscale(golden["lr_8bit"].float() / 255)
    assert (restored - golden["upscaled_z0"]).abs().max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_inverse(name: str) -> None:
    irn, hr = network(name), vectors(name)["hr"]
    assert (irn.inverse(*irn(hr)) - hr).abs().max() < 1e-5
    exact = copy.deepcopy(irn).double()
    assert (exact.inverse(*exact(hr.double())) - hr.double()).abs().max() < 1e-12


def test_gradients() -> None:
    irn = fill(IRN((1,)).double())
    assert isinstance(irn, IRN)
    hr = torch.rand(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    lr = torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(irn, hr)
    assert torch.autograd.gradcheck(irn.upscale, lr)


def test_untrained_is_haar() -> None:
    irn, hr = IRN((2, 1)), torch.rand(2, 3, 8, 12)
    mean = torch.nn.functional.avg_pool2d(hr, 4)
    assert torch.allclose(irn.downscale(hr), mean, atol=1e-6)
    assert torch.allclose(irn.upscale(mean), mean.repeat_interleave(4, 2).repeat_interleave(4, 3), atol=1e-6)


def test_sampling_is_seeded_and_standard_normal() -> None:
    irn, lr = network("irn_x2_small"), torch.rand(1, 3, 6, 5)
    assert torch.equal(irn.sample(lr, 1), irn.sample(lr, 1))
    assert not torch.equal(irn.sample(lr, 1), irn.sample(lr, 2))
    z = torch.randn(1, 9, 6, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(irn.sample(lr, 1), irn.inverse(lr, z))


def test_autocast_keeps_the_sums_in_float32() -> None:
    irn, hr = network("irn_x2_small"), vectors("irn_x2_small")["hr"]
    with torch.autocast("cpu", torch.bfloat16):
        lr, z = irn(hr)
        back = irn.inverse(lr, z)
    assert lr.dtype == z.dtype == back.dtype == torch.float32
    assert (lr - irn(hr)[0]).abs().max() < 5e-3
    assert (back - hr).abs().max() < 1e-2
