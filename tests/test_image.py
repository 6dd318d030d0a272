"""Reading and writing image files."""

import errno
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from coscale.errors import CoscaleWarning, ImageError, OutputError
from coscale.image import Photo, read, to_bytes, write
from tests.extras import Lazy, needs

imagecodecs, tifffile = Lazy("16bit", "imagecodecs"), Lazy("16bit", "tifffile")

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
GREY = RGB[..., 0]
ALPHA = RNG.integers(0, 256, (9, 14), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (9, 14, 3), dtype=np.uint16)


def levels(x: torch.Tensor, top: int = 255) -> np.ndarray:
    """H x W x C grey levels."""
    return (x[0].permute(1, 2, 0).numpy().astype(np.float64) * top).round().astype(np.int64)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp"])
def test_lossless_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(RGB).save(path, lossless=True) if suffix == ".webp" else Image.fromarray(RGB).save(path)
    photo = read(path)
    assert photo.size == (9, 14)
    assert photo.alpha is None
    assert np.array_equal(levels(photo.colour), RGB)
    again = tmp_path / f"again{suffix}"
    write(again, photo)
    assert torch.equal(read(again).colour, photo.colour)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.linspace(50, 200, 16 * 16, dtype=np.uint8).reshape(16, 16)
    path = tmp_path / "photo.jpg"
    write(path, Photo(torch.from_numpy(smooth)[None, None].expand(1, 3, -1, -1) / 255))
    assert np.abs(levels(read(path).colour)[..., 0] - smooth).max() <= 4


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_and_grey(tmp_path: Path, suffix: str) -> None:
    colour, alpha = torch.from_numpy(RGB).permute(2, 0, 1)[None] / 255, torch.from_numpy(ALPHA)[None, None] / 255
    path = tmp_path / f"alpha{suffix}"
    write(path, Photo(colour, alpha))
    back = read(path)
    assert back.alpha is not None
    assert torch.equal(back.colour, colour)
    assert torch.equal(back.alpha, alpha)
    if suffix != ".webp":  # WebP has no grey
        path = tmp_path / f"grey{suffix}"
        write(path, Photo(colour[:, :1], alpha))
        back = read(path)
        assert back.alpha is not None
        assert back.colour.shape[1] == 1
        assert torch.equal(back.colour, colour[:, :1])
        assert torch.equal(back.alpha, alpha)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "p.png")
    expected = np.array(image.convert("RGB"))
    assert np.array_equal(levels(read(tmp_path / "p.png").colour), expected)
    image.save(tmp_path / "t.png", transparency=3)
    photo = read(tmp_path / "t.png")
    assert photo.alpha is not None
    assert np.array_equal(levels(photo.alpha)[..., 0] == 0, np.array(image) == 3)


@pytest.mark.parametrize("suffix", [".ppm", ".tga", ".pcx", ".sgi", ".dds", ".ico"])
def test_whatever_else_is_an_image(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}")
    assert np.array_equal(levels(read(tmp_path / f"a{suffix}").colour), RGB)


