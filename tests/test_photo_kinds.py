"""Photos as they come: transparency, what colours mean, damage, several images in a file, and what decoders say."""

import io
import json
import shutil
import signal
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, PngImagePlugin

from coscale import cli
from coscale.alpha import fill_hidden
from coscale.batch.worker import Assignment, BatchSettings, Done, Failed, Worker
from coscale.collaborate import HCD, PLAIN, Coscale, Method
from coscale.containers import PNG
from coscale.errors import CoscaleWarning, ImageError, LRFileError
from coscale.evaluate import benchmark_photo
from coscale.image import SUFFIXES, Photo, from_pillow, read, to_bytes, to_pillow, write
from coscale.lrfile import Origin, lr_bytes, origin_in, read_lr
from coscale.metrics import compare, psnr, ssim
from coscale.pair import load
from coscale.pipeline import decode_photo, encode_photo, write_and_measure
from coscale.quiet import listening
from coscale.rescalers import Bicubic
from coscale.weights.load import Loaded
from tests.extras import needs, skip_without
from tests.test_image import imagecodecs, levels, tifffile

Command = Callable[..., tuple[int, list[str]]]
GREEN, MAGENTA, CYAN = (40, 170, 60), (255, 0, 255), (0, 255, 255)
RNG = np.random.default_rng(0)
SMOOTH = np.stack(np.meshgrid(np.linspace(20, 230, 40), np.linspace(230, 20, 32)), -1).astype(np.uint8)
RGB = np.concatenate((SMOOTH, SMOOTH[..., :1] // 2), -1)  # 32 x 40
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADOBE = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*chunks: bytes, mode: str = "RGB") -> bytes:
    """A PNG with these chunks after its header."""
    file = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(file, format="PNG")
    data = file.getvalue()
    return data[:33] + b"".join(chunks) + data[33:]


def chunks_of(data: bytes) -> list[tuple[str, bytes]]:
    """The chunks of a PNG, each of which is checked, as is their order."""
    assert data.startswith(PNG)
    found, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + size]
        assert zlib.crc32(body) == int.from_bytes(data[at + 8 + size : at + 12 + size])
        found.append((body[:4].decode(), body[4:]))
        at += 12 + size
    names = [name for name, _ in found]
    assert names[0] == "IHDR"
    assert names[-1] == "IEND"
    for name in ("iCCP", "cICP", "cHRM", "gAMA", "sRGB"):
        assert names.count(name) <= 1
        assert name not in names or names.index(name) < names.index("IDAT")
    if "iCCP" in names:
        profile = zlib.decompress(dict(found)["iCCP"].split(b"\0", 1)[1][1:])
        assert int.from_bytes(profile[:4]) == len(profile)
        assert profile[16:20] == (b"GRAY" if found[0][1][9] in (0, 4) else b"RGB ")
    if shutil.which("pngcheck") and "cICP" not in names:  # which came after what Debian has of it
        done = subprocess.run(["pngcheck", "-q"], input=data, capture_output=True)
        assert done.returncode == 0, done.stdout
    return found


def told(path: Path, strict: bool = False) -> tuple[Photo, str]:
    """A photo, and the one line that reading it warns of, empty where there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        photo = read(path, strict=strict)
    assert len(caught) <= 1
    assert all(each.category is CoscaleWarning for each in caught)
    line = str(caught[0].message) if caught else ""
    assert not line or line.startswith(f"{path}: ")
    assert "\n" not in line
    return photo, line.removeprefix(f"{path}: ")


# Transparency


def disc(hidden: tuple[int, int, int], soft: bool = False) -> np.ndarray:
    """A green disc, 40 x 44 x 4, with a colour hidden around it."""
    y, x = np.mgrid[:40, :44]
    inside = 12 - np.hypot(y - 19.5, x - 21.5)
    alpha = np.clip(inside / 8 + 0.5, 0, 1) if soft else (inside > 0).astype(float)
    colour = np.where(alpha[..., None] > 0, GREEN, hidden)
    return np.concatenate((colour, (255 * alpha[..., None]).round()), -1).astype(np.uint8)


def transparent_file(path: Path, hidden: tuple[int, int, int]) -> Path:
    """The disc in the format and the manner that the path's name says."""
    image = Image.fromarray(disc(hidden))
    match path.name:
        case "palette.png" | "palette.gif":
            indices = np.where(disc(hidden)[..., 3] > 0, 1, 0).astype(np.uint8)
            image = Image.fromarray(indices, "P")
            image.putpalette([*hidden, *GREEN])
            image.save(path, transparency=0)
        case "deep.png":
            path.write_bytes(imagecodecs.png_encode(disc(hidden).astype(np.uint16) * 257))
        case "deep.tif":
            deep = disc(hidden).astype(np.uint16) * 257
            tifffile.imwrite(path, deep, photometric="rgb", extrasamples=["unassalpha"])
        case "grey.png":
            image.convert("LA").save(path)
        case "v5.bmp":
            red, green, blue, alpha = (255 << shift for shift in (16, 8, 0, 24))
            header = struct.pack("<IiiHHIIiiII", 124, 44, -40, 1, 32, 3, 0, 2835, 2835, 0, 0)
            header += struct.pack("<4I", red, green, blue, alpha) + b"BGRs" + bytes(64)
            body = disc(hidden)[..., [2, 1, 0, 3]].tobytes()
            path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + 124 + len(body), 0, 0, 138) + header + body)
        case _:
            options: dict[str, Any] = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
            image.save(path, **options)
    return path


