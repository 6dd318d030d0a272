"""Images in memory: what goes in comes out, and it is what the command makes of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import coscale
from coscale import HCD, Coscale, Pair, decode_photo, encode_photo, read, read_lr
from coscale.collaborate import PLAIN
from coscale.errors import CoscaleError, ImageError, LRFileError, RescalerError, SettingsError
from coscale.image import from_pillow
from coscale.quantize import quantize, to_uint8

FEW = HCD(hr_steps=0, lr_steps=1)
SIZE = (33, 46)  # no multiples of the scale


@pytest.fixture(scope="module")
def pair() -> Pair:
    return coscale.load("light-x2")


@pytest.fixture(scope="module")
def picture(butterfly_path: Path) -> Image.Image:
    with Image.open(butterfly_path) as image:
        return image.convert("RGB").crop((60, 100, 60 + SIZE[1], 100 + SIZE[0]))


def of_mode(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    if mode.endswith("A"):
        image = picture.convert(mode)
        image.putalpha(Image.linear_gradient("L").resize(picture.size))
        return image
    return picture.convert(mode)


@pytest.mark.parametrize(
    ("mode", "back"),
    [("RGB", "RGB"), ("L", "L"), ("LA", "LA"), ("RGBA", "RGBA"), ("P", "RGB"), ("I;16", "L"), ("1", "L")],
)
def test_pillow_image_as_its_file(pair: Pair, picture: Image.Image, tmp_path: Path, mode: str, back: str) -> None:
    image = of_mode(picture, mode)
    image.save(tmp_path / "photo.png")
    lr = pair.downscale(image, FEW)
    in_colour = {"L": "RGB", "LA": "RGBA"}.get(back, back)  # grey has an LR that holds three times as much
    assert (lr.mode, lr.size) == (in_colour, (23, 17))
    encoded = encode_photo(read(tmp_path / "photo.png"), pair, FEW)
    assert torch.equal(from_pillow(lr).colour, encoded.lr.colour)

    pair.save(lr, tmp_path / "lr.png")
    written, origin = read_lr(tmp_path / "lr.png")
    assert origin == encoded.origin
    assert torch.equal(written.colour, encoded.lr.colour)
    expected = decode_photo(written, pair, origin)
    with Image.open(tmp_path / "lr.png") as opened:
        for small in (lr, opened):
            restored = pair.upscale(small)
            assert (restored.mode, restored.size) == (back, image.size)
            assert "coscale" not in restored.info
            photo = from_pillow(restored)
            assert torch.equal(photo.colour, expected.colour)
            assert (photo.alpha is None) == (expected.alpha is None)
            assert photo.alpha is None or expected.alpha is None or torch.equal(photo.alpha, expected.alpha)


def test_profile_and_orientation(pair: Pair, picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "photo.png", exif=exif, icc_profile=profile)
    with Image.open(tmp_path / "photo.png") as opened:
        lr = pair.downscale(opened, PLAIN)
    assert lr.size == (17, 23)  # upright, so that width and height are exchanged
    assert pair.upscale(lr).size == SIZE
    assert lr.info["icc_profile"] == pair.upscale(lr).info["icc_profile"] == profile


def kinds(picture: Image.Image) -> dict[str, Any]:
    array = np.asarray(picture)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    return {
        "uint8": array,
        "uint16": array.astype(np.uint16) * 257,
        "big-endian": (array / 255).astype(">f4"),
        "float64": array / 255,
        "float16": (array / 255).astype(np.float16),
        "flipped": np.ascontiguousarray(array[::-1])[::-1],
        "uint8 tensor": tensor,
        "float tensor": tensor / 255,
        "double tensor": tensor.double() / 255,
        "trained": (tensor / 255).requires_grad_(),
        "batch": torch.stack((tensor, tensor.flip(2))) / 255,
    }


@pytest.mark.parametrize("kind", kinds(Image.new("RGB", (1, 1))))
def test_kind_that_was_given(pair: Pair, picture: Image.Image, kind: str) -> None:
    image = kinds(picture)[kind]
    lr = pair.downscale(image, PLAIN)
    restored = pair.upscale(lr, SIZE)
    integer = kind in ("uint8", "uint16", "flipped", "uint8 tensor")
    wanted = (np.dtype(np.uint8) if isinstance(image, np.ndarray) else torch.uint8) if integer else image.dtype
    assert lr.dtype == restored.dtype == wanted
    assert restored.shape == image.shape
    assert type(lr) is type(image)

    photo = coscale.Photo(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255)
    expected = encode_photo(photo, pair, PLAIN)
    for out, photo in (
        (lr, expected.lr.colour),
        (restored, decode_photo(expected.lr, pair, expected.origin).colour),
    ):
        values = out if isinstance(out, np.ndarray) else out.movedim(-3, -1).numpy()
        levels = values if integer else np.round(values.astype(np.float64) * 255)
        off = np.abs((levels[0] if kind == "batch" else levels) - to_uint8(photo)[0].permute(1, 2, 0).int().numpy())
        assert off.max() <= (2 if kind == "float16" else 0)  # its LR was not that of the same image
        if kind == "float64":
            assert np.array_equal(values, levels / 255)


def test_batch_is_its_images(pair: Pair, crop: torch.Tensor) -> None:
    batch = torch.cat((crop, crop.flip(3)))
    lr = pair.downscale(batch, FEW)
    assert torch.equal(lr, torch.stack([pair.downscale(image, FEW) for image in batch]))
    assert torch.equal(lr, quantize(lr))
    restored = pair.upscale(lr)
    assert restored.shape == batch.shape
    assert torch.equal(restored, torch.stack([pair.upscale(image) for image in lr]))


@pytest.mark.parametrize("shape", [(16, 18), (16, 18, 1)])
def test_grey_array(pair: Pair, shape: tuple[int, ...]) -> None:
    image = np.linspace(0, 255, 16 * 18).reshape(shape).astype(np.uint8)
    assert pair.downscale(image, PLAIN).shape == (8, 9, *shape[2:])
    assert pair.upscale(pair.downscale(image, PLAIN)).shape == shape
    grey = torch.from_numpy(image.reshape(1, 16, 18))
    assert np.array_equal(pair.downscale(grey, PLAIN).numpy().ravel(), pair.downscale(image, PLAIN).ravel())


def test_method_is_ours_unless_said(pair: Pair, crop: torch.Tensor) -> None:
    def error(lr: torch.Tensor) -> float:
        return float((pair.upscale(lr) - crop).square().mean())

    seen: list[tuple[int, int]] = []
    ours = pair.downscale(crop, watch=lambda done, most, loss: seen.append((done, most)))
    assert seen[-1] == (8, 8)
    assert torch.equal(ours, pair.downscale(crop, Coscale()))
    assert error(ours) < error(pair.downscale(crop, PLAIN))


def test_lr_of_more_than_8_bit_is_rounded(pair: Pair, crop: torch.Tensor) -> None:
    lr = torch.nn.functional.avg_pool2d(crop, 2)
    assert torch.equal(pair.upscale(lr), pair.upscale(quantize(lr)))


def test_save_of_an_array(pair: Pair, picture: Image.Image, tmp_path: Path) -> None:
    lr = pair.downscale(np.asarray(picture), PLAIN)
    for size, back in ((SIZE, SIZE), (None, (34, 46))):
        pair.save(lr, tmp_path / "lr.png", size)
        with Image.open(tmp_path / "lr.png") as opened:
            restored = np.asarray(pair.upscale(opened))
        assert restored.shape == (*back, 3)
        assert np.array_equal(restored, pair.upscale(lr, size))
    with pytest.raises(ImageError, match="one by one"):
        pair.save(torch.zeros(2, 3, 8, 8), tmp_path / "lr.png")
    with pytest.raises(LRFileError, match=r"name it \.png"):
        pair.save(lr, tmp_path / "lr.jpg")


def test_other_lr_files_are_refused(pair: Pair, picture: Image.Image, tmp_path: Path) -> None:
    lr = pair.downscale(picture, PLAIN)
    other = coscale.load("bicubic-x2")
    with pytest.raises(RescalerError, match="by light-x2, not by bicubic-x2"):
        other.upscale(lr)
    with pytest.raises(RescalerError, match="by light-x2, not by bicubic-x2"):
        other.save(lr, tmp_path / "lr.png")
    assert not (tmp_path / "lr.png").exists()
    with pytest.raises(LRFileError, match="not resized"):
        pair.upscale(lr.resize((40, 40)))
    with pytest.raises(SettingsError, match="notes 33 x 46; leave size out"):
        pair.upscale(lr, (34, 46))
    assert pair.upscale(lr, SIZE).size == picture.size
    lr.info["coscale"] = "{"
    with pytest.raises(LRFileError, match="the LR image has a damaged note"):
        pair.upscale(lr)


@pytest.mark.parametrize("size", [(32, 46), (35, 46), (33, 48), (0, 0), (-1, 46)])
def test_size_of_another_original(pair: Pair, size: tuple[int, int]) -> None:
    with pytest.raises(SettingsError, match="at most 34 x 46"):
        pair.upscale(np.zeros((17, 23, 3), np.uint8), size)


@pytest.mark.parametrize("size", [(33, 46, 3), (33,), 33, (33.0, 46.0), "no"])
def test_no_size(pair: Pair, size: Any) -> None:
    with pytest.raises(SettingsError, match=r"give the original's \(height, width\)"):
        pair.upscale(np.zeros((17, 23, 3), np.uint8), size)


BAD: dict[str, tuple[Any, str]] = {
    "two channels": (np.zeros((4, 4, 2), np.uint8), "has shape"),
    "four channels": (np.zeros((4, 4, 4), np.uint8), "has shape"),
    "one axis": (np.zeros(4, np.uint8), "has shape"),
    "array batch": (np.zeros((2, 4, 4, 3), np.uint8), "has shape"),
    "empty": (np.zeros((0, 4, 3), np.uint8), "has shape"),
    "bool": (np.zeros((4, 4), bool), "of bool"),
    "int": (np.zeros((4, 4), np.int64), "of int64"),
    "complex": (np.zeros((4, 4), np.complex64), "of complex64"),
    "nan": (np.full((4, 4), np.nan), "not a number"),
    "infinite": (np.full((4, 4), np.inf), "from inf to inf"),
    "levels as floats": (np.full((4, 4), 255.0), "from 255 to 255"),
    "negative": (np.full((4, 4), -0.1, np.float32), "from -0.1 to -0.1"),
    "channels last tensor": (torch.zeros(4, 4, 3), "has shape"),
    "matrix": (torch.zeros(4, 4), "has shape"),
    "five axes": (torch.zeros(1, 1, 3, 4, 4), "has shape"),
    "no images": (torch.zeros(0, 3, 4, 4), "has shape"),
    "int tensor": (torch.zeros(3, 4, 4, dtype=torch.int32), "of int32"),
    "nan tensor": (torch.tensor([[[0.5, torch.nan]]]), "not a number"),
    "large tensor": (torch.full((3, 4, 4), 1.5), "from 1.5 to 1.5"),
    "path": ("photo.jpg", "this is a str"),
    "list": ([[0]], "this is a list"),
    "empty picture": (Image.new("RGB", (0, 4)), "0 x 4 pixels"),
    "32 bit": (Image.new("F", (4, 4)), "32-bit samples"),
}


@pytest.mark.parametrize("what", BAD)
def test_no_image(pair: Pair, what: str) -> None:
    image, message = BAD[what]
    for act in (pair.downscale, pair.upscale):
        with pytest.raises(ImageError, match=message) as caught:
            act(image)
        assert isinstance(caught.value, CoscaleError)
        assert "\n" not in str(caught.value)


def test_damaged_picture(pair: Pair, butterfly_path: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(butterfly_path.read_bytes()[:3000])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(ImageError, match="damaged or cut short"):
        pair.downscale(image)


def test_any_rescaler(crop: torch.Tensor) -> None:
    class Half:
        scale = 2

        def downscale(self, hr: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(hr, 2)

        def upscale(self, lr: torch.Tensor) -> torch.Tensor:
            return lr.repeat_interleave(2, 2).repeat_interleave(2, 3)

    half = Pair("half", Half())
    assert torch.equal(half.downscale(crop, PLAIN), quantize(Half().downscale(crop)))
    assert half.upscale(half.downscale(crop, FEW)).shape == crop.shape


def test_network_of_the_user(crop: torch.Tensor) -> None:
    class Twice(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")

    twice = coscale.load_upscaler(Twice())
    assert isinstance(twice, Pair)
    assert twice.upscale(twice.downscale(crop, FEW)).shape == crop.shape


@pytest.mark.parametrize("name", ["light-x2", "irn-x2-4b", "bicubic-x2"])
def test_bfloat16_is_off_by_a_level_at_most(name: str, picture: Image.Image) -> None:
    pair = coscale.load(name)
    lr = pair.downscale(picture, PLAIN)
    exact, quick = (np.asarray(pair.upscale(lr, precision=of), int) for of in ("float32", "bfloat16"))
    assert np.abs(quick - exact).max() == (0 if name == "bicubic-x2" else 1)
