"""Gain maps, which brighten a photo on HDR screens: small JPEG files behind the photo's own, of which these parts tell.

    photo's: [XMP: a directory of both] [ISO 21496-1: its version] [index]   gain map's: [XMP or ISO: how to apply it]

A gain map is spread over its photo whatever the sizes of both, so it goes along as it is, and fits the LR as well as
the restored photo. Sources: Ultra HDR Image Format 1.1 (Android); ISO 21496-1; CIPA DC-007, multi-picture format.
"""

import struct
from io import BytesIO

from PIL import Image, JpegImagePlugin

from coscale.containers import JPEG, START_OF_JPEG, end_of_jpeg, jpeg_segments

MOST = 384 * 2**10  # bytes, so that an XMP packet of an LR file has room for one in base64
_MOST_PIXELS = 2**26
_GAP = 2**16  # bytes that may lie between two pictures
_SAID = {*range(0xE0, 0xF0), 0xFE}  # markers of what applications say, and of comments
_JFIF, _EXIF_OR_XMP, _SECOND, _COLOURS = 0xE0, 0xE1, 0xE2, 0xEE  # the last is whether colours are Y Cb Cr
_ADOBE, _CONTAINER = "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.google.com/photos/1.0/container/"
_APPLIED = (_ADOBE.encode(), b"GainMapMax")  # in XMP data that say how; those of the photo have the former alone
_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_VERSION = _ISO + bytes(4)  # that the photo itself has, of the least that a reader must know and of the writer
_PROFILE = b"ICC_PROFILE\0"
_PRIMARY = 0x030000  # the kind of the first picture in an index
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def found_in(data: bytes) -> bytes:
    """Give the gain map behind a photo's JPEG file, empty where there is none of the kinds above."""
    at = end_of_jpeg(data, 0)
    while at and (start := data.find(JPEG, at, at + _GAP)) >= 0:
        at = end_of_jpeg(data, start)
        if at and (_is_adobe(data[start:at]) or _is_iso(data[start:at])):
            return data[start:at]
    return b""


def carried(gain_map: bytes, orientation: int = 1) -> bytes:
    """Give a gain map as it goes along: turned as its photo is, and without what it says beside how to apply it.

    Raises ValueError, with the reason, for one that is damaged or has more than 384 KiB.
    """
    if len(gain_map) > MOST:
        raise ValueError(f"has more than {MOST >> 10} KiB")
    try:
        with Image.open(BytesIO(gain_map), formats=("JPEG", "MPO")) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError
            image.load()
            plain = _turned(image, orientation) if orientation in _TURNS else gain_map[: end_of_jpeg(gain_map, 0)]
    except Exception as error:  # decoders fail in many ways on what is damaged
        raise ValueError("is damaged") from error
    told = [gain_map[at:end] for _, at, end in jpeg_segments(gain_map) if _says_how(gain_map[at:end])]
    if not told or not plain:
        raise ValueError("is damaged")
    return _behind(START_OF_JPEG + b"".join(_needed(plain)), *told)


def properties(gain_map: bytes) -> str:
    """Give what the XMP data of its photo say of a gain map: a description, empty where they need not."""
    if not _is_adobe(gain_map):
        return ""
    item = '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{}" Item:Mime="image/jpeg"{}/></rdf:li>'
    items = item.format("Primary", "") + item.format("GainMap", f' Item:Length="{len(gain_map)}"')
    return (
        f'<rdf:Description rdf:about="" xmlns:Container="{_CONTAINER}" xmlns:Item="{_CONTAINER}item/"'
        f' xmlns:hdrgm="{_ADOBE}" hdrgm:Version="1.0"><Container:Directory><rdf:Seq>{items}</rdf:Seq>'
        "</Container:Directory></rdf:Description>"
    )


def attached(data: bytes, gain_map: bytes) -> bytes:
    """Give a photo's JPEG, whose XMP data have the ``properties``, as one file with its gain map."""
    data = _behind(data, *([_segment(_SECOND, _VERSION)] if _is_iso(gain_map) else []))
    whole = len(data) + len(_segment(_SECOND, _index(0, 0, 0)))
    at = _place(data)
    index = _index(whole, len(gain_map), whole - (at + 8))  # places count from behind the marker, the size and a name
    return data[:at] + _segment(_SECOND, index) + data[at:] + gain_map


def _needed(data: bytes) -> list[bytes]:
    """The parts of a JPEG but for what applications say in it, from its first segment to its end."""
    segments = list(jpeg_segments(data))
    kept = [data[at:end] for kind, at, end in segments if kind not in _SAID or kind in (_JFIF, _COLOURS)]
    return [*kept, data[segments[-1][2] :]]


def _says_how(segment: bytes) -> bool:
    body = segment[4:]
    return body.startswith((_ISO, _PROFILE)) or (segment[1] == _EXIF_OR_XMP and all(part in body for part in _APPLIED))


def _is_adobe(gain_map: bytes) -> bool:
    return any(
        kind == _EXIF_OR_XMP and all(part in gain_map[at:end] for part in _APPLIED)
        for kind, at, end in jpeg_segments(gain_map)
    )


def _is_iso(gain_map: bytes) -> bool:
    return any(gain_map.startswith(_ISO, at + 4) for _, at, _ in jpeg_segments(gain_map))


def _turned(image: Image.Image, orientation: int) -> bytes:
    """A JPEG of the same tables, so that hardly anything is lost."""
    file = BytesIO()
    sampling = JpegImagePlugin.get_sampling(image) if image.mode == "RGB" else 0  # type: ignore[arg-type]
    tables: dict[int, list[int]] = image.quantization  # type: ignore[attr-defined]
    image.transpose(_TURNS[orientation]).save(file, "JPEG", qtables=tables, subsampling=max(0, sampling))
    return file.getvalue()


def _segment(kind: int, body: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + (len(body) + 2).to_bytes(2) + body


def _place(data: bytes) -> int:
    """Where the segments begin that come behind JFIF's, EXIF data and XMP data."""
    ends = [end for kind, _, end in jpeg_segments(data) if kind in (_JFIF, _EXIF_OR_XMP)]
    return max(ends, default=len(START_OF_JPEG))


def _behind(data: bytes, *segments: bytes) -> bytes:
    at = _place(data)
    return data[:at] + b"".join(segments) + data[at:]


def _index(whole: int, size: int, place: int) -> bytes:
    """The index of two pictures, of which the first has ``whole`` bytes, and the second ``size`` from ``place`` on."""
    head = b"MPF\0MM\0*" + struct.pack(">LH", 8, 3)
    tags = struct.pack(">HHL4s", 0xB000, 7, 4, b"0100")  # the version
    tags += struct.pack(">HHLL", 0xB001, 4, 1, 2)  # how many there are
    tags += struct.pack(">HHLL", 0xB002, 7, 32, 50)  # their entries, which come behind
    entries = struct.pack(">3L2H", _PRIMARY, whole, 0, 0, 0) + struct.pack(">3L2H", 0, size, place, 0, 0)
    return head + tags + bytes(4) + entries