@pytest.mark.parametrize(
    "name",
    ["a.png", "a.webp", "a.tif", "palette.png", "palette.gif", "deep.png", "deep.tif", "grey.png", "v5.bmp"],
)
def test_hidden_colours_show_nowhere(tmp_path: Path, name: str) -> None:
    pair = load("light-x2")
    files = []
    for hidden in (MAGENTA, CYAN):
        photo = read(transparent_file(tmp_path / name, hidden))
        assert photo.alpha is not None
        encoded = encode_photo(photo, pair, PLAIN)
        files.append(lr_bytes(encoded.lr, encoded.origin))
    assert files[0] == files[1]
    assert encoded.lr.alpha is not None
    green = levels(photo.colour)[20, 22]
    for image in (encoded.lr, decode_photo(encoded.lr, pair, encoded.origin)):
        assert image.alpha is not None
        seen = levels(image.alpha)[..., 0] > 0
        assert np.abs(levels(image.colour)[seen] - green).max() <= 8


@pytest.mark.parametrize("method", [Coscale("fast"), HCD(hr_steps=1, lr_steps=2)], ids=["coscale", "HCD"])
def test_hidden_colours_count_nowhere(tmp_path: Path, method: Method) -> None:
    pair = load("light-x2")
    rows, texture = [], RNG.integers(-20, 20, (40, 44, 1))
    for hidden in (MAGENTA, CYAN):
        pixels = disc(hidden, soft=True).astype(np.int64)
        seen = pixels[..., 3:] > 0
        pixels[..., :3] += np.where(seen, texture, 0)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
        row = write_and_measure(benchmark_photo(tmp_path / "a.png", 2), pair, method, tmp_path / "lr.png")
        rows.append(json.dumps({key: value for key, value in row.to_json().items() if "seconds" not in key}))
        assert row.before is not None
        assert row.scores.psnr_rgb >= row.before.psnr_rgb - 1e-3
        assert row.passes
    assert rows[0] == rows[1]


def test_methods_improve_what_is_seen() -> None:
    """The hidden half of a photo weighs nothing, so the other gains what it gains alone, and keeps its fidelity."""
    pair = load("light-x2")
    texture = torch.from_numpy(RNG.random((1, 3, 40, 80), dtype=np.float32))
    alpha = torch.ones(1, 1, 40, 80)
    alpha[..., 40:] = 0
    photo = Photo(0.3 + 0.4 * texture, alpha)
    plain, found = (encode_photo(photo, pair, method) for method in (PLAIN, Coscale("fast", fidelity=45)))
    before, after = (
        compare(decode_photo(one.lr, pair, one.origin).colour, photo.colour, 2, alpha)["psnr_y"]
        for one in (plain, found)
    )
    assert after > before + 0.2
    assert float(psnr(found.lr.colour[..., :20], plain.lr.colour[..., :20])) >= 45


def test_an_opaque_photo_is_encoded_as_without_alpha(crop: torch.Tensor) -> None:
    pair = load("light-x2")
    one = encode_photo(Photo(crop), pair, Coscale("fast"))
    two = encode_photo(Photo(crop, torch.ones(1, 1, 48, 48)), pair, Coscale("fast"))
    assert torch.equal(one.lr.colour, two.lr.colour)


def test_filling_leaves_what_is_seen() -> None:
    pixels = torch.from_numpy(disc(MAGENTA, soft=True)).permute(2, 0, 1)[None] / 255
    colour, alpha = pixels[:, :3], pixels[:, 3:]
    filled = fill_hidden(colour, alpha)
    assert torch.equal(filled[:, :, alpha[0, 0] > 0.1], colour[:, :, alpha[0, 0] > 0.1])
    green = torch.tensor(GREEN)[None, :, None, None] / 255
    assert float((filled - green).abs().max()) < 1e-5
    glass = torch.full_like(alpha, 1 / 255)
    assert torch.equal(fill_hidden(colour, glass), colour)
    assert torch.equal(fill_hidden(colour, torch.zeros_like(alpha)), torch.zeros_like(colour))
    one = torch.zeros(1, 1, 37, 53)
    one[..., 5, 7] = 1
    assert torch.allclose(fill_hidden(torch.where(one > 0, 0.25, 0.75), one), torch.tensor(0.25))


