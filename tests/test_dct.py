"""JPEG in tensors: an orthonormal basis, libjpeg's tables, and what a decoder makes of them."""

from io import BytesIO

import pytest
import torch
from PIL import Image

from coscale import dct
from coscale.dct import bits_by_logarithm, coefficients_of, flat_tables, image_of, mean_step, quality_tables

QUALITIES = (1, 7, 25, 49, 50, 51, 75, 90, 99, 100)


def test_the_basis_is_orthonormal() -> None:
    basis = dct._DCT.double()
    assert torch.allclose(basis @ basis.T, torch.eye(8).double(), atol=1e-6)
    assert torch.allclose(basis[0], torch.full((8,), 8**-0.5).double(), atol=1e-6)  # the mean comes first
    changes = (basis[:, :-1] * basis[:, 1:] < 0).sum(1)
    assert changes.tolist() == list(range(8))  # each frequency changes its sign once more than the last


@pytest.mark.parametrize("quality", QUALITIES)
def test_tables_are_those_of_pillow(quality: int) -> None:
    stream = BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        luma, chroma = image.quantization.values()  # type: ignore[attr-defined]
    assert quality_tables(quality).tolist() == [list(map(float, luma)), list(map(float, chroma))]


@pytest.mark.parametrize("halved", [False, True])
def test_there_and_back(halved: bool) -> None:
    """Nothing is lost without a quantiser but, where chroma is halved, its detail; energies stay as they are."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 32, 48, generator=generator)
    grey = x[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(image_of(coefficients_of(grey, halved)), grey, atol=1e-5)
    if not halved:
        assert torch.allclose(image_of(coefficients_of(x, halved)), x, atol=1e-5)
    found = coefficients_of(grey, halved)
    luma = 255 * grey[:, 0] - 128
    assert torch.allclose(found.planes[0].square().sum((1, 2, 3)), luma.square().sum((1, 2)), rtol=1e-4)
    assert found.planes[0].shape == (2, 4, 6, 64)
    assert found.planes[1].shape == ((2, 2, 3, 64) if halved else (2, 4, 6, 64))


def test_quantised_coefficients_are_multiples_of_their_steps() -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    tables = quality_tables(30)
    exact, found = coefficients_of(x, True), coefficients_of(x, True).quantised(tables)
    for plane, before, steps in zip(found.planes, exact.planes, tables[[0, 1, 1]], strict=True):
        assert torch.allclose((plane / steps).round() * steps, plane, atol=1e-3)
        assert bool(((plane - before).abs() <= steps / 2 + 1e-3).all())


def test_flat_tables_and_their_mean() -> None:
    tables = torch.stack([flat_tables(7.4, 300.0), flat_tables(0.2, 1.0)])
    assert tables[:, :, 0].tolist() == [[7.0, 255.0], [1.0, 1.0]]
    assert mean_step(tables).tolist() == [7.0, 1.0]
    assert mean_step(flat_tables(2, 3)) == 2  # whole numbers are steps too
    assert float(mean_step(quality_tables(50))) == pytest.approx((16 + 11 + 10 + 12 + 12 + 14) / 6)


def test_bits_grow_with_detail_and_with_finer_steps() -> None:
    smooth = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    noisy = (smooth + 0.1 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))).requires_grad_()
    bits = [float(bits_by_logarithm(x.detach(), step)) for x, step in ((smooth, 10), (noisy, 10), (noisy, 5))]
    assert bits == sorted(bits)
    (slope,) = torch.autograd.grad(bits_by_logarithm(noisy, 10).sum(), noisy)
    assert float(bits_by_logarithm(noisy.detach() - 0.02 * slope.sign(), 10)) < bits[1]
