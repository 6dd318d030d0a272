"""What holds for every storage in the list: what is judged is what a decoder sees, and the note comes along."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageCms

from coscale import xmp
from coscale.collaborate import PLAIN
from coscale.errors import ImageError, LRFileError
from coscale.image import Photo, read, to_bytes, write
from coscale.lrfile import Making, Origin, lr_bytes, read_lr, write_lr
from coscale.pipeline import encode_photo, write_encoded
from coscale.quantize import quantize
from coscale.storage import STORAGES, SUFFIXES, Storage, find, for_suffix
from coscale.weights.load import load
from examples.own_storage import Bmp
from tests.command import coscale
from tests.extras import needs, skip_without
from tests.test_photo_kinds import grey_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NOTE = '{"rescaler": "a<b> & \\"c\\" ]]> \\u202e"}'


def extras(storage: Storage) -> tuple[str, ...]:
    """What is not installed by default and this storage needs."""
    return {"jxl": ("jxl",), "png": ("small",) if storage.small else ()}.get(storage.name, ())


EVERY, SMALL = (
    [
        pytest.param(storage, marks=needs(*extras(storage)), id=storage.name + " small" * small)
        for storage in (replace(each, small=small) for each in STORAGES)
    ]
    for small in (False, True)
)


@pytest.fixture(params=EVERY + SMALL)
def storage(request: pytest.FixtureRequest) -> Storage:
    return request.param


def lr_of(height: int, width: int, channels: int = 3, alpha: bool = False, seed: int = 0) -> Photo:
    """Smooth with a little noise, neither rounded nor in range; where it is transparent colours are as elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.linspace(-0.1, 1.1, width) * torch.linspace(0.5, 1, height)[:, None]
    colour = slope + 0.05 * torch.randn(1, channels, height, width, generator=generator)
    opacity = torch.randint(3, (1, 1, height, width), generator=generator) / 2 if alpha else None
    return Photo(colour, opacity, text={xmp.NOTE: NOTE})


def same(a: Photo, b: Photo) -> bool:
    if (a.alpha is None) != (b.alpha is None) or not torch.equal(a.colour, b.colour):
        return False
    return a.alpha is None or b.alpha is None or torch.equal(a.alpha, b.alpha)


def rounded(lr: Photo) -> Photo:
    return replace(lr, pixels=lr.levels, alpha=None if lr.alpha is None else quantize(lr.alpha))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 1), (33, 57)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_what_a_decoder_sees(storage: Storage, size: tuple[int, int], channels: int, alpha: bool) -> None:
    lr = lr_of(*size, channels, alpha)
    data = storage.encode(lr)
    seen = storage.decode(data)
    assert storage.lossless
    assert same(seen, rounded(lr))
    assert seen.text[xmp.NOTE] == NOTE
    assert storage.project(lr.colour).equal(seen.colour)
    # Once more changes nothing, and each time the bytes are the same.
    assert same(storage.decode(storage.encode(seen)), seen)
    assert storage.encode(lr) == data


@pytest.mark.parametrize("size", [(2, 3000), (3000, 1)])
def test_long_sides(storage: Storage, size: tuple[int, int]) -> None:
    lr = lr_of(*size)
    assert same(storage.decode(storage.encode(lr)), rounded(lr))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("colours", [1, 2, 5])
def test_few_colours_keep_their_channels(storage: Storage, channels: int, alpha: bool, colours: int) -> None:
    """A palette, or grey where channels are equal, may be smaller; what is read is what was written."""
    levels = torch.randint(colours, (1, 1, 9, 21), generator=torch.Generator().manual_seed(0)) * 51 / 255
    for opacity in (torch.ones(1, 1, 9, 21), torch.zeros(1, 1, 9, 21), 1 - levels):
        lr = Photo(quantize(levels).repeat(1, channels, 1, 1), quantize(opacity) if alpha else None)
        assert same(storage.decode(storage.encode(lr)), lr)


def test_the_gradient_is_that_of_the_identity(storage: Storage) -> None:
    x = lr_of(5, 6).colour.requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((storage.project(x) * weight).sum(), x)
    assert gradient.equal(weight)
    projected = storage.project(x)
    assert storage.project(projected).equal(projected)
    assert storage.rate(x) is None
    assert storage.block == 1


@pytest.mark.parametrize(("channels", "alpha", "icc"), [(3, False, SRGB), (3, True, SRGB), (1, False, grey_profile())])
def test_profiles(storage: Storage, channels: int, alpha: bool, icc: bytes) -> None:
    lr = replace(lr_of(9, 7, channels, alpha), icc=icc)
    seen = storage.decode(storage.encode(lr))
    assert seen.icc == icc
    assert same(seen, rounded(lr))


