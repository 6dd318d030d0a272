"""Photos as phones write them, through the command and back: what ``bench.phone`` does with more of them."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import snaps
from bench.phone import wrong
from coscale.image import Photo
from tests.command import coscale
from tests.extras import needs

HOW = ("--rescaler", "bicubic-x2", "--method", "none")
# Format of the LR file, what it is asked for, and that of the restored photo.
SMALL = ("webp", ("--size", 5_000), "jpg")
MAKERS = {
    "turned": snaps.KINDS[0],
    "Ultra HDR": snaps.KINDS[1],
    "HEIC": snaps.KINDS[2],
    "TIFF of 16 bit": snaps.KINDS[4],
    "AVIF": snaps.KINDS[5],
    "PNG": snaps.KINDS[7],
    "XMP and IPTC": snaps.KINDS[8],
    "grey": snaps.KINDS[17],
}
EXTRAS = {"HEIC": "heic", "TIFF of 16 bit": "16bit"}
TRIPS = [
    *(pytest.param(name, *SMALL, marks=needs(*([EXTRAS[name]] if name in EXTRAS else []))) for name in MAKERS),
    ("Ultra HDR", "avif", ("--quality", 70), "jpg"),
    ("grey", "avif", ("--quality", 70), "tif"),
    ("Ultra HDR", "png", (), "jpg"),
    ("XMP and IPTC", "png", (), "webp"),
    pytest.param("Ultra HDR", "jpg", ("--quality", 85), "jpg", marks=needs("jpeg")),
    pytest.param("grey", "jpg", ("--quality", 85), "png", marks=needs("jpeg")),
]


@pytest.fixture
def scene(butterfly: Photo) -> np.ndarray:
    return butterfly.levels[0, :, 30:158, 40:136].movedim(0, -1).numpy()


def trip(
    name: str, form: str, options: tuple[object, ...], back: str, scene: np.ndarray, folder: Path, *strip: str
) -> list[str]:
    """What is wrong about a photo that went there and back."""
    shot = MAKERS[name](scene, 3)
    photo, lr, restored = folder / shot.name, folder / f"a.x2.{form}", folder / f"a.{back}"
    photo.write_bytes(shot.data)
    for command in (("downscale", photo, "-o", lr, *options, *HOW, *strip), ("upscale", lr, "-o", restored)):
        done = coscale(*command)
        assert done.returncode == 0, done.stderr
    if "--size" in options:
        assert lr.stat().st_size <= int(str(options[1]))
        shot = replace(shot, gains=b"")  # for which such a file has no room
    asked = argparse.Namespace(format=form, back=back, size=None, strip=bool(strip))
    return list(wrong(shot, photo, lr, restored, asked))


@pytest.mark.parametrize(("name", "form", "options", "back"), TRIPS)
def test_comes_back_as_it_was(
    name: str, form: str, options: tuple[object, ...], back: str, scene: np.ndarray, tmp_path: Path
) -> None:
    assert trip(name, form, options, back, scene, tmp_path) == []


@pytest.mark.parametrize("name", ["Ultra HDR", "XMP and IPTC"])
def test_what_is_stripped_does_not(name: str, scene: np.ndarray, tmp_path: Path) -> None:
    assert trip(name, *SMALL, scene, tmp_path, "--strip") == []
