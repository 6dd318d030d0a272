"""Compiled gradients: the same, and the rescaler itself where compiling fails."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters

from coscale.collaborate import Coscale
from coscale.errors import CoscaleWarning
from coscale.image import Photo
from coscale.pipeline import encode_photo
from coscale.rescalers import Light
from coscale.rescalers.coded import Coded
from coscale.rescalers.compiled import Compiled
from coscale.weights.load import Loaded, load

CPU = torch.device("cpu")


def test_gradients_are_those_of_the_rescaler(crop: Tensor) -> None:
    torch.manual_seed(0)
    small = Light(2, width=8, blocks=1).requires_grad_(False)
    torch.nn.init.normal_(small.up.tail.weight, std=0.1)
    slopes = []
    for rescaler in (small, Compiled(small, CPU)):
        x = small.downscale(crop).detach().requires_grad_()
        slopes.append(torch.autograd.grad((rescaler.upscale(x) - crop).square().mean(), x)[0])
    assert (slopes[0] - slopes[1]).abs().max() < 1e-5 * slopes[0].abs().max()


def test_without_a_compiler_it_goes_on(monkeypatch: pytest.MonkeyPatch, crop: Tensor) -> None:
    def broken(function: Callable[..., Any], **_: object) -> Callable[..., Any]:
        def run(_: Tensor) -> Tensor:
            raise TorchDynamoException("no compiler here\nand more")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    pair = load("bicubic-x2", compiled=True)
    with pytest.warns(CoscaleWarning, match="without compiling, which failed: no compiler here$"):
        encoded = encode_photo(Photo(crop), pair, Coscale("fast"))
    usual = encode_photo(Photo(crop), load("bicubic-x2"), Coscale("fast"))
    assert torch.equal(encoded.lr.colour, usual.lr.colour)
    assert pair.compiled is not None
    assert torch.equal(pair.compiled.downscale(crop), pair.rescaler.downscale(crop))


def test_a_level_keeps_what_is_compiled(monkeypatch: pytest.MonkeyPatch, crop: Tensor) -> None:
    """A pair that is told a level is compiled as well, once for all levels, and descends the same.

    Graphs are traced, and not made into programs, which would take a minute.
    """
    plain_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda run, **_: plain_compile(run, backend="aot_eager", dynamic=False))
    torch.manual_seed(0)
    small = Coded(2, 8, 1).requires_grad_(False)
    torch.nn.init.normal_(small.up.tail.weight, std=0.1)
    pair = Loaded("coded-x2", small, compiled=Compiled(small, CPU))
    lr = small.downscale(crop).detach()
    slopes, graphs = [], []
    for level in (40, 90, 141):
        told = pair.told(level)
        assert isinstance(told.compiled, Compiled)
        for rescaler in (told.rescaler, told.compiled):
            x = lr.clone().requires_grad_()
            slopes.append(torch.autograd.grad((rescaler.upscale(x) - crop).square().mean(), x)[0])
        assert (slopes[-2] - slopes[-1]).abs().max() < 1e-5 * slopes[-2].abs().max()
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] == graphs[2]
    assert not torch.allclose(slopes[0], slopes[2])
    assert pair.told(None) is pair
    plain = Loaded("coded-x2", small)
    assert plain.told(40).compiled is None