def test_an_image_of_others_is_upscaled_without_what_it_hides(tmp_path: Path) -> None:
    pair = Loaded("bicubic-x2", Bicubic(2))
    image = decode_photo(read(transparent_file(tmp_path / "a.png", MAGENTA)), pair)
    assert image.alpha is not None
    seen = levels(image.alpha)[..., 0] > 0
    assert np.abs(levels(image.colour)[seen] - GREEN).max() <= 1


def test_figures_of_what_is_seen() -> None:
    a, b = torch.full((1, 3, 24, 24), 0.5), torch.full((1, 3, 24, 24), 0.5)
    alpha = torch.zeros(1, 1, 24, 24)
    alpha[..., :12] = 1
    alpha[..., :6] = 0.5
    b[..., :6] = 0.7  # an error of 0.1 on every background, in half of what is seen
    b[..., 12:] = 0
    assert float(psnr(a, b, alpha=alpha)) == pytest.approx(-10 * np.log10(0.1**2 / 2), abs=1e-4)
    assert float(psnr(a, b, alpha=torch.zeros_like(alpha))) == float("inf")
    opaque = torch.ones_like(alpha)
    noise = a + 0.1 * torch.rand(a.shape, generator=torch.Generator().manual_seed(0))
    assert float(ssim(noise, a, alpha=opaque)) == pytest.approx(float(ssim(noise, a)), abs=1e-9)
    assert float(psnr(noise, a, alpha=opaque)) == pytest.approx(float(psnr(noise, a)), abs=1e-5)
    assert float(ssim(b, a, alpha=1 - alpha.ceil())) < 0.2 < float(ssim(b, a, alpha=alpha))
    assert torch.isnan(ssim(b, a, alpha=torch.zeros_like(alpha))).all()


# What colours mean


def grey_profile() -> bytes:
    """A profile for grey: white, and a gamma of 2.2."""
    white = b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 563) + bytes(2)
    name = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78)
    parts, tags, at = (white, curve, name), b"", 128 + 4 + 3 * 12
    for tag, part in zip((b"wtpt", b"kTRC", b"desc"), parts, strict=True):
        tags += tag + struct.pack(">2I", at, len(part))
        at += len(part)
    header = struct.pack(">I", at) + bytes(4) + b"\x02\x10\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", 3) + tags + b"".join(parts)


