"""Gain maps: from an Ultra HDR photo into the LR file, and from there into a restored JPEG, turned as the photo is."""

import re
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import snaps
from bench.phone import psnr
from coscale import gainmaps
from coscale.errors import CoscaleWarning
from coscale.image import Photo, from_bytes, read, to_bytes
from coscale.lrfile import read_lr
from coscale.pipeline import encode_photo
from coscale.storage import find
from coscale.weights.load import load
from tests.command import coscale
from tests.extras import needs


@pytest.fixture
def scene(butterfly: Photo) -> np.ndarray:
    return (butterfly.levels[0, :, 20:116, 30:190]).movedim(0, -1).numpy()


def shot_of(scene: np.ndarray, orientation: int = 1, iso: bool = True) -> bytes:
    lying = snaps.TURNS[orientation](scene)
    second = snaps.gain_map(lying, iso)
    own = snaps.packet("hdr", snaps.directory(len(second)))
    exif = b"Exif\0\0" + snaps.camera(orientation)
    return snaps.ultra_hdr(snaps.jpeg(lying, exif=exif, xmp=own), second, iso)


def pictures(data: bytes) -> tuple[bytes, bytes]:
    """The two pictures that the index of a JPEG says it has, each of which is decoded."""
    at = data.index(b"MPF\0") + 4
    count, sizes, places = 0, [], []
    entries = at + struct.unpack_from(">L", data, at + 8 + 2 + 2 * 12 + 8)[0]
    (count,) = struct.unpack_from(">L", data, at + 8 + 2 + 12 + 8)
    for number in range(count):
        size, place = struct.unpack_from(">LL", data, entries + 16 * number + 4)
        sizes.append(size)
        places.append(place + at if place else 0)
    found = [data[place : place + size] for place, size in zip(places, sizes, strict=True)]
    assert len(found) == 2
    assert b"".join(found) == data
    for one in found:
        Image.open(BytesIO(one)).load()
    return found[0], found[1]


def check(data: bytes, scene: np.ndarray, iso: bool = True) -> None:
    """Check a JPEG with the gain map of a scene."""
    first, second = pictures(data)
    (said,) = re.findall(rb'Item:Length="(\d+)"', first)
    assert int(said) == len(second)
    assert (b"urn:iso:std:iso:ts:21496:-1\0" in first) == (b"urn:iso:std:iso:ts:21496:-1\0" in second) == iso
    assert b'hdrgm:GainMapMax="2.3"' in second
    seen, right = (np.asarray(Image.open(BytesIO(one))) for one in (second, snaps.gain_map(scene)))
    assert seen.shape == right.shape
    assert psnr(seen, right) > 30


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("iso", [False, True])
def test_goes_along_turned_as_its_photo(scene: np.ndarray, orientation: int, iso: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(shot_of(scene, orientation, iso))
    photo = read(path)  # without a warning
    check(to_bytes(photo, ".jpg"), scene, iso)
    again = from_bytes(to_bytes(photo, ".jpg"))
    assert again.gain_map == photo.gain_map
    assert not photo.stripped.gain_map
    assert b"MPF\0" not in to_bytes(photo.stripped, ".jpg")


@pytest.mark.parametrize(
    ("lr", "options"),
    [
        ("a.x2.png", ()),
        ("a.x2.webp", ()),
        pytest.param("a.x2.jxl", (), marks=needs("jxl")),
        pytest.param("a.x2.jpg", ("--quality", 60), marks=needs("jpeg")),
        ("a.x2.webp", ("--quality", 60)),
        ("a.x2.avif", ("--quality", 60)),
    ],
)
def test_goes_through_the_lr_file(scene: np.ndarray, lr: str, options: tuple[object, ...], tmp_path: Path) -> None:
    photo, small, back = tmp_path / "a.jpg", tmp_path / lr, tmp_path / "back.jpg"
    photo.write_bytes(shot_of(scene, 6))
    done = coscale("downscale", photo, "-o", small, *options, "--rescaler", "bicubic-x2", "--method", "none")
    assert (done.returncode, done.stderr) == (0, "")
    if lr.endswith("jpg"):
        check(small.read_bytes(), scene)  # a viewer shows the LR brighter too
    done = coscale("upscale", small, "-o", back)
    assert (done.returncode, done.stderr) == (0, "")
    check(back.read_bytes(), scene)
    assert Image.open(back).size == (160, 96)
    done = coscale("upscale", small, "-o", tmp_path / "back.png")
    assert done.returncode == 0
    assert "a .png file cannot hold its gain map for HDR screens; name it .jpg" in done.stderr
    assert coscale("upscale", small, "-o", tmp_path / "bare.jpg", "--strip").stderr == ""
    assert not read(tmp_path / "bare.jpg").gain_map


def test_a_size_is_for_the_picture(scene: np.ndarray) -> None:
    photo = from_bytes(shot_of(scene))
    with pytest.warns(CoscaleWarning, match="left out: its gain map for HDR screens, since"):
        encoded = encode_photo(photo, load("bicubic-x2"), storage=find("webp", asked={"size": 9_000}))
    assert not encoded.lr.gain_map


def test_what_is_damaged_or_too_large_or_somebody_elses(scene: np.ndarray) -> None:
    data = shot_of(scene, 6)
    start = data.rindex(b"\xff\xd8\xff")
    for cut in (data[:-40], data[: start + 60]):  # no end
        with pytest.warns(CoscaleWarning, match="gain map for HDR screens"):
            assert from_bytes(cut).gain_map == b""
    second = snaps.gain_map(scene)
    with pytest.raises(ValueError, match="is damaged"):
        gainmaps.carried(second[: len(second) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        gainmaps.carried(snaps.jpeg(scene))  # which does not say how to apply it
    with pytest.raises(ValueError, match="has more than 384 KiB"):
        gainmaps.carried(second + bytes(2**19))
    place = snaps.segment(0xE1, b"Exif\0\0" + snaps.camera()) + snaps.segment(0xFE, b"a comment")
    for orientation in (1, 6):  # what else it says, such as a place, stays behind
        kept = gainmaps.carried(snaps.behind(second, place), orientation)
        assert b"Maker" not in kept
        assert b"a comment" not in kept
        assert gainmaps.carried(kept) == kept


def test_a_picture_that_is_no_gain_map_is_left_out(scene: np.ndarray) -> None:
    with pytest.warns(CoscaleWarning, match="left out: 1 more of its 2 pictures"):
        photo = from_bytes(snaps.indexed(snaps.jpeg(scene), snaps.jpeg(scene)))
    assert photo.gain_map == b""


def test_exiftool_finds_both(scene: np.ndarray, tmp_path: Path, exiftool: Callable[[Path], dict[str, Any]]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(to_bytes(from_bytes(shot_of(scene, 8)), ".jpg"))
    told = exiftool(path)
    assert told["MPF0:NumberOfImages"] == 2
    assert "MPF" not in told.get("ExifTool:Warning", "")
    assert told["XMP-Container:DirectoryItemLength"] == len(gainmaps.found_in(path.read_bytes()))
    assert read_lr(path)[1] is None
