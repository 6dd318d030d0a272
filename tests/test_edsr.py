"""EDSR: the official layout, and what each part does. The reference's vectors are in ``test_car.py``."""

import pytest
import torch
from torch import nn

from coscale.rescalers.edsr import EDSR
from tests.golden import described, fill


@pytest.mark.parametrize("scale", [2, 4])
def test_layout_is_that_of_the_official_checkpoints(scale: int) -> None:
    with torch.device("meta"):
        edsr = EDSR(scale)
    shapes = {key: list(value.shape) for key, value in edsr.state_dict().items()}
    assert shapes == described(f"car_x{scale}")["usn_shapes"]


def test_scales() -> None:
    lr = torch.rand(2, 3, 5, 4)
    for scale in (2, 3, 4):
        assert EDSR(scale, blocks=1, width=8)(lr).shape == (2, 3, 5 * scale, 4 * scale)
    with pytest.raises(KeyError):
        EDSR(5)


def test_mean_is_taken_off_and_put_back() -> None:
    edsr = EDSR(2, blocks=1, width=8)
    for parameter in edsr.parameters():
        nn.init.zeros_(parameter)
    restored = edsr(torch.rand(1, 3, 3, 3))
    assert torch.equal(restored, torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1).expand(1, 3, 6, 6))
    seen: list[torch.Tensor] = []
    edsr.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    edsr(restored)
    assert seen[0].abs().max() < 1e-7


def test_the_means_are_not_trained() -> None:
    edsr = EDSR(2, blocks=1, width=8)
    assert not [name for name, _ in edsr.named_parameters() if "mean" in name]
    assert {name for name, _ in edsr.named_buffers()} == {
        f"{part}_mean.{kind}" for part in ("sub", "add") for kind in ("weight", "bias")
    }


def test_residuals_are_scaled() -> None:
    torch.manual_seed(0)
    edsr, lr = EDSR(2, blocks=2, width=8, res_scale=0.0), torch.rand(1, 3, 4, 4)
    features = edsr.head(edsr.sub_mean(lr))
    expected = edsr.add_mean(edsr.tail(features + edsr.body[-1](features)))
    assert torch.allclose(edsr(lr), expected, atol=1e-6)


def test_gradients() -> None:
    edsr = fill(EDSR(2, blocks=1, width=4).double())
    assert torch.autograd.gradcheck(edsr, torch.rand(1, 3, 2, 3, dtype=torch.float64, requires_grad=True))


def test_autocast_gives_float32() -> None:
    edsr = fill(EDSR(4, blocks=2, width=16))
    lr = torch.rand(1, 3, 6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        near = edsr(lr)
    assert near.dtype == torch.float32
    assert 0 < (near - edsr(lr)).abs().max() < 5e-3
