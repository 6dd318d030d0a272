"""Small photos as phones, cameras and programs write them, with what such photos carry: what ``bench.phone`` sends on
its trip, and some tests do.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from bench.readme import ROOT
from coscale import iptc, xmp

SETS = Path(os.environ.get("COSCALE_TEST_SETS", ROOT.parent / "shared" / "data" / "test"))
BUTTERFLY = ROOT / "examples" / "butterfly.png"
Tags = dict[int, tuple[int, Any]]  # number: type of TIFF, and value
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED = 1, 2, 3, 4, 5, 7, 10
_SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, SIGNED: 8}
_FORMS = {SHORT: "H", LONG: "L", RATIONAL: "L", SIGNED: "l"}
_EXIF, _GPS = 0x8769, 0x8825
# XYZ under D50 of red, green and blue.
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # how a photo lies in its file, by its orientation
    1: lambda upright: upright,
    3: lambda upright: upright[::-1, ::-1],
    6: lambda upright: np.rot90(upright, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@dataclass(frozen=True)
class Shot:
    """A photo's file, and what is right: ``pixels``, upright, with the ``icc`` profile that says what they mean.

    - ``extra``: of coscale, which reads it.
    - ``dpi``: where the format alone says it.
    - ``gains``: its gain map as that of the upright photo is, a JPEG.
    """

    name: str
    data: bytes
    pixels: np.ndarray
    icc: bytes | None = None
    extra: str | None = None
    transparent: bool = False
    dpi: int | None = None
    gains: bytes = b""


def profile(colorants: tuple[tuple[float, float, float], ...]) -> bytes:
    """Give an ICC profile of these colorants and a gamma of 2.2; for grey without any."""

    def number(value: float) -> int:
        return round(value * 65536) & 0xFFFFFFFF

    def place(xyz: Iterable[float]) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3I", *map(number, xyz))

    white = (0.9642, 1.0, 0.8249)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 563) + bytes(2)
    name = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78)
    parts = {b"desc": name, b"wtpt": place(white)}
    if colorants:
        parts |= {key: place(xyz) for key, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)}
    parts |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC") if colorants else (b"kTRC",), curve)
    at, table = 128 + 4 + 12 * len(parts), b""
    for tag, part in parts.items():
        table += tag + struct.pack(">2I", at, len(part))
        at += len(part)
    kind = b"mntrRGB XYZ " if colorants else b"mntrGRAYXYZ "
    header = struct.pack(">I", at) + bytes(4) + b"\x02\x10\0\0" + kind + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3I", *map(number, white))
    return header.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + b"".join(parts.values())


def tiff_block(tags: Tags, exposure: Tags, place: Tags, order: str = ">") -> bytes:
    """Give EXIF data, a TIFF block in which every type is as it is asked for, which Pillow does not let one choose."""
    tags = dict(tags)
    places, at = {}, 8
    for key, of in ((None, tags), (_EXIF, exposure), (_GPS, place)):
        if key and of:
            tags[key] = (LONG, 0)
            places[key] = 0
    blocks = {None: tags, _EXIF: exposure, _GPS: place}
    for key, of in blocks.items():
        if of:
            places[key] = at
            at += len(_directory(of, at, order))
    for key in (_EXIF, _GPS):
        if blocks[key]:
            tags[key] = (LONG, places[key])
    body = b"".join(_directory(of, places[key], order) for key, of in blocks.items() if of)
    return (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "L", 8) + body


def _directory(tags: Tags, at: int, order: str) -> bytes:
    entries, rest = b"", b""
    start = at + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        data = _coded(kind, value, order)
        count = len(data) // _SIZES[kind]
        if len(data) > 4:
            entries += struct.pack(order + "HHLL", tag, kind, count, start + len(rest))
            rest += data + b"\0" * (len(data) % 2)
        else:
            entries += struct.pack(order + "HHL", tag, kind, count) + data.ljust(4, b"\0")
    return struct.pack(order + "H", len(tags)) + entries + bytes(4) + rest


def _coded(kind: int, value: Any, order: str) -> bytes:
    if kind in (BYTE, UNDEFINED):
        return value if isinstance(value, bytes) else bytes([value])
    if kind == ASCII:
        return value.encode() + b"\0"
    numbers = value if isinstance(value, tuple) else (value,)
    return struct.pack(f"{order}{len(numbers)}{_FORMS[kind]}", *numbers)


def camera(orientation: int = 1, number: int = 0, order: str = ">", maker: int = 900, **more: Tags) -> bytes:
    """Give EXIF data as a phone writes them."""
    tags: Tags = {
        0x010E: (ASCII, "Ein Nachmittag am Fluß, 午後"),
        0x010F: (ASCII, "Maker"),
        0x0110: (ASCII, f"Phone {number}"),
        0x0112: (SHORT, orientation),
        0x011A: (RATIONAL, (72, 1)),
        0x011B: (RATIONAL, (72, 1)),
        0x0128: (SHORT, 2),
        0x0131: (ASCII, "17.5.1"),
        0x0132: (ASCII, f"2024:05:{number % 27 + 1:02} 07:08:09"),
        0x013B: (ASCII, "José Müller"),
        0x8298: (ASCII, "© José Müller"),
        0x9C9B: (BYTE, "Fluß".encode("utf-16-le") + b"\0\0"),
    }
    exposure: Tags = {
        0x829A: (RATIONAL, (1, 122)),
        0x829D: (RATIONAL, (178, 100)),
        0x8822: (SHORT, 2),
        0x8827: (SHORT, 64),
        0x9000: (UNDEFINED, b"0232"),
        0x9003: (ASCII, f"2024:05:{number % 27 + 1:02} 07:08:09"),
        0x9004: (ASCII, f"2024:05:{number % 27 + 1:02} 07:08:09"),
        0x9010: (ASCII, "+02:00"),
        0x9011: (ASCII, "+02:00"),
        0x9201: (SIGNED, (69345, 10000)),
        0x9204: (SIGNED, (-1, 3)),
        0x9286: (UNDEFINED, b"UNICODE\0" + "a comment".encode("utf-16-be")),
        0x9291: (ASCII, "417"),
        0x9214: (SHORT, (2011, 1500, 2217, 1330)),
        0x927C: (UNDEFINED, np.random.default_rng(number).bytes(maker)),
        0xA000: (UNDEFINED, b"0100"),
        0xA001: (SHORT, 1),
        0xA002: (LONG, 4032),
        0xA003: (LONG, 3024),
        0xA301: (UNDEFINED, b"\1"),
        0xA402: (SHORT, 0),
        0xA404: (RATIONAL, (0, 0)),  # as phones write that there is none
        0xA432: (RATIONAL, (153, 100, 900, 100, 0, 0, 0, 0)),
        0xA433: (ASCII, "Maker"),
        0xA434: (ASCII, "back kamera Ä"),
    }
    place: Tags = {
        0: (BYTE, b"\2\3\0\0"),
        1: (ASCII, "S"),
        2: (RATIONAL, (33, 1, 51, 1, 2531 + number, 100)),
        3: (ASCII, "E"),
        4: (RATIONAL, (151, 1, 12, 1, 4021, 100)),
        5: (BYTE, b"\1"),
        6: (RATIONAL, (1234, 100)),
        7: (RATIONAL, (5, 1, 8, 1, 9, 1)),
        12: (ASCII, "K"),
        13: (RATIONAL, (0, 1)),
        16: (ASCII, "T"),
        17: (RATIONAL, (18021, 100)),
        27: (UNDEFINED, b"ASCII\0\0\0GPS"),
        29: (ASCII, "2024:05:06"),
        31: (RATIONAL, (473, 100)),
    }
    tags |= more.get("tags", {})
    exposure |= more.get("exposure", {})
    return tiff_block(tags, exposure, place, order)


def packet(title: str, *more: str) -> bytes:
    """Give XMP data with a title, keywords, an author and a rating."""
    dc = (
        f"<dc:title><rdf:Alt><rdf:li xml:lang='x-default'>{title}</rdf:li>"
        "<rdf:li xml:lang='de'>Fluß</rdf:li></rdf:Alt></dc:title>"
        "<dc:subject><rdf:Bag><rdf:li>river</rdf:li><rdf:li>午後</rdf:li></rdf:Bag></dc:subject>"
        "<dc:creator><rdf:Seq><rdf:li>José Müller</rdf:li></rdf:Seq></dc:creator>"
        "<xmp:CreateDate>2024-05-06T07:08:09.417+02:00</xmp:CreateDate>"
        "<mwg-rs:Regions xmlns:mwg-rs='http://www.metadataworkinggroup.com/schemas/regions/' rdf:parseType='Resource'/>"
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        f' xmlns:dc="{xmp.DC}" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4">{dc}</rdf:Description>'
        f'{"".join(more)}</rdf:RDF></x:xmpmeta>{" " * 2048}<?xpacket end="w"?>'
    ).encode()


def press(city: str = "Köln") -> bytes:
    """Give IPTC data in UTF-8, which they say."""
    fields = {5: ["a title"], 25: ["river", "afternoon"], 80: ["José Müller"], 90: [city], 55: ["20240506"]}
    coded = b"\x1c\1\x5a\0\3\x1b%G"
    for dataset, values in fields.items():
        for value in values:
            coded += b"\x1c\2" + bytes([dataset]) + len(value.encode()).to_bytes(2) + value.encode()
    return coded


def encoded(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    """Give the file that Pillow writes."""
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, form, **options)
    return file.getvalue()


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    """Give a JPEG as good as phones write them."""
    return encoded(pixels, "JPEG", **{"quality": 93, "subsampling": 0} | options)


def segment(marker: int, body: bytes) -> bytes:
    """Give a segment of a JPEG."""
    return b"\xff" + bytes([marker]) + (len(body) + 2).to_bytes(2) + body


def behind(data: bytes, *segments: bytes) -> bytes:
    """Give a JPEG with segments behind its first one, which is JFIF's."""
    at = 4 + int.from_bytes(data[4:6])
    return data[:at] + b"".join(segments) + data[at:]


