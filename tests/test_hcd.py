"""HCD against the authors' loops, against a problem with a known answer, and its options."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from coscale.collaborate import HCD, Result
from coscale.errors import SettingsError
from coscale.objectives import mse
from coscale.quantize import quantize
from coscale.rescalers import IRN, Bicubic
from coscale.weights.load import load
from tests.golden import described, fill, vectors


@pytest.fixture(scope="module")
def small() -> IRN:
    irn = fill(IRN(described("irn_x2_small")["blocks"]))
    assert isinstance(irn, IRN)
    return irn


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return vectors("pgd_irn_x2_small")


def as_authors(**settings: Any) -> HCD:
    return HCD(**{"hr_steps": 4, "lr_steps": 4, "keep": "last", "lr_target": "collaborative", **settings})


def test_reference_of_both_stages(small: IRN, golden: dict[str, Tensor]) -> None:
    hr_start, lr_start = golden["hr_delta0"], golden["lr_delta0"]
    result = as_authors()(small, golden["hr"], hr_start=hr_start, lr_start=lr_start)
    assert (result.hr - golden["hr_collaborative"]).abs().max() < 1e-5
    assert (result.lr - golden["lr_collaborative"]).abs().max() < 1e-5


def test_reference_of_the_hr_stage_alone(small: IRN, golden: dict[str, Tensor]) -> None:
    result = as_authors(lr_steps=0)(small, golden["hr"], hr_start=golden["hr_delta0"])
    assert (result.hr - golden["hr_collaborative"]).abs().max() < 1e-5
    assert (result.lr - golden["lr_start"]).abs().max() < 1e-5
    assert result.lr_stage is None


def test_reference_of_the_lr_stage_alone(small: IRN, golden: dict[str, Tensor]) -> None:
    result = as_authors(hr_steps=0)(small, golden["hr"], lr_start=golden["lr_only_delta0"])
    assert (result.lr - golden["lr_only_collaborative"]).abs().max() < 1e-5
    assert result.hr_stage is None


def test_lr_target_matters_only_after_an_hr_stage(small: IRN, golden: dict[str, Tensor]) -> None:
    def lr(**settings: Any) -> Tensor:
        return as_authors(**settings)(small, golden["hr"]).lr

    assert not torch.equal(lr(), lr(lr_target="original"))
    assert torch.equal(lr(hr_steps=0), lr(hr_steps=0, lr_target="original"))


def matrix_of(rescaler: Bicubic, height: int, width: int) -> Tensor:
    """The linear map of the upscaler from an LR of one channel, as a matrix."""
    units = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    return rescaler.upscale(units).flatten(1).T


def test_lr_stage_converges_to_the_least_squares_solution() -> None:
    """Bicubic is linear, so the best LR is known; a step of fixed length alpha comes as near as alpha allows."""
    bicubic = Bicubic(2)
    hr = 0.35 + 0.3 * torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    upscaler = matrix_of(bicubic, 6, 5)
    solution = torch.linalg.lstsq(upscaler, hr.flatten()[:, None]).solution
    assert 0 < solution.min() < solution.max() < 1  # inside [0, 1], where clipping has no say
    best = float((upscaler @ solution - hr.flatten()[:, None]).square().mean())

    def excess(alpha: float, steps: int) -> float:
        settings = HCD(hr_steps=0, lr_steps=steps, alpha=alpha, eps=10, start="zero", keep="last")
        stage = settings(bicubic, hr).lr_stage
        assert stage is not None
        return float(stage.loss[-1, 0]) - best

    coarse, fine = excess(1e-2, 100), excess(1e-3, 1000)
    assert 0 <= fine < coarse / 50
    assert fine < 1e-6


def test_losses_are_recorded_and_fall(crop: Tensor) -> None:
    irn = load("irn-x2-4b").rescaler
    result = HCD(hr_steps=4, lr_steps=5)(irn, crop)
    assert result.hr_stage is not None
    assert result.lr_stage is not None
    assert result.hr_stage.loss.shape == result.hr_stage.rounded.shape == (5, 1)
    assert result.lr_stage.loss.shape == result.lr_stage.rounded.shape == (6, 1)
    for stage in (result.hr_stage, result.lr_stage):
        assert stage.loss[-1] < stage.loss[0]
        assert stage.rounded.isfinite().all()
    # What it says of the file is what the file gives.
    restored = quantize(irn.upscale(quantize(result.lr)))
    assert mse(restored, crop) == pytest.approx(float(result.after))
    seen = torch.cat((result.hr_stage.rounded, result.lr_stage.rounded, result.before[None]))
    assert result.after == seen.min()
    assert (result.downscales, result.upscales, result.gradients) == (7, 18, 9)


def test_each_stage_gains_and_the_second_never_loses(crop: Tensor) -> None:
    irn = load("irn-x2-4b").rescaler

    def gain(hr_steps: int, lr_steps: int) -> float:
        result = HCD(hr_steps=hr_steps, lr_steps=lr_steps)(irn, crop)
        return 10 * math.log10(float(result.before / result.after))

    none, hr_only, lr_only, both = gain(0, 0), gain(8, 0), gain(0, 8), gain(8, 8)
    assert none == 0
    assert hr_only > 0.1
    assert lr_only > 0.1
    assert both >= hr_only


def psnr_gain(result: Result) -> Tensor:
    return 10 * torch.log10(result.before / result.after)


def test_ascent_is_adversarial(crop: Tensor) -> None:
    irn = load("irn-x2-4b").rescaler
    assert psnr_gain(HCD(hr_steps=0, direction="ascent")(irn, crop)) < -0.5


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "linf", "alpha": 0.5 / 255, "eps": 2 / 255},
        {"loss": "l1"},
        {"loss": "y-mse"},
        {"loss": lambda restored, original: (restored - original).abs().amax((1, 2, 3))},
        {"start": "zero"},
    ],
    ids=["linf", "l1", "y-mse", "own loss", "zero start"],
)
def test_options_gain(crop: Tensor, settings: dict[str, Any]) -> None:
    result = HCD(hr_steps=2, lr_steps=4, **settings)(load("irn-x2-4b").rescaler, crop)
    assert result.after < result.before


@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.3), ("linf", 2 / 255)])
def test_stays_in_the_ball_and_in_range(crop: Tensor, norm: Any, eps: float) -> None:
    irn = load("irn-x2-4b").rescaler
    for hr_steps, lr_steps in ((5, 0), (0, 5)):
        settings = HCD(hr_steps, lr_steps, alpha=0.2, eps=eps, norm=norm, keep="last")
        result = settings(irn, crop)
        hr_move = result.hr - crop
        lr_move = result.lr - quantize(irn.downscale(result.hr))
        for move in (hr_move, lr_move):
            size = torch.linalg.vector_norm(move, ord=2 if norm == "l2" else torch.inf)
            assert size <= eps * (1 + 1e-4)
        assert result.lr.min() >= 0
        assert result.lr.max() <= 1


def test_every_image_of_a_batch_is_optimised_for_itself(crop: Tensor) -> None:
    irn = load("irn-x2-4b").rescaler
    hr = torch.cat((crop, crop.flip(-1) * 0.5))
    settings = HCD(hr_steps=3, lr_steps=3)
    both = settings(irn, hr)
    for i in range(2):
        alone = settings(irn, hr[i : i + 1])
        # Float noise can turn a rounding over and so move single values by a level, but not many.
        assert (alone.lr - both.lr[i : i + 1]).abs().mean() < 1e-4
        assert alone.after[0] == pytest.approx(float(both.after[i]), rel=1e-2)


def test_best_is_never_worse_than_nothing(crop: Tensor) -> None:
    irn = load("irn-x2-4b").rescaler
    wild = {"hr_steps": 2, "lr_steps": 2, "alpha": 20.0, "eps": 50.0}
    assert HCD(keep="last", **wild)(irn, crop).after > HCD(**wild)(irn, crop).before
    kept = HCD(**wild)(irn, crop)
    assert torch.equal(kept.after, kept.before)
    assert torch.equal(kept.lr, quantize(irn.downscale(crop)))


def test_same_seed_same_result(crop: Tensor) -> None:
    irn = load("irn-x2-4b").rescaler
    first, again, other = (HCD(hr_steps=1, lr_steps=2, seed=s)(irn, crop).lr for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_flat_image_has_no_gradient_to_divide_by() -> None:
    flat = torch.full((1, 3, 16, 16), 0.5)
    result = HCD(hr_steps=2, lr_steps=2, start="zero")(Bicubic(2), flat)
    assert result.lr.isfinite().all()


def test_progress_and_watch_count_iterations(crop: Tensor) -> None:
    calls, seen = [], []

    def watch(done: int, most: int, loss: Tensor) -> None:
        calls.append((done, most))
        seen.append((done, loss))

    result = HCD(hr_steps=2, lr_steps=3)(Bicubic(2), crop, watch=watch)
    assert calls == [(i, 5) for i in range(1, 6)]
    assert [done for done, _ in seen] == list(range(1, 6))
    assert result.hr_stage is not None
    assert result.lr_stage is not None
    told = torch.cat((result.hr_stage.loss[:2], result.lr_stage.loss[:3]))
    assert torch.equal(torch.stack([loss for _, loss in seen]), told)


@pytest.mark.parametrize(
    "settings",
    [
        {"hr_steps": -1},
        {"lr_steps": 1.5},
        {"alpha": -0.1},
        {"eps": math.nan},
        {"eps": math.inf},
        {"norm": "l1"},
        {"loss": "psnr"},
        {"keep": "all"},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(settings))):
        HCD(**settings)