def test_grey_of_16_bit_as_pgm(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 14 9 65535\n" + DEEP[..., 0].astype(">u2").tobytes())
    photo = read(tmp_path / "a.pgm")
    assert np.array_equal(levels(photo.colour, 65535)[..., 0], DEEP[..., 0])
    (tmp_path / "b.pfm").write_bytes(b"Pf\n2 2\n-1.0\n" + np.ones(4, "<f4").tobytes())
    with pytest.raises(ImageError, match="32-bit samples"):
        read(tmp_path / "b.pfm")


def test_what_another_program_would_be_run_for_is_no_image(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.eps")
    with pytest.raises(ImageError, match="is not a JPEG, PNG"):
        read(tmp_path / "a.eps")


def test_one_bit_is_grey(tmp_path: Path) -> None:
    Image.fromarray(GREY > 128).save(tmp_path / "bits.png")
    assert np.array_equal(levels(read(tmp_path / "bits.png").colour)[..., 0], (GREY > 128) * 255)


def test_cmyk_becomes_srgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    photo = read(tmp_path / "red.tif")
    assert photo.icc is None
    assert levels(photo.colour)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["png", "tif", "tif planar"])
def test_16_bit_colour_in_full_precision(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"deep.{kind[:3]}"
    if kind == "png":
        path.write_bytes(imagecodecs.png_encode(DEEP))
    elif kind == "tif":
        tifffile.imwrite(path, DEEP, photometric="rgb", compression="lzw")
    else:
        tifffile.imwrite(path, np.moveaxis(DEEP, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(levels(read(path).colour, 65535), DEEP)


@pytest.mark.parametrize("kind", ["png", pytest.param("tif", marks=needs("16bit"))])
def test_16_bit_grey_and_alpha(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"grey.{kind}"
    Image.fromarray(DEEP[..., 0]).save(path)
    grey = read(path).colour
    assert grey.shape[1] == 1
    assert np.array_equal(levels(grey, 65535)[..., 0], DEEP[..., 0])
    with_alpha = np.concatenate((DEEP, DEEP[..., :1]), -1)
    if kind == "png":
        path.write_bytes(imagecodecs.png_encode(with_alpha))
    else:
        tifffile.imwrite(path, with_alpha, photometric="rgb", extrasamples=["unassalpha"])
    photo = read(path)
    assert photo.alpha is not None
    assert np.array_equal(levels(photo.colour, 65535), DEEP)
    assert np.array_equal(levels(photo.alpha, 65535)[..., 0], DEEP[..., 0])


def test_16_bit_tiff_of_all_kinds(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    grey, alpha = DEEP[..., 0], DEEP[..., 1]

    tifffile.imwrite(path, grey, photometric="miniswhite")
    assert np.array_equal(levels(read(path).colour, 65535)[..., 0], 65535 - grey.astype(np.int64))

    tifffile.imwrite(path, np.stack((grey, alpha), -1), photometric="minisblack", extrasamples=["unassalpha"])
    photo = read(path)
    assert photo.alpha is not None
    assert np.array_equal(levels(photo.colour, 65535)[..., 0], grey)
    assert np.array_equal(levels(photo.alpha, 65535)[..., 0], alpha)

    half = np.full((9, 14, 1), 32768, np.uint16)
    tifffile.imwrite(path, np.concatenate((DEEP // 2, half), -1), photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(levels(read(path).colour, 65535) - DEEP).max() <= 3

    tifffile.imwrite(path, np.concatenate((DEEP, half), -1), photometric="rgb", extrasamples=["unspecified"])
    photo = read(path)
    assert photo.alpha is None
    assert np.array_equal(levels(photo.colour, 65535), DEEP)


def test_16_bit_tiff_keeps_orientation_and_profile(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    tags = [(274, "H", 1, 6, True)]
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for samples, photometric in ((DEEP[..., :2], "minisblack"), (DEEP, "rgb")):
        extra = ["unassalpha"] if photometric == "minisblack" else None
        icc = None if photometric == "minisblack" else rgb
        tifffile.imwrite(path, samples, photometric=photometric, extrasamples=extra, iccprofile=icc, extratags=tags)
        photo = read(path)
        assert photo.icc == icc
        assert photo.size == (14, 9)
        assert np.array_equal(levels(photo.colour, 65535)[..., 0], np.rot90(DEEP[..., 0], -1))


def test_damaged_16_bit_tiff_is_an_error_not_a_crash(tmp_path: Path) -> None:
    """Each byte of a compressed file changed in turn, in a process of its own, since a decoder may take it down."""
    tifffile.imwrite(tmp_path / "deep.tif", DEEP, photometric="rgb", compression="lzw")
    code = (
        "import sys, pathlib\n"
        "from coscale.errors import ImageError\n"
        "from coscale.image import read\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "whole = path.read_bytes()\n"
        "for i in range(4, len(whole)):\n"
        "    for value in (0, 255, whole[i] ^ 16):\n"
        "        path.write_bytes(whole[:i] + bytes([value]) + whole[i + 1 :])\n"
        "        try:\n"
        "            read(path, 10**6)\n"
        "        except ImageError:\n"
        "            pass\n"
        "print('all read or refused')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "deep.tif")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == "all read or refused", done.stderr[-2000:]


def test_transparent_grey_of_16_bit(tmp_path: Path) -> None:
    grey = DEEP[..., 0]
    Image.fromarray(grey).save(tmp_path / "deep.png", transparency=int(grey[2, 3]))
    photo = read(tmp_path / "deep.png")
    assert photo.alpha is not None
    assert np.array_equal(levels(photo.alpha)[..., 0] == 0, grey == grey[2, 3])


@pytest.mark.parametrize("samples", ["large float", "negative", "complex", "raw"])
def test_samples_that_are_not_supported(tmp_path: Path, samples: str) -> None:
    path = tmp_path / "odd.tif"
    match samples:
        case "large float":
            tifffile.imwrite(path, DEEP.astype(np.float32), photometric="rgb")
        case "negative":
            tifffile.imwrite(path, DEEP[..., 0].astype(np.int16), photometric="minisblack")
        case "complex":
            tifffile.imwrite(path, DEEP[..., 0].astype(np.complex64), photometric="minisblack")
        case "raw":
            tifffile.imwrite(path, DEEP[..., 0], photometric="cfa")
    with pytest.raises(ImageError, match="save it") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_cmyk_with_a_profile_that_does_not_fit(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (profile, b"no profile"):
        Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "red.tif", icc_profile=icc)
        assert levels(read(tmp_path / "red.tif").colour)[0, 0].tolist() == [255, 0, 0]


def test_16_bit_colour_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(DEEP))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageError, match=r"pip install 'coscale\[16bit\]'"):
        read(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "deep png"])
def test_exif_orientation(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (250, 20, 20)  # the top left corner is red, the bottom left green
    upright[8:, :16] = (20, 250, 20)
    # How a camera stores an upright scene under each orientation.
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{kind[-3:]}"
    if kind == "deep png":
        # A PNG chunk by hand: the encoder writes no EXIF.
        data = imagecodecs.png_encode(np.ascontiguousarray(turned).astype(np.uint16) * 257)
        body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        path.write_bytes(data[:33] + chunk + data[33:])
    else:
        # TIFF and PNG take no notice of JPEG's options.
        Image.fromarray(np.ascontiguousarray(turned)).save(path, exif=exif, quality=100, subsampling=0)
    photo = read(path)
    assert photo.size == (16, 32)
    assert np.abs(levels(photo.colour) - upright).max() <= 12


def test_icc_profile_goes_along(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        path = tmp_path / f"photo{suffix}"
        Image.fromarray(RGB).save(path, icc_profile=profile)
        photo = read(path)
        assert photo.icc == profile
        write(tmp_path / f"again{suffix}", photo)
        assert read(tmp_path / f"again{suffix}").icc == profile


def test_text_chunks(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(to_bytes(Photo(torch.zeros(1, 3, 2, 2)), ".png", {"coscale": '{"π": 1}'}))
    photo = read(tmp_path / "photo.png")
    assert photo.text == {"coscale": '{"π": 1}'}
    write(tmp_path / "other.png", photo)  # a note is about one file, so it does not go along by itself
    assert read(tmp_path / "other.png").text == {}


def test_first_frame_of_several(tmp_path: Path) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    with pytest.warns(CoscaleWarning, match="of its 2 pages only the first is taken"):
        assert np.array_equal(levels(read(tmp_path / "pages.tif").colour), RGB)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_huge_image_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(60_000, 60_000))
    with pytest.raises(ImageError, match=r"60000 x 60000.*--max-pixels"):
        read(path)
    path.write_bytes(png_header(14, 9))
    with pytest.raises(ImageError, match=r"limit of 0\.000125 million"):
        read(path, max_pixels=125)


@pytest.mark.parametrize("case", ["missing", "folder", "text", "empty", "cut jpeg", "cut png", "psd"])
def test_bad_files(tmp_path: Path, case: str) -> None:
    path = tmp_path / "photo.png"
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    match case:
        case "folder":
            path.mkdir()
        case "text":
            path.write_text("hello")
        case "empty":
            path.touch()
        case "psd":
            path.write_bytes(b"8BPS\0\1" + bytes(100))
        case "cut jpeg" | "cut png":
            noise.save(path, format=case.removeprefix("cut "))
            path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError) as caught:
        read(path)
    expected = {
        "missing": "does not exist",
        "folder": "is a folder",
        "text": "not a JPEG",
        "empty": "is empty",
        "psd": "not a JPEG",
    }
    assert expected.get(case, "damaged or cut short") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_formats_that_cannot_hold_a_photo(tmp_path: Path) -> None:
    photo = Photo(torch.zeros(1, 3, 2, 2), alpha=torch.ones(1, 1, 2, 2))
    with pytest.raises(ImageError, match="transparency"):
        write(tmp_path / "photo.jpg", photo)
    with pytest.raises(ImageError, match="suffix"):
        write(tmp_path / "photo.xyz", photo)
    with pytest.raises(ImageError, match="16383 pixels long"):
        write(tmp_path / "photo.webp", Photo(torch.zeros(1, 1, 2, 20_000)))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_bytes(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OutputError, match="disk is full"):
        write(tmp_path / "photo.png", Photo(torch.zeros(1, 3, 2, 2)))
    assert list(tmp_path.iterdir()) == []


def test_reading_needs_no_optional_library() -> None:
    code = "import sys, coscale.image; print(sorted({'imagecodecs', 'tifffile', 'skimage'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4), (1, 2, 4, 4), (1, 3, 0, 4)])
def test_photo_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="pixels have shape"):
        Photo(torch.zeros(shape))
    with pytest.raises(ImageError, match="alpha has shape"):
        Photo(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 5))


def test_paths_may_be_text(tmp_path: Path) -> None:
    write(f"{tmp_path}/a.png", Photo(torch.zeros(1, 3, 2, 2)))
    assert read(f"{tmp_path}/a.png").size == (2, 2)
