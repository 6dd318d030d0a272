"""What holds for every rescaler in the list, by its name and with whatever weights it has."""

import pytest
import torch
from torch import Tensor, nn

from coscale import tiles
from coscale.quantize import quantize
from coscale.rescalers import RESCALERS, Bfloat16, Grey, Named, Network, Rescaler
from coscale.weights.load import load
from tests.golden import fill


@pytest.fixture(params=RESCALERS, ids=lambda named: named.name, scope="module")
def named(request: pytest.FixtureRequest) -> Named:
    return request.param


@pytest.fixture(scope="module")
def rescaler(named: Named) -> Rescaler:
    """The rescaler with its bundled weights, or with made-up ones where it comes without."""
    if named.checkpoint != "yours":
        return load(named.name).rescaler
    network = named.build()
    assert isinstance(network, nn.Module)
    filled = fill(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(filled, Rescaler)
    return filled


def photos(crop: Tensor, count: int = 1) -> Tensor:
    """Crops of different content, 24 x 48, and not contiguous in any way that a rescaler could count on."""
    return torch.cat([crop.roll(i, -1)[..., i : i + 24, :] for i in range(count)])


def test_shape_scale_and_range(rescaler: Rescaler, named: Named, crop: Tensor) -> None:
    hr = photos(crop)
    lr = rescaler.downscale(hr)
    scale = rescaler.scale
    assert scale == named.scale
    assert lr.shape == (1, 3, 24 // scale, 48 // scale)
    restored = rescaler.upscale(lr)
    assert restored.shape == hr.shape
    assert lr.dtype == restored.dtype == hr.dtype
    # An LR is an image: about [0, 1] before it is clipped.
    assert lr.min() > -0.5
    assert lr.max() < 1.5
    if named.checkpoint != "yours":  # what is restored by made-up weights need not be an image
        assert restored.min() > -0.5
        assert restored.max() < 1.5


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_smallest_sizes(rescaler: Rescaler, size: tuple[int, int]) -> None:
    lr = torch.full((1, 3, *size), 0.5)
    hr = rescaler.upscale(lr)
    assert hr.shape[-2:] == (size[0] * rescaler.scale, size[1] * rescaler.scale)
    assert rescaler.downscale(hr).shape == lr.shape


def test_finite_gradients_of_both_maps(rescaler: Rescaler, crop: Tensor) -> None:
    hr = photos(crop).requires_grad_()
    lr = quantize(rescaler.downscale(hr))
    loss = (rescaler.upscale(lr) - 0.5).square().sum()
    for image, grad in zip((hr, lr), torch.autograd.grad(loss, (hr, lr)), strict=True):
        assert grad.shape == image.shape
        assert grad.isfinite().all()
        assert grad.abs().max() > 0


def test_deterministic(rescaler: Rescaler, crop: Tensor) -> None:
    hr = photos(crop)
    lr = rescaler.downscale(hr)
    assert torch.equal(lr, rescaler.downscale(hr))
    assert torch.equal(rescaler.upscale(lr), rescaler.upscale(lr))


def test_batch_is_its_images(rescaler: Rescaler, crop: Tensor) -> None:
    hr = photos(crop, 3)
    lr = rescaler.downscale(hr)
    restored = rescaler.upscale(lr)
    for i in range(3):
        assert (rescaler.downscale(hr[i : i + 1]) - lr[i : i + 1]).abs().max() < 1e-5
        assert (rescaler.upscale(lr[i : i + 1]) - restored[i : i + 1]).abs().max() < 1e-5


def test_bfloat16_is_near(rescaler: Rescaler, crop: Tensor) -> None:
    hr = photos(crop)
    lr = rescaler.downscale(hr)
    near = Bfloat16(rescaler)
    assert (near.downscale(hr) - lr).abs().mean() < 4e-3
    assert (near.upscale(lr) - rescaler.upscale(lr)).abs().mean() < 4e-3


def test_input_is_left_alone(rescaler: Rescaler, crop: Tensor) -> None:
    hr = photos(crop)
    before = hr.clone()
    lr = rescaler.downscale(hr)
    lr_before = lr.clone()
    rescaler.upscale(lr)
    assert torch.equal(hr, before)
    assert torch.equal(lr, lr_before)


def test_grey_stays_one_channel(rescaler: Rescaler, crop: Tensor) -> None:
    grey = Grey(rescaler)
    hr = photos(crop).mean(1, keepdim=True)
    lr = grey.downscale(hr)
    assert lr.shape[1] == grey.upscale(lr).shape[1] == 1
    assert torch.allclose(lr, rescaler.downscale(hr.expand(-1, 3, -1, -1)).mean(1, keepdim=True))


def test_a_declared_receptive_field_is_that_of_the_maps() -> None:
    cpu, declared = torch.device("cpu"), 0
    for named in RESCALERS:
        with torch.device("meta"):
            field = named.build().receptive_field
        if field is not None:
            declared += 1
            network = fill(named.build())
            assert isinstance(network, Network)
            down = tiles.receptive_field(network.downscale, named.scale, 1, 3, cpu)
            assert max(down, tiles.receptive_field(network.upscale, 1, named.scale, 3, cpu)) == field, named.name
    assert declared == 9  # the plain pairs
