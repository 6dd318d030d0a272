"""PSNR and SSIM against scikit-image, and by hand."""

import math

import numpy as np
import pytest
import torch

from coscale.colour import chroma, luma
from coscale.metrics import compare, crop_border, psnr, ssim
from tests.extras import needs


def noisy(seed: int, channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(2, channels, 40, 33, generator=generator, dtype=torch.float64)
    return a, (a + 0.1 * torch.randn(a.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


@needs("reference")
@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image_on_the_valid_window(channels: int) -> None:
    from skimage.metrics import structural_similarity

    a, b = noisy(0, channels)
    for ours, one, two in zip(ssim(a, b), a.numpy(), b.numpy(), strict=True):
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
        theirs = structural_similarity(one, two, channel_axis=0, data_range=1, **options)[1]
        assert float(ours) == pytest.approx(np.mean(theirs[:, 5:-5, 5:-5]), abs=1e-6)


def test_psnr_by_hand() -> None:
    a = torch.zeros(2, 1, 4, 4)
    b = torch.stack((a[0] + 0.1, a[0]))
    assert psnr(a, b).tolist() == [pytest.approx(20.0, abs=1e-5), math.inf]


def test_luma_has_the_studio_range() -> None:
    ends = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    assert (255 * luma(ends)).flatten().tolist() == pytest.approx([16, 235], abs=0.01)
    assert torch.allclose(luma(ends), luma(ends.expand(-1, 3, -1, -1)))
    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    assert float(255 * luma(red)) == pytest.approx(16 + 65.481, abs=1e-4)


def test_chroma() -> None:
    # BT.601 in studio range: neutral colours have none, and the primaries reach 16 and 240.
    colours = torch.tensor([[0.5, 0.5, 0.5], [0, 0, 1], [1, 0, 0], [1, 1, 0]]).reshape(4, 3, 1, 1)
    expected = torch.tensor([[128, 128], [240, 109.786], [90.203, 240], [16, 146.214]])
    assert torch.allclose(255 * chroma(colours)[..., 0, 0], expected, atol=1e-3)


def test_border_is_left_out() -> None:
    a, b = noisy(1)
    spoiled = b.clone()
    spoiled[..., :2, :] = 0
    spoiled[..., -2:] = 1
    same, other = compare(b, a, 2), compare(spoiled, a, 2)
    assert all(torch.equal(same[key], other[key]) for key in same)
    assert set(same) == {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "psnr_cb", "psnr_cr"}
    assert set(compare(b[:, :1], a[:, :1], 2)) == {"psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb"}


def test_small_images() -> None:
    a, b = noisy(2)
    assert torch.isnan(ssim(a[..., :10, :], b[..., :10, :])).all()
    assert crop_border(a[..., :1, :9], 2).shape[-2:] == (1, 5)