@pytest.mark.parametrize(
    ("mode", "icc", "line"),
    [
        ("RGB", SRGB, ""),
        ("L", grey_profile(), ""),
        ("RGB", SRGB + b"padding", ""),
        ("RGB", grey_profile(), "its colour profile is for grey, and the photo is RGB, so it is left out"),
        ("L", SRGB, "its colour profile is for RGB, and the photo is grey, so it is left out"),
        ("RGB", SRGB[:300], "its colour profile is damaged, so it is left out"),
        ("RGB", b"no profile", "its colour profile is damaged, so it is left out"),
    ],
    ids=["RGB", "grey", "padded", "grey for RGB", "RGB for grey", "cut short", "none"],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_a_profile_that_does_not_fit_is_left_out(tmp_path: Path, mode: str, icc: bytes, line: str, suffix: str) -> None:
    if suffix == ".webp" and mode == "L":
        return  # it has no grey
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(RGB).convert(mode).save(path, icc_profile=icc)
    photo, said = told(path)
    assert said == line
    kept = None if line else icc[: int.from_bytes(icc[:4])]
    assert photo.icc == kept
    lr = encode_photo(photo, load("bicubic-x2"), PLAIN)
    chunks_of(lr_bytes(lr.lr, lr.origin))
    (tmp_path / "lr.png").write_bytes(lr_bytes(lr.lr, lr.origin))
    assert read(tmp_path / "lr.png").icc == kept
    # Also what did not come through a file.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for of in SUFFIXES & {".png", ".jpg", ".tif", ".webp"}:
            written = to_bytes(Photo(photo.colour, icc=icc), of)
            if of == ".png":
                chunks_of(written)
            assert Image.open(io.BytesIO(written)).info.get("icc_profile") == kept
    assert bool(caught) == bool(line)


HDR = chunk(b"cICP", bytes((9, 16, 0, 1)))
ADOBE_CHUNKS = chunk(b"gAMA", struct.pack(">I", 45471)) + chunk(b"cHRM", struct.pack(">8I", *ADOBE))
LIKE_SRGB = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
ICC_CHUNK = chunk(b"iCCP", b"icc\0\0" + zlib.compress(SRGB))
BAD_ICC_CHUNK = chunk(b"iCCP", b"icc\0\0" + zlib.compress(grey_profile()))


@pytest.mark.parametrize(
    ("chunks", "kept"),
    [
        (HDR, {"cICP"}),
        (HDR + ICC_CHUNK, {"cICP", "iCCP"}),
        (ADOBE_CHUNKS, {"cHRM", "gAMA"}),
        (chunk(b"gAMA", struct.pack(">I", 100_000)), {"gAMA"}),
        (ADOBE_CHUNKS + ICC_CHUNK, {"iCCP"}),
        (ADOBE_CHUNKS + BAD_ICC_CHUNK, {"cHRM", "gAMA"}),
        (ADOBE_CHUNKS + chunk(b"sRGB", b"\0"), set()),
        (chunk(b"gAMA", struct.pack(">I", 45455)) + LIKE_SRGB, set()),
        (chunk(b"cICP", bytes((1, 13, 0, 1))), set()),
        (chunk(b"cICP", bytes((9, 16, 9, 1))), set()),  # not that of RGB, which a PNG has
        (chunk(b"gAMA", b"\0"), set()),
    ],
    ids=["cICP", "cICP+icc", "Adobe", "linear", "Adobe+icc", "Adobe+bad", "sRGB", "like", "same", "YCC", "short"],
)
@pytest.mark.filterwarnings("ignore::coscale.errors.CoscaleWarning")
def test_what_chunks_say_of_colours_goes_along(tmp_path: Path, chunks: bytes, kept: set[str]) -> None:
    data, about = png(chunks), {"cICP", "iCCP", "cHRM", "gAMA", "sRGB"}
    (tmp_path / "photo.png").write_bytes(data)
    pair = load("bicubic-x2")
    encoded = encode_photo(read(tmp_path / "photo.png"), pair, PLAIN)
    (tmp_path / "lr.png").write_bytes(lr_bytes(encoded.lr, encoded.origin))
    lr, origin = read_lr(tmp_path / "lr.png")
    write(tmp_path / "restored.png", decode_photo(lr, pair, origin))
    for name in ("lr.png", "restored.png"):
        found = chunks_of((tmp_path / name).read_bytes())
        assert {key for key, _ in found} & about == kept
        assert all(chunk(key.encode(), body) in chunks for key, body in found if key in kept - {"iCCP"})


def test_what_images_in_memory_say_of_colours_goes_along() -> None:
    image = Image.open(io.BytesIO(png(ADOBE_CHUNKS)))
    again = to_pillow(from_pillow(image))
    assert again.info["gamma"] == pytest.approx(0.45471)
    assert again.info["chromaticity"] == pytest.approx([value / 100_000 for value in ADOBE])


def exif(space: int, index: str | None) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = 1  # Pillow writes no EXIF data that are empty at the top
    data.get_ifd(0x8769)[0xA001] = space
    if index:
        data.get_ifd(0x8769)[0xA005] = {1: index}
    return data


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_adobe_rgb_by_exif(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    for space, index, icc, adobe in (
        (0xFFFF, "R03", None, True),
        (2, None, None, True),
        (1, "R98", None, False),
        (0xFFFF, "R03", SRGB, False),
    ):
        Image.fromarray(RGB).save(path, exif=exif(space, index), icc_profile=icc)
        photo, line = told(path)
        assert line == ""
        assert photo.meaning.keys() == ({"cHRM", "gAMA"} if adobe else set())
        chunks = dict(chunks_of(to_bytes(photo, ".png")))
        assert chunks.get("cHRM") == (struct.pack(">8I", *ADOBE) if adobe else None)
    Image.fromarray(RGB).save(path, exif=exif(0xFFFF, "R03"))
    if suffix == ".png":  # what a PNG says itself goes before that
        data = path.read_bytes()
        path.write_bytes(data[:33] + chunk(b"sRGB", b"\0") + data[33:])
        assert read(path).meaning == {}
    Image.fromarray(RGB).save(path, exif=exif(0xFFFF, None))
    assert "its EXIF data say that its colours are not sRGB" in told(path)[1]


def test_formats_that_cannot_say_what_colours_mean_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(ADOBE_CHUNKS))
    photo = read(tmp_path / "a.png")
    with pytest.warns(CoscaleWarning, match=r"\.jpg file cannot say here what its colours mean \(Adobe RGB\)"):
        to_bytes(photo, ".jpg")
    with pytest.warns(CoscaleWarning, match=r"\.bmp file cannot hold its colour profile"):
        to_bytes(Photo(photo.colour, icc=SRGB), ".bmp")


def test_tags_of_a_tiff_and_codes_of_an_avif(tmp_path: Path) -> None:
    points = [value for number in ADOBE for value in (number, 100_000)]
    tags = [(318, 5, 2, points[:4], True), (319, 5, 6, points[4:], True)]
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", extratags=tags)
    assert read(tmp_path / "a.tif").meaning == {"cHRM": struct.pack(">8I", *ADOBE)}
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "AVIF")
    data = bytearray(file.getvalue())
    at = data.index(b"colrnclx")
    data[at + 8 : at + 12] = struct.pack(">HH", 9, 16)
    (tmp_path / "a.jpg").write_bytes(data)  # a name does not make it a JPEG
    assert read(tmp_path / "a.jpg").meaning == {"cICP": bytes((9, 16, 0, 1))}
    (tmp_path / "a.avif").write_bytes(file.getvalue())
    assert read(tmp_path / "a.avif").meaning == {}


