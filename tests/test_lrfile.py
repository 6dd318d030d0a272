"""The LR file and its note."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench import snaps
from coscale import xmp
from coscale.collaborate import PLAIN
from coscale.errors import ImageError, LRFileError
from coscale.image import Photo, read
from coscale.lrfile import Origin, read_lr, write_lr
from coscale.pipeline import encode_photo
from coscale.weights.load import load
from tests.extras import needs
from tests.lrcases import lr_cases
from tests.test_image import imagecodecs

ORIGIN = Origin("irn-x2", "ab" * 32, 2, 9, 6, "0.1.0")


def test_a_packet_of_another_program_beside_the_note(tmp_path: Path) -> None:
    """Pillow takes the last XMP packet of a JPEG, which may not be the one with the note."""
    note, path = ORIGIN.to_text(), tmp_path / "a.jpg"
    mine, other = xmp.packet(note).encode(), snaps.packet("another's")
    data = snaps.jpeg(np.zeros((8, 8, 3), np.uint8))
    name = b"http://ns.adobe.com/xap/1.0/\0"
    for packets in ((mine, other), (other, mine)):
        path.write_bytes(snaps.behind(data, *(snaps.segment(0xE1, name + one) for one in packets)))
        assert read(path).text[xmp.NOTE] == note


@needs("16bit")
def test_a_jpeg_of_12_bit_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg_encode(np.zeros((8, 8, 3), np.uint16), bitspersample=12))
    with pytest.raises(ImageError, match=r"a\.jpg is a JPEG of 12 bit, which cannot be read; save it with 8 bit"):
        read(path)


def test_round_trip(tmp_path: Path) -> None:
    colour = torch.randint(256, (1, 3, 3, 5)) / 255
    write_lr(tmp_path / "a.x2.png", Photo(colour, icc=None), ORIGIN)
    photo, origin = read_lr(tmp_path / "a.x2.png")
    assert origin == ORIGIN
    assert torch.equal(photo.colour, colour)


def test_it_is_an_ordinary_png(tmp_path: Path) -> None:
    write_lr(tmp_path / "a.png", Photo(torch.zeros(1, 1, 3, 5)), ORIGIN)
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (5, 3))
        assert image.info["coscale"] == ORIGIN.to_text()


def test_other_images_have_no_origin(butterfly_path: Path) -> None:
    assert read_lr(butterfly_path)[1] is None


def test_only_png(tmp_path: Path) -> None:
    with pytest.raises(LRFileError, match=r"name it \.png"):
        write_lr(tmp_path / "a.jpg", Photo(torch.zeros(1, 3, 3, 5)), ORIGIN)


@pytest.mark.parametrize(
    "note",
    [
        "not json",
        "[" * 100_000,
        "[]",
        "{}",
        '"x"',
        '{"rescaler": 3, "weights_hash": "", "scale": 2, "width": 9, "height": 6, "version": "1"}',
        '{"rescaler": "a", "weights_hash": "", "scale": 0, "width": 9, "height": 6, "version": "1"}',
        '{"rescaler": "a", "weights_hash": "", "scale": 2, "width": true, "height": 6, "version": "1"}',
        '{"rescaler": "a", "weights_hash": "", "scale": 2, "width": 9, "height": "6", "version": "1"}',
    ],
)
def test_damaged_note(tmp_path: Path, note: str) -> None:
    info = PngInfo()
    info.add_text("coscale", note)
    Image.new("RGB", (5, 3)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(LRFileError, match="damaged note"):
        read_lr(tmp_path / "a.png")


def test_resized_since(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("coscale", ORIGIN.to_text())
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(LRFileError, match="image is 4 x 3 pixels, but"):
        read_lr(tmp_path / "a.png")


def test_as_other_tools_save_it(tmp_path: Path, crop: torch.Tensor) -> None:
    """The page takes the same files for right, see test_web."""
    encoded = encode_photo(Photo(crop[..., :45, :43]), load("light-x2"), PLAIN)
    write_lr(tmp_path / "lr.png", encoded.lr, encoded.origin)
    for name, data, verdict in lr_cases((tmp_path / "lr.png").read_bytes()):
        (tmp_path / "case.png").write_bytes(data)
        assert verdict_of(tmp_path / "case.png") == verdict, name


def verdict_of(path: Path) -> str:
    try:
        _, origin = read_lr(path)
    except (ImageError, LRFileError):
        return "refused"
    return "restored" if origin else "no note"