def test_other_texts_of_the_photo_do_not_come_along(storage: Storage) -> None:
    lr = replace(lr_of(4, 4), text={"Comment": "of the photo", xmp.NOTE: NOTE})
    assert b"of the photo" not in storage.encode(lr)
    assert b"coscale" not in storage.encode(replace(lr, text={}))


def test_every_decoder_reads_it(storage: Storage, tmp_path: Path) -> None:
    """Another program's reader, where there is one, sees the same levels."""
    lr = lr_of(12, 10, alpha=True)
    if storage.name == "jxl":
        skip_without("16bit")
        import imagecodecs

        seen = torch.tensor(imagecodecs.jpegxl_decode(storage.encode(lr))).permute(2, 0, 1)[None]
        assert (seen / 255)[:, :3].equal(quantize(lr.colour))
        return
    (tmp_path / "lr").write_bytes(storage.encode(lr))
    with Image.open(tmp_path / "lr") as image:
        assert (image.format or "").lower() == storage.name
        assert image.mode == "RGBA"
        assert xmp.NAMESPACE.encode() in image.info["xmp"]


@pytest.mark.parametrize("storage", SMALL)
def test_smaller_is_not_larger(storage: Storage, butterfly: Photo) -> None:
    assert len(storage.encode(butterfly)) <= len(replace(storage, small=False).encode(butterfly))


@pytest.mark.parametrize("storage", EVERY)
@pytest.mark.parametrize("kind", ["colour", "grey", "clear"])
def test_down_and_up_by_the_command(storage: Storage, kind: str, butterfly: Photo, tmp_path: Path) -> None:
    """Every format restores to the same pixels, those of the default."""
    colour = butterfly.colour[..., :41, :53]
    photo = Photo(colour.mean(1, keepdim=True)) if kind == "grey" else Photo(colour)
    if kind == "clear":
        photo = replace(photo, alpha=torch.linspace(0, 1, 53).expand(1, 1, 41, 53))
    write(tmp_path / "photo.png", photo)
    restored: list[Photo] = []
    for name in {"png", storage.name}:
        lr = tmp_path / f"photo.x2{find(name).suffix}"
        done = coscale("downscale", tmp_path / "photo.png", "--method", "none", "--format", name)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"LR {lr.stat().st_size / 1000:.1f} kB of {(tmp_path / 'photo.png').stat().st_size / 1000:.1f} kB" in (
            done.stdout
        )
        # The same again leaves it alone.
        before = lr.stat().st_mtime_ns
        assert coscale("downscale", tmp_path / "photo.png", "--method", "none", "-o", lr).returncode == 0
        assert lr.stat().st_mtime_ns == before
        assert "LR file of a 53 x 41 photo" in coscale("info", lr).stdout
        out = tmp_path / name
        out.mkdir()
        assert coscale("upscale", lr, "-o", out).returncode == 0
        restored.append(read(out / "photo.png"))
    assert all(same(one, restored[0]) for one in restored)
    assert restored[0].size == photo.size


def test_the_suffix_of_out_implies_the_format(butterfly_path: Path, tmp_path: Path) -> None:
    options = ("--method", "none", "--rescaler", "bicubic-x2")
    assert coscale("downscale", butterfly_path, "-o", tmp_path / "a.WebP", *options).returncode == 0
    assert (tmp_path / "a.WebP").read_bytes()[8:12] == b"WEBP"
    done = coscale("downscale", butterfly_path, "-o", tmp_path / "b.png", "--format", "webp", *options)
    assert (done.returncode, done.stderr) == (2, "coscale: --out b.png must end in .webp\n")
    done = coscale("downscale", butterfly_path, "-o", tmp_path / "b.gif", *options)
    assert done.returncode == 2
    assert done.stderr == "coscale: --out b.gif must end in .avif or .jpg or .jxl or .png or .webp\n"
    done = coscale("downscale", butterfly_path, "--format", "gif")
    assert done.returncode == 2
    assert all(f"'{storage.name}'" in done.stderr for storage in STORAGES)


def test_a_photo_smaller_than_its_lr(tmp_path: Path) -> None:
    write(tmp_path / "photo.png", Photo(torch.zeros(1, 3, 64, 64)))
    done = coscale("downscale", tmp_path / "photo.png", "--method", "none", "--rescaler", "bicubic-x2")
    assert ", the LR is the larger" in done.stdout


