"""What ``bench.fuzz`` tries: of each kind small files that are right, and the reader that a broken one goes through."""

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, PngImagePlugin
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from bench.mutations import png_chunks, png_of
from bench.readme import ROOT
from coscale.batch.manifest import FIELDS, Manifest
from coscale.errors import CoscaleError
from coscale.evaluate import read_rows
from coscale.image import read
from coscale.lrfile import Origin, read_lr
from coscale.rescalers.edsr import EDSR
from coscale.rescalers.rdn import RDN
from coscale.rescalers.srcnn import SRCNN
from coscale.weights.load import load
from coscale.weights.manifest import MANIFEST, read_manifest
from coscale.weights.upscaler import load_upscaler

MOST_PIXELS = 16_000_000  # as the page takes that is served
Seeds = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Kind:
    """``seeds`` gives names and contents of files that are right, ``reader`` takes the path of one that may be not."""

    name: str
    seeds: Callable[[], Seeds]
    reader: Callable[[Path], object]


def _photo(mode: str = "RGB", side: int = 24) -> Image.Image:
    samples = np.random.default_rng(0).integers(0, 256, (side, side + 7, 4), dtype=np.uint8)
    image = Image.fromarray(samples, "RGBA")
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def photos() -> Seeds:
    """Photos of every format that Pillow writes here, in many of its forms."""
    from PIL import ImageCms

    exif, with_place = Image.Exif(), Image.Exif()
    for each in (exif, with_place):
        each[0x0112], each[0x010F] = 6, "maker"
    with_place[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_all = {"exif": exif, "icc_profile": profile}
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a photo")
    text.add_text("Comment", "much of it " * 50, zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", zip=True)
    yield "rgb.png", _saved(_photo(), "PNG", pnginfo=text, dpi=(300, 300), **with_all)
    yield "rgba.png", _saved(_photo("RGBA"), "PNG")
    yield "grey.png", _saved(_photo("L"), "PNG", transparency=7)
    yield "bilevel.png", _saved(_photo("1"), "PNG")
    yield "palette.png", _saved(_photo().quantize(30), "PNG", transparency=bytes(range(30)))
    grey16 = Image.fromarray(np.arange(24 * 31, dtype=np.uint16).reshape(24, 31))
    yield "grey16.png", _saved(grey16, "PNG")
    yield "moving.png", _saved(_photo(), "PNG", save_all=True, append_images=[_photo("L").convert("RGB")])
    yield "rgb16.png", _deepened(_saved(_photo(), "PNG"))
    yield "baseline.jpg", _saved(_photo(), "JPEG", comment=b"a comment", **with_all | {"exif": with_place})
    yield "progressive.jpg", _saved(_photo(), "JPEG", progressive=True, quality=30, subsampling=2)
    yield "cmyk.jpg", _saved(_photo("CMYK"), "JPEG")
    yield "grey.jpg", _saved(_photo("L"), "JPEG")
    yield "several.jpg", _saved(_photo(), "MPO", save_all=True, append_images=[_photo(side=16)])
    yield "lossy.webp", _saved(_photo(), "WEBP", **with_all)
    yield "lossless.webp", _saved(_photo("RGBA"), "WEBP", lossless=True)
    yield "moving.webp", _saved(_photo(), "WEBP", save_all=True, append_images=[_photo("L").convert("RGB")])
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        yield f"{compression}.tif", _saved(_photo(), "TIFF", compression=compression, **with_all)
    yield "grey16.tif", _saved(grey16, "TIFF")
    yield "float.tif", _saved(Image.fromarray(np.ones((24, 31), np.float32)), "TIFF")
    yield "cmyk.tif", _saved(_photo("CMYK"), "TIFF")
    yield "lab.tif", _saved(Image.new("LAB", (24, 31)), "TIFF")
    yield "group4.tif", _saved(_photo("1"), "TIFF", compression="group4")
    yield "pages.tif", _saved(_photo(), "TIFF", save_all=True, append_images=[_photo(side=12)])
    yield "photo.avif", _saved(_photo("RGBA"), "AVIF")
    yield "photo.jp2", _saved(_photo(), "JPEG2000")
    if find_spec("tifffile"):
        import imagecodecs
        import tifffile

        yield "photo.jxl", bytes(imagecodecs.jpegxl_encode(np.asarray(_photo())))

        def deep(samples: np.ndarray, **options: Any) -> bytes:
            file = io.BytesIO()
            tifffile.imwrite(file, samples, photometric="rgb", **options)
            return file.getvalue()

        yield "rgb16.tif", deep(np.zeros((24, 31, 3), np.uint16))
        yield "planes16.tif", deep(np.zeros((3, 24, 31), np.uint16), planarconfig="separate")
        yield "big16.tif", deep(np.zeros((24, 31, 4), np.uint16), bigtiff=True, tile=(16, 16), extrasamples=[1])
    yield "rgb.bmp", _saved(_photo(), "BMP")
    yield "palette.bmp", _saved(_photo().quantize(16), "BMP")
    yield "moving.gif", _saved(_photo(), "GIF", save_all=True, append_images=[_photo("L")])


def _deepened(png: bytes) -> bytes:
    """An 8-bit RGB PNG that says it has 16 bits: half of the rows are missing, so that it is read up to a point."""
    chunks = png_chunks(png)
    header = chunks[0][1]
    return png_of([(b"IHDR", header[:8] + b"\x10" + header[9:]), *chunks[1:]])


def lr_files() -> Seeds:
    """LR files with a note in each kind of text chunk."""
    note = Origin("light-x2", "ab" * 32, 2, 62, 48, "0.1.0").to_text()
    for name, kind, body in (
        ("plain", b"tEXt", b"coscale\0" + note.encode()),
        ("international", b"iTXt", b"coscale\0\0\0\0\0" + note.encode()),
    ):
        chunks = png_chunks(_saved(_photo(), "PNG"))
        yield f"{name}.png", png_of([chunks[0], (kind, body), *chunks[1:]])
    packed = PngImagePlugin.PngInfo()
    packed.add_text("coscale", note, zip=True)
    yield "packed.png", _saved(_photo(), "PNG", pnginfo=packed)
    yield "note.json", note.encode()


def _read_lr(path: Path) -> object:
    """A note on its own is put into an LR file first, so that most of its changes reach who reads the note."""
    if path.suffix == ".json":
        chunks = png_chunks(_saved(_photo(), "PNG"))
        path.write_bytes(png_of([chunks[0], (b"tEXt", b"coscale\0" + path.read_bytes()), *chunks[1:]]))
    return read_lr(path, MOST_PIXELS)


class Doubling(nn.Module):
    """The least that an upscaler does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def checkpoints() -> Seeds:
    """Checkpoints and programs in each form that is read."""

    def saved(what: object, **options: bool) -> bytes:
        file = io.BytesIO()
        torch.save(what, file, **options)
        return file.getvalue()

    torch.manual_seed(0)
    edsr, rdn, srcnn = EDSR(2, 1, 4), RDN(2, 4, 4, 2, 2), SRCNN(2)
    yield "edsr.pth", saved(edsr.state_dict())
    yield "old.pth", saved(edsr.state_dict(), _use_new_zipfile_serialization=False)
    yield "rdn.pt", saved({"params_ema": {f"module.{name}": value for name, value in rdn.state_dict().items()}})
    optimiser = torch.optim.Adam(rdn.parameters())
    yield "training.pth", saved({"state_dict": rdn.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 3})
    yield "odd.pth", saved({"a": torch.zeros(2).expand(3, 2), "b": torch.zeros(2, dtype=torch.int8), "c": [1, None]})
    yield "edsr.safetensors", save_safetensors(edsr.state_dict())
    yield "srcnn.safetensors", save_safetensors(srcnn.state_dict())
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # that TorchScript is old
        torch.jit.save(torch.jit.trace(Doubling(), torch.zeros(1, 3, 20, 20)), file)
    yield "script.pt", file.getvalue()
    file = io.BytesIO()
    sides = torch.export.Dim("h", min=8, max=4096), torch.export.Dim("w", min=8, max=4096)
    example = (torch.rand(1, 3, 24, 20),)
    torch.export.save(torch.export.export(Doubling(), example, dynamic_shapes=[{2: sides[0], 3: sides[1]}]), file)
    yield "program.pt2", file.getvalue()


def _load(path: Path) -> object:
    """As the upscaler, and as the weights of a pair; the first error is not to hide what the second reader does."""
    standin = str(ROOT / "tests" / "standin")
    if find_spec("torchvision") is None and standin not in sys.path:
        sys.path.append(standin)  # for spandrel
    with contextlib.suppress(CoscaleError):
        load("light-x2", path)
    return load_upscaler(path, 2 if path.name.startswith("srcnn") else None)


def manifests() -> Seeds:
    """The manifest of a collection in both forms, rows of an evaluation, and the manifest of the weights."""
    blank = {str: "x", int: 3, float: 30.5, dict: {"effort": "fast"}}
    rows = [{name: blank[kind] for name, kind in FIELDS.items()} | {"output": f"{k}.x2.png"} for k in range(3)]
    yield "batch.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
    if find_spec("pyarrow"):
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist([row | {"arguments": json.dumps(row["arguments"])} for row in rows])
        file = io.BytesIO()
        pyarrow.parquet.write_table(table, file)
        yield "batch.parquet", file.getvalue()
    yield "eval.rows", b"".join((ROOT / "results" / "methods.jsonl").read_bytes().splitlines(keepends=True)[:3])
    entries = json.loads(MANIFEST.read_text())
    yield "weights.json", json.dumps(dict(list(entries.items())[:2])).encode()


def _read_manifest(path: Path) -> object:
    if path.suffix == ".rows":
        return read_rows(path)
    if path.suffix == ".json":
        return read_manifest(path)
    with Manifest(path) as manifest:
        return manifest.rows


def _read(path: Path) -> object:
    return read(path, MOST_PIXELS)


KINDS = (
    Kind("reader", photos, _read),
    Kind("notes", lr_files, _read_lr),
    Kind("checkpoints", checkpoints, _load),
    Kind("manifests", manifests, _read_manifest),
)
