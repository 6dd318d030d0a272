"""What holds for every method, and for the one that is shown as an example."""

from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from coscale.choices import Effort, MethodName
from coscale.collaborate import HCD, METHODS, PLAIN, Coscale, Method, Result
from coscale.collaborate.method import Stop
from coscale.objectives import NAMED, Objective, WeightedLuma, mse
from coscale.quantize import quantize
from coscale.rescalers import Maps
from coscale.rescalers.steps import LearnedSteps
from coscale.tiles import WHOLE, Tiling
from coscale.weights.load import load
from examples.own_method import Descent


@dataclass(frozen=True)
class Learned(Coscale):
    """coscale with the learned steps of light-x2."""

    def __call__(self, rescaler: Maps, original: Tensor, **options: Any) -> Result:
        steps = load("light-x2").steps
        assert steps is not None
        return super().__call__(rescaler, original, steps=LearnedSteps(steps), **options)


# Each with the objective that it minimises.
CASES: dict[str, tuple[Method, Objective]] = {
    "plain": (PLAIN, mse),
    "hcd": (HCD(2, 2), mse),
    "hcd, lr alone": (HCD(0, 3), mse),
    "hcd, linf": (HCD(2, 2, norm="linf", alpha=0.01, eps=0.02), mse),
    "coscale, fast": (Coscale("fast"), WeightedLuma(0.5)),
    "coscale, balanced": (Coscale(), WeightedLuma(0.5)),
    **{f"coscale, {effort}, learned": (Learned(effort), WeightedLuma(0.5)) for effort in get_args(Effort)},
    **{f"coscale, {name}": (Coscale("fast", objective=name), objective) for name, objective in NAMED.items()},
    "the example's": (Descent(), mse),
}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Method, Objective]:
    return request.param


@pytest.fixture(scope="module")
def light() -> Maps:
    return load("light-x2").rescaler


@pytest.fixture
def photos(crop: Tensor) -> Tensor:
    """Detail, the same darker, and nothing at all."""
    return torch.cat((crop, 0.5 * crop.flip(-1), torch.full_like(crop, 0.5)))


def restored(rescaler: Maps, lr: Tensor) -> Tensor:
    with torch.no_grad():
        return quantize(rescaler.upscale(quantize(lr)))


def test_every_method_of_the_command_is_here() -> None:
    assert {method.name for method, _ in CASES.values()} >= METHODS.keys()


def test_never_worse_than_plain(case: tuple[Method, Objective], light: Maps, photos: Tensor) -> None:
    method, objective = case
    result = method(light, photos)
    plain = quantize(light.downscale(photos).detach())
    assert torch.equal(result.plain, plain)
    before, after = (objective(restored(light, lr), photos) for lr in (plain, result.lr))
    assert (after <= before * (1 + 1e-6)).all()
    if method.changes:
        # Learned steps alone do not judge the plain LR's file where they are better by far.
        assert torch.allclose(result.before, before, rtol=0.02, atol=3e-6)
        assert torch.allclose(result.after, after)
    else:
        assert torch.equal(result.lr, plain)


def test_stays_in_range_and_near(case: tuple[Method, Objective], light: Maps, photos: Tensor) -> None:
    result = case[0](light, photos)
    assert result.lr.shape == result.plain.shape
    assert result.lr.min() >= 0
    assert result.lr.max() <= 1
    assert mse(result.lr, result.plain).max() < 10**-3  # 30 dB: it is still the photo


def test_a_batch_is_its_photos(case: tuple[Method, Objective], light: Maps, photos: Tensor) -> None:
    method, objective = case
    both = method(light, photos)
    for i in range(len(photos)):
        alone = method(light, photos[i : i + 1])
        # Float noise can turn a rounding over, but not many.
        assert (alone.lr - both.lr[i : i + 1]).abs().mean() < 0.2 / 255
        losses = (objective(restored(light, lr), photos[i : i + 1]) for lr in (alone.lr, both.lr[i : i + 1]))
        assert next(losses) == pytest.approx(float(next(losses)), rel=0.03, abs=1e-7)


def test_deterministic(case: tuple[Method, Objective], light: Maps, photos: Tensor) -> None:
    first, again = (case[0](light, photos) for _ in range(2))
    assert torch.equal(first.lr, again.lr)


def test_counts_and_stops_with_a_reason(case: tuple[Method, Objective], light: Maps, photos: Tensor) -> None:
    method, seen = case[0], []
    result = method(light, photos, watch=lambda done, most, loss: seen.append((done, most)))
    assert result.gradients == len(seen) <= method.passes
    assert seen == [(n + 1, seen[0][1]) for n in range(len(seen))]
    assert len(seen) <= max(most for _, most in seen) <= method.passes if seen else not method.changes
    assert len(result.stopped) == len(photos)
    assert set(result.stopped) <= set(get_args(Stop))
    moved = [not torch.equal(lr, plain) for lr, plain in zip(quantize(result.lr), result.plain, strict=True)]
    for reason, did in zip(result.stopped, moved, strict=True):
        assert not (reason == "nothing better" and did)


def test_leaves_what_it_is_given(case: tuple[Method, Objective], light: Maps, photos: Tensor) -> None:
    before = photos.clone()
    case[0](light, photos)
    assert torch.equal(photos, before)


def test_tiles_change_nothing(case: tuple[Method, Objective], light: Maps, crop: Tensor) -> None:
    wide = torch.cat((crop, crop.flip(-1), crop.roll(7, 2)), -1)
    halo = 8 * case[0].maps
    whole, tiled = (case[0](light, wide, tiling=tiling) for tiling in (WHOLE, Tiling(2 * halo + 12, halo)))
    # The windows of these objectives end where a tile does, and tiles of 24 pixels are hardly larger.
    levels = 0.3 if case[1] in NAMED.values() else 0.1
    assert (whole.lr - tiled.lr).abs().mean() < levels / 255
    before, *after = (float(case[1](restored(light, lr), wide)) for lr in (whole.plain, whole.lr, tiled.lr))
    assert before - after[1] >= 0.9 * (before - after[0])


def test_ends_where_the_watch_raises(case: tuple[Method, Objective], light: Maps, crop: Tensor) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if case[0].changes:
        with pytest.raises(KeyboardInterrupt):
            case[0](light, crop, watch=stop)
    else:
        assert case[0](light, crop, watch=stop).gradients == 0


def test_the_command_offers_every_method() -> None:
    assert get_args(MethodName) == tuple(METHODS)
