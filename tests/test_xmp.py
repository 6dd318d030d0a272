"""XMP and IPTC data: from the photo into the LR file beside the note, and from there into the restored photo."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image, PngImagePlugin
from torch import Tensor

from coscale import iptc, xmp
from coscale.cli import cli
from coscale.errors import CoscaleWarning
from coscale.image import Photo, from_bytes, from_pillow, read, to_bytes, to_pillow
from coscale.lrfile import read_lr
from coscale.pair import load
from coscale.quantize import to_uint8
from tests.extras import needs
from tests.test_image import tifffile

DC, TIFF, PHOTOSHOP = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/tiff/1.0/", xmp.PHOTOSHOP
HDR, CONTAINER = "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.google.com/photos/1.0/container/"
REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
EXIFTOOL = Callable[[Path], dict[str, Any]]
LR_SUFFIXES = [".png", ".webp", pytest.param(".jxl", marks=needs("jxl"))]


def framed(*descriptions: str) -> bytes:
    """A packet as a camera's or a program's, with the wrapper and the room after it for changes."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Tool 1">'
        f'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{"".join(descriptions)}</r:RDF></x:xmpmeta>'
        + "\n" * 100
        + '<?xpacket end="w"?>'
    ).encode()


OWN = framed(
    f'<r:Description r:about="" xmlns:tiff="{TIFF}" tiff:Orientation="6" tiff:ImageWidth="4000" tiff:Make="Maker"/>',
    f'<r:Description r:about="" xmlns:dc="{DC}" xmlns:h="{HDR}" h:Version="1.0" dc:format="image/jpeg">\n'
    "<dc:title><r:Alt><r:li xml:lang='x-default'>Roses &amp; &lt;thorns&gt;</r:li></r:Alt></dc:title>\n"
    "<dc:subject><r:Bag><r:li>rose</r:li><r:li> </r:li></r:Bag></dc:subject>\n"
    f'<c:Directory xmlns:c="{CONTAINER}"><r:Seq><r:li r:parseType="Resource"/></r:Seq></c:Directory>'
    f'<m:Regions xmlns:m="{REGIONS}" r:parseType="Resource"><m:Name>somebody</m:Name></m:Regions>'
    "</r:Description>",
)
FIELDS = {5: [b"Title"], 25: [b"one", b"tw\xf6"], 80: [b"Author"], 90: ["Köln".encode()], 120: [b"<Caption>\0"]}
DATES = {55: [b"20010203"], 60: [b"040506+0100"]}


def press(fields: dict[int, list[bytes]] = FIELDS | DATES, record: int = 2) -> bytes:
    """IPTC data of these fields."""
    return b"".join(
        b"\x1c" + bytes((record, dataset)) + len(value).to_bytes(2) + value
        for dataset, values in fields.items()
        for value in values
    )


def jpeg(path: Path, colour: Tensor, own: bytes = b"", about: bytes = b"") -> Path:
    extra = iptc.segment(about) if about else b""
    image = Image.fromarray(to_uint8(colour)[0].movedim(0, -1).numpy())
    image.save(path, quality=95, xmp=own, extra=extra)
    return path


@pytest.fixture
def photo(crop: Tensor, tmp_path: Path) -> Path:
    return jpeg(tmp_path / "photo.jpg", crop[..., :20, :30], OWN, press())


def invoke(*arguments: object) -> None:
    done = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output


