"""coscale's own method: what it promises of the file, and a problem whose answer is known."""

from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from coscale.choices import ObjectiveName
from coscale.collaborate import HCD, Coscale
from coscale.collaborate.coscale import _BY_GRADIENTS, _Course
from coscale.collaborate.curvature import curvature_of
from coscale.collaborate.quasi_newton import descent
from coscale.errors import SettingsError
from coscale.image import Photo
from coscale.metrics import psnr, ssim
from coscale.objectives import NAMED, WeightedLuma, chroma_mse, l1, mse, y_mse
from coscale.pipeline import encode_photo
from coscale.quantize import quantize, to_uint8
from coscale.reproduce.perceptual import SSIMULACRA2, perceptual
from coscale.rescalers import Bfloat16, Bicubic, Rescaler
from coscale.rescalers.steps import LearnedSteps
from coscale.weights.load import load
from tests.extras import needs


@pytest.fixture(scope="module")
def light() -> Rescaler:
    return load("light-x2").rescaler


def plain(rescaler: Rescaler, hr: Tensor) -> Tensor:
    with torch.no_grad():
        return quantize(rescaler.downscale(hr))


def restored(rescaler: Rescaler, lr: Tensor) -> Tensor:
    with torch.no_grad():
        return quantize(rescaler.upscale(quantize(lr)))


def gains(rescaler: Rescaler, hr: Tensor, method: Coscale | HCD) -> dict[str, float]:
    """In dB, of the 8-bit photo that the 8-bit LR restores."""
    lr, before = method(rescaler, hr).lr, plain(rescaler, hr)
    pairs = {"rgb": mse, "y": y_mse}
    return {
        name: float(10 * (error(restored(rescaler, before), hr) / error(restored(rescaler, lr), hr)).log10().mean())
        for name, error in pairs.items()
    }


def test_gains_more_than_the_paper(light: Rescaler, crop: Tensor) -> None:
    ours, paper = gains(light, crop, Coscale()), gains(light, crop, HCD())
    assert ours["rgb"] > paper["rgb"] > 0
    assert ours["y"] > 1.3 * paper["y"]  # of so small a crop; the larger the photo, the more


def test_luma_is_a_weight(light: Rescaler, crop: Tensor) -> None:
    without, some, much = (gains(light, crop, Coscale(luma=luma)) for luma in (0, 0.5, 2))
    assert without["y"] < some["y"] < much["y"]
    assert without["rgb"] > some["rgb"] > much["rgb"]