HDRGM, GCONTAINER = "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.google.com/photos/1.0/container/"
_ISO = b"urn:iso:std:iso:ts:21496:-1\0"


def gain_map(upright: np.ndarray, iso: bool = True) -> bytes:
    """Give the gain map of a photo as it lies: its brightest parts, a quarter as wide, in grey."""
    small = Image.fromarray(np.ascontiguousarray(upright)).convert("L").reduce(4)
    told = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:hdrgm="{HDRGM}" hdrgm:Version="1.0" hdrgm:GainMapMin="0.0" '
        'hdrgm:GainMapMax="2.3" hdrgm:Gamma="1.0" hdrgm:OffsetSDR="0.015625" hdrgm:OffsetHDR="0.015625" '
        'hdrgm:HDRCapacityMin="0.0" hdrgm:HDRCapacityMax="2.3" hdrgm:BaseRenditionIsHDR="False"/></rdf:RDF></x:xmpmeta>'
    )
    file = BytesIO()
    small.point([max(0, level - 128) * 2 for level in range(256)]).save(file, "JPEG", quality=85, xmp=told.encode())
    # ISO 21496-1: versions, flags, then fractions: headrooms, and minimum, maximum, gamma and offsets of a channel.
    numbers = (0, 1, 23, 10, 0, 1, 23, 10, 1, 1, 1, 64, 1, 64)
    metadata = bytes(4) + b"\0" + struct.pack(">14L", *numbers)
    return behind(file.getvalue(), segment(0xE2, _ISO + metadata)) if iso else file.getvalue()