@pytest.mark.parametrize("suffix", [".tif", "", ".gif", ".x2"])
def test_unknown_suffixes_and_names(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(LRFileError, match=r"name it \.png or \.webp or \.jxl"):
        for_suffix(suffix)
    with pytest.raises(LRFileError, match=r"name it \.png or \.webp or \.jxl"):
        write_lr(tmp_path / f"a{suffix}", Photo(torch.zeros(1, 3, 3, 5)), ORIGIN)
    with pytest.raises(LRFileError, match="choose one of png, webp, jxl, jpg, avif"):
        find(suffix)


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pylibjxl", "oxipng"):
        monkeypatch.setitem(sys.modules, package, None)
    for storage, extra in ((find("jxl"), "jxl"), (find("png", small=True), "small")):
        for use in (storage.check, lambda storage=storage: storage.encode(lr_of(3, 3))):
            with pytest.raises(ImageError, match=rf"pip install 'coscale\[{extra}\]'"):
                use()


@needs("jxl", "16bit")
def test_jpeg_xl_is_read_by_either_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lr = lr_of(3, 3)
    jxl = tmp_path / "a.jxl"
    jxl.write_bytes(find("jxl").encode(lr))
    monkeypatch.setitem(sys.modules, "pylibjxl", None)
    assert same(read(jxl), rounded(lr))  # by imagecodecs
    assert read(jxl).text == {xmp.NOTE: NOTE}
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageError, match=r"a JPEG XL image, which needs: pip install 'coscale\[jxl\]'"):
        read(jxl)


def test_a_side_that_the_format_does_not_have() -> None:
    with pytest.raises(ImageError, match=r"16383 pixels long at most; name it \.png"):
        find("webp").encode(Photo(torch.zeros(1, 1, 1, 16_384)))


def test_cut_short(storage: Storage, tmp_path: Path) -> None:
    data = storage.encode(lr_of(40, 40))
    for part in (0.02, 0.3, 0.6, 0.9):
        with pytest.raises(ImageError):
            storage.decode(data[: int(part * len(data))])


ORIGIN = Origin("light-x2", "ab" * 32, 2, 9, 6, "0.1.0", Making("cd" * 32, "none", {"a": 1.5}))
FRAME = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}</r:RDF>'
    "</x:xmpmeta>"
)
OURS = f'xmlns:c="{xmp.NAMESPACE}"'
QUOTED = NOTE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace(chr(34), "&quot;")


@pytest.mark.parametrize(
    "packet",
    [
        FRAME.format(f'<r:Description r:about="" {OURS} c:note="{QUOTED}"/>'),
        FRAME.format(f"<r:Description {OURS}><c:note>\n</c:note><c:note>{QUOTED}</c:note></r:Description>"),
        FRAME.format(
            f"<r:Description {OURS}><c:note><![CDATA[{NOTE.replace(']]>', ']]&gt;')}]]></c:note></r:Description>"
        ).replace("]]&gt;", "]]]]><![CDATA[>"),
        FRAME.format(
            f'<r:Description xmlns:d="urn:x"><d:t>x</d:t></r:Description><r:Description {OURS} c:note="{QUOTED}"/>'
        ),
        '<?xpacket begin="\ufeff"?>'
        + FRAME.format(f"<r:Description {OURS} c:note='{QUOTED}'/>")
        + '<?xpacket end="w"?>',
    ],
)
def test_packets_as_other_tools_write_them(packet: str) -> None:
    assert xmp.read(packet) == xmp.Told(NOTE)
    assert xmp.read(packet.encode() + b"\n" * 3000 + b"\0") == xmp.Told(NOTE)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
NO_NOTES = {
    "cut": xmp.packet(NOTE)[:-20],
    "no XML": f"<{xmp.NAMESPACE}",
    "a bomb": f"{BOMB}]>" + FRAME.format(f"<r:Description {OURS}><c:note>&i;</c:note></r:Description>"),
    "an entity from outside": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    + FRAME.format(f"<r:Description {OURS}><c:note>&a;</c:note></r:Description>"),
    "a note of 1 MB": xmp.packet(NOTE + "x" * 2**20),
    "a long note": xmp.packet(NOTE[:-1] + "," * 70_000),
    "no JSON": xmp.packet("x"),
    "a note of another kind": xmp.packet("[]"),
    "an unknown entity": xmp.packet("&x;").replace("&amp;", "&"),
}


