"""The file around a photo's pixels: whether it is whole, which of its images is the photo, and what else is in it."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import simplejpeg
from PIL import Image

from coscale.errors import ImageError, TooManyPixelsError
from coscale.profiles import MOST_BYTES

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SIZES = {"cICP": 4, "sRGB": 1, "cHRM": 32, "gAMA": 4, "pHYs": 9}  # bytes, of chunks that have but one size
_TEXTS = ("tEXt", "zTXt", "iTXt")
_COLOUR_CHUNKS = ("cICP", "iCCP", "sRGB", "cHRM", "gAMA")
START_OF_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _SUB_PAGES = 254, 255, 256, 257, 330
_ABOUT_PAGES = {_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _SUB_PAGES}
_INTEGERS = {3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}  # the types of a TIFF's tags that are
_REDUCED, _MASK = 1, 4  # bits of the kind of a page
_MOST_PAGES = 10_000
_GAIN_MAPS = (b"http://ns.adobe.com/hdr-gain-map/", b"urn:iso:std:iso:ts:21496", b"hdrgainmap")
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"  # what did not fit one segment: mostly images
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # of what is no part of a picture's data
_SCAN, _END, _EXIF_OR_XMP = 0xDA, 0xD9, 0xE1
_FRAMES = [0xC0, 0xC1, 0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)]
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_VIDEO = re.compile(rb"\xff\xd9.{4}ftyp", re.DOTALL)  # an MP4 file after the end of a JPEG


@dataclass
class Findings:
    """What a user should know of a photo's file: how it is damaged, where it is, and what else there is to say."""

    damage: str = ""
    notes: list[str] = field(default_factory=list)


def check_size(path: object, size: tuple[int, int], limit: int) -> None:
    """Raise ImageError for a (width, height) of nothing, TooManyPixelsError for one of more than ``limit`` pixels."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{path} says it is {width} x {height} pixels; copy or save it again")
    if width * height > limit:
        raise TooManyPixelsError(
            f"{path} says it is {width} x {height} pixels, more than the limit of {limit / 1e6:g} million; "
            "raise --max-pixels if it really is"
        )


def look_through_png(data: bytes, found: Findings) -> tuple[bytes, dict[str, bytes]]:
    """Give a PNG without the chunks that are damaged and not needed, and without texts that are too large; and those
    of its chunks that say what colours mean.

    Those that are needed are checked by the decoder.
    """
    kept, colour, start, ended = [PNG], dict[str, bytes](), len(PNG), False
    for name, body, end, sound in _png_chunks(data):
        needed = name[:1].isupper()
        sound = sound and len(body) == _SIZES.get(name, len(body))
        if name in _TEXTS and len(body) > MOST_BYTES:
            found.notes.append(f"a text of more than {MOST_BYTES >> 20} MiB is left out")
        elif needed or sound:
            kept.append(data[start:end])
        else:
            found.damage = f"its chunk {name} is not whole"
        if sound and name in _COLOUR_CHUNKS:
            colour[name] = body
        start, ended = end, name == "IEND"
        if ended:
            break
    if not ended and len(data) < start + 12:
        found.damage = "its end is missing"
    whole = sum(map(len, kept)) == start
    return (data if whole else b"".join(kept) + data[start:]), colour


def _png_chunks(data: bytes) -> Iterator[tuple[str, bytes, int, bool]]:
    """(name, body, end, whether the checksum is right) of each chunk; image data have neither body nor check."""
    at = len(PNG)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data) or not name.isalpha():
            return
        if name in (b"IDAT", b"fdAT"):
            yield name.decode(), b"", end, True
        else:
            body = data[at + 8 : end - 4]
            yield name.decode(), body, end, zlib.crc32(name + body) == int.from_bytes(data[end - 4 : end])
        at = end


def whole_jpeg(data: bytes, found: Findings) -> bytes:
    """Give a JPEG, with its end where that alone is missing; libjpeg, which Pillow does not let speak, is asked for
    damage.

    One that is cut short is left to the decoder to refuse.
    """
    flaw = _flaw_of_jpeg(data)
    if not flaw:
        return data
    if _END_OF_JPEG not in data[-2:] and not _flaw_of_jpeg(data + _END_OF_JPEG):
        found.damage = "its end is missing"
        return data + _END_OF_JPEG
    found.damage = flaw
    return data


def _flaw_of_jpeg(data: bytes) -> str:
    try:
        kind = simplejpeg.decode_jpeg_header(data, strict=True)[2]
        # An eighth of the size is what takes least, and goes through all of the data.
        simplejpeg.decode_jpeg(data, "CMYK" if kind in ("CMYK", "YCCK") else "GRAY", min_factor=8, strict=True)
    except ValueError as error:
        return " ".join(str(error).split())
    return ""


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Give the marker, the first byte and the byte after the last of each segment of a JPEG before its picture."""
    at = len(START_OF_JPEG)
    while found := _MARKER.match(data, at):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[found.start() + 1] in (_SCAN, _END) or end > len(data):
            return
        yield data[at + 1], at, end
        at = end


def packets_of_jpeg(data: bytes) -> list[bytes]:
    """Give the XMP packets of a JPEG, which has several where a program has put its own beside another's."""
    parts = (data[at + 4 : end] for kind, at, end in jpeg_segments(data) if kind == _EXIF_OR_XMP)
    return [part.removeprefix(_XMP) for part in parts if part.startswith(_XMP)]