def test_own_properties_stay_but_for_what_is_about_the_file() -> None:
    own = xmp.carried(OWN)
    assert "tiff:Orientation" not in own
    for name in ("Orientation", "ImageWidth", "format", "Version", "Directory", "hdr-gain-map", "container"):
        assert name not in own, name
    for text in ("Maker", "Roses &amp; &lt;thorns&gt;", "<rdf:li>rose</rdf:li>", "<rdf:li> </rdf:li>", "somebody"):
        assert text in own, text
    assert "somebody" not in xmp.carried(OWN, turned=True)  # where that is, is told of the photo as it lies
    assert xmp.carried(own.encode()) == own  # once more changes nothing
    assert xmp.read(xmp.packet("{}", 1, own)) == xmp.Told("{}", 1)
    assert xmp.carried(xmp.packet("{}", 1, own, b"press").encode()) == own


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (framed(f'<r:Description xmlns:dc="{DC}" dc:source="{"x" * 2**18}"/>'), "have more than 256 KiB"),
        (OWN.replace(b"<x:xmpmeta", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x:xmpmeta"), "are damaged"),
        (OWN[:-300], "are damaged"),
        (framed(f'<r:Description xmlns:dc="{DC}"><dc:source>{"<r:a>" * 200}{"</r:a>" * 200}</dc:source>'), "damaged"),
        (b"no XML", "are damaged"),
    ],
)
def test_what_is_damaged_or_too_large_is_told_and_left_out(
    packet: bytes, why: str, crop: Tensor, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=why):
        xmp.carried(packet)
    path = tmp_path / "a.webp"
    Image.fromarray(to_uint8(crop)[0].movedim(0, -1).numpy()).save(path, xmp=packet)
    with pytest.warns(CoscaleWarning, match=f"a.webp: its XMP data .*{why}, and are left out$"):
        assert read(path).xmp == ""