def test_colours_of_a_bmp(tmp_path: Path) -> None:
    body = RGB[::-1, :, ::-1].tobytes()
    profile = struct.pack("<3I", 4, 124, len(SRGB)) + bytes(4)
    header = struct.pack("<IiiHHIIiiII", 124, 40, 32, 1, 24, 0, len(body), 2835, 2835, 0, 0) + bytes(16)
    start = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 124 + len(SRGB))
    (tmp_path / "a.bmp").write_bytes(start + header + b"DEBM" + bytes(48) + profile + SRGB + body)
    photo = read(tmp_path / "a.bmp")
    assert photo.icc == SRGB
    assert np.array_equal(levels(photo.colour), RGB)


# Damage


@pytest.fixture
def damaged(tmp_path: Path, butterfly: Photo) -> Path:
    """A folder of damaged photos that can be read all the same."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    file = io.BytesIO()
    to_pillow(Photo(butterfly.colour[..., :64, :64])).save(file, "JPEG", quality=90)
    data = bytearray(file.getvalue())
    (folder / "end.jpg").write_bytes(data[:-2])
    middle = len(data) * 3 // 4
    for i in range(middle, middle + 6):
        data[i] = (data[i] ^ 0x5A) & 0x7F
    (folder / "middle.jpg").write_bytes(data)
    wrong = bytearray(chunk(b"tEXt", b"a\0b"))
    wrong[-1] ^= 1
    (folder / "text.png").write_bytes(png(bytes(wrong)))
    (folder / "end.png").write_bytes(png()[:-12])
    return folder


@pytest.mark.parametrize("name", ["end.jpg", "middle.jpg", "text.png", "end.png"])
def test_what_is_damaged_is_read_with_a_warning(damaged: Path, name: str) -> None:
    photo, line = told(damaged / name)
    assert line.startswith("it is damaged (")
    assert photo.size in ((64, 64), (32, 40))
    with pytest.raises(ImageError, match=r"is damaged \(.*--strict"):
        read(damaged / name, strict=True)


def test_what_is_whole_is_not_called_damaged(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, object]] = {
        "RGB": {},
        "L": {},
        "CMYK": {},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_blocks": 2},
        "444": {"subsampling": 0},
    }
    for name, options in kinds.items():
        image = Image.fromarray(RGB).convert(name if name in ("L", "CMYK") else "RGB")
        settings: dict[str, Any] = dict(options)
        image.save(tmp_path / "a.jpg", **settings)
        assert told(tmp_path / "a.jpg")[1] == ""
        (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + b"what cameras add")
        assert told(tmp_path / "a.jpg", strict=True)[1] == ""


def test_what_is_cut_short_stays_an_error(tmp_path: Path, damaged: Path) -> None:
    data = (damaged / "end.jpg").read_bytes()
    for kept in (len(data) // 2, len(data) - 60):
        (tmp_path / "cut.jpg").write_bytes(data[:kept])
        with pytest.raises(ImageError, match="damaged or cut short"):
            read(tmp_path / "cut.jpg")


QUICK = ("--rescaler", "bicubic-x2", "--method", "none")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Runs the command in this process, which takes no time to import, and gives exit code and lines of stderr."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: object) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["coscale", *map(str, arguments)])
        with warnings.catch_warnings():
            code = 0
            try:
                cli.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        return code, capsys.readouterr().err.splitlines()

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ["downscale", "upscale", "eval", "batch"])
def test_strict_commands(tmp_path: Path, damaged: Path, command: Command, name: str) -> None:
    """Each command does damaged photos with a line each, and under --strict says by its exit code that there are."""
    out = tmp_path / "out"
    places = {"eval": (damaged,), "batch": (damaged, out)}.get(name, (damaged, "-o", out))
    options = QUICK if name != "upscale" else QUICK[:2]
    code, lines = command(name, *places, *options)
    assert code == 0
    assert len(lines) == 4
    for photo in ("end.jpg", "middle.jpg", "text.png", "end.png"):
        assert sum(line.startswith(f"coscale: {damaged / photo}: it is damaged") for line in lines) == 1, lines
    if name == "batch":  # whose workers take long to start; the next test has them
        return
    shutil.rmtree(out, ignore_errors=True)
    code, lines = command(name, *places, *options, "--strict")
    assert code == 1
    assert len(lines) == 5
    assert "4 of 4 failed" in lines[-1]
    assert not out.exists()


def test_strict_batch(tmp_path: Path, damaged: Path) -> None:
    assert "--strict" in {option for one in cli.cli.commands["batch"].params for option in one.opts}
    job = Assignment(str(damaged / "middle.jpg"), str(tmp_path / "a.x2.png"))
    found = Worker(BatchSettings("bicubic-x2"), "cpu", "").attempt(job)
    assert isinstance(found, Done)
    assert len(found.warnings) == 1
    found = Worker(BatchSettings("bicubic-x2", strict=True), "cpu", "").attempt(job)
    assert isinstance(found, Failed)
    assert not found.passing


# Several images in a file


def pages(path: Path, *sizes: tuple[int, int, int], below: tuple[int, int] | None = None) -> Path:
    """A TIFF of pages of (height, width, kind); ``below``: with a sub-page of that size below the first."""
    with tifffile.TiffWriter(path) as file:
        for number, (height, width, kind) in enumerate(sizes):
            options: dict[str, Any] = {"photometric": "rgb", "subfiletype": kind, "metadata": None, "contiguous": False}
            file.write(np.full((height, width, 3), 10 * number + 10, np.uint8), **options, subifds=bool(below) or None)
            if below:
                inner: dict[str, Any] = {**options, "subfiletype": 0}
                file.write(np.full((*below, 3), 200, np.uint8), **inner)
    return path


@pytest.mark.parametrize(
    ("sizes", "below", "level", "line"),
    [
        (((30, 40, 0), (30, 40, 0), (30, 40, 0)), None, 10, "of its 3 pages only the first is taken"),
        (((6, 8, 1), (30, 40, 0)), None, 20, ""),
        (((6, 8, 0), (30, 40, 0)), None, 20, ""),
        (((8, 6, 0), (30, 40, 0)), None, 10, "of its 2 pages only the first is taken"),
        (((30, 40, 0), (15, 20, 1), (7, 10, 1)), None, 10, ""),
        (((6, 8, 1),), (30, 40), 200, ""),
        (((6, 8, 1),), None, 10, ""),
    ],
    ids=["pages", "thumbnail", "untold thumbnail", "other shape", "pyramid", "sub-page", "alone"],
)
@pytest.mark.parametrize("big", [False, True], ids=["", "BigTIFF"])
def test_main_page_of_a_tiff(
    tmp_path: Path, sizes: tuple, below: tuple[int, int] | None, level: int, line: str, big: bool, monkeypatch
) -> None:
    if big:
        plain = tifffile.TiffWriter
        monkeypatch.setattr("tifffile.TiffWriter", lambda path: plain(path, bigtiff=True))
    photo, said = told(pages(tmp_path / "a.tif", *sizes, below=below))
    assert levels(photo.colour)[0, 0, 0] == level
    assert said == line


def test_pages_in_a_circle_end(tmp_path: Path) -> None:
    data = bytearray(pages(tmp_path / "a.tif", (6, 8, 1), (30, 40, 1)).read_bytes())
    first = int.from_bytes(data[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[after : after + 4] = data[4:8]
    (tmp_path / "a.tif").write_bytes(data)
    assert read(tmp_path / "a.tif").size == (6, 8)


def test_frames_that_are_left_out(tmp_path: Path) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB), Image.fromarray(RGB // 2)]
    for suffix in (".gif", ".png", ".webp", ".avif"):
        path = tmp_path / f"a{suffix}"
        options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
        photo, line = told(path)
        assert line == "of its 3 frames only the first is taken"
        assert np.abs(levels(photo.colour) - RGB).mean() < 12
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert told(tmp_path / "a.jpg")[1] == "left out: 2 more of its 3 pictures"
    frames[0].save(
        tmp_path / "a.jpg", xmp=b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    )
    assert told(tmp_path / "a.jpg")[1] == "left out: its gain map for HDR screens"
    frames[0].save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(60))
    assert told(tmp_path / "a.jpg")[1] == "left out: its video"
    assert told(tmp_path / "a.jpg", strict=True)[1] == "left out: its video"


# Large profiles and texts, and notes


def large_profile(size: int) -> bytes:
    """The profile of sRGB with so many bytes that no tag refers to."""
    return struct.pack(">I", size) + SRGB[4:] + RNG.bytes(size - len(SRGB))


@pytest.mark.parametrize("deep", [False, True], ids=["8 bit", "16 bit"])
def test_large_profiles_go_in_and_come_back(tmp_path: Path, deep: bool) -> None:
    icc = large_profile(3 * 2**20)
    data = imagecodecs.png_encode(RGB.astype(np.uint16) * 257) if deep else png()
    body = b"icc\0\0" + zlib.compress(icc)
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"iCCP", body) + data[33:])
    photo, line = told(tmp_path / "a.png")
    assert line == ""
    assert photo.icc == icc
    pair = load("bicubic-x2")
    small = pair.downscale(to_pillow(photo), method=PLAIN)
    pair.save(small, tmp_path / "a.x2.png")
    lr, origin = read_lr(tmp_path / "a.x2.png")
    assert lr.icc == icc
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        write(tmp_path / f"back{suffix}", decode_photo(lr, pair, origin))
        assert read(tmp_path / f"back{suffix}").icc == icc


def test_large_texts_go_in_and_come_back(tmp_path: Path) -> None:
    text = "word " * 600_000
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text, zip=True)
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=info)
    photo, line = told(tmp_path / "a.png")
    assert line == ""
    assert photo.text["Comment"] == text
    (tmp_path / "b.png").write_bytes(to_bytes(photo, ".png", photo.text))
    assert read(tmp_path / "b.png").text == photo.text
    with pytest.raises(ImageError, match="larger than 16 MiB"):
        to_bytes(photo, ".png", {"Comment": "a" * (2**24 + 1)})


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png(chunk(name, b"icc\0\0" + zlib.compress(bytes(40 * 2**20)))))
    with pytest.raises(ImageError, match="more than 16 MiB; strip its metadata"):
        read(tmp_path / "a.png")


def test_a_profile_that_no_file_could_give_back_is_left_out(tmp_path: Path) -> None:
    photo = Photo(torch.zeros(1, 3, 2, 2), icc=large_profile(17 * 2**20))
    with pytest.warns(CoscaleWarning, match="larger than 16 MiB"):
        (tmp_path / "a.png").write_bytes(to_bytes(photo, ".png"))
    assert read(tmp_path / "a.png").icc is None
    with pytest.warns(CoscaleWarning, match="cannot hold so large a colour profile"):
        (tmp_path / "a.jpg").write_bytes(to_bytes(Photo(photo.colour, icc=large_profile(2**24)), ".jpg"))
    assert read(tmp_path / "a.jpg").icc is None


def test_absurd_notes_are_refused() -> None:
    origin = Origin("bicubic-x2", "", 2, 9, 6, "1")
    whole = json.loads(origin.to_text())
    for note in (
        "[" * 10_000_000,
        '{"a":' * 5_000_000,
        json.dumps(whole | {"rescaler": "a" * 100_000}),
        json.dumps(whole | {"more": [0] * 100_000}),
        origin.to_text().replace("9", "9" * 60_000),
    ):
        with pytest.raises(LRFileError, match="damaged note"):
            origin_in({"coscale": note}, "a.png")
    assert origin_in({"coscale": origin.to_text()}, "a.png") == origin


def test_notes_that_could_not_be_read_back_are_not_written(tmp_path: Path) -> None:
    photo = Photo(torch.zeros(1, 3, 3, 5))
    for name, width in (("a\nb", 9), ("a" * 100_000, 9), ("a", 0)):
        with pytest.raises(LRFileError, match="cannot be noted"):
            lr_bytes(photo, Origin(name, "", 2, width, 6, "1"))


# What decoders say


def broken_exif(body: bytes) -> bytes:
    """A JPEG with these EXIF data."""
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG", exif=b"Exif\0\0" + body)
    return file.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0",
        b"II*\0\xff\xff\xff\x7f",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x02\0\0\0\x06\0\0\0\0\0\0\0",
        b"XX*\0\x08\0\0\0",
        b"",
    ],
    ids=["cut short", "outside", "two values", "other letters", "nothing"],
)
def test_broken_exif_is_a_line_at_most(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(broken_exif(body))
    photo, line = told(tmp_path / "a.jpg", strict=True)
    assert sorted(photo.size) == [32, 40]
    assert line == "" or line.startswith("its metadata are damaged (") or "EXIF" in line


def broken_tiffs() -> list[bytes]:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file, "TIFF", compression="tiff_lzw")
    whole = file.getvalue()
    return [whole[:at] + bytes([value]) * 30 + whole[at + 30 :] for at in range(20, 3000, 400) for value in (0, 255)]


def test_libtiff_does_not_speak(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its lines come from C, so that only the file descriptor shows them."""
    outcomes = set()
    for data in broken_tiffs():
        (tmp_path / "a.tif").write_bytes(data)
        try:
            told(tmp_path / "a.tif")
            outcomes.add("read")
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017
            outcomes.add("refused")
    assert "refused" in outcomes
    assert capfd.readouterr().err == ""