def kind_of_jpeg(data: bytes) -> tuple[int, int] | None:
    """Give the coding process of a JPEG, 0 for the usual one, and the bits of a sample; None for what is no JPEG."""
    frames = ((kind - _FRAMES[0], data[at + 4]) for kind, at, _ in jpeg_segments(data) if kind in _FRAMES)
    return next(frames, None)


def end_of_jpeg(data: bytes, start: int) -> int:
    """Give the byte after the last of the JPEG that begins at ``start``; 0 where it has no end."""
    at = start + len(START_OF_JPEG)
    while found := _MARKER.search(data, at):
        at = found.end()
        if data[at - 1] == _END:
            return at
        at += int.from_bytes(data[at : at + 2])
    return 0


@dataclass(frozen=True)
class _Page:
    at: int  # where its directory begins
    kind: int
    width: int
    height: int

    def is_thumbnail_of(self, other: "_Page") -> bool:
        """Say whether the other page has its shape, and twice its size or more."""
        same = abs(self.width * other.height - self.height * other.width) <= other.width + other.height
        return same and 2 * self.width <= other.width and 2 * self.height <= other.height


def main_page_first(data: bytes, found: Findings) -> bytes:
    """Give a TIFF that begins with the first of its pages which is no thumbnail, with a note about the other pages."""
    try:
        pages = list(_pages(data))
    except Exception:  # what is damaged is refused by the decoder
        return data
    whole = [page for page in pages if not page.kind & (_REDUCED | _MASK)] or pages[:1]
    if not whole:
        return data
    main = next((page for page in whole if not any(page.is_thumbnail_of(other) for other in whole)), whole[0])
    others = [page for page in whole if page is not main and not page.is_thumbnail_of(main)]
    if others:
        found.notes.append(f"of its {len(others) + 1} pages only the first is taken")
    if main is pages[0]:
        return data
    at, form = (8, "Q") if _is_big(data) else (4, "L")
    first = struct.pack(_order(data) + form, main.at)
    return data[:at] + first + data[at + len(first) :]


def _is_big(data: bytes) -> bool:
    return b"+" in data[2:4]


def _pages(data: bytes) -> Iterator[_Page]:
    """The pages of a TIFF, each before its sub-pages, which raw photos and pyramids have."""
    start, form = (8, "Q") if _is_big(data) else (4, "L")
    todo, seen = [(struct.unpack_from(_order(data) + form, data, start)[0], True)], set[int]()
    while todo and len(seen) < _MOST_PAGES:
        at, on_top = todo.pop(0)
        if at in seen or not 0 < at < len(data):
            continue
        seen.add(at)
        tags, after = _directory(data, at)
        old = _REDUCED if tags.get(_OLD_SUBFILE, (1,))[0] == 2 else 0
        kind, width, height = (tags.get(tag, (0,))[0] for tag in (_SUBFILE, _WIDTH, _HEIGHT))
        yield _Page(at, kind if _SUBFILE in tags else old, width, height)
        if on_top:
            todo[:0] = [(place, False) for place in tags.get(_SUB_PAGES, ())]
            todo.append((after, True))


def _order(data: bytes) -> str:
    return "<" if data.startswith(b"II") else ">"


def _directory(data: bytes, at: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """Those tags of a TIFF's directory that are about pages, and where the next directory begins."""
    order, big = _order(data), _is_big(data)
    head, entry, place = ("Q", "HHQ", "Q") if big else ("H", "HHL", "L")
    (count,) = struct.unpack_from(order + head, data, at)
    at += struct.calcsize(order + head)
    found = {}
    for _ in range(count):
        tag, kind, values = struct.unpack_from(order + entry, data, at)
        at += struct.calcsize(order + entry)
        if tag in _ABOUT_PAGES and kind in _INTEGERS and 0 < values < _MOST_PAGES:
            form = f"{order}{values}{_INTEGERS[kind]}"
            inside = struct.calcsize(form) <= struct.calcsize(order + place)
            found[tag] = struct.unpack_from(
                form, data, at if inside else struct.unpack_from(order + place, data, at)[0]
            )
        at += struct.calcsize(order + place)
    return found, struct.unpack_from(order + place, data, at)[0]


def what_is_left_out(file: Image.Image, data: bytes, gain_map: bool = False) -> str:
    """Give what the file has beside its main image, empty where that is nothing. Pages of a TIFF are told of before.

    Arguments:
        file, data: the file.
        gain_map: whether its gain map is not left out.
    """
    if file.format in ("JPEG", "MPO"):
        parts = []
        count = getattr(file, "n_frames", 1)
        if not gain_map and any(mark in data for mark in _GAIN_MAPS):
            parts.append("its gain map for HDR screens")
        elif count > 1 + gain_map:
            parts.append(f"{count - 1 - gain_map} more of its {count} pictures")
        if _VIDEO.search(data):
            parts.append("its video")
        if _EXTENDED_XMP in data:
            parts.append("the extended part of its XMP data")
        return f"left out: {' and '.join(parts)}" if parts else ""
    if file.format in ("AVIF", "HEIF") and (b"tmap" in data[8:64] or any(mark in data for mark in _GAIN_MAPS)):
        return "left out: its gain map for HDR screens"
    if file.format in ("TIFF", "PSD") or not getattr(file, "is_animated", False):
        return ""
    try:
        count = f"its {getattr(file, 'n_frames', 1)}"
    except Exception:  # a later frame is damaged
        count = "its"
    return f"of {count} frames only the first is taken"
