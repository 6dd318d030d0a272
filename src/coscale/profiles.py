"""What the colours of a photo mean: its ICC profile, and what says it without one.

Without a profile the meaning is kept as the chunks that a PNG says it by: cICP, or cHRM (chromaticities of white and of
the primaries) with gAMA. Colours are sRGB where nothing is said, so chunks that say sRGB are none.
"""

import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

from coscale.errors import ImageError

MOST_BYTES = 16 * 2**20  # of a profile or a text
_SPACES = {1: "GRAY", 3: "RGB"}
_NAMES = {"GRAY": "grey", "RGB": "RGB"}
_NO_EMBEDDING = {"link", "abst", "nmcl"}  # classes of profiles that do not say what an image's colours mean
_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # in 100000ths: x, y of white, red, green, blue
_ADOBE = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
_SRGB_GAMMA, _ADOBE_GAMMA = 45455, 45471  # in 100000ths, 1 over the exponent
_SRGB_CODE = bytes((1, 13, 0, 1))
_UNSPECIFIED = {0, 2}
_EXIF_IFD, _INTEROP_IFD, _COLOUR_SPACE, _INTEROP_INDEX = 0x8769, 0xA005, 0xA001, 1
_ADOBE_SPACE, _UNCALIBRATED = 2, 0xFFFF


def fitting(icc: bytes | None, channels: int) -> bytes | None:
    """Give the profile as a file of so many colour ``channels`` may hold it, cut to the size that it declares.

    Raises ImageError, without a name in front, for one that does not fit.
    """
    if not icc:
        return None
    if len(icc) > MOST_BYTES:
        raise ImageError(f"its colour profile is larger than {MOST_BYTES >> 20} MiB")
    size = int.from_bytes(icc[:4])
    try:
        if not 128 < size <= len(icc):
            raise OSError
        profile: Any = ImageCms.ImageCmsProfile(BytesIO(icc)).profile
        space, kind = profile.xcolor_space.strip(), profile.device_class
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        raise ImageError("its colour profile is damaged") from error
    if space != _SPACES[channels] or kind in _NO_EMBEDDING:
        of = _NAMES.get(space, space) if kind not in _NO_EMBEDDING else "another use"
        raise ImageError(f"its colour profile is for {of}, and the photo is {_NAMES[_SPACES[channels]]}")
    return icc[:size]


def cmyk_to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """By the profile, or by the plain formula when there is none that fits."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (OSError, ImageCms.PyCMSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def chunks_of(white_and_primaries: Sequence[float] | None, gamma: float | None) -> dict[str, bytes]:
    """Give the chunks for chromaticities, x and y of white, red, green and blue, and for a gamma of 1 over the
    exponent.
    """
    found: dict[str, bytes] = {}
    try:
        if white_and_primaries is not None:
            found["cHRM"] = struct.pack(">8I", *(round(value * 100_000) for value in white_and_primaries))
        if gamma is not None:
            found["gAMA"] = struct.pack(">I", round(gamma * 100_000))
    except (struct.error, ValueError, OverflowError, ZeroDivisionError):  # what cannot be said is not
        return {}
    return found


def meaning(chunks: Mapping[str, bytes], has_profile: bool) -> dict[str, bytes]:
    """Give of a PNG's ``chunks`` those that count and say something else than sRGB.

    cICP goes before the profile, that before sRGB, and that before cHRM and gAMA.
    """
    code = chunks.get("cICP", b"")
    if len(code) == 4 and code[2] == 0 and not _UNSPECIFIED & {code[0], code[1]}:
        return {} if code == _SRGB_CODE else {"cICP": code}
    if has_profile or "sRGB" in chunks:
        return {}
    found = {key: chunks[key] for key, size in (("cHRM", 32), ("gAMA", 4)) if len(chunks.get(key, b"")) == size}
    if "cHRM" in found:
        near = zip(struct.unpack(">8I", found["cHRM"]), _SRGB, strict=True)
        other = any(abs(value - usual) > 200 for value, usual in near)
    else:
        other = False
    if "gAMA" in found:
        (gamma,) = struct.unpack(">I", found["gAMA"])
        other = other or (gamma > 0 and abs(gamma - _SRGB_GAMMA) > _SRGB_GAMMA // 100)
    return found if other else {}


def exif_meaning(exif: Image.Exif) -> dict[str, bytes]:
    """Give the chunks for what EXIF data say of the colours, which is sRGB, Adobe RGB, or that it is neither.

    Raises ImageError, without a name in front, for the last.
    """
    space = exif.get_ifd(_EXIF_IFD).get(_COLOUR_SPACE)
    if space not in (_ADOBE_SPACE, _UNCALIBRATED):
        return {}
    index = str(exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX, "")).strip("\0 ")
    if space == _ADOBE_SPACE or index == "R03":
        return {"cHRM": struct.pack(">8I", *_ADOBE), "gAMA": struct.pack(">I", _ADOBE_GAMMA)}
    raise ImageError("its EXIF data say that its colours are not sRGB, but not which; they are taken as they are")


def avif_chunks(data: bytes) -> dict[str, bytes]:
    """Give the chunk for the code points in an AVIF file, which are those of cICP."""
    at = data.find(b"colrnclx")
    if at < 0 or len(data) < at + 12:
        return {}
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    return {"cICP": bytes((primaries & 255, transfer & 255, 0, 1))}


def bmp_colour(data: bytes) -> tuple[bytes | None, dict[str, bytes]]:
    """Give the profile or the chunks for what the header of a BMP file says: in its versions 4 and 5 it can."""
    if len(data) < 14 + 108 or int.from_bytes(data[14:18], "little") < 108:
        return None, {}
    header = data[14:]
    if header[56:60] == b"DEBM":  # "MBED" from its last letter on
        at, size = struct.unpack_from("<2I", header, 112) if len(header) >= 120 else (0, 0)
        return header[at : at + size] or None, {}
    if header[56:60] != bytes(4):  # sRGB, or the profile of another computer's screen
        return None, {}
    points = [struct.unpack_from("<3i", header, 60 + 12 * i) for i in range(3)]
    white = tuple(map(sum, zip(*points, strict=True)))
    if not all(sum(point) > 0 for point in points):
        return None, {}
    places = [(x / (x + y + z), y / (x + y + z)) for x, y, z in (white, *points)]
    exponent = struct.unpack_from("<I", header, 100)[0] / 65536  # of green
    gamma = 1 / exponent if exponent else None
    return None, chunks_of([value for place in places for value in place], gamma)


def in_numbers(chunks: Mapping[str, bytes]) -> dict[str, object]:
    """Give the chunks as Pillow has them in an image's ``info``; cICP it does not know."""
    found: dict[str, object] = {}
    if "cHRM" in chunks:
        found["chromaticity"] = tuple(value / 100_000 for value in struct.unpack(">8I", chunks["cHRM"]))
    if "gAMA" in chunks:
        found["gamma"] = int.from_bytes(chunks["gAMA"]) / 100_000
    return found


def described(chunks: Mapping[str, bytes]) -> str:
    """Give what an image's colours are said to be, in a word or two."""
    if "cICP" in chunks:
        return f"those of cICP {'/'.join(str(value) for value in chunks['cICP'])}"
    if chunks.get("cHRM") == struct.pack(">8I", *_ADOBE):
        return "Adobe RGB"
    return "told by " + " and ".join(chunks)