def ultra_hdr(primary: bytes, second: bytes, iso: bool = True) -> bytes:
    """Give an Ultra HDR photo of a JPEG, whose XMP data have the directory, and of its gain map."""
    primary = behind(primary, *([segment(0xE2, _ISO + bytes(4))] if iso else []))
    return indexed(primary, second)


def indexed(primary: bytes, second: bytes) -> bytes:
    """Give two JPEG files as one with an index of both (CIPA DC-007)."""
    index = len(segment(0xE2, _index(0, 0, 0)))
    at = _end_of_exif(primary)
    whole = len(primary) + index
    told = segment(0xE2, _index(whole, len(second), whole - (at + 8)))
    return primary[:at] + told + primary[at:] + second


def _end_of_exif(data: bytes) -> int:
    at = 2
    while data[at + 1] in (0xE0, 0xE1):
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return at


def _index(first: int, second: int, place: int) -> bytes:
    entries = struct.pack(">3L2H", 0x030000, first, 0, 0, 0) + struct.pack(">3L2H", 0, second, place, 0, 0)
    tags = struct.pack(">HHL4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHLL", 0xB001, 4, 1, 2)
    tags += struct.pack(">HHLL", 0xB002, 7, 32, 8 + 2 + 36 + 4)
    return b"MPF\0MM\0*" + struct.pack(">LH", 8, 3) + tags + bytes(4) + entries


