"""Runtimes beside PyTorch: they give the same, and where one cannot be had, PyTorch is taken."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from coscale.collaborate import Coscale
from coscale.errors import CoscaleWarning
from coscale.image import Photo, read, write
from coscale.pipeline import decode_photo, encode_photo
from coscale.quantize import to_uint8
from coscale.rescalers import Light, Rescaler
from coscale.weights.load import load
from coscale.weights.runtimes import quick_of
from tests.command import coscale
from tests.extras import needs

CPU = torch.device("cpu")
PAIRS = ["light-x2", "light-x4"]


@needs("fast")
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (64, 48)])
def test_ncnn_gives_the_same(name: str, size: tuple[int, int]) -> None:
    pair = load(name, runtime="ncnn")
    assert pair.by_runtime is not None
    assert pair.quick is pair.by_runtime
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(2, 3, *size, generator=generator)
    hr = torch.rand(2, 3, *(pair.scale * side for side in size), generator=generator)
    with torch.no_grad():
        for mine, theirs in (
            (pair.quick.upscale(lr), pair.rescaler.upscale(lr)),
            (pair.quick.downscale(hr), pair.rescaler.downscale(hr)),
        ):
            assert mine.shape == theirs.shape
            assert (mine - theirs).abs().max() < 0.02 / 255


@needs("fast")
def test_other_sizes_and_scales(crop: Tensor) -> None:
    torch.manual_seed(0)
    network = Light(3, width=24, blocks=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    network.requires_grad_(False)
    with torch.no_grad():
        quick = quick_of(network, "mine", "auto", CPU)
        assert quick is not None
        assert (quick.upscale(crop) - network.upscale(crop)).abs().max() < 0.02 / 255


@needs("fast")
@pytest.mark.parametrize("kind", ["colour", "grey", "clear"])
def test_photos_come_back_the_same(kind: str, butterfly: Photo) -> None:
    colour = butterfly.colour[..., :77, :91]
    alpha = torch.linspace(0, 1, 91).expand(1, 1, 77, 91) if kind == "clear" else None
    photo = Photo(colour.mean(1, keepdim=True) if kind == "grey" else colour, alpha)
    usual, quick = load("light-x2"), load("light-x2", runtime="ncnn")
    encoded = encode_photo(photo, usual, Coscale("instant"))
    restored = [to_uint8(decode_photo(encoded.lr, pair, encoded.origin).colour).int() for pair in (usual, quick)]
    assert (restored[0] - restored[1]).abs().max() <= 1
    assert ((restored[0] - restored[1]) != 0).float().mean() < 0.005
    also = encode_photo(photo, quick, Coscale("instant"))
    assert (also.lr.colour - encoded.lr.colour).abs().mean() < 0.05 / 255
    assert also.gain == pytest.approx(encoded.gain, abs=0.05)


@needs("fast")
def test_the_command_takes_it(butterfly: Photo, tmp_path: Path) -> None:
    write(tmp_path / "photo.png", Photo(butterfly.colour[..., :64, :64]))
    lr, outs = tmp_path / "photo.x2.png", []
    assert coscale("downscale", tmp_path / "photo.png", "--effort", "instant", "--runtime", "ncnn").returncode == 0
    for runtime in ("auto", "torch", "ncnn"):
        outs.append(tmp_path / f"{runtime}.png")
        done = coscale("upscale", lr, "--runtime", runtime, "-o", outs[-1])
        assert (done.returncode, done.stderr) == (0, "")
    auto, torch_, ncnn = (to_uint8(read(out).colour).int() for out in outs)
    assert torch.equal(auto, ncnn)
    assert (ncnn - torch_).abs().max() <= 1


def test_one_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.warns(CoscaleWarning, match=r"goes on with PyTorch: .*coscale\[fast\]"):
        pair = load("light-x2", runtime="ncnn")
    assert pair.by_runtime is None
    assert pair.quick is pair.rescaler
    assert load("light-x2", runtime="auto").by_runtime is None  # and nothing is said


@needs("fast")
def test_one_that_does_not_know_the_network_is_named() -> None:
    with pytest.warns(CoscaleWarning, match="ncnn does not run bicubic-x2"):
        assert load("bicubic-x2", runtime="ncnn").by_runtime is None
    assert load("bicubic-x2", runtime="auto").by_runtime is None


class Off(Light):
    """One whose other runtime is wrong, or fails."""

    def __init__(self, fails: bool) -> None:
        super().__init__(2, width=8, blocks=1)
        self.fails = fails

    def quick(self) -> Rescaler:
        outer = self

        class Wrong(Rescaler):
            scale = 2

            def downscale(self, hr: Tensor) -> Tensor:
                return outer.downscale(hr)

            def upscale(self, lr: Tensor) -> Tensor:
                if outer.fails:
                    raise RuntimeError("no such instruction")
                return outer.upscale(lr) + 1 / 255

        return Wrong()


@pytest.mark.parametrize(("fails", "said"), [(False, "differs from it by 1.0 grey levels"), (True, "no such instruc")])
def test_one_that_disagrees_is_not_used(fails: bool, said: str) -> None:
    with pytest.warns(CoscaleWarning, match=f"goes on with PyTorch: .*{said}"):
        assert quick_of(Off(fails), "mine", "auto", CPU) is None
