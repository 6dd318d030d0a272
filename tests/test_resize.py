"""Bicubic resizing against the benchmark protocol and against what defines it."""

from pathlib import Path

import pytest
import torch

from coscale import resize
from coscale.collaborate import PLAIN
from coscale.evaluate import Settings, evaluate, find_sets
from coscale.weights.load import load

# PSNR-Y and SSIM-Y of bicubic down and up, as the field reports them.
PUBLISHED = {
    ("Set5", 2): (33.68, 0.9305),
    ("Set5", 4): (28.43, 0.8113),
    ("Set14", 2): (30.33, 0.8700),
    ("Set14", 4): (26.09, 0.7050),
    ("BSD100", 2): (29.56, 0.8436),
    ("BSD100", 4): (25.96, 0.6682),
}


@pytest.mark.parametrize(("name", "scale"), PUBLISHED)
def test_protocol_gives_the_published_numbers(sets: Path, name: str, scale: int) -> None:
    rows = list(evaluate(find_sets([sets / name]), load(f"bicubic-x{scale}"), Settings(PLAIN)))
    psnr, ssim = PUBLISHED[name, scale]
    assert sum(row.scores.psnr_y for row in rows) / len(rows) == pytest.approx(psnr, abs=0.01)
    assert sum(row.scores.ssim_y for row in rows) / len(rows) == pytest.approx(ssim, abs=0.0003)


def test_known_weights() -> None:
    # MATLAB's imresize by 1/2 has 8 taps, -0.0117 -0.0352 0.1133 0.4336 and their mirror; an impulse meets every other.
    x = torch.zeros(16, 16, dtype=torch.float64)
    x[:, 7] = 1
    y = resize.resize(x, (16, 8))[0]
    expected = [0, 0, -0.03515625, 0.43359375, 0.11328125, -0.01171875, 0, 0]
    assert y.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_constant_stays_constant(scale: int) -> None:
    x = torch.full((1, 3, 17, 11), 0.3, dtype=torch.float64)
    for y in (resize.downscale(x, scale), resize.upscale(x, scale)):
        assert torch.allclose(y, torch.full_like(y, 0.3), atol=1e-12)


def test_sizes() -> None:
    x = torch.rand(2, 3, 7, 5)
    assert resize.downscale(x, 2).shape == (2, 3, 4, 3)
    assert resize.downscale(x[..., :1, :1], 4).shape == (2, 3, 1, 1)
    assert resize.upscale(x, 4).shape == (2, 3, 28, 20)
    assert resize.resize(x, (10, 3)).shape == (2, 3, 10, 3)


def test_upscaling_keeps_a_ramp() -> None:
    # Cubic interpolation is exact on straight lines, away from the border.
    ramp = torch.arange(20, dtype=torch.float64).expand(20, 20)
    up = resize.upscale(ramp, 2)[0]
    assert torch.allclose(up[8:-8], torch.arange(40, dtype=torch.float64)[8:-8] / 2 - 0.25)


@pytest.mark.parametrize("function", [resize.downscale, resize.upscale])
def test_gradient(function) -> None:
    x = torch.rand(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: function(x, 2), x)


def test_the_compiler_takes_taps_for_constants() -> None:
    """By the very mark that torch has for it."""
    marked = torch.compiler.assume_constant_result(lambda: None)
    assert vars(marked).items() <= vars(resize._taps).items()
