"""Files as nobody would write them: small ones that are right, and ways to make each of them wrong.

Every change is drawn from a ``random.Random``, so that the same seed makes the same files.
"""

import io
import json
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
Chunks = list[tuple[bytes, bytes]]
INTEGERS = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.0, -0.5, 1e308, float("nan"), float("inf"), "", "x",
    "\x1b[31m", "\ud800", "\u202e", "<b>", "../..", "a" * 5000, [], {}, [[]], {"": None},
)  # fmt: skip


def png_chunks(data: bytes) -> Chunks:
    """Kind and content of each chunk of a PNG."""
    found, at = [], len(PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk as it stands in a file, with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(chunks: Chunks) -> bytes:
    """The PNG of these chunks."""
    return PNG + b"".join(png_chunk(kind, content) for kind, content in chunks)


def mutate(data: bytes, others: list[bytes], rng: Random) -> bytes:
    """``data`` with one to four changes, each as its format has it or of mere bytes; ``others`` give pieces."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice((*_structured(data), _any))(data, others, rng)
    return data


def _structured(data: bytes) -> tuple[Callable[[bytes, list[bytes], Random], bytes], ...]:
    """What can be changed with the format kept, more often than mere bytes are."""
    if data.startswith(PNG):
        return (_png, _png, _png)
    if data.startswith(b"PK\x03\x04"):
        return (_zip, _zip, _zip)
    if len(data) > 10 and data[8:9] == b"{" and struct.unpack_from("<Q", data)[0] <= len(data):
        return (_safetensors, _safetensors)
    if data.startswith(b"\x80") and data.endswith(b"."):
        return (_pickle, _pickle)
    if data[:1] in b'{["':
        return (_lines, _lines, _lines)
    return (_integer,)


def _any(data: bytes, others: list[bytes], rng: Random) -> bytes:
    return rng.choice((_bits, _cut, _insert, _splice, _integer, _remove, _repeat))(data, others, rng)


def _bits(data: bytes, others: list[bytes], rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 32))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, _: list[bytes], rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _insert(data: bytes, _: list[bytes], rng: Random) -> bytes:
    at, count = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 100, 5000))
    return data[:at] + rng.choice((rng.randbytes(count), bytes(count), b"\xff" * count)) + data[at:]


def _splice(data: bytes, others: list[bytes], rng: Random) -> bytes:
    other = rng.choice(others)
    first, last = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[first:last] + data[at + rng.choice((0, last - first)) :]


def _integer(data: bytes, _: list[bytes], rng: Random) -> bytes:
    size, order = rng.choice("BHIQ"), rng.choice("<>")
    width = struct.calcsize(f"{order}{size}")
    if len(data) < width:
        return data
    at = rng.choice((rng.randrange(len(data) - width + 1), rng.randrange(min(64, len(data) - width + 1))))
    value = rng.choice(INTEGERS) % 2 ** (8 * width)
    return data[:at] + struct.pack(f"{order}{size}", value) + data[at + width :]


def _remove(data: bytes, _: list[bytes], rng: Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[min(last, first + rng.choice((1, 4, 100, len(data)))) :]


def _repeat(data: bytes, _: list[bytes], rng: Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:last][:10_000] * rng.choice((1, 2, 20)) + data[last:]


def _png(data: bytes, others: list[bytes], rng: Random) -> bytes:
    """Chunks changed, left out, doubled, moved, or taken from another PNG, with checksums that are right."""
    chunks = png_chunks(data)
    if not chunks:
        return _any(data, others, rng)
    at = rng.randrange(len(chunks))
    kind, content = chunks[at]
    match rng.choice(("change", "change", "change", "unpack", "drop", "double", "move", "take", "kind", "header")):
        case "change":
            chunks[at] = kind, _any(content, [content for _, content in chunks], rng)
        case "unpack":
            chunks[at] = kind, _packed(kind, content, rng)
        case "drop":
            del chunks[at]
        case "double":
            chunks.insert(rng.randrange(len(chunks) + 1), chunks[at])
        case "move":
            chunks.insert(rng.randrange(len(chunks)), chunks.pop(at))
        case "take":
            other = rng.choice([other for other in others if other.startswith(PNG)] or [data])
            taken = png_chunks(other)
            chunks.insert(at, rng.choice(taken or chunks))
        case "kind":
            chunks[at] = bytes(rng.choice((*kind, 0x41, 0x7A)) for _ in range(4)), content
        case "header":
            chunks[0] = chunks[0][0], _integer(chunks[0][1], [], rng)
    return png_of(chunks)


def _packed(kind: bytes, content: bytes, rng: Random) -> bytes:
    """What a chunk has packed, changed and packed again; or a great deal of nothing."""
    head = 0 if kind in (b"IDAT", b"fdAT") else content.find(b"\0") + 2
    try:
        inside = zlib.decompressobj().decompress(content[head:], 2**20)
    except zlib.error:
        return _bits(content, [], rng)
    changed = rng.choice((_any(inside, [inside], rng), bytes(rng.choice((10, 20 * 2**20)))))
    return content[:head] + zlib.compress(changed)


def _zip(data: bytes, others: list[bytes], rng: Random) -> bytes:
    """Entries changed, left out, doubled or renamed, in an archive that is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # changed before, so that it is none any more
        return _any(data, others, rng)
    if not entries:
        return _any(data, others, rng)
    # Numbers of a network are many bytes, but what says how to read them is in few.
    at = rng.choice((rng.randrange(len(entries)), *(i for i, (name, _) in enumerate(entries) if name.endswith(".pkl"))))
    name, content = entries[at]
    match rng.choice(("change", "change", "change", "change", "drop", "double", "rename")):
        case "change":
            entries[at] = name, mutate(content, [content for _, content in entries], rng)
        case "drop":
            del entries[at]
        case "double":
            entries.append((name, mutate(content, [content], rng)))
        case "rename":
            entries[at] = (
                rng.choice((name.upper(), "../" + name, "", "data.pkl", "a/constants.pkl", name[:-1])),
                content,
            )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for each, content in entries:
            info = zipfile.ZipInfo(each)
            with archive.open(info, "w") as file:
                file.write(content)
    return target.getvalue()


def _pickle(data: bytes, others: list[bytes], rng: Random) -> bytes:
    """A whole number, a text or a class in a pickle becomes another one, of any size."""
    places = []
    try:
        for operation, argument, at in pickletools.genops(data):
            assert at is not None
            if places and places[-1][1] is None:
                places[-1] = places[-1][0], at, places[-1][2]
            if isinstance(argument, int | str) and not isinstance(argument, bool):
                places.append((at, None, (operation.name, argument)))
        if places and places[-1][1] is None:
            places.pop()
    except Exception:  # changed before, so that it is none any more
        return _any(data, others, rng)
    numbers = [place for place in places if isinstance(place[2][1], int) and not place[2][0].endswith(("PUT", "GET"))]
    texts = [place for place in places if place[2][0] in ("BINUNICODE", "SHORT_BINUNICODE", "GLOBAL")]
    if numbers and (not texts or rng.random() < 0.6):
        first, last, _ = rng.choice(numbers)
        return (
            data[:first]
            + b"\x8a\x09"
            + struct.pack("<q", rng.choice((-1, *INTEGERS, 2**40, 2**62)))
            + b"\0"
            + data[last:]
        )
    if not texts:
        return _any(data, others, rng)
    first, last, (name, text) = rng.choice(texts)
    if name == "GLOBAL":
        known = rng.choice(("os system", "torch Size", "collections OrderedDict", "torch FloatStorage", "torch Tensor"))
        return data[:first] + b"c" + known.replace(" ", "\n").encode() + b"\n" + data[last:]
    other = rng.choice((text[:-1], text * 2, "", "cuda:0", "meta", "module." * 50 + text, "\x1b[2J", "params")).encode()
    return data[:first] + b"X" + struct.pack("<I", len(other)) + other + data[last:]


def _safetensors(data: bytes, _: list[bytes], rng: Random) -> bytes:
    """The header as another JSON text, of the length that is said."""
    length = struct.unpack_from("<Q", data)[0]
    header, rest = _json(data[8 : 8 + length], rng), data[8 + length :]
    return struct.pack("<Q", len(header)) + header + rest


def _lines(data: bytes, others: list[bytes], rng: Random) -> bytes:
    """A line as another JSON text, twice, not at all, or a line from elsewhere."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.choice(("change", "change", "change", "drop", "double", "take")):
        case "change":
            lines[at] = _json(lines[at], rng)
        case "drop":
            del lines[at]
        case "double":
            lines.insert(at, lines[at])
        case "take":
            lines.insert(at, rng.choice(rng.choice(others).split(b"\n")))
    return b"\n".join(lines)


def _json(text: bytes, rng: Random) -> bytes:
    """A JSON text with a value, or a key, that is another one; what is none gets other bytes."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return _any(text, [text], rng)
    if rng.random() < 0.05:
        return b"[" * 100_000 + text
    if rng.random() < 0.05:
        return text[:-1] + b', "deep": ' + b"[" * 3000 + b"]" * 3000 + b"}"
    return json.dumps(_other(tree, rng)).encode()


def _other(tree: Any, rng: Random) -> Any:
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        match rng.choice(("deeper", "deeper", "deeper", "drop", "key", "add")):
            case "deeper":
                return tree | {key: _other(tree[key], rng)}
            case "drop":
                return {other: tree[other] for other in tree if other != key}
            case "key":
                return {(key[::-1] if other == key else other): tree[other] for other in tree}
            case _:
                return tree | {rng.choice(("x", "", "\x1b", "__class__")): rng.choice(VALUES)}
    if isinstance(tree, list) and tree and rng.random() < 0.9:
        at = rng.randrange(len(tree))
        return rng.choice((tree[:at], tree * 2, [*tree[:at], _other(tree[at], rng), *tree[at + 1 :]]))
    return rng.choice(VALUES)
