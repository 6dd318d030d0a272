"""python -m bench.phone [--format webp] [--size 7000] [--back jpg] [--strip]: photos of a phone, there and back.

The photos are crops, small unless --sides says otherwise, in the formats that phones, cameras and programs write, with
what such photos carry: places, dates, authors, titles, resolutions, colour profiles, gain maps, orientations; see
``bench.snaps``. The folder goes through ``coscale batch`` and back through ``coscale upscale``. A line is printed for
each photo: the bytes of its LR file, its PSNR, and what did not come back as it was. Exits 1 where something did not.

With ``--format png`` the LR files lose nothing, and have no size. ``--work FOLDER`` keeps all files, and goes on there.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from bench.snaps import Shot, shots
from coscale import gainmaps

NEAR = 0.85  # of a size that was asked for
WORST = 18.0  # PSNR in dB
WORST_COLOUR = 2.5  # difference of the mean colours in Lab, of which photos' own formats have 1
WORST_GAINS = 30.0  # PSNR in dB of a gain map that was turned
# What exiftool tells of a file's own pixels and of how it is written.
OF_THE_FILE = {
    *("Orientation", "ImageWidth", "ImageHeight", "ExifImageWidth", "ExifImageHeight", "BitsPerSample", "Compression"),
    *("PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration", "StripOffsets", "StripByteCounts"),
    *("RowsPerStrip", "NewSubfileType", "SubfileType", "XMPToolkit", "Format", "YCbCrPositioning", "ColorSpace"),
    *("MotionPhoto", "MicroVideoOffset", "Regions", "ApplicationRecordVersion", "CodedCharacterSet", "ExtraSamples"),
    *("PageNumber", "SampleFormat", "Version", "Predictor", "RegionInfo"),
    *("DirectoryItemSemantic", "DirectoryItemMime", "DirectoryItemLength"),
    # Pillow has these besides: where the rest stands, and, of a TIFF, what no other format keeps among its tags.
    *("GPSInfo", "ExifOffset", "ImageLength", "IPTCNAA", "ImageResources", "XMLPacket", "InterColorProfile"),
}
GROUPS = ("IFD0", "ExifIFD", "GPS", "XMP", "IPTC")


def told(path: Path) -> dict[str, Any]:
    """Give what exiftool, or Pillow where that is not installed, finds in a file beside what is about its pixels."""
    if program := shutil.which("exiftool"):
        done = subprocess.run([program, "-json", "-G1", "-n", str(path)], capture_output=True, check=False)
        found = json.loads(done.stdout)[0]
    else:
        with Image.open(path) as image:
            exif = image.getexif()
            names = {"IFD0": dict(exif), "ExifIFD": exif.get_ifd(ExifTags.IFD.Exif), "GPS": exif.get_ifd(0x8825)}
            found = {
                f"{group}:{ExifTags.TAGS.get(tag, tag)}": str(v) for group, of in names.items() for tag, v in of.items()
            }
    return {
        name: value
        for name, value in found.items()
        if name.startswith(GROUPS) and name.split(":")[1] not in OF_THE_FILE and "coscale" not in name.lower()
    }


def opened(path: Path) -> Image.Image:
    """Give the image of a file, with decoders that Pillow has not."""
    if path.suffix == ".jxl":
        from coscale.image import read, to_pillow

        return to_pillow(read(path))
    image = Image.open(path)
    image.load()
    return image


def in_lab(pixels: np.ndarray, icc: bytes | None) -> np.ndarray:
    """Give the mean of an image's colours, as its profile has it, in Lab."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    own = ImageCms.ImageCmsProfile(BytesIO(icc)) if icc else ImageCms.createProfile("sRGB")
    image = image if image.mode == "L" and icc else image.convert("RGB")
    seen = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert seen is not None
    colour = np.asarray(seen).astype(float).mean((0, 1)).round().astype(np.uint8)
    one = Image.fromarray(colour[None, None])
    lab = ImageCms.profileToProfile(
        one, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    values = np.asarray(lab)[0, 0].astype(float)
    return values * (100 / 255, 1, 1) - (0, 128, 128)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Give the PSNR of two images in dB."""
    return float(10 * np.log10(255**2 / max(1e-3, np.square(a.astype(float) - b).mean())))


def wrong_pixels(shot: Shot, back: Image.Image) -> Iterator[str]:
    """Say what is wrong about the pixels of a restored photo."""
    pixels = np.asarray(back.convert("L" if shot.pixels.ndim == 2 else "RGB"))
    if pixels.shape != shot.pixels.shape:
        yield f"its size is {pixels.shape[1]} x {pixels.shape[0]}, not {shot.pixels.shape[1]} x {shot.pixels.shape[0]}"
        return
    if shot.pixels.ndim == 2 and back.mode != "L":
        yield f"grey came back as {back.mode}"
    if back.info.get("icc_profile") != shot.icc:
        yield "another profile" if back.info.get("icc_profile") else "no profile"
    if (found := psnr(pixels, shot.pixels)) < WORST:
        yield f"PSNR {found:.1f} dB"
    difference = in_lab(pixels, back.info.get("icc_profile")) - in_lab(shot.pixels, shot.icc)
    if np.abs(difference).max() > WORST_COLOUR:
        yield f"its mean colour is off by {difference.round(1).tolist()} in Lab"
    if shot.transparent and np.asarray(back.convert("RGBA"))[4, 4, 3] != 0:
        yield "its transparency is gone"


def wrong_tags(before: dict[str, Any], after: dict[str, Any], stripped: bool) -> Iterator[str]:
    """Say which tags did not come back, or came though they were to be left out."""
    if stripped:
        yield from (f"{name} is still there" for name in after if "Resolution" not in name)
        return
    for name, value in before.items():
        elsewhere = name.startswith("IPTC")  # which has a place in JPEG and TIFF alone
        if name not in after and not elsewhere:
            yield f"{name} is gone"
        elif name in after and after[name] != value:
            yield f"{name} is {str(after[name])[:40]!r}, not {str(value)[:40]!r}"


def wrong_gains(shot: Shot, path: Path) -> Iterator[str]:
    """Say what is wrong about the gain map of a restored JPEG."""
    found = gainmaps.found_in(path.read_bytes())
    if not found:
        yield "its gain map is gone"
        return
    seen, right = (np.asarray(Image.open(BytesIO(data))) for data in (found, shot.gains))
    if seen.shape != right.shape or psnr(seen, right) < WORST_GAINS:
        yield "its gain map is another"


def wrong(shot: Shot, photo: Path, lr: Path, back: Path, asked: argparse.Namespace) -> Iterator[str]:
    """Say what is wrong about what came of a photo."""
    impossible = shot.transparent and "jpg" in (asked.format, asked.back)
    if not lr.exists() or not back.exists():
        if not impossible:
            yield "it did not come back"
        return
    if asked.size and not NEAR * asked.size <= lr.stat().st_size <= asked.size:
        yield f"its LR file has {lr.stat().st_size} bytes"
    image = opened(back)
    yield from wrong_pixels(shot, image)
    before = told(photo)
    yield from wrong_tags(before, told(back), asked.strip)
    if not asked.strip:
        yield from (f"LR: {text}" for text in wrong_tags(before, told(lr), False))
        dpi = image.info.get("dpi", (0, 0))[0]
        if shot.dpi and asked.back in ("jpg", "png", "tif") and abs(dpi - shot.dpi) > 0.5:
            yield f"its resolution is {dpi}, not {shot.dpi}"
        if shot.gains and asked.back == "jpg" and not asked.size:
            yield from wrong_gains(shot, back)


def main() -> None:
    """Make the folder, send it on its trip, and print what came back."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--format", default="webp")
    parser.add_argument("--size", type=int, default=7_000, help="bytes")
    parser.add_argument("--back", default="jpg", help="the format of the restored photos")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument(
        "--sides", type=int, nargs=2, default=(200, 420), help="of the photos, in pixels: least and most"
    )
    parser.add_argument("--method", default="none")
    parser.add_argument("--rescaler", help="bicubic-x2 takes the least time")
    parser.add_argument("--strip", action="store_true")
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    asked.size = None if asked.format in ("png", "jxl") else asked.size
    work = asked.work or Path(tempfile.mkdtemp())
    photos, lrs, backs = (work / name for name in ("photos", "lr", "back"))
    photos.mkdir(parents=True, exist_ok=True)
    taken = list(shots(asked.count, sides=tuple(asked.sides)))
    for shot in taken:
        (photos / shot.name).write_bytes(shot.data)
    size = ("--size", f"{asked.size}") if asked.size else ()
    more = ("--strip",) if asked.strip else ()
    more += ("--rescaler", asked.rescaler) if asked.rescaler else ()
    command = [sys.executable, "-m", "coscale"]
    made = [*command, "batch", photos, lrs, "--format", asked.format, *size, "--method", asked.method, *more]
    subprocess.run([*made, "--workers", "1"], check=False)
    subprocess.run([*command, "upscale", lrs, "-o", backs, "--format", asked.back, "--overwrite"], check=False)
    faults = 0
    for shot in taken:
        lr = lrs / f"{Path(shot.name).stem}.x2.{asked.format}"
        back = backs / f"{Path(shot.name).stem}.{asked.back}"
        found = list(wrong(shot, photos / shot.name, lr, back, asked))
        faults += bool(found)
        print(f"{shot.name}: {lr.stat().st_size if lr.exists() else 0} bytes; {'; '.join(found) or 'as it was'}")
    print(f"{len(taken)} photos, {faults} of them not as they were")
    if not asked.work:
        shutil.rmtree(work)
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
