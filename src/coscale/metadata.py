"""What a photo carries beside its pixels: EXIF data (camera, exposure, date, place), for all that is made of it.

XMP and IPTC data are in modules of their own.

What describes the pixels of the file that they come from is left out: orientation (photos are read upright), sizes, the
layout of a TIFF file, and thumbnails. Colours are told by profiles and by ``Photo.meaning``.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

PREFIX = b"Exif\0\0"  # of EXIF data in a JPEG, which Pillow takes and gives
MOST_IN_JPEG = 65_533 - len(PREFIX)  # bytes: a segment's
_MOST = 2**20  # bytes; some cameras' notes have hundreds of kilobytes
_KEPT = {
    *(ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software),
    *(ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit),
    *(ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Copyright),
    *(ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords),
    *(ExifTags.Base.XPSubject, ExifTags.Base.Rating, ExifTags.Base.RatingPercent),
}
_INCHES = 2
XMP_TAG, _IPTC_TAG = 700, 33723  # of a TIFF
_OF_PIXELS = {ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight}


class _Text(str):
    """A text that Pillow writes as the bytes which it was read from: mostly UTF-8.

    Pillow reads every byte as a letter of Latin-1, and would write a question mark for each that is not ASCII.
    """

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        try:
            return super().encode("latin-1")
        except UnicodeEncodeError:  # what no file says, but a program that has the image in memory
            return super().encode("utf-8", errors="replace")


def _as_read(values: Mapping[int, Any]) -> dict[int, Any]:
    """Values of EXIF data that will be written as they were read."""
    return {tag: _Text(value) if isinstance(value, str) else value for tag, value in values.items()}


def carried(exif: Image.Exif, dpi: object = None, converted: bool = False) -> bytes:
    """Give the EXIF data that go along with a photo, as a TIFF block; empty where there are none.

    Arguments:
        exif: those of its file.
        dpi: pixels an inch in both directions, as its format itself may say; EXIF data have the last word.
        converted: whether its colours are no longer those that the file has, and that EXIF data may describe.

    Raises what Pillow does for data that are damaged, and ValueError for more than 1 MiB.
    """
    kept = Image.Exif()
    kept.update(_as_read({tag: exif[tag] for tag in _KEPT & exif.keys()}))
    if isinstance(dpi, tuple) and ExifTags.Base.XResolution not in kept and all(0 < value < 1e6 for value in dpi):
        for tag, value in zip((ExifTags.Base.XResolution, ExifTags.Base.YResolution), dpi, strict=True):
            kept[tag] = TiffImagePlugin.IFDRational(round(1000 * value), 1000)
        kept[ExifTags.Base.ResolutionUnit] = _INCHES
    of_exposure = {tag: value for tag, value in exif.get_ifd(ExifTags.IFD.Exif).items() if tag not in _OF_PIXELS}
    of_exposure.pop(ExifTags.IFD.Interop, None)
    if converted:
        of_exposure.pop(ExifTags.Base.ColorSpace, None)
    elif interop := exif.get_ifd(ExifTags.IFD.Interop):
        of_exposure[ExifTags.IFD.Interop] = _as_read(interop)
    if of_exposure:
        kept[ExifTags.IFD.Exif] = _as_read(of_exposure)
    if place := exif.get_ifd(ExifTags.IFD.GPSInfo):
        kept[ExifTags.IFD.GPSInfo] = _as_read(place)
    block = kept.tobytes().removeprefix(PREFIX) if len(kept) else b""
    if len(block) > _MOST:
        raise ValueError(f"its EXIF data have more than {_MOST >> 20} MiB")
    return block


def dots_per_inch(block: bytes) -> tuple[float, float] | None:
    """Give the resolution that EXIF data say in inches, which formats also say themselves; else None."""
    exif = Image.Exif()
    exif.load(PREFIX + block)
    if exif.get(ExifTags.Base.ResolutionUnit, _INCHES) != _INCHES:
        return None
    sides = (exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution))
    return None if None in sides else (float(sides[0]), float(sides[1]))  # type: ignore[arg-type]


def tags(block: bytes, packet: bytes, press: bytes) -> Image.Exif:
    """Give the tags of a TIFF that holds EXIF data, an XMP packet and IPTC data."""
    exif = Image.Exif()
    if block:
        exif.load(PREFIX + block)
        exif.update(_as_read(exif))
        for place in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            values = exif.get_ifd(place)  # without which Pillow writes none
            values.update(_as_read(values))
    for tag, data in ((XMP_TAG, packet), (_IPTC_TAG, press)):
        if data:
            exif[tag] = data
    return exif


def in_tiff(data: bytes) -> Image.Exif:
    """Give the tags of a TIFF, also of one that Pillow does not open; none where they are damaged."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # Pillow's reader fails in many ways on what is damaged
        exif.load(data)
    return exif
