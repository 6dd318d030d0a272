"""What an upscaler makes of errors in its LR, the descent that goes by it, and rounding that feeds its errors back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from coscale.collaborate import Coscale
from coscale.collaborate.curvature import Curvature, curvature_of
from coscale.colour import luma
from coscale.metrics import psnr
from coscale.quantize import from_uint8, quantize, to_uint8
from coscale.rescalers import Bicubic, Greyed, Rescaler
from coscale.weights.load import load

CPU = torch.device("cpu")
NAMES = ["light-x2", "light-x4", "irn-x2-4b", "srcnn-x4", "bicubic-x3"]


def cost(rescaler: Rescaler, lr: Tensor, rounded: Tensor) -> float:
    """What rounding changes of the restored photo, by the objective."""
    with torch.no_grad():
        wanted, found = rescaler.upscale(lr), rescaler.upscale(rounded)
    return float((found - wanted).square().mean() + 0.5 * (luma(found) - luma(wanted)).square().mean())


def unrounded(rescaler: Rescaler, crop: Tensor) -> Tensor:
    side = 48 * rescaler.scale
    with torch.no_grad():
        return rescaler.downscale(crop[..., :side, :side].repeat(1, 1, 3, 3)[..., :side, :side]).clamp(0, 1)


@pytest.mark.parametrize("name", NAMES)
def test_rounding_costs_less(name: str, crop: Tensor) -> None:
    rescaler = load(name).rescaler
    lr = unrounded(rescaler, crop)
    curvature = curvature_of(rescaler, 0.5, CPU)
    levels = curvature.rounded(lr)
    assert levels.dtype == torch.uint8
    rounded = from_uint8(levels)
    assert float((255 * (rounded - lr)).abs().max()) <= 1.5 + 1e-3
    assert cost(rescaler, lr, rounded) < 0.97 * cost(rescaler, lr, quantize(lr))


def test_grey_photos_gain_most_from_colours(crop: Tensor) -> None:
    """Of three channels that are averaged, the errors can cancel."""
    rescaler = Greyed(load("light-x2").rescaler)
    lr = unrounded(rescaler, crop.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    rounded = from_uint8(curvature_of(rescaler, 0.5, CPU).rounded(lr))
    assert cost(rescaler, lr, rounded) < 0.75 * cost(rescaler, lr, quantize(lr))


def test_an_image_is_rounded_for_itself() -> None:
    torch.manual_seed(0)
    curvature = curvature_of(load("light-x2").rescaler, 0.5, CPU)
    for height, width in ((1, 1), (1, 9), (9, 1), (2, 3), (17, 5), (5, 17)):
        lr = torch.rand(2, 3, height, width)
        both = curvature.rounded(lr)
        assert both.shape == lr.shape
        assert torch.equal(both, torch.cat([curvature.rounded(image[None]) for image in lr]))
        assert torch.equal(curvature.rounded(from_uint8(both)), both)  # what lies on grey levels stays there


def test_the_order_is_that_of_rows() -> None:
    """The pixels that are rounded together see the same errors as one by one, by the plainest loop."""
    torch.manual_seed(1)
    curvature = curvature_of(load("light-x4").rescaler, 0.5, CPU)
    lr = torch.rand(1, 3, 7, 6)
    levels = 255 * lr[0].permute(1, 2, 0).double().numpy()
    error = np.zeros((8, 8, 3))
    for y in range(7):
        for x in range(6):
            near = [error[y, x], error[y, x + 1], error[y, x + 2], error[y + 1, x]]
            for c in range(3):
                pull = sum(float(e @ p[:, c]) for e, p in zip(near, curvature.past, strict=True))
                pull += float(error[y + 1, x + 1, :c] @ curvature.within[:c, c])
                level = np.clip(np.rint(levels[y, x, c] - np.clip(pull, -1, 1)), 0, 255)
                error[y + 1, x + 1, c] = level - levels[y, x, c]
    wanted = torch.from_numpy(levels + error[1:, 1:-1]).permute(2, 0, 1)
    assert torch.equal(curvature.rounded(lr)[0].float(), wanted.round().float())


def test_an_upscaler_that_sees_nothing() -> None:
    class Blind(Bicubic):
        def upscale(self, lr: Tensor) -> Tensor:
            return 0 * super().upscale(lr) + 0.5

    curvature = curvature_of(Blind(2), 0.5, CPU)
    lr = torch.rand(1, 3, 8, 8)
    assert torch.equal(curvature.rounded(lr), to_uint8(lr))
    step = curvature.step(lr)
    assert torch.allclose(step, lr, atol=2e-3)


def test_descent_gains_more_by_it(crop: Tensor) -> None:
    rescaler = load("light-x4").rescaler

    def gain(curvature: Curvature | None) -> float:
        result = Coscale("instant")(rescaler, crop, curvature=curvature)
        return float(10 * (result.before / result.after).log10())

    assert gain(curvature_of(rescaler, 0.5, CPU)) > gain(None) + 0.05


def test_an_objective_of_a_users_own_goes_without() -> None:
    rescaler = load("light-x2").rescaler
    assert Coscale(objective=lambda a, b: (a - b).abs().mean((1, 2, 3))).curvature(rescaler, CPU) is None
    assert Coscale().curvature(rescaler, CPU) is not None


def test_is_kept_by_weights_and_luma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSCALE_CACHE", str(tmp_path))
    rescaler = load("light-x2").rescaler
    first = curvature_of(rescaler, 0.5, CPU)
    assert not np.array_equal(curvature_of(rescaler, 4.0, CPU).past, first.past)
    monkeypatch.setattr("coscale.collaborate.curvature._hessian", None)  # nothing is measured again
    again = curvature_of(rescaler, 0.5, CPU)
    assert all(np.array_equal(getattr(again, name), getattr(first, name)) for name in ("past", "within", "inverse"))
    with pytest.raises(TypeError):
        curvature_of(load("light-x4").rescaler, 0.5, CPU)


def test_fidelity_holds(crop: Tensor) -> None:
    rescaler = load("light-x2").rescaler
    curvature = curvature_of(rescaler, 0.5, CPU)
    for fidelity in (40, 50, 55):
        result = Coscale("instant", fidelity=fidelity)(rescaler, crop, curvature=curvature)
        assert float(psnr(result.lr, result.plain)) >= fidelity
