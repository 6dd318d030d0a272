"""CAR & EDSR against the reference implementation, and its resampling against the rule, pixel by pixel."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from coscale.quantize import quantize
from coscale.rescalers import CAR, find
from coscale.rescalers.car import KernelGenerator, mirrored, resample
from coscale.weights.load import load
from tests.golden import described, fill, vectors

SCALES = [2, 4]


def network(scale: int) -> CAR:
    """With the reference's weights, which are made from names that do not say whose parameter it is."""
    car = CAR(scale)
    for part in (car.kgn, car.usn):
        fill(part)
    return car


@pytest.fixture(scope="module", params=SCALES)
def car(request: pytest.FixtureRequest) -> CAR:
    return network(request.param)


@pytest.mark.parametrize("scale", SCALES)
def test_layout_is_that_of_the_official_checkpoints(scale: int) -> None:
    about = described(f"car_x{scale}")
    with torch.device("meta"):
        state = CAR(scale).state_dict()
    for part in ("kgn", "usn"):
        shapes = {key.removeprefix(f"{part}."): list(value.shape) for key, value in state.items() if key[:3] == part}
        assert shapes == about[f"{part}_shapes"]


def test_reference_vectors(car: CAR) -> None:
    golden = vectors(f"car_x{car.scale}")
    for found, name in zip(car.kgn(golden["hr"]), ("kernels", "offsets_h", "offsets_v"), strict=True):
        assert (found - golden[name]).abs().max() < 1e-6
    assert (car.downscale(golden["hr"]) - golden["lr"]).abs().max() < 1e-6
    lr_8bit = golden["lr_8bit"].float() / 255
    assert torch.equal(quantize(car.downscale(golden["hr"])), lr_8bit)
    assert (car.upscale(lr_8bit) - golden["upscaled"]).abs().max() < 1e-6


@pytest.mark.parametrize("scale", SCALES)
def test_resampling_in_float64(scale: int) -> None:
    golden = vectors(f"car_x{scale}")
    lr = resample(*(golden[name].double() for name in ("hr", "kernels", "offsets_h", "offsets_v")))
    assert (lr - golden["lr"]).abs().max() < 1e-12


def by_the_rule(hr: np.ndarray, kernels: np.ndarray, offsets_h: np.ndarray, offsets_v: np.ndarray) -> np.ndarray:
    """The LR of one grey image, one tap after another; far outside, as the authors' CUDA kernel has it."""
    k = math.isqrt(kernels.shape[0])
    (height, width), (h, w) = hr.shape, kernels.shape[1:]
    scale = width // w
    padded = np.pad(hr, k // 2, mode="reflect")
    bottom, right = padded.shape[0] - 1, padded.shape[1] - 1
    lr = np.zeros((h, w))
    for i, j, u, v in np.ndindex(h, w, k, k):
        tap = u * k + v
        px = (j + 0.5) * width / w + v + offsets_h[tap, i, j] * scale - 0.5
        py = (i + 0.5) * height / h + u + offsets_v[tap, i, j] * scale - 0.5
        x, y = (min(max(math.floor(p), 0), last) for p, last in ((px, right), (py, bottom)))
        x2, y2 = min(x + 1, right), min(y + 1, bottom)
        alpha, beta = px - math.floor(px), py - math.floor(py)
        upper = (1 - alpha) * padded[y, x] + alpha * padded[y, x2]
        lower = (1 - alpha) * padded[y2, x] + alpha * padded[y2, x2]
        lr[i, j] += kernels[tap, i, j] * ((1 - beta) * upper + beta * lower)
    return lr


def made_up(scale: int, h: int, w: int, channels: int, reach: float) -> list[Tensor]:
    """HR, kernels and offsets of up to ``reach`` LR pixels, in float64."""
    generator = torch.Generator().manual_seed(0)
    taps = (3 * scale + 1) ** 2

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    kernels = uniform(1, taps, h, w)
    offsets = [(2 * uniform(1, taps, h, w) - 1) * reach for _ in range(2)]
    return [uniform(1, channels, scale * h, scale * w), kernels / kernels.sum(1, keepdim=True), *offsets]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(3, 4), (2, 5)])