def test_other_threads_keep_their_warnings(tmp_path: Path) -> None:
    """What one thread hears is not taken from another, and nothing of the process's warnings is undone."""
    (tmp_path / "a.jpg").write_bytes(broken_exif(b"II*\0\xff\xff\xff\x7f"))
    inside, done = threading.Event(), threading.Event()

    def read_meanwhile() -> None:
        with listening() as heard:
            inside.set()
            done.wait(60)
            warnings.warn("in the thread", UserWarning, stacklevel=1)
            assert heard == ["in the thread"]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=read_meanwhile)
        thread.start()
        assert inside.wait(60)
        warnings.warn("here", UserWarning, stacklevel=1)
        warnings.simplefilter("error", DeprecationWarning)
        done.set()
        thread.join(60)
        with pytest.raises(DeprecationWarning):  # what was set meanwhile is still set
            warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [str(each.message) for each in caught] == ["here"]


# Kinds


def tiff_kinds() -> dict[str, Callable[[Path], None]]:
    def write(samples: np.ndarray, **options: object) -> Callable[[Path], None]:
        return lambda path: tifffile.imwrite(path, samples, **options)  # type: ignore[arg-type]

    lab = Image.fromarray(RGB).convert("LAB")
    lab8 = np.frombuffer(lab.tobytes("raw", "LAB"), np.uint8).reshape(32, 40, 3)
    lab16 = np.concatenate((lab8[..., :1].astype(np.uint16) * 257, lab8[..., 1:].astype(np.uint16) << 8), -1)
    cmyk = np.array(Image.fromarray(RGB).convert("CMYK"))
    alpha = np.full((32, 40, 1), 77, np.uint8)
    unit = RGB / 255
    return {
        "float32": write(unit.astype(np.float32), photometric="rgb"),
        "float16": write(unit.astype(np.float16), photometric="rgb"),
        "float64": write(unit, photometric="rgb"),
        "int16": write((unit * 32767).round().astype(np.int16), photometric="rgb"),
        "uint32": write((unit * (2**32 - 1)).astype(np.uint32), photometric="rgb"),
        "lab8": write(lab8, photometric="cielab"),
        "lab16": write(lab16, photometric="cielab"),
        "cmyk16": write(cmyk.astype(np.uint16) * 257, photometric="separated"),
        "cmyka": write(np.concatenate((cmyk, alpha), -1), photometric="separated", extrasamples=["unassalpha"]),
        "webp": write(RGB, photometric="rgb", compression="webp", compressionargs={"lossless": True}),
        "jpegxl": write(RGB, photometric="rgb", compression="jpegxl", compressionargs={"lossless": True}),
        "jpeg2000": write(RGB, photometric="rgb", compression="jpeg2000"),
    }