def directory(length: int) -> str:
    """Give what the XMP data of an Ultra HDR photo say of its gain map of so many bytes."""
    item = "<rdf:li rdf:parseType='Resource'><Container:Item Item:Semantic='{}' Item:Mime='image/jpeg'{}/></rdf:li>"
    return (
        f"<rdf:Description rdf:about='' xmlns:Container='{GCONTAINER}' xmlns:Item='{GCONTAINER}item/'"
        f" xmlns:hdrgm='{HDRGM}' hdrgm:Version='1.0'><Container:Directory><rdf:Seq>{item.format('Primary', '')}"
        + item.format("GainMap", f" Item:Length='{length}'")
        + "</rdf:Seq></Container:Directory></rdf:Description>"
    )


def scenes(seed: int, count: int, sides: tuple[int, int]) -> Iterator[np.ndarray]:
    """Give crops of photos, H x W x 3, of sides between these; of the test sets where a machine has them.

    Of smaller photos only where there are no others.
    """
    rng = np.random.default_rng(seed)
    sets = [SETS / name for name in ("Set14", "DIV2K_valid_4", "BSD100")]
    paths = [path for folder in sets if folder.is_dir() for path in sorted(folder.iterdir())] or [BUTTERFLY]
    small = [path for path in paths if path.suffix == ".png"] or [BUTTERFLY]
    usable = [path for path in small if min(size_of(path)) >= sides[0]] or small
    for number in range(count):
        with Image.open(usable[int(rng.integers(len(usable))) if number else 0]) as image:
            whole = np.asarray(image.convert("RGB"))
        height, width = (min(int(rng.integers(*sides)), most) for most in whole.shape[:2])
        top, left = (
            int(rng.integers(most - side + 1)) for most, side in zip(whole.shape, (height, width), strict=False)
        )
        yield whole[top : top + height, left : left + width]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


Kind = Callable[[np.ndarray, int], Shot]


def _upright_jpeg(pixels: np.ndarray, number: int) -> Shot:
    data = jpeg(pixels, exif=b"Exif\0\0" + camera(1, number), xmp=packet("upright"), extra=iptc.segment(press()))
    return Shot("jpeg.jpg", data, pixels)


def _turned(orientation: int) -> Kind:
    def make(pixels: np.ndarray, number: int) -> Shot:
        exif = b"Exif\0\0" + camera(orientation, number, "<" if number % 2 else ">")
        data = jpeg(TURNS[orientation](pixels), exif=exif, xmp=packet("turned"))
        return Shot(f"turned{orientation}.JPG", data, pixels)

    return make


def _p3(pixels: np.ndarray, number: int) -> Shot:
    data = jpeg(TURNS[6](pixels), exif=b"Exif\0\0" + camera(6, number), icc_profile=profile(P3))
    return Shot("p3.jpeg", data, pixels, profile(P3))