def test_a_text_of_a_png_that_is_too_large(crop: Tensor, tmp_path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(xmp.CHUNK, " " * (2**24 + 1))
    Image.fromarray(to_uint8(crop)[0].movedim(0, -1).numpy()).save(tmp_path / "a.png", pnginfo=chunks)
    with pytest.warns(CoscaleWarning, match="a text of more than 16 MiB is left out"):
        assert read(tmp_path / "a.png").xmp == ""


def test_prefixes_that_mean_several_namespaces() -> None:
    """Names are told apart by namespace, whatever the prefix, and one without a prefix gets one."""
    own = xmp.carried(
        framed(
            '<r:Description xmlns:a="urn:1" a:x="1"/><r:Description xmlns:a="urn:2" a:x="2"><b xmlns="urn:3">3</b>'
            '<rdf:c xmlns:rdf="urn:4">4</rdf:c></r:Description>',
            '<r:Description r:about=""/>',
        )
    )
    assert all(f'"urn:{number}"' in own for number in (1, 2, 3, 4))
    assert xmp.carried(own.encode()) == own
    assert own.count("<rdf:Description") == 2  # one that has nothing is left out


def test_nobody_else_has_our_note() -> None:
    """Not even where it is hidden inside a property of a photo."""
    inner = f'<r:Description xmlns:c="{xmp.NAMESPACE}" c:note="hidden"><c:iptc>x</c:iptc><dc:x>y</dc:x></r:Description>'
    own = xmp.carried(framed(f'<r:Description xmlns:dc="{DC}"><dc:source>{inner}</dc:source></r:Description>'))
    assert "hidden" not in own
    assert xmp.NAMESPACE not in own
    assert xmp.read(own) == xmp.Told()


def test_iptc_data_become_properties() -> None:
    said = {one.name: one.values for one in iptc.properties(iptc.carried(press() + press({200: [b"preview"]})))}
    assert said == {
        "title": ("Title",),
        "subject": ("one", "twö"),
        "creator": ("Author",),
        "City": ("Köln",),
        "description": ("<Caption>",),
        "DateCreated": ("2001-02-03T04:05:06+01:00",),
    }
    # What a photo says in XMP itself goes before.
    own = xmp.carried(OWN, more=iptc.properties(press()))
    assert "Roses" in own
    assert "Title" not in own
    assert "<rdf:li>Author</rdf:li>" in own


def test_iptc_data_that_are_not_carried() -> None:
    assert iptc.carried(press({200: [b"preview"], 5: [b"a"]}) + press({20: [b"size"]}, record=3)) == press({5: [b"a"]})
    with pytest.raises(ValueError, match="have more than 60,000 bytes"):
        iptc.carried(press({25: [bytes(30_000)] * 3}))
    with pytest.raises(ValueError, match="are damaged"):
        iptc.carried(b"no IPTC")
    assert iptc.carried(press({25: [b"a"]}) + b"\x1c\2\x19\x7f\xff.") == press({25: [b"a"]})  # as far as it goes


def test_files_say_what_is_left_out(crop: Tensor, tmp_path: Path) -> None:
    with pytest.warns(CoscaleWarning, match="its IPTC data have more than 60,000 bytes, and are left out"):
        assert read(jpeg(tmp_path / "a.jpg", crop, about=press({25: [bytes(30_100)] * 2}))).iptc == b""
    photo = Photo(crop, xmp=xmp.carried(framed(f'<r:Description xmlns:dc="{DC}" dc:source="{"x" * 70_000}"/>')))
    with pytest.warns(CoscaleWarning, match="a .jpg file cannot hold so many XMP data"):
        assert from_bytes(to_bytes(photo, ".jpg")).xmp == ""
    with pytest.warns(CoscaleWarning, match="a .bmp file cannot hold its XMP data"):
        to_bytes(photo, ".bmp")
    assert from_bytes(to_bytes(photo, ".png")).xmp == photo.xmp


@pytest.mark.parametrize("suffix", [*LR_SUFFIXES, ".jpg", ".tif"])
def test_every_format_has_it(suffix: str, photo: Path) -> None:
    before = read(photo)
    assert before.size == (30, 20)  # its XMP alone says how it lies
    after = from_bytes(to_bytes(before, suffix))
    assert after.size == (30, 20)
    assert after.xmp == before.xmp
    assert "Maker" in before.xmp
    assert set(iptc.properties(after.iptc)) == set(iptc.properties(press()) if suffix in (".jpg", ".tif") else ())
    assert to_bytes(before.stripped, suffix) == to_bytes(Photo(before.colour), suffix)


@pytest.mark.parametrize("suffix", LR_SUFFIXES)
def test_goes_through_the_lr_file(suffix: str, photo: Path, tmp_path: Path, exiftool: EXIFTOOL) -> None:
    lr = tmp_path / f"photo.x2{suffix}"
    invoke("downscale", photo, "-o", lr, "--method", "none")
    seen, origin = read_lr(lr)
    assert origin is not None
    assert seen.iptc == press()
    assert exiftool(lr)["XMP-dc:Title"] == "Roses & <thorns>"
    for target in ("restored.jpg", "restored.png", "restored.webp", "restored.tif"):
        restored = tmp_path / target
        invoke("upscale", lr, "-o", restored)
        told = exiftool(restored)
        assert told["XMP-dc:Title"] == "Roses & <thorns>"
        assert told["XMP-dc:Creator"] == "Author"
        assert told["XMP-photoshop:City"] == "Köln"
        assert told["XMP-tiff:Make"] == "Maker"
        assert "XMP-tiff:Orientation" not in told
        assert not [name for name in told if "coscale" in name.lower() and name != "PNG:Coscale-restored"]
        if target.endswith(("jpg", "tif")):
            assert told["IPTC:Keywords"][0] == "one"
            assert told["IPTC:By-line"] == "Author"
        assert read(restored).size == (30, 20)
    bare = tmp_path / "bare.jpg"
    invoke("upscale", lr, "-o", bare, "--strip")
    assert not [name for name in exiftool(bare) if name.startswith(("XMP", "IPTC", "EXIF"))]
    invoke("downscale", photo, "-o", tmp_path / "bare.x2.png", "--method", "none", "--strip")
    text = subprocess.run(["exiftool", "-json", "-XMP:all", tmp_path / "bare.x2.png"], capture_output=True).stdout
    assert not {key for key in json.loads(text)[0] if key not in ("SourceFile", "Note")}


def test_everything_that_exiftool_writes_comes_back(photo: Path, tmp_path: Path, exiftool: EXIFTOOL) -> None:
    said = {
        "XMP-dc:Description": "a caption, ünïcode",
        "XMP-iptcCore:CreatorCity": "Köln",
        "XMP-xmp:Rating": 4,
        "XMP-lr:HierarchicalSubject": "plants|rose",
        "XMP-GPano:FullPanoWidthPixels": 4000,
        "IPTC:Headline": "a headline",
        "IPTC:Country-PrimaryLocationName": "Germany",
        "GPS:GPSLatitudeRef": "North",
        "ExifIFD:LensModel": "a lens",
        "IFD0:XResolution": 300,
        "IFD0:YResolution": 300,
        "IFD0:ResolutionUnit": "inches",
    }
    asked = [f"-{name}={value}" for name, value in said.items()]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *asked, photo], check=True)
    invoke("downscale", photo, "-o", tmp_path / "a.x2.png", "--method", "none")
    invoke("upscale", tmp_path / "a.x2.png", "-o", tmp_path / "a.jpg")
    told = exiftool(tmp_path / "a.jpg")
    assert {name: told[name] for name in said} == said
    assert told["JFIF:XResolution"] == 300
    assert "Warning" not in str(list(told))


