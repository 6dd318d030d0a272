"""What photos are saved as: every format that is written, quality, and 16 bit."""

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from coscale.errors import CoscaleWarning, ImageError, SettingsError
from coscale.image import Photo, from_bytes, read, to_bytes, write
from coscale.lrfile import read_lr
from coscale.metrics import psnr
from coscale.pair import load
from coscale.pipeline import decode_photo
from coscale.saving import WRITTEN, Saving
from tests.command import coscale, fails
from tests.extras import needs
from tests.test_image import imagecodecs, tifffile
from tests.test_photo_kinds import grey_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSY = [".jpg", ".webp", ".avif", pytest.param(".jxl", marks=needs("jxl", "16bit"))]
MODES = [(1, False), (1, True), (3, False), (3, True)]


def fine(channels: int, alpha: bool, size: tuple[int, int] = (70, 33)) -> Photo:
    """A photo whose levels lie between those of 8 bit."""
    generator = torch.Generator().manual_seed(channels)
    colour = torch.rand(1, channels, *size, generator=generator) * 0.1 + torch.linspace(0, 0.9, size[1])
    colour = (colour * 65_535).round() / 65_535
    opacity = (torch.rand(1, 1, *size, generator=generator) * 65_535).round() / 65_535
    return Photo(colour, opacity if alpha else None)


def levels(x: Tensor) -> np.ndarray:
    return (x[0].movedim(0, -1).double() * 65_535).round().numpy().astype(np.int64)


@pytest.mark.parametrize(("channels", "alpha"), MODES)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@needs("16bit")
def test_16_bit_come_back(suffix: str, channels: int, alpha: bool) -> None:
    photo = fine(channels, alpha)
    data = to_bytes(photo, suffix, saving=Saving(depth=16))
    back = from_bytes(data)
    assert np.array_equal(levels(back.colour), levels(photo.colour))
    assert (back.alpha is None) == (photo.alpha is None)
    if back.alpha is not None and photo.alpha is not None:
        assert np.array_equal(levels(back.alpha), levels(photo.alpha))
    seen = imagecodecs.png_decode(data) if suffix == ".png" else tifffile.imread(BytesIO(data))
    assert seen.dtype == np.uint16
    assert np.array_equal(seen.reshape(70, 33, -1)[..., :channels], levels(photo.colour))
    if (suffix, channels, alpha) != (".tif", 1, True):  # which Pillow does not know
        with Image.open(BytesIO(data)) as image:
            image.load()
            assert image.size == (33, 70)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (64, 5), (65, 4), (200, 7)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@needs("16bit")
def test_16_bit_of_any_size(suffix: str, size: tuple[int, int]) -> None:
    photo = fine(3, False, size)
    assert np.array_equal(
        levels(from_bytes(to_bytes(photo, suffix, saving=Saving(depth=16))).colour), levels(photo.colour)
    )


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@needs("16bit")
def test_16_bit_with_all_that_goes_along(
    suffix: str, tmp_path: Path, exiftool: Callable[[Path], dict[str, Any]]
) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, Photo(fine(3, False).colour, icc=SRGB))
    said = ["-Make=Maker", "-GPSLatitudeRef=N", "-XMP-dc:Title=Title", "-XResolution=300", "-YResolution=300"]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *said, "-ResolutionUnit=inches", path], check=True)
    photo = read(path)
    write(path, photo, {"Comment": "text"}, Saving(depth=16))
    told = exiftool(path)
    assert (told["IFD0:Make"], told["XMP-dc:Title"], told["IFD0:XResolution"]) == ("Maker", "Title", 300)
    bits = told["PNG:BitDepth"] if suffix == ".png" else told["IFD0:BitsPerSample"]
    assert bits == (16 if suffix == ".png" else "16 16 16")
    back = read(path)
    assert (back.icc, back.xmp) == (SRGB, photo.xmp)
    if suffix == ".png":
        assert back.size == photo.size
        subprocess.run(["pngcheck", "-q", path], check=True) if Path("/usr/bin/pngcheck").exists() else None