def _adobe(pixels: np.ndarray, number: int) -> Shot:
    data = jpeg(pixels, exif=b"Exif\0\0" + camera(1, number), icc_profile=profile(ADOBE), xmp=packet("studio"))
    return Shot("adobe.jpg", data, pixels, profile(ADOBE))


def _heic(pixels: np.ndarray, number: int) -> Shot:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = b"Exif\0\0" + camera(1, number)
    options = {"quality": 92, "chroma": 444, "exif": exif, "icc_profile": profile(P3), "xmp": packet("heic")}
    return Shot("heic.heic", encoded(pixels, "HEIF", **options), pixels, profile(P3), "heic")


def _turned_heic(pixels: np.ndarray, number: int) -> Shot:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = b"Exif\0\0" + camera(6, number)
    data = encoded(TURNS[6](pixels), "HEIF", quality=92, chroma=444, exif=exif)
    return Shot("turned.HEIC", data, pixels, None, "heic")


def _avif(pixels: np.ndarray, number: int) -> Shot:
    exif = b"Exif\0\0" + camera(1, number)
    options = {"quality": 92, "subsampling": "4:4:4", "exif": exif, "icc_profile": profile(P3), "xmp": packet("avif")}
    return Shot("avif.avif", encoded(pixels, "AVIF", **options), pixels, profile(P3))


def _turned_avif(pixels: np.ndarray, number: int) -> Shot:
    exif = b"Exif\0\0" + camera(8, number)
    data = encoded(TURNS[8](pixels), "AVIF", quality=92, subsampling="4:4:4", exif=exif)
    return Shot("turned.avif", data, pixels)


def _hdr(orientation: int, iso: bool) -> Kind:
    def make(pixels: np.ndarray, number: int) -> Shot:
        lying = TURNS[orientation](pixels)
        second = gain_map(lying, iso)
        exif = b"Exif\0\0" + camera(orientation, number)
        own = packet("ultra hdr", directory(len(second)))
        data = ultra_hdr(jpeg(lying, exif=exif, xmp=own, icc_profile=profile(P3)), second, iso)
        return Shot(f"ultrahdr{orientation}.jpg", data, pixels, profile(P3), gains=gain_map(pixels, iso))

    return make


def _mpo(pixels: np.ndarray, number: int) -> Shot:
    exif = b"Exif\0\0" + camera(1, number)
    return Shot("stereo.MPO", indexed(jpeg(pixels, exif=exif), jpeg(pixels)), pixels)


def _motion(pixels: np.ndarray, number: int) -> Shot:
    own = packet(
        "motion",
        "<rdf:Description rdf:about='' xmlns:GCamera='http://ns.google.com/photos/1.0/camera/' GCamera:MotionPhoto='1'"
        " GCamera:MicroVideoOffset='4000'/>",
    )
    data = jpeg(TURNS[6](pixels), exif=b"Exif\0\0" + camera(6, number), xmp=own)
    return Shot("motion.MP.jpg", data + struct.pack(">L", 24) + b"ftypmp42" + bytes(4000), pixels)


def _png(pixels: np.ndarray, number: int) -> Shot:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(xmp.CHUNK, packet("png").decode())
    exif = camera(6, number)
    data = encoded(TURNS[6](pixels), "PNG", exif=b"Exif\0\0" + exif, pnginfo=texts, icc_profile=profile(P3))
    return Shot("eXIf.png", data, pixels, profile(P3))


def _screenshot(pixels: np.ndarray, number: int) -> Shot:
    return Shot("screen.png", encoded(pixels, "PNG", dpi=(144, 144)), pixels, dpi=144)


def _clear(pixels: np.ndarray, number: int) -> Shot:
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    alpha[:20, :20] = 0
    exif = b"Exif\0\0" + camera(1, number)
    data = encoded(np.concatenate((pixels, alpha), -1), "WEBP", lossless=True, exact=True, exif=exif)
    return Shot("clear.webp", data, pixels, transparent=True)


def _webp(pixels: np.ndarray, number: int) -> Shot:
    exif, own = b"Exif\0\0" + camera(6, number), packet("webp")
    data = encoded(TURNS[6](pixels), "WEBP", lossless=True, exif=exif, xmp=own, icc_profile=profile(P3))
    return Shot("photo.webp", data, pixels, profile(P3))


