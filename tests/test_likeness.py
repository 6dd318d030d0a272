"""Likeness as people see it: what the errors are of equals, that they grow, and what they say of known pairs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from coscale.likeness import ms_ssim_error, xyb_error
from coscale.metrics import ssim
from coscale.objectives import NAMED, Objective
from coscale.resize import downscale, upscale

Error = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(params=NAMED.values(), ids=list(NAMED))
def error(request: pytest.FixtureRequest) -> Objective:
    return request.param


@pytest.fixture(scope="module")
def photo(crop: Tensor) -> Tensor:
    return torch.cat((crop, crop.flip(-1)), -1)


def blurred(photo: Tensor, scale: int) -> Tensor:
    return upscale(downscale(photo, scale), scale).clamp(0, 1)


def test_equals_have_none(error: Objective, photo: Tensor) -> None:
    assert error(photo, photo).abs().max() < 1e-6


def test_grows_with_what_is_lost(error: Objective, photo: Tensor) -> None:
    values = [float(error(blurred(photo, scale), photo)) for scale in (1, 2, 4)]
    assert values == sorted(values)
    assert values[1] > 100 * values[0] + 1e-3


def test_any_size(error: Objective, photo: Tensor) -> None:
    for height, width in ((1, 1), (1, 40), (7, 5), (8, 8), (15, 33), (48, 96)):
        part = photo[..., :height, :width]
        changed = (part + 0.1 * torch.linspace(-1, 1, width)).clamp(0, 1).requires_grad_()
        value = error(changed, part)
        (slope,) = torch.autograd.grad(value.sum(), changed)
        assert value.shape == (1,)
        assert value.isfinite().all()
        assert slope.isfinite().all()
        assert slope.abs().amax(1).min() > 0  # no pixel is left out, at an edge neither


def test_black_white_and_flat_have_a_gradient(error: Objective) -> None:
    for level in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 16, 16), level)
        for change in (0.0, 0.02 - 0.04 * (level > 0.5)):
            x = flat.clone()
            x[..., 8, 8] += change
            (slope,) = torch.autograd.grad(error(x.requires_grad_(), flat).sum(), x)
            assert slope.isfinite().all()
            assert not change or slope[..., 8, 8].abs().min() > 0


def test_a_batch_is_its_photos(error: Objective, photo: Tensor) -> None:
    restored, photos = torch.cat((blurred(photo, 2), blurred(photo, 4))), torch.cat((photo, photo))
    alone = [float(error(restored[i : i + 1], photo)) for i in range(2)]
    assert error(restored, photos).tolist() == pytest.approx(alone, rel=1e-4)


def test_grey_is_three_equal_channels(error: Objective, photo: Tensor) -> None:
    grey = photo.mean(1, keepdim=True)
    small, colour = blurred(grey, 2), grey.expand(-1, 3, -1, -1)
    assert float(error(small, grey)) == pytest.approx(float(error(small.expand(-1, 3, -1, -1), colour)), rel=1e-4)


def test_the_gradient_is_that_of_the_value(error: Objective, photo: Tensor) -> None:
    photo = photo[..., :16, :24].double()
    restored = blurred(photo, 2).clamp(0.1, 0.9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: error(x, photo), restored, fast_mode=True)


def test_ms_ssim_of_one_scale_is_ssim(photo: Tensor) -> None:
    """Below 22 pixels there is one scale, and windows that see one changed pixel in the middle touch no edge."""
    part = photo[..., :21, :21]
    changed = part.clone()
    changed[..., 10, 10] = 1 - changed[..., 10, 10]
    windows, valid = 21**2, 11**2
    assert float(ms_ssim_error(changed, part)) * windows == pytest.approx(
        (1 - float(ssim(changed, part))) * valid, rel=1e-3
    )


def test_ms_ssim_of_noise_is_what_the_formula_says() -> None:
    """Independent noise of a known variance on a flat photo: no covariance is left."""
    generator = torch.Generator().manual_seed(0)
    flat, sigma = torch.full((1, 1, 16, 2000), 0.5), 0.1
    noisy = flat + sigma * torch.randn(flat.shape, generator=generator)
    found = 1 - float(ms_ssim_error(noisy, flat))
    window = torch.exp(-(torch.arange(-5, 6.0) ** 2) / (2 * 1.5**2))
    window = window / window.sum()
    left = 1 - float(window.square().sum()) ** 2  # of the variance, once the mean in the window is taken off
    c2 = 0.03**2
    assert found == pytest.approx(c2 / (sigma**2 * left + c2), rel=0.15)


def test_errors_that_contrast_hides_count_less() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(1, 3, 32, 32, generator=generator)
    flat = torch.full_like(noise, 0.5)
    busy = (flat + 0.3 * torch.randn(1, 1, 32, 32, generator=generator)).clamp(0.1, 0.9)
    on_flat, on_busy = (float(xyb_error(photo + noise, photo)) for photo in (flat, busy))
    assert on_flat > 2 * on_busy


def test_xyb_weighs_what_is_seen() -> None:
    """The same error of sRGB is seen best where it shifts red against green, and least in blue."""
    grey = torch.full((1, 3, 32, 32), 0.5)
    stripes = 0.02 * torch.tensor([1.0, -1.0]).repeat_interleave(2).repeat(8)
    shifts = {
        name: torch.tensor(v)[None, :, None, None] for name, v in {"rg": (1.0, -1.0, 0.0), "b": (0.0, 0.0, 1.4)}.items()
    }
    red_green, blue = (float(xyb_error(grey + stripes * shift, grey)) for shift in shifts.values())
    assert red_green > blue > 0
