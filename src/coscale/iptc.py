"""IPTC data, as agencies and newspapers have them in JPEG and TIFF files: title, keywords, author, place, date.

Other formats have no place for them, and programs of today look for the same in XMP; so they become XMP properties too.
Source: IPTC-NAA Information Interchange Model, version 4.2, chapter 6; IPTC Photo Metadata Standard, its table of both.
"""

import re
from collections.abc import Iterator
from typing import Literal

from PIL import Image, IptcImagePlugin

from coscale.xmp import DC, PHOTOSHOP, Property

MOST = 60_000  # bytes, so that they fit a segment of a JPEG
_MARKER, _BEGIN = b"\xff\xed", b"Photoshop 3.0\0"  # of that segment
RESOURCE = 0x0404  # what Photoshop calls them in there
_ENVELOPE, _ABOUT = 1, 2  # the records that are kept; those after them describe pixels
_PREVIEW = 200  # the first dataset of the second record that is one
_CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_PREFIXES = {DC: "dc", PHOTOSHOP: "photoshop", _CORE: "Iptc4xmpCore"}
_DATE, _TIME = 55, 60
_PROPERTIES: dict[int, tuple[str, str, Literal["text", "Alt", "Bag", "Seq"]]] = {
    5: (DC, "title", "Alt"),
    15: (PHOTOSHOP, "Category", "text"),
    20: (PHOTOSHOP, "SupplementalCategories", "Bag"),
    25: (DC, "subject", "Bag"),
    40: (PHOTOSHOP, "Instructions", "text"),
    80: (DC, "creator", "Seq"),
    85: (PHOTOSHOP, "AuthorsPosition", "text"),
    90: (PHOTOSHOP, "City", "text"),
    92: (_CORE, "Location", "text"),
    95: (PHOTOSHOP, "State", "text"),
    100: (_CORE, "CountryCode", "text"),
    101: (PHOTOSHOP, "Country", "text"),
    103: (PHOTOSHOP, "TransmissionReference", "text"),
    105: (PHOTOSHOP, "Headline", "text"),
    110: (PHOTOSHOP, "Credit", "text"),
    115: (PHOTOSHOP, "Source", "text"),
    116: (DC, "rights", "Alt"),
    120: (DC, "description", "Alt"),
    122: (PHOTOSHOP, "CaptionWriter", "text"),
}


def carried(block: bytes) -> bytes:
    """Give the IPTC data that go along with a photo: without what is about its pixels, and without a preview.

    Raises ValueError, with the reason, for more than 60,000 bytes, and for what is none.
    """
    kept = b"".join(
        _coded(record, dataset, value)
        for record, dataset, value in _datasets(block)
        if record == _ENVELOPE or (record == _ABOUT and dataset < _PREVIEW)
    )
    if len(kept) > MOST:
        raise ValueError(f"have more than {MOST:,} bytes")
    if block.strip(b"\0") and not kept:
        raise ValueError("are damaged")
    return kept


def properties(block: bytes) -> list[Property]:
    """Give the XMP properties that say the same, as far as there are such."""
    found: dict[int, list[str]] = {}
    for record, dataset, value in _datasets(block):
        if record == _ABOUT and (text := _text(value)):
            found.setdefault(dataset, []).append(text)
    given = [
        Property(space, _PREFIXES[space], name, kind, tuple(found[dataset]))
        for dataset, (space, name, kind) in _PROPERTIES.items()
        if dataset in found
    ]
    if date := _date(found.get(_DATE, [""])[0], found.get(_TIME, [""])[0]):
        given.append(Property(PHOTOSHOP, "photoshop", "DateCreated", "text", (date,)))
    return given


def segment(block: bytes) -> bytes:
    """Give the segment of a JPEG that holds IPTC data."""
    resource = b"8BIM" + RESOURCE.to_bytes(2) + b"\0\0" + len(block).to_bytes(4) + block + b"\0" * (len(block) % 2)
    return _MARKER + (2 + len(_BEGIN) + len(resource)).to_bytes(2) + _BEGIN + resource


def in_tiff(file: Image.Image) -> bytes:
    """Give the IPTC data of a TIFF, which some programs write as if they were numbers of 32 bit.

    Raises what Pillow does for data that are damaged.
    """
    said = IptcImagePlugin.getiptcinfo(file) or {}  # type: ignore[arg-type]
    given = ((key, value if isinstance(value, list) else [value]) for key, value in sorted(said.items()))
    return b"".join(_coded(*key, value) for key, values in given for value in values if len(value) < 2**15)


def _coded(record: int, dataset: int, value: bytes) -> bytes:
    return b"\x1c" + bytes((record, dataset)) + len(value).to_bytes(2) + value


def _datasets(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and value of each dataset, up to one that is damaged or has 32 KiB or more."""
    at = 0
    while at + 5 <= len(block) and block[at] == 0x1C:
        size = int.from_bytes(block[at + 3 : at + 5])
        if at + 5 + size > len(block):
            return
        yield block[at + 1], block[at + 2], block[at + 5 : at + 5 + size]
        at += 5 + size


def _text(value: bytes) -> str:
    """A text in UTF-8 or, as before that, in Latin-1; without characters that XML has not."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return re.sub(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text).strip()


def _date(date: str, time: str) -> str:
    """A date and time of IPTC as XMP writes it; empty where there is no date."""
    if not re.fullmatch(r"\d{8}", date):
        return ""
    given = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    if match := re.fullmatch(r"(\d\d)(\d\d)(\d\d)(?:([+-]\d\d)(\d\d))?", time):
        hours, minutes, seconds, east, rest = match.groups()
        given += f"T{hours}:{minutes}:{seconds}" + (f"{east}:{rest}" if east else "")
    return given