def _deep_tiff(pixels: np.ndarray, number: int) -> Shot:
    import tifffile

    file = BytesIO()
    own, about = packet("tiff"), press()
    more = [
        *((271, "s", 0, "Maker", True), (306, "s", 0, "2024:05:06 07:08:09", True), (274, "H", 1, 6, True)),
        *((700, "B", len(own), own, True), (33723, 7, len(about), about, True)),
        (34675, 7, len(profile(P3)), profile(P3), True),
        (315, "s", 0, "Author", True),
    ]
    deep = np.ascontiguousarray(TURNS[6](pixels)).astype(np.uint16) * 257
    options = {"photometric": "rgb", "metadata": None, "software": "program", "resolution": (300, 300)}
    tifffile.imwrite(file, deep, resolutionunit=2, extratags=more, **options)
    return Shot("deep.tif", file.getvalue(), pixels, profile(P3), "16bit", dpi=300)


def _tiff(pixels: np.ndarray, number: int) -> Shot:
    from coscale import metadata

    tags = metadata.tags(camera(1, number), packet("tiff of 8 bit"), press())
    return Shot("plain.tiff", encoded(pixels, "TIFF", exif=tags, icc_profile=profile(ADOBE)), pixels, profile(ADOBE))


def _deep_png(pixels: np.ndarray, number: int) -> Shot:
    from coscale import deep

    like = encoded(pixels[:1, :1], "PNG", exif=b"Exif\0\0" + camera(1, number), icc_profile=profile(P3))
    return Shot("deep.png", deep.png(like, pixels.astype(np.uint16) * 257), pixels, profile(P3), "16bit")


def _grey(pixels: np.ndarray, number: int) -> Shot:
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))
    data = jpeg(grey, exif=b"Exif\0\0" + camera(1, number), icc_profile=profile(()))
    return Shot("grey.jpg", data, grey, profile(()))


def _noted_by_maker(pixels: np.ndarray, number: int) -> Shot:
    return Shot("maker.jpg", jpeg(pixels, exif=b"Exif\0\0" + camera(1, number, maker=2_500)), pixels)


def _in_centimetres(pixels: np.ndarray, number: int) -> Shot:
    tags: Tags = {0x0128: (SHORT, 3), 0x011A: (RATIONAL, (118, 1)), 0x011B: (RATIONAL, (118, 1))}
    return Shot("centimetres.jpg", jpeg(pixels, exif=b"Exif\0\0" + camera(1, number, tags=tags)), pixels)


def _scanned(pixels: np.ndarray, number: int) -> Shot:
    return Shot("scan.jpg", jpeg(pixels, dpi=(300, 300), extra=iptc.segment(press())), pixels, dpi=300)


def _jpeg_xl(pixels: np.ndarray, number: int) -> Shot:
    from coscale import foreign

    data = foreign.to_jpeg_xl(np.ascontiguousarray(pixels), profile(P3), packet("jxl"), camera(1, number))
    return Shot("photo.jxl", data, pixels, profile(P3), "jxl")


KINDS: tuple[Kind, ...] = (
    *(_turned(6), _hdr(6, True), _heic, _p3, _deep_tiff, _avif, _mpo, _png, _upright_jpeg, _turned_heic, _motion),
    *(_scanned, _adobe, _hdr(1, False), _turned(8), _webp, _deep_png, _grey, _tiff, _turned_avif, _noted_by_maker),
    *(_in_centimetres, _turned(3), _screenshot, _clear, _jpeg_xl),
)


def shots(count: int, seed: int = 0, sides: tuple[int, int] = (200, 420)) -> Iterator[Shot]:
    """Give so many photos: each kind once, and then again of other scenes."""
    for number, scene in enumerate(scenes(seed, count, sides)):
        shot = KINDS[number % len(KINDS)](scene, number)
        yield replace(shot, name=f"{number:02}-{shot.name}")