@pytest.mark.parametrize("kind", tiff_kinds())
def test_kinds_of_tiff(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiff_kinds()[kind](tmp_path / "a.tif")
    photo, line = told(tmp_path / "a.tif")
    assert line == ""
    difference = np.abs(levels(photo.colour) - RGB)
    assert difference.mean() < 2 if "lab" in kind else difference.max() <= 1  # 8-bit Lab is coarse
    if kind == "cmyka":
        assert photo.alpha is not None
        assert np.all(levels(photo.alpha) == 77)
    if kind not in ("lab8", "cmyk16"):  # which Pillow reads
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
        with pytest.raises(ImageError, match=r"pip install 'coscale\[16bit\]'"):
            read(tmp_path / "a.tif")


@needs("16bit")
def test_grey_of_12_bit(tmp_path: Path) -> None:
    grey = (RGB[..., 0].astype(np.uint16) << 4) + 15
    packed = np.zeros((32, 60), np.uint8)
    high, low = grey[:, ::2], grey[:, 1::2]
    packed[:, 0::3], packed[:, 1::3], packed[:, 2::3] = high >> 4, (high & 15) << 4 | low >> 8, low & 255
    tags = [(256, 3, 40), (257, 3, 32), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 3, 32), (279, 4, packed.size)]
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
    at = 8 + packed.size
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", at) + packed.tobytes() + ifd + bytes(4))
    photo, line = told(tmp_path / "a.tif")
    assert line == ""
    assert np.array_equal(levels(photo.colour, 4095)[..., 0], grey)