def test_a_gain_map_is_left_out_whole(crop: Tensor, tmp_path: Path, exiftool: EXIFTOOL) -> None:
    """An index or a property that still spoke of it would have viewers look for what is not there."""
    image = Image.fromarray(to_uint8(crop)[0].movedim(0, -1).numpy())
    path = tmp_path / "hdr.jpg"
    image.save(path, "MPO", save_all=True, append_images=[image.resize((8, 8))], xmp=OWN)
    with pytest.warns(CoscaleWarning) as heard:
        photo = read(path)
    assert [str(one.message) for one in heard] == [f"{path}: left out: its gain map for HDR screens"]
    (tmp_path / "after.jpg").write_bytes(to_bytes(photo, ".jpg"))
    told = exiftool(tmp_path / "after.jpg")
    assert told["XMP-tiff:Make"] == "Maker"
    assert not [name for name in told if name.startswith(("MPF", "XMP-hdrgm", "XMP-GContainer"))]


def test_pillow_images_carry_it(photo: Path, tmp_path: Path) -> None:
    pair = load("bicubic-x2")
    with Image.open(photo) as image:
        lr = pair.downscale(image)
    pair.save(lr, tmp_path / "a.png")
    seen, _ = read_lr(tmp_path / "a.png")
    assert "Maker" in seen.xmp
    assert seen.iptc == press()
    again = from_pillow(to_pillow(seen))
    assert (again.xmp, again.iptc) == (seen.xmp, seen.iptc)
    with Image.open(tmp_path / "a.png") as image:
        restored = pair.upscale(image)
    assert xmp.NAMESPACE.encode() not in restored.info["xmp"]
    assert b"Maker" in restored.info["xmp"]


def test_a_tiff_may_have_iptc_data_as_numbers(crop: Tensor, tmp_path: Path) -> None:
    samples = to_uint8(crop)[0].movedim(0, -1).numpy()
    block = press({25: [b"one"]})
    numbers = [int.from_bytes(block[at : at + 4], "little") for at in range(0, len(block), 4)]
    for given in (numbers, numbers[:1]):
        tags = [(33723, "I", len(given), given, True)]
        tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", byteorder="<", extratags=tags)
        photo = read(tmp_path / "a.tif")
        assert photo.iptc == (block if given is numbers else b"")
        assert torch.equal(to_uint8(photo.colour), to_uint8(crop))


def test_a_tiff_that_pillow_does_not_open(crop: Tensor, tmp_path: Path) -> None:
    tags = [(700, "B", len(OWN), OWN, True), (271, "s", 6, "Maker", True), (274, "H", 1, 6, True)]
    samples = crop[0, :, :20, :30].movedim(0, -1).numpy()
    for order in "<>":
        tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", byteorder=order, extratags=tags)
        photo = read(tmp_path / "a.tif")
        assert photo.size == (30, 20)
        assert "Roses" in photo.xmp
        assert "somebody" not in photo.xmp
        assert b"Maker" in photo.exif
