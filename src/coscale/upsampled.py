"""JPEG XL files of an LR image that every decoder shows at the photo's size, by the upsampling that the format has.

    file     boxes of the metadata, ``coLR``: the LR's own header, and the codestream in two parts
    part 1   a header with the photo's size
    part 2   the LR's frame, without loss, in which two bits say that it is to be upsampled

A decoder of JPEG XL takes the parts for one codestream and passes over ``coLR``. Whoever wants the LR itself puts that
header before the frame, and takes the two bits back.
Source: ISO/IEC 18181-1, SizeHeader, ImageMetadata and FrameHeader; 18181-2 for the boxes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from coscale import foreign
from coscale.errors import ImageError

_OWN, _PART = b"coLR", b"jxlp"
_LAST_PART = 1 << 31
_SELECTORS = {1: 0, 2: 1, 4: 2}  # how a frame says how many times as large it is shown
_HARMLESS = 0x80  # of a frame's flags, the one that upsampling has nothing to do with; others are patches, noise, ...
_ENUM = (0, 0, 4, 6)  # bits of a kind out of a list, as the selector before it says
_EFFORTS = (7, 3)  # at the first libjxl may write patches, which lie on what is upsampled already; not at the second


class _Bits:
    """Reads a codestream bit by bit, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value, self.at = int.from_bytes(data, "little"), 0

    def take(self, count: int) -> int:
        value = self._value >> self.at & (1 << count) - 1
        self.at += count
        return value

    def choice(self, *widths: int) -> int:
        """Take a selector of two bits, and then as many bits as it selects."""
        return self.take(widths[self.take(2)])


def marked(file: bytes, factor: int, size: tuple[int, int]) -> bytes:
    """Give a lossless .jxl file of an LR as one that decoders show ``factor`` times as large, cut to a size.

    Arguments:
        file: what ``foreign.to_jpeg_xl`` gives.
        factor: 2 or 4.
        size: height and width of the photo; those of the LR are these over the factor, rounded up.

    Raises ImageError without the extra, and for a frame that libjxl writes otherwise than expected.
    """
    pylibjxl = foreign.check_jpeg_xl()
    samples, more = pylibjxl.decode(file, metadata=True)
    samples = samples if samples.ndim == 3 else samples[..., None]
    icc = more.get("icc")
    frame = next((found for effort in _EFFORTS if (found := _frame(pylibjxl, samples, factor, effort))), None)
    if frame is None:
        raise ImageError("this libjxl writes frames that cannot be marked for upsampling; store the LR as .png")
    own = _head(pylibjxl, np.zeros_like(samples), icc)
    shown = _head(pylibjxl, np.zeros((*size, samples.shape[2]), np.uint8), icc)
    parts = [(_PART, (0).to_bytes(4) + shown), (_PART, (1 | _LAST_PART).to_bytes(4) + frame)]
    return foreign.of_boxes([*_described(file), (_OWN, own), *parts])


def unmarked(file: bytes) -> bytes:
    """Give the .jxl file of the LR itself, of one that ``marked`` gave; any other file as it is."""
    own = [body for kind, body in foreign.boxes(file) if kind == _OWN]
    parts = [body[4:] for kind, body in foreign.boxes(file) if kind == _PART]
    if len(own) != 1 or len(parts) != 2:
        return file
    frame = _told(parts[1], 1, _header(own[0]).more)
    if frame is None:
        return file
    return foreign.of_boxes([*_described(file), (b"jxlc", own[0] + frame)])


def _described(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of a file that are neither its pixels nor what stands for those of all files."""
    return ((kind, body) for kind, body in foreign.boxes(file) if kind not in (b"JXL ", b"jxlc", _PART, _OWN))


def _frame(pylibjxl: Any, samples: np.ndarray, factor: int, effort: int) -> bytes | None:
    """The frame of an image that is to be upsampled; None where it has more in it than pixels."""
    stream = _encoded(pylibjxl, samples, effort)
    header = _header(stream)
    return _told(stream[header.bytes :], factor, header.more)


def _head(pylibjxl: Any, black: np.ndarray, icc: bytes | None) -> bytes:
    """What a codestream of a size has before the frame: a profile's end is known from where the frame begins."""
    plain = _encoded(pylibjxl, black, 1)
    head = plain[: _header(plain).bytes]
    if not icc:
        return head
    stream, frame = _encoded(pylibjxl, black, 1, icc), plain[len(head) :]
    if not stream.endswith(frame):
        raise ImageError("this libjxl writes profiles in a way that is not expected here; store the LR as .png")
    return stream[: -len(frame)]


def _encoded(pylibjxl: Any, samples: np.ndarray, effort: int, icc: bytes | None = None) -> bytes:
    coded = pylibjxl.encode(np.ascontiguousarray(samples), effort=effort, lossless=True, icc=icc)
    return foreign.codestream(coded)


@dataclass(frozen=True)
class _Header:
    """The bytes that a codestream without a profile has before its frame; and how many channels more than colours."""

    bytes: int
    more: int


def _header(stream: bytes) -> _Header:
    """Read the header of an image as pylibjxl writes them: of 8 bit, in its own colours, with alpha at most."""
    bits = _Bits(stream[:64])
    bits.take(16)
    small = bits.take(1)

    def side() -> None:
        bits.take(5) if small else bits.choice(9, 13, 18, 30)

    side()
    if not bits.take(3):  # of both sides; else their ratio
        side()
    unusual = bits.take(1) or bits.take(1)  # all by default, or fields that few images have
    unusual = unusual or bits.take(1) or bits.take(2)  # floats, or not of 8 bit
    bits.take(1)  # whether 16 bit are enough to decode it
    more = bits.take(2)
    unusual = unusual or more > 1 or (more == 1 and not bits.take(1)) or bits.take(1)  # more than alpha, or XYB
    if not unusual and not bits.take(1) and not bits.take(1):  # other colours than sRGB, without a profile
        grey = bits.take(2) == 1
        bits.choice(*_ENUM)  # white
        if not grey:
            bits.choice(*_ENUM)  # primaries
        bits.take(24) if bits.take(1) else bits.choice(*_ENUM)  # gamma, or one of the known curves
        bits.choice(*_ENUM)  # rendering intent
    bits.take(2)  # no extensions
    bits.take(1)  # the usual weights of upsampling
    return _Header(0 if unusual else -(-bits.at // 8), more)


def _told(frame: bytes, factor: int, more: int) -> bytes | None:
    """A frame that says how many times as large it is shown, and its ``more`` channels likewise; None for a frame of
    another kind than lossless ones of one image are.
    """
    bits = _Bits(frame[:16])
    plain = not bits.take(1) and not bits.take(2) and bits.take(1)  # an ordinary frame, of the lossless kind
    flags = 0
    selector = bits.take(2)
    if selector:
        flags = bits.take(4) + 1 if selector == 1 else bits.take(8) + 17
    if not plain or selector == 3 or flags & ~_HARMLESS or bits.take(1):  # the last: Y Cb Cr
        return None
    value = int.from_bytes(frame[:16], "little")
    for place in range(bits.at, bits.at + 2 * (1 + more), 2):
        value = value & ~(3 << place) | _SELECTORS[factor] << place
    return value.to_bytes(len(frame[:16]), "little") + frame[16:]
