"""LR files that every decoder of JPEG XL shows restored: jxl-x2 and jxl-x4, and what marks their files."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from coscale import foreign, upsampled
from coscale.collaborate import PLAIN, Coscale
from coscale.image import Photo, read, write
from coscale.lrfile import read_lr
from coscale.metrics import psnr
from coscale.pipeline import decode_photo, encode_photo, write_encoded
from coscale.quantize import quantize, to_uint8
from coscale.rescalers import JpegXlUpsampling
from coscale.storage import find
from coscale.weights.load import load
from tests.command import coscale, fails
from tests.extras import Lazy, needs
from tests.test_photo_kinds import SRGB

pylibjxl = Lazy("jxl", "pylibjxl")
SCALES = pytest.mark.parametrize("scale", [2, 4])


def noisy(crop: Tensor, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    part = crop[..., :height, :width]
    return quantize(part + 0.1 * torch.randn(part.shape, generator=generator))


def levels(image: Tensor) -> np.ndarray:
    return to_uint8(image)[0].permute(1, 2, 0).numpy().astype(int)


@needs("jxl")
@SCALES
@pytest.mark.parametrize("size", [(45, 37), (64, 48), (1, 3), (5, 41)])
@pytest.mark.parametrize("profile", [None, SRGB])
def test_upscaler_is_the_decoders(crop: Tensor, scale: int, size: tuple[int, int], profile: bytes | None) -> None:
    height, width = size
    lr = noisy(crop, -(-height // scale), -(-width // scale))
    file = find("jxl").showing(scale, size).encode(Photo(lr, icc=profile))
    shown = pylibjxl.decode(file).astype(int)
    restored = levels(JpegXlUpsampling(scale).upscale(lr))[:height, :width]
    assert shown.shape == (height, width, 3)
    assert np.abs(shown - restored).max() <= 1
    back = find("jxl").decode(file)
    assert torch.equal(back.colour, lr)
    assert back.icc == profile


@SCALES
def test_gradient(scale: int) -> None:
    network = JpegXlUpsampling(scale)
    x = torch.rand(1, 1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(network.upscale, x)
    # At an edge the kernels swing over, and the clamp keeps that to what is nearby.
    step = torch.zeros(1, 1, 12, 12)
    step[..., 6:] = 1
    restored = network.upscale(step)
    assert restored.min() == 0
    assert restored.max() == 1
    assert (restored[..., : 4 * scale] == 0).all()


@needs("jxl")
@pytest.mark.parametrize("name", ["jxl-x2", "jxl-x4"])
def test_improved_is_better_in_a_decoder(crop: Tensor, tmp_path: Path, name: str) -> None:
    photo, found = Photo(crop[..., :47, :45]), []
    for method in (PLAIN, Coscale()):
        encoded = encode_photo(photo, load(name), method, storage=find("jxl"))
        write_encoded(encoded, path := tmp_path / "lr.jxl")
        shown = read(path)
        assert shown.size == photo.size
        lr, origin = read_lr(path)
        assert torch.equal(lr.colour, encoded.lr.colour)
        restored = decode_photo(lr, load(name), origin)
        assert np.abs(levels(shown.colour) - levels(restored.colour)).max() <= 1
        found.append(float(psnr(shown.colour, photo.colour)))
    assert found[1] > found[0] + 0.2


@needs("jxl")
@pytest.mark.parametrize("kind", ["grey", "equal", "alpha"])
def test_other_photos_are_shown_as_they_come_back(crop: Tensor, tmp_path: Path, kind: str) -> None:
    part, opacity = crop[..., :45, :47], quantize(torch.linspace(0, 1, 47).expand(1, 1, 45, 47))
    grey = part[:, :1]
    photos = {"grey": Photo(grey), "equal": Photo(grey.expand(-1, 3, -1, -1)), "alpha": Photo(part, opacity)}
    photo = photos[kind]
    pair = load("jxl-x2")
    write_encoded(encode_photo(photo, pair, Coscale("instant"), storage=find("jxl")), path := tmp_path / "lr.jxl")
    shown, (lr, origin) = read(path), read_lr(path)
    restored = decode_photo(lr, pair, origin)
    assert (shown.size, shown.channels) == (restored.size, restored.channels) == (photo.size, photo.channels)
    assert np.abs(levels(shown.colour) - levels(restored.colour)).max() <= 1
    if photo.alpha is not None:
        assert shown.alpha is not None
        assert restored.alpha is not None
        assert np.abs(levels(shown.alpha) - levels(restored.alpha)).max() <= 1


@needs("jxl")
def test_drawings_have_no_patches(tmp_path: Path) -> None:
    """What libjxl would write as patches lies on the upsampled image, where it is too small."""
    glyph = np.random.default_rng(0).integers(0, 2, (9, 7, 1), np.uint8) * 255
    page = np.full((96, 160, 3), 255, np.uint8)
    for top in range(4, 84, 16):
        for left in range(4, 148, 12):
            page[top : top + 9, left : left + 7] = glyph
    lr = torch.from_numpy(page).permute(2, 0, 1)[None] / 255
    file = find("jxl").showing(2, (192, 320)).encode(Photo(lr))
    shown = pylibjxl.decode(file).astype(int)
    assert np.abs(shown - levels(JpegXlUpsampling(2).upscale(lr))).max() <= 1


@needs("jxl")
def test_files_that_are_not_marked_stay_as_they_are(crop: Tensor) -> None:
    plain = find("jxl").encode(Photo(noisy(crop, 20, 20)))
    assert upsampled.unmarked(plain) == plain
    marked = upsampled.marked(plain, 2, (39, 40))
    assert foreign.codestream(upsampled.unmarked(marked)) == foreign.codestream(plain)
    for cut in range(0, len(marked), 7):  # nothing but an error of the reader's may come of it
        upsampled.unmarked(marked[:cut])


@needs("jxl")
def test_command(crop: Tensor, tmp_path: Path) -> None:
    write(photo := tmp_path / "a.png", Photo(crop[..., :45, :37]))
    coscale("downscale", photo, "--rescaler", "jxl-x4")
    coscale("upscale", lr := tmp_path / "a.x4.jxl", "-o", tmp_path / "back.png")
    shown, restored = read(lr), read(tmp_path / "back.png")
    assert shown.size == restored.size == (45, 37)
    assert np.abs(levels(shown.colour) - levels(restored.colour)).max() <= 1


def test_without_the_extra(crop: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(photo := tmp_path / "a.png", Photo(crop[..., :8, :8]))
    monkeypatch.setitem(sys.modules, "pylibjxl", None)
    assert "pip install 'coscale[jxl]'" in fails("downscale", photo, "--rescaler", "jxl-x2")
    assert not list(tmp_path.glob("*.jxl"))