def test_jpeg_xl_and_jpeg_2000(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(RGB, lossless=True))
    photo, line = told(path)
    assert (line, photo.alpha) == ("", None)
    assert np.array_equal(levels(photo.colour), RGB)
    for shape in ((32, 40), (7, 300), (300, 7), (64, 64), (3, 9000)):
        path.write_bytes(imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), lossless=True, usecontainer=True))
        assert read(path).size == shape
        with pytest.raises(ImageError, match=f"says it is {shape[1]} x {shape[0]} pixels"):
            read(path, max_pixels=shape[0] * shape[1] - 1)
    path.write_bytes(imagecodecs.jpegxl_encode(np.stack((RGB, 255 - RGB)), lossless=True))
    photo, line = told(path)
    assert line == "of its frames only the first is taken"
    assert np.array_equal(levels(photo.colour), RGB)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError, match="damaged"):
        read(path)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageError, match=r"JPEG XL image, which needs: pip install 'coscale\[16bit\]'"):
        read(path)
    Image.fromarray(RGB).save(tmp_path / "a.jp2", irreversible=False)
    assert np.array_equal(levels(read(tmp_path / "a.jp2").colour), RGB)


def test_heic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"  # a name that its content does not bear out
    skip_without("heic")
    import pillow_heif

    try:
        pillow_heif.from_pillow(Image.fromarray(RGB)).save(path, quality=95)
    except (RuntimeError, ValueError) as error:
        pytest.skip(f"pillow-heif has no encoder here: {error}")
    photo, line = told(path)
    assert line == ""
    assert np.abs(levels(photo.colour) - RGB).mean() < 4
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match="damaged"):
        read(path)


def test_heic_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(ImageError, match=r"HEIC image, which needs: pip install 'coscale\[heic\]'"):
        read(tmp_path / "a.jpg")