def test_resampling_follows_the_rule_as_far_as_offsets_reach(scale: int, size: tuple[int, int]) -> None:
    inputs = made_up(scale, *size, channels=1, reach=1.0)
    hr, *rest = (x.squeeze(0).numpy() for x in inputs)
    assert np.abs(resample(*inputs)[0, 0].numpy() - by_the_rule(hr[0], *rest)).max() < 1e-12


def test_resampling_without_offsets_by_even_kernels_is_a_mean() -> None:
    hr = torch.rand(2, 3, 12, 16)
    kernels, none = torch.full((2, 49, 6, 8), 1 / 49), torch.zeros(2, 49, 6, 8)
    # Taps lie half a pixel off the grid, so that each is the mean of four pixels.
    padded = torch.nn.functional.pad(hr, (3, 3, 3, 3), mode="reflect")
    halfway = torch.nn.functional.avg_pool2d(padded, 2, stride=1)
    assert torch.allclose(
        resample(hr, kernels, none, none), torch.nn.functional.avg_pool2d(halfway, 7, stride=2), atol=1e-6
    )


def test_gradients_of_the_resampling() -> None:
    # At x2 taps lie halfway between pixels: offsets this small stay between the same two.
    inputs = [x.requires_grad_() for x in made_up(2, 1, 2, channels=2, reach=0.2)]
    assert torch.autograd.gradcheck(resample, inputs)


def test_gradients_keep_no_copies_of_the_image() -> None:
    inputs = [x.requires_grad_() for x in made_up(4, 6, 6, channels=3, reach=1.0)]
    held: dict[int, int] = {}

    def hold(x: Tensor) -> Tensor:
        held[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda x: x):
        resample(*inputs)
    given = sum(x.untyped_storage().nbytes() for x in inputs)
    assert sum(held.values()) < 2 * given


def test_precise_far_from_the_corner() -> None:
    # Where x is 8000 a float32 is good to 5e-4 of a pixel only, which an edge from 0 to 1 would show.
    inputs = made_up(2, 1, 4000, channels=1, reach=0.2)
    hr = inputs[0].round()
    near = resample(hr.float(), *(x.float() for x in inputs[1:]))
    assert (near - resample(hr, *inputs[1:])).abs().max() < 1e-6


@pytest.mark.parametrize("reach", [0, 3, 11])
def test_mirrored(reach: int) -> None:
    x = torch.rand(1, 3, 4, 2)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (reach, 1), (2, reach)), mode="reflect")
    assert np.array_equal(mirrored(x, 2, reach, reach, 1).numpy(), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_kernels_of_any_size_are_positive_and_sum_to_1(scale: int) -> None:
    kgn = fill(KernelGenerator(scale))
    for h, w in [(1, 1), (1, 3), (5, 7)]:
        kernels, *offsets = kgn(torch.rand(2, 3, scale * h, scale * w))
        assert kernels.shape == offsets[0].shape == offsets[1].shape == (2, (3 * scale + 1) ** 2, h, w)
        assert kernels.min() > 0
        assert torch.allclose(kernels.sum(1), torch.ones(2, h, w))
        assert max(offset.abs().max() for offset in offsets) <= 1


def test_what_is_continued_for_the_generator_is_left_out_again() -> None:
    kgn, hr = fill(KernelGenerator(4)), torch.rand(1, 3, 24, 20)
    whole = kgn(mirrored(hr, 0, 4, 0, 0))
    for part, found in zip(whole, kgn(hr), strict=True):
        assert torch.allclose(part[..., :5], found, atol=1e-7)


def test_forward_is_what_training_asks_for() -> None:
    car = CAR(4, blocks=1, width=8)
    hr = torch.rand(1, 3, 16, 24)
    lr, latent = car(hr)
    assert latent is None
    assert torch.equal(lr, car.downscale(hr))
    (car.upscale(lr) - hr).abs().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in car.parameters())


def test_official_files(tmp_path: Path) -> None:
    car = network(4)
    for part in ("kgn", "usn"):
        state = car.get_submodule(part).state_dict()
        torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / f"{part}.pth")
    pair = load("car-x4", tmp_path)
    golden = vectors("car_x4")
    assert (pair.rescaler.downscale(golden["hr"]) - golden["lr"]).abs().max() < 1e-6
    assert find("car-x4").scale == pair.scale