@pytest.mark.parametrize("packet", NO_NOTES.values(), ids=NO_NOTES)
@pytest.mark.parametrize("storage", EVERY)
def test_packets_that_are_damaged(packet: str, storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / f"lr{storage.suffix}"
    path.write_bytes(to_bytes(lr_of(3, 5), storage.suffix, {xmp.CHUNK: packet}))
    with pytest.raises(LRFileError, match="damaged note") as caught:
        read_lr(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("storage", EVERY)
def test_packets_of_others_are_left_alone(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / f"photo{storage.suffix}"
    for packet in (FRAME.format('<r:Description xmlns:dc="urn:x" dc:note="x"/>'), BOMB, "no XML", "x" * 2**21):
        path.write_bytes(to_bytes(lr_of(3, 5), storage.suffix, {xmp.CHUNK: packet}))
        assert read_lr(path)[1] is None


def test_depth_and_width_cost_nothing() -> None:
    deep = "<a>" * 100_000 + f'<r:Description xmlns:r="x" {OURS} c:note="x"/>' + "</a>" * 100_000
    assert xmp.read(deep) == xmp.Told()
    assert xmp.read(FRAME.format(f"{'<a/>' * 100_000}<r:Description {OURS} c:note='x'/>")) == xmp.Told("x")


def test_a_packet_that_lies_about_grey(tmp_path: Path) -> None:
    """Channels that differ are no grey, whatever a note says."""
    lr = rounded(lr_of(3, 5))
    path = tmp_path / "lr.webp"
    path.write_bytes(to_bytes(lr, ".webp", {xmp.CHUNK: xmp.packet(ORIGIN.to_text(), channels=1)}))
    photo, origin = read_lr(path)
    assert origin == ORIGIN
    assert same(photo, lr)


@pytest.mark.parametrize("storage", EVERY)
def test_unknown_fields_of_the_note_are_ignored(storage: Storage, tmp_path: Path) -> None:
    text = ORIGIN.to_text()
    more = text.replace('"scale"', '"later": {"a": [1]}, "scale"').replace('"method"', '"later": [null], "method"')
    assert more.count("later") == 2
    path = tmp_path / f"lr{storage.suffix}"
    path.write_bytes(storage.encode(replace(lr_of(3, 5), text={xmp.NOTE: more})))
    assert read_lr(path)[1] == ORIGIN


def test_the_note_outlives_another_format(tmp_path: Path) -> None:
    write_lr(tmp_path / "lr.png", lr_of(3, 5), ORIGIN)
    with Image.open(tmp_path / "lr.png") as image:
        image.save(tmp_path / "again.webp", lossless=True, exact=True, xmp=image.info["xmp"])
    assert read_lr(tmp_path / "again.webp")[1] == ORIGIN


def test_pillow_images_have_their_note(butterfly: Photo, tmp_path: Path) -> None:
    """What Pillow opens of an LR file is restored as the file is, in each format that it knows."""
    import coscale as package

    pair = package.load("light-x2")
    photo = Photo(butterfly.colour[..., :31, :45].mean(1, keepdim=True))
    small = encode_photo(photo, load("light-x2"), PLAIN)
    restored = []
    for suffix in (".png", ".webp"):
        (tmp_path / f"lr{suffix}").write_bytes(lr_bytes(small.lr, small.origin, for_suffix(suffix)))
        with Image.open(tmp_path / f"lr{suffix}") as image:
            restored.append(pair.upscale(image))
            pair.save(image, tmp_path / f"again{suffix}")
        assert read_lr(tmp_path / f"again{suffix}")[1] == read_lr(tmp_path / f"lr{suffix}")[1]
    assert restored[0].size == restored[1].size == (45, 31)
    assert restored[0].tobytes() == restored[1].tobytes()


def test_a_storage_of_ones_own_is_written_and_read_back(crop: torch.Tensor, tmp_path: Path) -> None:
    encoded = encode_photo(Photo(crop), load("bicubic-x2"))
    written = write_encoded(encoded, tmp_path / "lr.bmp", storage=Bmp())
    assert torch.equal(written.lr.colour, encoded.lr.colour)
    assert written.bytes == (tmp_path / "lr.bmp").stat().st_size


@pytest.mark.parametrize("suffix", SUFFIXES[:2])
def test_the_suffix_says_the_format(crop: torch.Tensor, tmp_path: Path, suffix: str) -> None:
    write_encoded(encode_photo(Photo(crop), load("bicubic-x2")), tmp_path / f"lr{suffix}")
    with Image.open(tmp_path / f"lr{suffix}") as image:
        assert image.format == suffix[1:].upper()
