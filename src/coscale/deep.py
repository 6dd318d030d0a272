"""PNG and TIFF files of 16 bit, which Pillow does not write in colour: its files of 8 bit, with other samples."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from coscale.containers import PNG

_BAND = 64  # rows that are filtered at once: a large photo should not be in memory several times
_WIDTH, _BITS = 256, 258  # tags of a TIFF
_SHORT = 3  # the type of a tag with numbers of 16 bit


def png(like: bytes, samples: np.ndarray) -> bytes:
    """Give the PNG of ``samples``, H x W x channels of uint16, with what the PNG ``like`` says beside its pixels."""
    height, width, _ = samples.shape
    parts, done = [PNG], False
    for name, body in _chunks(like):
        if name == b"IHDR":
            body = struct.pack(">2IB", width, height, 16) + body[9:]
        if name == b"IDAT":
            if done:
                continue
            body, done = b"".join(_packed(samples)), True
        parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def _packed(samples: np.ndarray) -> Iterator[bytes]:
    """The image data of a PNG: each row by the filter that gives the smallest differences.

    Source: PNG specification (W3C), sections 9 and 12.7.
    """
    height, width, channels = samples.shape
    pixel = 2 * channels  # bytes
    above = np.zeros((1, pixel * width), np.uint8)
    packer = zlib.compressobj(6)
    for top in range(0, height, _BAND):
        rows = samples[top : top + _BAND].astype(">u2").view(np.uint8).reshape(-1, pixel * width)
        up = np.concatenate((above, rows[:-1]))
        left, corner = (np.pad(each, ((0, 0), (pixel, 0)))[:, : rows.shape[1]] for each in (rows, up))
        filtered = np.stack((rows, rows - left, rows - up, rows - _paeth(left, up, corner)))
        cost = np.minimum(filtered, 0 - filtered).sum(-1, dtype=np.int64)
        best = cost.argmin(0)
        kinds = np.array((0, 1, 2, 4), np.uint8)[best]
        chosen = filtered[best, np.arange(len(rows))]
        yield packer.compress(np.concatenate((kinds[:, None], chosen), 1).tobytes())
        above = rows[-1:]
    yield packer.flush()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Of three neighbours the one that is nearest to left + up - corner."""
    a, b, c = (each.astype(np.int16) for each in (left, up, corner))
    by_a, by_b, by_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return np.where((by_a <= by_b) & (by_a <= by_c), left, np.where(by_b <= by_c, up, corner))


def in_bytes(samples: np.ndarray) -> np.ndarray:
    """Give samples of 16 bit as an image of 8 bit, twice as wide, that has the same bytes as a TIFF of them."""
    height, width, channels = samples.shape
    return np.ascontiguousarray(samples.astype("<u2")).view(np.uint8).reshape(height, 2 * width, channels)


def tiff(wide: bytes) -> bytes:
    """Give the TIFF of 16 bit that has the bytes of one of ``in_bytes``, which Pillow has written."""
    data = bytearray(wide)
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "L", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHL", data, entry)
        if tag == _WIDTH:
            form = order + ("H" if kind == _SHORT else "L")
            (width,) = struct.unpack_from(form, data, entry + 8)
            struct.pack_into(form, data, entry + 8, width // 2)
        elif tag == _BITS:
            place = entry + 8 if values <= 2 else struct.unpack_from(order + "L", data, entry + 8)[0]
            struct.pack_into(f"{order}{values}H", data, place, *[16] * values)
    return bytes(data)