def test_settling_is_better_than_rounding_at_once(
    light: Rescaler, crop: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after(passes: tuple[int, int], fidelity: float) -> float:
        monkeypatch.setitem(_BY_GRADIENTS, "balanced", _Course(0, *passes))
        result = Coscale(luma=0, fidelity=fidelity)(light, crop)
        assert float(psnr(result.lr, plain(light, crop))) >= fidelity
        return float(result.after)

    assert after((20, 20), 40) < after((40, 0), 40)
    assert after((20, 20), 50) < after((1, 0), 50)  # where the ball binds


def test_efforts(light: Rescaler, crop: Tensor) -> None:
    fast, balanced, best = (Coscale(effort, luma=0)(light, crop) for effort in ("fast", "balanced", "best"))
    # Without a known curvature `best` only rounds with more care, which may show or not.
    assert float(fast.after) > float(balanced.after) > 0.998 * float(best.after)
    assert (fast.gradients, balanced.gradients) == (8, 20)
    assert best.gradients <= 60
    assert fast.downscales == balanced.downscales == 1
    assert balanced.upscales == 20 + 3  # and three files are judged: the plain, the rounded and the settled


def test_efforts_with_what_is_known_of_an_upscaler(crop: Tensor) -> None:
    pair = load("light-x2")
    assert pair.steps
    known = {"steps": LearnedSteps(pair.steps), "curvature": curvature_of(pair.rescaler, 0.5, torch.device("cpu"))}
    fast, balanced, best = (Coscale(effort)(pair.rescaler, crop, **known) for effort in ("fast", "balanced", "best"))
    # What more passes find is here less than what rounding makes of it by chance, 0.01 dB.
    assert float(fast.after) > float(balanced.after) > 0.997 * float(best.after)
    assert (fast.gradients, balanced.gradients) == (2, 8)


def test_a_step_that_made_it_worse_is_taken_back(
    crop: Tensor, light: Rescaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ascent(*found: Any) -> Tensor:
        return -100 * descent(*found)

    monkeypatch.setattr("coscale.collaborate.coscale.descent", ascent)
    seen: list[float] = []
    result = Coscale("balanced")(light, crop, watch=lambda done, most, loss: seen.append(float(loss)))
    first, *others = seen
    # Each step begins where the first did, and is half as long as the one before.
    assert all(first < after < before for before, after in pairwise(others[:6]))
    assert float(result.after) <= float(result.before)
    assert result.stopped == ("nothing better",)


def test_the_quasi_newton_step_is_that_of_bfgs() -> None:
    generator = torch.Generator().manual_seed(0)
    slope, moved, bent = torch.randn(3, 2, 1, 2, 3, generator=generator, dtype=torch.float64)
    bent[0] += 4 * moved[0]  # s'y > 0, as H asks for; for the second image it is made negative
    bent[1] = -moved[1]
    scale = torch.linspace(0.5, 2, 6, dtype=torch.float64).reshape(1, 2, 3)
    length = torch.full((2, 1, 1, 1), 0.1, dtype=torch.float64)
    step = descent(lambda x: scale * x, slope, moved, bent, length)
    s, y, g, p = moved[0].flatten(), bent[0].flatten(), slope[0].flatten(), torch.diag(scale.flatten())
    away = torch.eye(6, dtype=torch.float64) - torch.outer(s, y) / (s @ y)
    inverse = (s @ y) / (y @ p @ y) * away @ p @ away.T + torch.outer(s, s) / (s @ y)
    torch.testing.assert_close(step[0].flatten(), inverse @ g)
    torch.testing.assert_close(inverse @ y, s)  # the secant equation, which says that this is BFGS
    plain = scale * slope[1]
    torch.testing.assert_close(step[1], plain * 0.1 / plain.square().mean().sqrt())


def test_the_loss_told_is_that_of_the_files(light: Rescaler, crop: Tensor) -> None:
    result = Coscale()(light, crop)
    assert torch.equal(result.lr, quantize(result.lr))
    for lr, loss in ((plain(light, crop), result.before), (result.lr, result.after)):
        out = restored(light, lr)
        assert torch.allclose(mse(out, crop) + 0.5 * y_mse(out, crop), loss)


def test_linear_upscaler_reaches_the_least_squares() -> None:
    # Bicubic is linear, so the best LR is known, and on values far from 0 and 1 nothing is clipped.
    bicubic = Bicubic(2)
    hr = 0.3 + 0.4 * torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    columns = torch.eye(144).reshape(144, 1, 12, 12)
    matrix = bicubic.upscale(columns).reshape(144, -1).T
    best = torch.linalg.lstsq(matrix, hr[0].reshape(3, -1).T).solution.T.reshape(1, 3, 12, 12)
    least = mse(bicubic.upscale(best), hr)
    result = Coscale("best", luma=0, fidelity=0)(bicubic, hr)
    assert result.lr_stage is not None
    assert float(result.lr_stage.loss.min() / least) < 1.002
    assert float(result.after / least) < 1.002


@pytest.mark.parametrize("fidelity", [42, 50, 55])
def test_fidelity_is_kept(light: Rescaler, crop: Tensor, fidelity: float) -> None:
    base = plain(light, crop)
    result = Coscale("fast", fidelity=fidelity)(light, crop)
    assert float(psnr(result.lr, base)) >= fidelity
    assert float(result.after) < float(result.before)


def test_fidelity_costs_gain(light: Rescaler, crop: Tensor) -> None:
    near, far = (gains(light, crop, Coscale(fidelity=f))["y"] for f in (52, 40))
    assert 0 < near < far


def test_fidelity_that_rounding_alone_would_break(light: Rescaler, crop: Tensor) -> None:
    result = Coscale("fast", fidelity=60)(light, crop)
    assert torch.equal(result.lr, plain(light, crop))
    assert result.stopped == ("nothing better",)
    assert result.gradients == 1


@pytest.mark.parametrize("luma", [0, 0.5, 20])
def test_no_colour_pays_for_another(light: Rescaler, luma: float) -> None:
    # Colours without luma beside luma without colours: with a high weight, RGB would lose.
    generator = torch.Generator().manual_seed(0)
    hr = torch.rand(4, 3, 32, 32, generator=generator)
    hr[1:3] = 0.5 + 0.2 * (hr[1:3] - 0.5)
    hr[2] = hr[2].mean(0)
    hr[3, 0], hr[3, 2] = 1 - hr[3, 1], hr[3, 1]
    result = Coscale("fast", luma=luma)(light, hr)
    before, after = restored(light, plain(light, hr)), restored(light, result.lr)
    for error in (mse, y_mse):
        assert (error(after, hr) <= error(before, hr)).all()


def test_chroma_is_guarded(butterfly: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    light, hr = load("light-x4").rescaler, butterfly.colour[..., 64:192, 64:192]

    def loss_of_chroma() -> float:
        """In dB, the larger of Cb's and Cr's."""
        lr = Coscale(luma=2)(light, hr).lr
        errors = [chroma_mse(restored(light, x), hr) for x in (lr, plain(light, hr))]
        return float(10 * (errors[0] / errors[1]).log10().max())

    guarded = loss_of_chroma()
    monkeypatch.setattr("coscale.collaborate.coscale._PRICE", 0)
    assert guarded < 0.5 < loss_of_chroma()


def test_gain_does_not_fade_with_size(light: Rescaler, crop: Tensor) -> None:
    small = crop[..., :64, :64]
    row = torch.cat((small, small.flip(-1)) * 2, -1)
    large = torch.cat((row, row.flip(-2)) * 2, -2)
    ours = [gains(light, hr, Coscale("fast"))["y"] for hr in (small, large)]
    assert ours[1] > 0.8 * ours[0]


def test_nothing_to_gain() -> None:
    flat = torch.full((1, 3, 16, 16), 100 / 255)
    result = Coscale()(Bicubic(2), flat)
    assert result.stopped[0] in ("nothing better", "no gradient")
    assert torch.equal(result.lr, torch.full((1, 3, 8, 8), 100 / 255))


def test_no_gradient_ends_it_at_once() -> None:
    class Blind(Bicubic):
        def upscale(self, lr: Tensor) -> Tensor:
            return super().upscale(lr.detach()) + 0 * super().upscale(lr)

    hr = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    result = Coscale("best")(Blind(2), hr)
    assert result.gradients == 1
    assert result.stopped == ("no gradient",)


def test_converged_images_say_so(crop: Tensor) -> None:
    result = Coscale("best")(Bicubic(2), crop)
    assert result.stopped == ("converged",)
    assert result.gradients < 60


def test_images_of_a_batch_do_not_meet(light: Rescaler, crop: Tensor) -> None:
    hr = torch.cat((crop[..., :48, :48], torch.full((1, 3, 48, 48), 0.5)))
    both = Coscale()(light, hr)
    for i in range(2):
        alone = Coscale()(light, hr[i : i + 1])
        assert (both.lr[i] - alone.lr[0]).abs().mean() < 0.1 / 255
        assert torch.allclose(both.after[i], alone.after[0], rtol=0.01)


def test_objective_of_ones_own(light: Rescaler, crop: Tensor) -> None:
    def dissimilarity(a: Tensor, b: Tensor) -> Tensor:
        return 1 - ssim(a, b).float()

    results = [Coscale(objective=objective)(light, crop) for objective in (dissimilarity, None)]
    by_ssim, by_mse = (ssim(restored(light, r.lr), crop) for r in results)
    assert by_ssim > by_mse > ssim(restored(light, plain(light, crop)), crop)


def test_what_a_function_gains_is_not_told_in_db(crop: Tensor) -> None:
    encoded = encode_photo(Photo(crop), load("light-x4"), Coscale("instant", objective=l1))
    assert encoded.gain is None
    assert encoded.objective is None


def test_each_objective_is_best_by_itself(crop: Tensor) -> None:
    light = load("light-x4").rescaler
    names = get_args(ObjectiveName)
    curvature = curvature_of(light, 0.5, crop.device)
    made = {name: restored(light, Coscale(objective=name)(light, crop, curvature=curvature).lr) for name in names}
    for name, objective in {**NAMED, "psnr": WeightedLuma()}.items():
        values = {of: float(objective(found, crop)) for of, found in made.items()}
        assert min(values, key=values.__getitem__) == name


@needs("rates")
def test_perceptual_is_nearer_by_what_others_measure(butterfly: Photo) -> None:
    light, hr = load("light-x4").rescaler, butterfly.colour[..., :128, :128]

    def seen(images: Tensor) -> float:
        arrays = [to_uint8(x)[0].permute(1, 2, 0).numpy() for x in (images, hr)]
        return perceptual(arrays[0], arrays[1], frozenset({SSIMULACRA2}))[SSIMULACRA2]

    alone = seen(restored(light, plain(light, hr)))
    by_psnr, by_perceptual = (
        seen(restored(light, Coscale(objective=name)(light, hr, curvature=curvature_of(light, 0.5, hr.device)).lr))
        for name in ("psnr", "perceptual")
    )
    assert by_perceptual > max(alone, by_psnr) + 3


def test_the_twin_only_gives_gradients(light: Rescaler, crop: Tensor) -> None:
    result = Coscale()(light, crop, twin=Bfloat16(light))
    out = restored(light, result.lr)
    assert torch.allclose(mse(out, crop) + 0.5 * y_mse(out, crop), result.after)
    assert float(result.after / Coscale()(light, crop).after) < 1.01


def test_same_bytes_again_progress_and_watch(light: Rescaler, crop: Tensor) -> None:
    calls: list[tuple[int, int]] = []
    seen: list[tuple[int, Tensor]] = []

    def watch(done: int, most: int, loss: Tensor) -> None:
        calls.append((done, most))
        seen.append((done, loss))

    first = Coscale("fast")(light, crop, watch=watch)
    assert torch.equal(first.lr, Coscale("fast")(light, crop).lr)
    assert calls == [(n, 8) for n in range(1, 9)]
    assert [done for done, _ in seen] == list(range(1, 9))
    assert first.lr_stage is not None
    assert torch.equal(torch.stack([loss for _, loss in seen]), first.lr_stage.loss)


@pytest.mark.parametrize(
    "wrong",
    [{"effort": "utmost"}, {"objective": "lpips"}, {"luma": -1}, {"luma": float("nan")}, {"fidelity": float("inf")}],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Coscale(**wrong)
