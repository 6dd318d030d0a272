"""Super-resolution networks as upscalers, whatever sizes and values they take."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coscale import resize
from coscale.colour import chroma, luma
from coscale.errors import RescalerError
from coscale.rescalers import SuperResolution
from coscale.rescalers.rdn import RDN
from coscale.rescalers.rfanet import RFANet
from coscale.rescalers.srcnn import SRCNN


class Repeat(nn.Module):
    """Each pixel ``scale`` times; takes the sizes and the values that it was told of, and remembers what it saw."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.seen = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return F.interpolate(x, scale_factor=self.scale)


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (16, 17), (8, 24)])
def test_sizes_are_made_up_to_those_it_takes(size: tuple[int, int]) -> None:
    network = Repeat()
    lr = torch.rand(1, 3, *size)
    restored = SuperResolution(network, 2, multiple=8, minimum=16).upscale(lr)
    assert torch.equal(restored, F.interpolate(lr, scale_factor=2))
    assert all(side % 8 == 0 and side >= 16 for side in network.seen.shape[-2:])
    SuperResolution(network, 2, multiple=8, square=True).upscale(lr)
    assert network.seen.shape[-1] == network.seen.shape[-2]


def test_what_is_added_mirrors_the_image() -> None:
    network = Repeat()
    lr = torch.arange(12.0).reshape(1, 1, 3, 4).expand(-1, 3, -1, -1)
    SuperResolution(network, 2, multiple=8).upscale(lr)
    assert network.seen[0, 0, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 0]
    assert network.seen[0, 0, :, 0].tolist() == [0, 4, 8, 4, 0, 0, 0, 0]


def test_values_are_those_it_takes() -> None:
    network = Repeat()
    lr = torch.rand(1, 3, 4, 4)
    restored = SuperResolution(network, 2, white=255).upscale(lr)
    assert torch.equal(network.seen, lr * 255)
    assert (restored - F.interpolate(lr, scale_factor=2)).abs().max() < 1e-6


def test_a_network_of_luma_leaves_chroma_to_bicubic(crop: Tensor) -> None:
    pair = SuperResolution(Repeat(), 2, channels=1)
    restored, plain = pair.upscale(crop), resize.upscale(crop, 2)
    assert (luma(restored) - F.interpolate(luma(crop), scale_factor=2)).abs().max() < 1e-5
    assert (chroma(restored) - chroma(plain)).abs().max() < 1e-5


def test_another_scale_than_its_own_is_refused() -> None:
    with pytest.raises(RescalerError, match="a whole number of times as large"):
        SuperResolution(Repeat(2), 4).upscale(torch.rand(1, 3, 8, 8))


def test_srcnn_that_changes_nothing_is_bicubic(crop: Tensor) -> None:
    network = SRCNN(3, 3, (3, 3), (9, 1, 5))
    for conv in (network.conv1, network.conv2, network.conv3):
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    assert torch.equal(SuperResolution(network, 3).upscale(crop), resize.upscale(crop, 3).relu())


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (lambda: SRCNN(2), 0.008129),
        (lambda: SRCNN(2, kernels=(9, 5, 5)), 0.057281),
        (lambda: RDN(2), 22.123),
        (lambda: RDN(4), 22.271),
        (lambda: RFANet(4), 11.0),
    ],
)
def test_published_sizes(build: Callable[[], nn.Module], millions: float) -> None:
    """As many parameters as the papers and the published networks have."""
    with torch.device("meta"):
        count = sum(p.numel() for p in build().parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.02)
