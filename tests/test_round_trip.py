"""Photo to LR to photo: encode and decode together."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import ImageCms

from coscale.collaborate import HCD, PLAIN, Method
from coscale.errors import CoscaleWarning, LRFileError, RescalerError
from coscale.guard import Guarded
from coscale.image import Photo
from coscale.objectives import mse
from coscale.pipeline import decode_photo, encode_photo, write_and_measure
from coscale.quantize import quantize, to_uint8
from coscale.tiles import Room
from coscale.weights.load import load

FEW = HCD(hr_steps=1, lr_steps=1)


@pytest.mark.parametrize("name", ["bicubic-x2", "bicubic-x3", "bicubic-x4", "bicubic-x8", "irn-x2-4b"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 1), (2, 2), (7, 10), (17, 15)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_comes_back(crop: torch.Tensor, name: str, size: tuple[int, int], channels: int) -> None:
    pair = load(name)
    photo = Photo(crop[:, :channels, : size[0], : size[1]])
    for method in (PLAIN, FEW):
        encoded = encode_photo(photo, pair, method)
        assert encoded.lr.size == tuple(-(-side // pair.scale) for side in size)
        assert encoded.lr.colour.shape[1] in (channels, 3)  # the LR of a grey photo may be in colour
        restored = decode_photo(encoded.lr, pair, encoded.origin)
        assert restored.size == size
        assert restored.colour.shape[1] == channels
        assert restored.colour.min() >= 0
        assert restored.colour.max() <= 1


def test_lr_is_what_a_file_holds(crop: torch.Tensor) -> None:
    lr = encode_photo(Photo(crop), load("irn-x2-4b"), FEW).lr.colour
    assert torch.equal(lr, to_uint8(lr) / 255)
    assert torch.equal(quantize(lr), lr)


def test_alpha_is_resampled_and_profile_kept(crop: torch.Tensor) -> None:
    alpha = torch.zeros(1, 1, 48, 48)
    alpha[..., :24] = 1
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Photo(crop, alpha, icc=profile)
    pair = load("irn-x2-4b")
    encoded = encode_photo(photo, pair, FEW)
    restored = decode_photo(encoded.lr, pair, encoded.origin)
    assert encoded.lr.alpha is not None
    assert restored.alpha is not None
    assert encoded.lr.alpha.shape == (1, 1, 24, 24)
    assert (restored.alpha[..., :20] == 1).all()
    assert (restored.alpha[..., 28:] == 0).all()
    assert encoded.lr.icc == restored.icc == profile
    # What is hidden does not matter.
    other = crop.clone()
    other[..., 24:] = 0.5
    assert torch.equal(encoded.lr.colour, encode_photo(Photo(other, alpha), pair, FEW).lr.colour)


def test_hcd_improves_what_is_restored(crop: torch.Tensor) -> None:
    pair = load("irn-x2-4b")

    def error(channels: int, method: Method) -> float:
        photo = Photo(crop[:, :channels])
        encoded = encode_photo(photo, pair, method)
        return float((decode_photo(encoded.lr, pair, encoded.origin).colour - photo.colour).square().mean())

    for channels in (1, 3):
        assert error(channels, HCD(hr_steps=3, lr_steps=5)) < error(channels, PLAIN)


def test_same_input_same_bytes(crop: torch.Tensor) -> None:
    pair = load("irn-x2-4b")
    assert torch.equal(encode_photo(Photo(crop), pair, FEW).lr.colour, encode_photo(Photo(crop), pair, FEW).lr.colour)


def test_sampling(crop: torch.Tensor) -> None:
    pair = load("irn-x2-4b")
    for channels in (1, 3):
        lr = encode_photo(Photo(crop[:, :channels]), pair, PLAIN).lr
        zero, one, again, two = (decode_photo(lr, pair, seed=seed).colour for seed in (None, 1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.equal(one, two)
        assert not torch.equal(one, zero)
    with pytest.raises(RescalerError, match="leave out --sample"):
        decode_photo(encode_photo(Photo(crop), load("bicubic-x2"), PLAIN).lr, load("bicubic-x2"), seed=1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rescaler", "irn-x2", "by irn-x2, not by"),
        ("weights_hash", "0" * 64, "other weights"),
        ("scale", 4, "says scale 4"),
    ],
)
def test_lr_of_another_rescaler(crop: torch.Tensor, field: str, value: object, message: str) -> None:
    pair = load("irn-x2-4b")
    encoded = encode_photo(Photo(crop), pair, PLAIN)
    with pytest.raises(RescalerError, match=message):
        decode_photo(encoded.lr, pair, replace(encoded.origin, **{field: value}))


def test_lr_of_another_size(crop: torch.Tensor) -> None:
    pair = load("bicubic-x2")
    encoded = encode_photo(Photo(crop), pair, PLAIN)
    with pytest.raises(LRFileError, match="20 x 24 pixels, but"):
        decode_photo(Photo(encoded.lr.colour[..., :20]), pair, encoded.origin)


def test_bfloat16_gains_as_much(crop: torch.Tensor) -> None:
    """Its gradients are rough, but what is kept is measured in float32, so nothing else is lost."""
    pair, photo, method = load("irn-x2-4b"), Photo(crop), HCD(hr_steps=5, lr_steps=5)
    exact, rough = (encode_photo(photo, pair, method, precision=p).result for p in ("float32", "bfloat16"))
    assert exact is not None
    assert rough is not None
    assert torch.equal(exact.before, rough.before)
    restored = pair.rescaler.upscale(quantize(rough.lr))
    assert mse(quantize(restored), crop) == pytest.approx(float(rough.after), rel=1e-5)
    assert torch.log(rough.before / rough.after) > 0.8 * torch.log(exact.before / exact.after)
    assert torch.equal(
        encode_photo(photo, pair, HCD(0, 0), precision="bfloat16").lr.colour, encode_photo(photo, pair, PLAIN).lr.colour
    )


def test_short_memory_is_warned_of_once(butterfly: Photo, tmp_path: Path) -> None:
    with pytest.warns(CoscaleWarning, match="memory is short") as said:
        write_and_measure(butterfly, load("light-x2"), FEW, tmp_path / "lr.png", room=Room(memory=2e7))
    assert len(said) == 1


def test_the_gain_is_that_of_the_file(butterfly: Photo) -> None:
    photo, pair = Photo(butterfly.colour[..., 64:128, 64:128].contiguous()), load("light-x2")
    plain, found = (encode_photo(photo, pair, method) for method in (PLAIN, HCD(0, 3)))
    assert plain.gain is None
    errors = [mse(decode_photo(one.lr, pair, one.origin).colour, photo.colour) for one in (plain, found)]
    assert found.gain == pytest.approx(float(10 * (errors[0] / errors[1]).log10()), abs=1e-3)
    assert replace(found, guarded=Guarded(found.lr.colour, corrected=0.1)).gain is None
