"""LR files as other tools save them, and broken ones: the command and the page have to take the same for right."""

import json
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Literal

from PIL import Image

from bench.mutations import Chunks, png_chunks, png_of
from coscale import xmp

Verdict = Literal["restored", "refused", "no note"]
TEXT = b"tEXt"


def packed(note: bytes, keyword: bytes = b"coscale") -> tuple[bytes, bytes]:
    return b"zTXt", keyword + b"\0\0" + zlib.compress(note)


def international(note: bytes, flags: bytes = b"\0\0", keyword: bytes = b"coscale") -> tuple[bytes, bytes]:
    return b"iTXt", keyword + b"\0" + flags + b"en\0Herkunft\0" + note


def lr_cases(lr: bytes) -> Iterator[tuple[str, bytes, Verdict]]:
    """A name, a file and what it is, for many changes of ``lr``, which is an LR file as coscale writes it."""
    chunks = png_chunks(lr)
    (note,) = (content.partition(b"\0")[2] for kind, content in chunks if kind == TEXT)
    told: dict[str, Any] = json.loads(note)
    header, pixels, end = (next(chunk for chunk in chunks if chunk[0] == kind) for kind in (b"IHDR", b"IDAT", b"IEND"))
    plain = (TEXT, b"coscale\0" + note)
    wrong = (TEXT, b"coscale\0{}")

    def with_texts(*texts: tuple[bytes, bytes], after: Chunks | None = None) -> bytes:
        return png_of([header, *texts, pixels, *(after or []), end])

    def noted(text: bytes) -> bytes:
        return with_texts((TEXT, b"coscale\0" + text))

    def changed(**values: Any) -> bytes:
        return noted(json.dumps(told | values).encode())

    def saved(change: Callable[[Image.Image], Image.Image], **options: Any) -> bytes:
        file = BytesIO()
        change(Image.open(BytesIO(lr))).save(file, "PNG", **options)
        first, *rest = png_chunks(file.getvalue())
        return png_of([first, plain, *rest])

    restored: Verdict = "restored"
    yield "as written", lr, restored
    yield "zTXt", with_texts(packed(note)), restored
    yield "iTXt", with_texts(international(note)), restored
    yield "compressed iTXt", with_texts(international(zlib.compress(note), b"\1\0")), restored
    yield "after the pixels", with_texts(after=[plain]), restored
    yield "zTXt after the pixels", with_texts(after=[packed(note)]), restored
    yield (
        "fields in another order",
        noted(json.dumps(dict(sorted(told.items(), reverse=True)), indent=2).encode()),
        restored,
    )
    yield "one field more", changed(maker={"name": ["a", 1.5e3]}), restored
    areas = {"side": 4, "runs": [8, 3, 25]}  # of the 6 x 6 cells that 23 x 22 pixels have
    yield "areas left to bicubic", changed(bicubic=areas), restored
    yield "areas from the first cell on", changed(bicubic=areas | {"runs": [0, 36]}), restored
    yield "areas of another image", changed(bicubic=areas | {"runs": [8, 3, 24]}), "refused"
    yield "areas of no cells", changed(bicubic=areas | {"runs": [8, 0, 28]}), "refused"
    yield "areas of half a cell", changed(bicubic=areas | {"runs": [8, 3.5, 24.5]}), "refused"
    yield "areas in words", changed(bicubic=areas | {"runs": ["36"]}), "refused"
    yield "areas without runs", changed(bicubic={"side": 4}), "refused"
    yield "areas without a side", changed(bicubic=areas | {"side": 0}), "refused"
    yield "areas that are a number", changed(bicubic=36), "refused"
    yield "grey that was stored as grey", changed(grey="L"), restored
    yield "grey that was stored as RGB", changed(grey="RGB", bicubic=areas), restored
    yield "no grey and no areas", changed(grey=None, profile=None, bicubic=None), restored
    yield "grey that was stored as something else", changed(grey="CMYK"), "refused"
    yield "a profile that is no base64", changed(grey="L", profile="no base64"), "refused"
    yield "a profile that is a number", changed(grey="L", profile=7), "refused"

    def packed_in(packet: str) -> tuple[bytes, bytes]:
        return b"iTXt", xmp.CHUNK.encode() + b"\0\0\0\0\0" + packet.encode()

    packet = xmp.packet(note.decode())
    element = f"<coscale:note>{note.decode()}</coscale:note>"
    quoted = note.decode().replace('"', "&quot;")
    attribute = packet.replace(element, "").replace('rdf:about=""', f'rdf:about="" coscale:note="{quoted}"')
    yield "a packet alone", with_texts(packed_in(packet)), restored
    yield "a packet with the note as an attribute", with_texts(packed_in(attribute)), restored
    yield (
        "a packet with another prefix",
        with_texts(
            packed_in(packet.replace("coscale:", "c:").replace(":coscale", ":c").replace("urn:c:", "urn:coscale:"))
        ),
        restored,
    )
    yield (
        "a packet in its frame",
        with_texts(packed_in(f'<?xpacket begin="\ufeff"?>{packet}\n<?xpacket end="w"?>')),
        restored,
    )
    described = '<rdf:Description rdf:about=""><tiff:Make>Ma &amp; Co</tiff:Make></rdf:Description>'
    own = xmp.packet(None).replace("<rdf:RDF", '<rdf:RDF xmlns:tiff="http://ns.adobe.com/tiff/1.0/"')
    own = xmp.carried(own.replace("</rdf:RDF>", f"{described}</rdf:RDF>").encode())
    yield (
        "a packet with what the photo says",
        with_texts(packed_in(xmp.packet(note.decode(), 3, own, b"press"))),
        restored,
    )
    yield "a packet beside a note that is wrong", with_texts(wrong, packed_in(packet)), "refused"
    yield "a damaged packet beside a note", with_texts(plain, packed_in(packet[:-9])), restored
    yield "a damaged packet", with_texts(packed_in(packet[:-9])), "refused"
    yield "a packet with a document type", with_texts(packed_in(f"<!DOCTYPE x []>{packet}")), "refused"
    yield (
        "a packet with an element in its note",
        with_texts(packed_in(packet.replace(element, f"<coscale:note><b>{note.decode()}</b></coscale:note>"))),
        "no note",
    )
    yield "a packet of another namespace", with_texts(packed_in(packet.replace(xmp.NAMESPACE, "urn:x"))), "no note"
    yield "beside other texts", with_texts((TEXT, b"Title\0x"), plain, packed(b"y" * 500, b"Comment")), restored
    yield "the last of two is right", with_texts(wrong, plain), restored
    yield "the last of two, packed", with_texts(wrong, after=[packed(note)]), restored
    yield "the last of two is wrong", with_texts(packed(note), wrong), "refused"
    yield "the last of two is empty", with_texts(plain, after=[(TEXT, b"coscale\0")]), "refused"
    yield "an iTXt that is passed over", with_texts(plain, international(note, b"\1\7")), restored
    yield "an iTXt that is no UTF-8", with_texts(plain, international(b"\xff")), restored
    yield "an iTXt without its parts", with_texts(plain, (b"iTXt", b"coscale\0\0\0en")), restored
    damaged = lr.replace(note, note.replace(b"light", b"night"))  # so that its checksum is wrong
    yield "a note with a wrong checksum", damaged, "no note"
    beside = (b"tIME", bytes(7))
    yield "beside a chunk with a wrong checksum", with_texts(plain, beside).replace(b"tIME\0", b"tIME\1"), restored
    yield "a header with a wrong checksum", lr.replace(header[1], header[1][:-1] + b"\1"), "refused"
    yield "without its end", lr[:-12], restored
    yield "cut in its pixels", lr[: lr.index(b"IDAT") + 100], "refused"
    yield "no text", with_texts(), "no note"
    yield "another keyword", with_texts((TEXT, b"Coscale\0" + note)), "no note"
    yield "a keyword alone", with_texts((TEXT, b"coscale")), "refused"
    yield "zTXt that is no zlib", with_texts((b"zTXt", b"coscale\0\0" + note)), "refused"
    yield "zTXt that is cut", with_texts((b"zTXt", packed(note)[1][:-20])), "refused"
    yield "JSON of another kind", noted(b"[1]"), "refused"
    yield "a number as text", changed(scale=str(told["scale"])), "refused"
    yield "a number with a point", noted(note.replace(b'"scale": 2', b'"scale": 2.0')), "refused"
    yield "a number with an exponent", noted(note.replace(b'"scale": 2', b'"scale": 2e0')), "refused"
    yield "true for a number", changed(scale=True), "refused"
    yield "a scale of 0", changed(scale=0), "refused"
    yield "a size below 0", changed(width=-told["width"]), "refused"
    yield "a number of 400 digits", changed(width=10**400), "refused"
    yield "null for a text", changed(version=None), "refused"
    yield "a name with an escape code", changed(rescaler="\x1b[31mlight-x2"), "refused"
    yield "a name that turns letters round", changed(rescaler="\u202e2x-thgil"), "refused"
    yield "a name with a line break", changed(rescaler="light-x2\n"), "refused"
    yield "a name that is half a letter", changed(rescaler="\ud800"), "refused"
    yield "a byte order mark", with_texts(international(b"\xef\xbb\xbf" + note)), "refused"
    yield "a huge note", changed(maker="x" * 70_000), "refused"
    yield "a huge packed note", with_texts(packed(json.dumps(told | {"maker": "x" * 70_000}).encode())), "refused"
    yield "a deep note", noted(note[:-1] + b', "maker": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "refused"
    small = zlib.compressobj(9)
    bomb = b"".join(small.compress(bytes(2**20)) for _ in range(200)) + small.flush()
    yield "a bomb", with_texts((b"zTXt", b"coscale\0\0" + bomb)), "refused"
    yield "a bomb in iTXt", with_texts(international(bomb, b"\1\0")), "refused"
    yield "interlaced", interlaced(lr), restored
    yield "with opacity", saved(lambda image: image.convert("RGBA")), restored
    yield "with a palette", saved(lambda image: image.quantize(16)), restored
    yield "with a palette of two", saved(lambda image: image.quantize(2)), restored
    yield "with a clear colour", saved(lambda image: image.quantize(8), transparency=3), restored
    yield "grey of one bit", saved(lambda image: image.convert("1")), restored
    yield "grey", saved(lambda image: image.convert("L")), restored
    yield "grey with a clear level", saved(lambda image: image.convert("L"), transparency=100), restored
    yield "RGB with a clear colour", saved(lambda image: image, transparency=(0, 0, 0)), restored
    cut = zlib.decompress(pixels[1])
    yield (
        "pixels that are cut",
        png_of([header, plain, (b"IDAT", zlib.compress(cut[: len(cut) // 2])), end]),
        "refused",
    )
    yield "pixels that are a bomb", png_of([header, plain, (b"IDAT", bomb), end]), restored
    pieces = [(b"IDAT", pixels[1][at : at + 100]) for at in range(0, len(pixels[1]), 100)]
    yield "pixels in many pieces", png_of([header, plain, *pieces, end]), restored
    yield "bytes behind the end", lr + b"\0" * 100, restored


def interlaced(lr: bytes) -> bytes:
    """The 8-bit RGB file with its pixels in the seven passes of Adam7."""
    image = Image.open(BytesIO(lr)).convert("RGB")
    rows = []
    for left, top, right, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
    ):  # fmt: skip
        for y in range(top, image.height, down):
            row = b"".join(bytes(image.getpixel((x, y))) for x in range(left, image.width, right))  # type: ignore[arg-type]
            rows.append(b"\0" + row if row else b"")
    chunks = png_chunks(lr)
    header = chunks[0][1][:-1] + b"\1"
    texts = [chunk for chunk in chunks if chunk[0] == TEXT]
    return png_of([(b"IHDR", header), *texts, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")])