@pytest.mark.parametrize("suffix", LOSSY)
@pytest.mark.parametrize(("channels", "alpha"), MODES)
def test_quality(suffix: str, channels: int, alpha: bool, crop: Tensor) -> None:
    """More of it is nearer to the photo, and more bytes."""
    colour = crop if channels == 3 else crop.mean(1, keepdim=True)
    photo = Photo(colour, torch.linspace(0, 1, 48).expand(1, 1, 48, 48) if alpha else None)
    if alpha and suffix == ".jpg":
        return
    sizes, errors = [], []
    for quality in (20, 60, 95):
        data = to_bytes(photo, suffix, saving=Saving(quality))
        assert to_bytes(photo, suffix, saving=Saving(quality)) == data
        back = from_bytes(data)
        assert (back.alpha is None) == (not alpha)
        sizes.append(len(data))
        seen = back.colour.mean(1, keepdim=True) if channels == 1 else back.colour
        errors.append(float((((seen - colour) ** 2) * (1 if photo.alpha is None else photo.alpha)).mean()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3


def test_what_is_usual(crop: Tensor) -> None:
    photo = Photo(crop)
    assert to_bytes(photo, ".jpg") == to_bytes(photo, ".jpg", saving=Saving(95))
    assert to_bytes(photo, ".avif") == to_bytes(photo, ".avif", saving=Saving(90))
    assert torch.equal(from_bytes(to_bytes(photo, ".webp")).colour, crop)
    assert psnr(from_bytes(to_bytes(photo, ".avif")).colour, crop) > 35


@pytest.mark.parametrize("suffix", sorted(WRITTEN))
def test_what_a_format_does_not_have(suffix: str, crop: Tensor) -> None:
    photo = Photo(crop[..., :8, :8])
    if suffix in (".png", ".bmp", ".tif", ".tiff"):
        with pytest.raises(SettingsError, match=r"no quality to choose; name it \.jpg, \.webp, \.avif or \.jxl"):
            to_bytes(photo, suffix, saving=Saving(50))
    if suffix not in (".png", ".tif", ".tiff"):
        with pytest.raises(SettingsError, match=r"cannot hold 16 bit here; name it \.png or \.tif"):
            to_bytes(photo, suffix, saving=Saving(depth=16))


def test_a_profile_for_grey_has_no_place_where_grey_is_colour(crop: Tensor) -> None:
    photo = Photo(crop[:, :1], crop[:, :1], icc=grey_profile())
    with pytest.warns(CoscaleWarning, match=r"a \.avif file cannot hold the profile of a grey image with transparency"):
        data = to_bytes(photo, ".avif")
    with Image.open(BytesIO(data)) as image:
        assert "icc_profile" not in image.info


def test_avif_has_all_that_goes_along(crop: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write(path, Photo(crop, icc=SRGB, xmp='<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'))
    write(tmp_path / "a.avif", read(path))
    assert read(tmp_path / "a.avif").icc == SRGB


@needs("jxl", "16bit")
def test_a_profile_has_no_place_in_a_lossy_jpeg_xl(crop: Tensor) -> None:
    with pytest.raises(ImageError, match=r"leave out --quality, or name it \.avif"):
        to_bytes(Photo(crop, icc=SRGB), ".jxl", saving=Saving(80))
    assert from_bytes(to_bytes(Photo(crop, icc=SRGB), ".jxl", saving=Saving(100))).icc == SRGB


@pytest.fixture(scope="module")
def lr(butterfly_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lr") / "butterfly.x2.png"
    assert coscale("downscale", butterfly_path, "-o", path, "--effort", "instant").returncode == 0
    return path


@needs("16bit")
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_command_keeps_what_the_upscaler_gives(suffix: str, lr: Path, tmp_path: Path) -> None:
    path = tmp_path / f"deep{suffix}"
    assert coscale("upscale", lr, "-o", path, "--depth", 16, "--runtime", "torch").returncode == 0
    small, origin = read_lr(lr)
    pair = load("light-x2")
    with torch.no_grad():
        given = pair.rescaler.upscale(small.colour).clamp(0, 1)
    deep = read(path).colour
    assert float((deep - given).abs().max()) < 2 / 65_535
    usual = decode_photo(small, pair, origin).colour
    assert torch.equal((deep * 255).round(), (usual * 255).round())
    assert not torch.equal(deep, usual)


def test_another_depth_or_precision_is_another_result(lr: Path, tmp_path: Path) -> None:
    command = ("upscale", lr, "-o", tmp_path / "a.png")
    assert coscale(*command).returncode == 0
    assert "there already" in coscale(*command).stdout
    assert "--depth" in fails(*command, "--depth", 16)
    assert "--precision" in fails(*command, "--precision", "bfloat16")


def test_every_format_by_its_suffix_or_its_name(lr: Path, tmp_path: Path) -> None:
    for number, form in enumerate(("jpg", "webp", "avif", "tif", "png", "bmp")):
        path = tmp_path / f"{number}.{form}"
        quality = ("--quality", 70) if form in ("jpg", "webp", "avif") else ()
        assert coscale("upscale", lr, "-o", path, *quality).returncode == 0
        folder = tmp_path / str(number)
        folder.mkdir()
        assert coscale("upscale", lr, "-o", folder, "--format", form, *quality).returncode == 0
        assert (folder / f"butterfly.{form}").read_bytes() == path.read_bytes()
        assert Image.open(path).format == {"jpg": "JPEG", "tif": "TIFF"}.get(form, form.upper())


def test_wrong_usage_is_one_line(lr: Path, tmp_path: Path) -> None:
    for options, said in (
        (("-o", tmp_path / "a.jpg", "--depth", 16), "a .jpg file cannot hold 16 bit here; name it .png or .tif"),
        (("--quality", 80), "a .png file has no quality to choose"),
        (("-o", tmp_path / "a.png", "--format", "jpg"), "must end in .jpg"),
        (("-o", tmp_path / "a.heic"), "must end in .avif or .bmp"),
    ):
        assert said in fails("upscale", lr, *options, status=2)
    assert not list(tmp_path.iterdir())
