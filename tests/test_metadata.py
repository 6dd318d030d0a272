"""EXIF data: from the photo into the LR file, and from there into the restored photo, or nowhere at all."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational
from torch import Tensor

from bench import snaps
from coscale import metadata
from coscale.cli import cli
from coscale.errors import CoscaleWarning, OutputError
from coscale.image import Photo, from_bytes, from_pillow, read, to_bytes, to_pillow, write
from coscale.quantize import to_uint8
from tests.extras import needs

Base, IFD = ExifTags.Base, ExifTags.IFD
SUFFIXES = [".png", ".webp", ".jpg", ".tif", pytest.param(".jxl", marks=needs("jxl"))]


def camera(maker_note: bytes = b"notes of the maker") -> Image.Exif:
    """EXIF data as a phone writes them, of a photo that lies on its side."""
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model], exif[Base.DateTime] = "Maker", "Model 7", "2024:05:06 07:08:09"
    exif[Base.Orientation], exif[Base.ImageWidth], exif[Base.ImageLength] = 6, 4000, 3000
    exif[Base.XResolution] = exif[Base.YResolution] = IFDRational(300)
    exif[Base.ResolutionUnit] = 2
    exif[IFD.Exif] = {
        Base.DateTimeOriginal: "2024:05:06 07:08:09",
        Base.ExposureTime: IFDRational(1, 250),
        Base.ExifImageWidth: 4000,
        Base.MakerNote: maker_note,
    }
    exif[IFD.GPSInfo] = {1: "N", 2: (IFDRational(51), IFDRational(30), IFDRational(0)), 3: "W", 4: (1.0, 2.0, 3.0)}
    return exif


def photo_of(colour: Tensor, path: Path, exif: Image.Exif, **more: Any) -> Path:
    Image.fromarray(to_uint8(colour)[0].movedim(0, -1).numpy()).save(path, exif=exif, **more)
    return path


def said(data: bytes | Path) -> tuple[Image.Exif, dict[int, object], dict[int, object]]:
    """EXIF data that Pillow finds in a file."""
    exif = Image.open(BytesIO(data) if isinstance(data, bytes) else data).getexif()
    return exif, dict(exif.get_ifd(IFD.Exif)), dict(exif.get_ifd(IFD.GPSInfo))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_is_kept_but_for_what_is_about_the_file(suffix: str, crop: Tensor, tmp_path: Path) -> None:
    photo = read(photo_of(crop[..., :20, :30], tmp_path / "photo.jpg", camera()))
    assert photo.size == (30, 20)  # upright
    again = from_bytes(to_bytes(photo, suffix))
    assert again.size == (30, 20)
    exif = Image.Exif()
    exif.load(again.exif)
    assert (exif[Base.Make], exif[Base.DateTime]) == ("Maker", "2024:05:06 07:08:09")
    assert not exif.keys() & {Base.Orientation, Base.ImageWidth, Base.ImageLength}
    exposure, place = exif.get_ifd(IFD.Exif), exif.get_ifd(IFD.GPSInfo)
    assert exposure[Base.ExposureTime] == 1 / 250
    assert exposure[Base.MakerNote] == b"notes of the maker"
    assert Base.ExifImageWidth not in exposure
    assert (place[1], place[2]) == ("N", (51, 30, 0))
    if suffix not in (".jxl", ".webp"):
        assert Image.open(BytesIO(to_bytes(photo, suffix))).info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".avif"])
@pytest.mark.parametrize("order", "<>")
def test_texts_keep_their_letters(suffix: str, order: str) -> None:
    """EXIF data have bytes for text, which phones fill with UTF-8; Pillow writes a question mark for each of them."""
    block = snaps.camera(6, order=order)
    photo = from_bytes(snaps.jpeg(np.zeros((8, 8, 3), np.uint8), exif=metadata.PREFIX + block))
    again = from_bytes(to_bytes(photo, suffix))
    for one in (photo.exif, again.exif):
        assert "José Müller\0".encode() in one
        assert "© José Müller\0".encode() in one
        assert "午後\0".encode() in one
        assert "back kamera Ä\0".encode() in one  # in the tags of the exposure


def test_texts_of_programs_are_written() -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "午後"
    assert "午後\0".encode() in metadata.carried(exif)


def test_goes_through_the_lr_file(crop: Tensor, tmp_path: Path) -> None:
    photo = photo_of(crop[..., :20, :30], tmp_path / "photo.jpg", camera())
    run = CliRunner().invoke
    for name, options in (("kept", []), ("stripped", ["--strip"])):
        lr, restored = tmp_path / f"{name}.x2.webp", tmp_path / f"{name}.jpg"
        made = run(cli, ["downscale", str(photo), "-o", str(lr), "--method", "none", *options])
        assert made.exit_code == 0, made.output
        assert run(cli, ["upscale", str(lr), "-o", str(restored)]).exit_code == 0
        for path in (lr, restored):
            exif, exposure, place = said(path)
            assert exif.get(Base.Model) == ("Model 7" if name == "kept" else None)
            assert bool(exposure) == bool(place) == (name == "kept")
    late = tmp_path / "late.jpg"
    assert run(cli, ["upscale", str(tmp_path / "kept.x2.webp"), "-o", str(late), "--strip"]).exit_code == 0
    assert not said(late)[0]
    kept = run(cli, ["downscale", str(photo), "-o", str(tmp_path / "kept.x2.webp"), "--method", "none", "--strip"])
    assert isinstance(kept.exception, OutputError)  # what is there is not what was asked for


def test_a_collection_can_be_stripped(crop: Tensor, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    photo_of(crop[..., :20, :30], tmp_path / "photos" / "a.jpg", camera())
    for name, options in (("kept", []), ("stripped", ["--strip"])):
        out = tmp_path / name
        command = ["batch", str(tmp_path / "photos"), str(out), "--method", "none", "--workers", "1", *options]
        made = CliRunner().invoke(cli, command)
        assert made.exit_code == 0, made.output
        assert bool(said(out / "a.x2.png")[2]) == (name == "kept")
        (row,) = (json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines())
        assert row["error"] is None


def test_a_resolution_that_the_format_says(crop: Tensor, tmp_path: Path) -> None:
    path = photo_of(crop[..., :8, :8], tmp_path / "a.png", Image.Exif(), dpi=(144, 72))
    data = to_bytes(read(path), ".jpg")
    assert Image.open(BytesIO(data)).info["dpi"] == pytest.approx((144, 72), abs=0.1)


def test_nothing_is_made_up(crop: Tensor, tmp_path: Path) -> None:
    write(tmp_path / "a.png", Photo(crop))
    assert read(tmp_path / "a.png").exif == b""
    assert b"eXIf" not in (tmp_path / "a.png").read_bytes()


def test_what_does_not_fit_is_told(crop: Tensor, tmp_path: Path) -> None:
    photo = read(photo_of(crop[..., :8, :8], tmp_path / "a.png", camera(maker_note=bytes(70_000))))
    with pytest.warns(CoscaleWarning, match="cannot hold so many EXIF data"):
        assert not said(to_bytes(photo, ".jpg"))[0]
    with pytest.warns(CoscaleWarning, match="cannot hold its EXIF data"):
        to_bytes(photo, ".bmp")
    assert said(to_bytes(photo, ".webp"))[0]


def test_more_than_a_megabyte_is_left_out(crop: Tensor, tmp_path: Path) -> None:
    path = photo_of(crop[..., :8, :8], tmp_path / "a.png", camera(maker_note=bytes(2**21)))
    with pytest.warns(CoscaleWarning, match="EXIF data"):
        assert read(path).exif == b""


@pytest.mark.parametrize("length", [20, 60, 150, 300])
def test_what_is_cut_short(crop: Tensor, tmp_path: Path, length: int) -> None:
    """It is carried as far as it can be read, or not at all, but never keeps a photo from being read."""
    whole = camera().tobytes()
    path = tmp_path / "a.png"
    Image.fromarray(to_uint8(crop)[0].movedim(0, -1).numpy()).save(path, exif=whole[:length])
    with pytest.warns(CoscaleWarning, match="damaged"):
        photo = read(path)
    assert photo.colour.shape[1] == 3
    to_bytes(photo, ".jpg")


def test_pillow_images_carry_it(crop: Tensor, tmp_path: Path) -> None:
    photo = from_pillow(Image.open(photo_of(crop, tmp_path / "a.jpg", camera())))
    image = to_pillow(photo)
    image.save(tmp_path / "b.jpg", exif=image.info["exif"])
    assert said(tmp_path / "b.jpg")[0][Base.Make] == "Maker"
    assert torch.equal(photo.stripped.colour, photo.colour)
    assert "exif" not in to_pillow(photo.stripped).info
