"""The page as a browser runs it, against the command."""

import base64
import json
import os
import re
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.extras import needs, skip_without

skip_without("browser", "export")

import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, ImageCms
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bench.mutations import png_chunks, png_of
from coscale import resize, web
from coscale.errors import CoscaleWarning, ExportError, OutputError
from coscale.export import export_onnx
from coscale.image import Photo, from_bytes, read, to_bytes, write
from coscale.lrfile import read_lr, write_lr
from coscale.pipeline import decode_photo
from coscale.web import runtime, write_page
from coscale.weights.load import load
from tests.command import coscale, fails
from tests.lrcases import lr_cases
from tests.patience import PATIENCE
from tests.test_photo_kinds import grey_profile
from tests.websites import Site, levels_apart, lr_file, small_file

SCREENSHOTS = os.environ.get("COSCALE_SCREENSHOTS")
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def problems() -> list[str]:
    """What the page said on its console, and whom it asked elsewhere: at the end there has to be nothing."""
    return []


@pytest.fixture(scope="module")
def shared(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    context.set_default_timeout(1000 * PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(shared: BrowserContext, site: Site, problems: list[str]) -> Iterator[Page]:
    page = shared.new_page()
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    allowed = (site.address, "blob:", "data:")
    page.on("request", lambda r: None if r.url.startswith(allowed) else problems.append(r.url))
    page.goto(site.address)
    expect(page.locator("#models")).to_contain_text("light-x2, light-x4, and coded-x2")
    yield page
    page.close()
    assert problems == []


def restored_by(page: Page, lr: Path, to: Path) -> Photo:
    page.set_input_files("#file", lr)
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("")
    expect(page.locator("#result")).to_be_visible()
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(to)
    return read(to)


def no_violations(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_restores_as_the_command_does(page: Page, butterfly: Photo, tmp_path: Path) -> None:
    photo = Photo(resize.resize(butterfly.colour, (415, 603)).clamp(0, 1))  # a quarter of a megapixel, in two tiles
    lr = lr_file(tmp_path / "photo.x2.png", photo, load("light-x2"))
    restored = restored_by(page, lr, tmp_path / "web.png")
    assert coscale("upscale", lr, "-o", tmp_path / "command.png").returncode == 0
    assert restored.size == (415, 603)
    assert levels_apart(restored.colour, read(tmp_path / "command.png").colour) <= 1
    expect(page.locator("#facts")).to_contain_text("603 \u00d7 415 from 302 \u00d7 208 by light-x2")
    expect(page.locator("#save")).to_have_attribute("download", "photo.restored.png")
    no_violations(page)
    # Bicubic, on the other side of the slider, is that of coscale too.
    shown = page.evaluate(
        "() => Array.from(document.getElementById('bicubic').getContext('2d').getImageData(0, 0, 603, 8).data)"
    )
    plain = resize.upscale(read(lr).colour, 2)[..., :8, :603].clamp(0, 1)
    assert levels_apart(torch.tensor(shown).reshape(1, 8, 603, 4)[..., :3].permute(0, 3, 1, 2) / 255, plain) <= 1


@pytest.mark.parametrize("path", ["/light-x2.onnx", "/ort/ort-wasm-simd-threaded.wasm", "/ort/ort.wasm.min.mjs"])
def test_a_file_that_did_not_come_is_asked_for_again(
    page: Page, site: Site, problems: list[str], butterfly: Photo, tmp_path: Path, path: str
) -> None:
    lr = small_file(tmp_path / "lr.png", butterfly)
    site.instead[path] = lambda: None
    page.set_input_files("#file", lr)
    expect(page.locator("#status")).to_contain_text("lr.png could not be restored")
    expect(page.locator("#progress")).to_be_hidden()
    problems.clear()  # of a request that failed, which a browser tells on its own
    site.instead.clear()
    assert restored_by(page, lr, tmp_path / "web.png").size == (40, 40)


# A graphics processor is lent, but what runs on it fails there.
LENT = b'Object.defineProperty(navigator, "gpu", { value: { requestAdapter: async () => ({ info: {} }) } });\n'
LOST = b"""
export const env = { wasm: {} };
export class Tensor {}
const session = { run: async () => { throw new Error("the device was lost"); }, release: async () => {} };
export const InferenceSession = { create: async () => session };
"""


def test_webassembly_takes_over_from_a_graphics_processor(
    page: Page, site: Site, problems: list[str], butterfly: Photo, tmp_path: Path
) -> None:
    script = (site.folder / "coscale" / "worker.js").read_bytes()
    site.instead = {"/coscale/worker.js": lambda: LENT + script, "/ort/ort.webgpu.min.mjs": lambda: LOST}
    lr = small_file(tmp_path / "lr.png", butterfly)
    for _ in range(2):
        assert restored_by(page, lr, tmp_path / "web.png").size == (40, 40)
        expect(page.locator("#facts")).to_contain_text("on the processor")
    assert len(problems) == 1  # the second one goes to WebAssembly at once
    assert "the device was lost" in problems.pop()


def test_a_bad_file_does_not_stop_what_is_restored(page: Page, site: Site, butterfly: Photo, tmp_path: Path) -> None:
    lr = small_file(tmp_path / "lr.png", butterfly)
    (tmp_path / "bad.png").write_bytes(b"no PNG")
    model, go_on = (site.folder / "light-x2.onnx").read_bytes(), threading.Event()

    def held() -> bytes:
        go_on.wait(PATIENCE)
        return model

    site.instead["/light-x2.onnx"] = held
    page.set_input_files("#file", lr)
    expect(page.locator("#progress")).to_be_visible()
    page.set_input_files("#file", tmp_path / "bad.png")
    expect(page.locator("#status")).to_contain_text("bad.png is not a PNG")
    go_on.set()
    expect(page.locator("#facts")).to_contain_text("40 \u00d7 40 from 20 \u00d7 20")
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("bad.png is not a PNG")


def test_several_threads_where_the_server_allows_them(page: Page, site: Site, butterfly: Photo, tmp_path: Path) -> None:
    lr = small_file(tmp_path / "lr.png", butterfly)
    restored_by(page, lr, tmp_path / "one.png")
    thread = "/ort/ort-wasm-simd-threaded.mjs"
    assert site.workers.count(thread) == 0
    script = (site.folder / "coscale" / "worker.js").read_bytes()
    cores = b'Object.defineProperty(navigator, "hardwareConcurrency", { value: 3 });\n'
    site.instead["/coscale/worker.js"] = lambda: cores + script
    site.headers |= {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    page.reload()
    assert page.evaluate("crossOriginIsolated")
    restored = restored_by(page, lr, tmp_path / "several.png")
    assert site.workers.count(thread) == 2  # beside the first
    assert levels_apart(restored.colour, read(tmp_path / "one.png").colour) <= 1


def test_slider_moves_by_keyboard_and_pointer(page: Page, butterfly: Photo, tmp_path: Path) -> None:
    lr = lr_file(tmp_path / "photo.x4.png", butterfly, load("light-x4"))
    restored_by(page, lr, tmp_path / "web.png")
    if SCREENSHOTS:
        page.screenshot(path=DOCS / "web.png", full_page=True)

    def split() -> str:
        return page.evaluate("() => document.getElementById('compare').style.getPropertyValue('--split')")

    page.focus("#split")
    page.keyboard.press("ArrowRight")
    assert split() == "51%"
    page.keyboard.press("Home")
    assert split() == "0%"
    box = page.locator("#compare").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] - 20)
    assert split() == "25%"
    page.click("#zoom")
    actual = page.locator("#compare").bounding_box()
    assert actual
    assert actual["width"] == 256


SAID = (b"gAMA", (45455).to_bytes(4, "big"))


def test_areas_left_to_bicubic(page: Page, tmp_path: Path) -> None:
    squares = torch.randint(2, (1, 3, 12, 15), generator=torch.Generator().manual_seed(6)).float()
    photo = Photo(squares.repeat_interleave(5, 2).repeat_interleave(5, 3)[..., :59])
    pair = load("light-x4")
    with pytest.warns(CoscaleWarning, match="left to bicubic"):
        lr = lr_file(tmp_path / "photo.png", photo, pair)
    restored = restored_by(page, lr, tmp_path / "web.png")
    small, origin = read_lr(lr)
    assert levels_apart(restored.colour, decode_photo(small, pair, origin).colour) <= 1


@pytest.mark.parametrize("kind", ["grey", "grey with a profile", "alpha"])
@pytest.mark.parametrize("suffix", [".png", ".webp", pytest.param(".jxl", marks=needs("jxl"))])
def test_grey_and_transparency(page: Page, butterfly: Photo, tmp_path: Path, kind: str, suffix: str) -> None:
    colour = butterfly.colour[..., :61, :75]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Photo(colour, colour[:, :1], profile)
    if kind != "alpha":
        photo = Photo(colour.mean(1, keepdim=True), icc=None if kind == "grey" else grey_profile())
    pair = load("light-x2")
    lr = lr_file(tmp_path / f"photo.x2{suffix}", photo, pair)
    restored = restored_by(page, lr, tmp_path / "web.png")
    expect(page.locator("#save")).to_have_attribute("download", "photo.restored.png")
    small, origin = read_lr(lr)
    wanted = decode_photo(small, pair, origin)
    assert levels_apart(restored.colour, wanted.colour) <= 1
    assert restored.icc == photo.icc
    if kind == "alpha":
        assert restored.alpha is not None
        assert wanted.alpha is not None
        assert levels_apart(restored.alpha, wanted.alpha) <= 1
    if suffix != ".png":
        return
    # Other chunks that say what colours mean go along too, and a profile is not doubled.
    (tmp_path / "more.png").write_bytes(png_of([*(chunks := png_chunks(lr.read_bytes()))[:1], SAID, *chunks[1:]]))
    restored_by(page, tmp_path / "more.png", tmp_path / "web.png")
    said = [kind for kind, _ in png_chunks((tmp_path / "web.png").read_bytes())]
    assert said == [b"IHDR", SAID[0], *[b"iCCP"] * bool(photo.icc), b"IDAT", b"IEND"]


def test_bad_files_get_a_sentence(page: Page, butterfly: Photo, butterfly_path: Path, tmp_path: Path) -> None:
    pair = load("light-x2")
    lr = lr_file(tmp_path / "lr.png", Photo(butterfly.colour[..., :40, :40]), pair)
    photo, origin = read_lr(lr)
    assert origin

    def described(name: str, change: dict[str, Any], like: Photo = photo) -> Path:
        write_lr(tmp_path / name, like, type(origin)(**(vars(origin) | change)))
        return tmp_path / name

    write(tmp_path / "photo.jpg", photo)
    (tmp_path / "cut.png").write_bytes(lr.read_bytes()[:-100])
    data = lr.read_bytes()
    changed = [(kind, body.replace(b'"scale"', b'"skale"')) for kind, body in png_chunks(data)]
    (tmp_path / "note.png").write_bytes(png_of(changed))
    (tmp_path / "foreign.onnx").write_bytes(b"\x08\x0a\x12\x00")
    huge = [(kind, body.replace(b": 40, ", b": 9000, ")) for kind, body in png_chunks(data)]
    huge[0] = huge[0][0], (4500).to_bytes(4, "big") * 2 + huge[0][1][8:]
    (tmp_path / "huge.png").write_bytes(png_of(huge))
    write_lr(tmp_path / "lr.webp", photo, origin)
    (tmp_path / "cut.webp").write_bytes((tmp_path / "lr.webp").read_bytes()[:-100])
    with Image.open(lr) as image:
        image.save(tmp_path / "lossy.webp", xmp=image.info["xmp"])
    write_lr(tmp_path / "lr.jxl", photo, origin)
    (tmp_path / "cut.jxl").write_bytes((tmp_path / "lr.jxl").read_bytes()[:-100])
    sentences = {
        tmp_path / "cut.webp": "is damaged or cut short",
        tmp_path / "lossy.webp": "is a lossy WebP",
        tmp_path / "cut.jxl": "is damaged or cut short",
        tmp_path / "photo.jpg": "does not say how it was made",
        butterfly_path: "does not say how it was made",
        tmp_path / "cut.png": "is damaged or cut short",
        tmp_path / "note.png": "has a damaged note",
        tmp_path / "foreign.onnx": "is not an upscaler that “coscale export” wrote",
        tmp_path / "huge.png": "is of a photo of 81 megapixels",
        described("other.png", {"rescaler": "irn-x2"}): "was made by irn-x2, which this page does not have",
        described("weights.png", {"weights_hash": "0" * 64}): "was made by other weights of light-x2",
        described("viewed.png", {"shown": True}): "needs no page: whatever shows JPEG XL shows the photo restored",
        described("resized.png", {"width": 99}): "give the file as coscale wrote it, not resized",
    }
    for file, sentence in sentences.items():
        page.set_input_files("#file", file)
        expect(page.locator("#status")).to_contain_text(file.name)
        expect(page.locator("#status")).to_contain_text(sentence)
        expect(page.locator("#result")).to_be_hidden()
    no_violations(page)
    assert restored_by(page, lr, tmp_path / "web.png").size == (40, 40)  # and the next file is taken


def test_webp_of_every_kind_is_read_as_the_command_reads_it(page: Page, butterfly: Photo) -> None:
    """Palettes, noise, what is smooth: the format has a way of its own for each."""
    noise = torch.rand(1, 4, 23, 37, generator=torch.Generator().manual_seed(0))
    images = [
        butterfly.colour[..., 20:120, 40:200],
        noise[:, :3],
        noise[:, :3].mul(3).round() / 3,
        torch.zeros(1, 3, 1, 1),
    ]
    images += [(noise[:, :1] > 0.5).float().expand(-1, 3, -1, -1), noise[:, :3].cumsum(3) % 1]
    read_here = (
        "bytes => import('./coscale/webp.js').then(m => Array.from(m.webpSamples(m.parseWebp(new Uint8Array(bytes)))))"
    )
    for image in images:
        for alpha in (None, noise[:, 3:, : image.shape[-2], : image.shape[-1]]):
            if alpha is not None and alpha.shape[-2:] != image.shape[-2:]:
                continue
            for small in (False, True):
                data = to_bytes(Photo(image, alpha), ".webp", small=small)
                seen = from_bytes(data)
                planes = [seen.colour] if seen.alpha is None else [seen.colour, seen.alpha]
                wanted = (255 * torch.cat(planes, 1)[0].permute(1, 2, 0)).round().int().flatten().tolist()
                assert page.evaluate(read_here, list(data)) == wanted


@needs("jxl")
def test_jpeg_xl_of_every_kind_is_read_as_the_command_reads_it(page: Page, butterfly: Photo) -> None:
    noise = torch.rand(1, 4, 23, 37, generator=torch.Generator().manual_seed(0))
    read_here = """bytes => import('./coscale/lr.js').then(async (lr) => {
        const image = await lr.parse(new Uint8Array(bytes));
        const { channels, lr: levels } = await lr.samples(image, 3);
        return [channels, Array.from(levels)];
    })"""
    for image in (butterfly.colour[..., 20:61, 40:99], noise[:, :3], torch.zeros(1, 3, 1, 1), noise[:, :1]):
        for alpha in (None, noise[:, 3:, : image.shape[-2], : image.shape[-1]]):
            if alpha is not None and alpha.shape[-2:] != image.shape[-2:]:
                continue
            if alpha is not None and image.shape[1] == 1:
                continue  # which is stored as colour, see the test of grey and transparency
            planes = [image] if alpha is None else [image, alpha]
            wanted = (255 * torch.cat(planes, 1)[0].permute(1, 2, 0)).round().int().flatten().tolist()
            channels, levels = page.evaluate(read_here, list(to_bytes(Photo(image, alpha), ".jxl")))
            assert channels == sum(plane.shape[1] for plane in planes)
            assert levels == wanted


@needs("jxl")
def test_a_page_without_the_decoder_of_jpeg_xl_says_so(
    folder: Path,
    page: Page,
    site: Site,
    problems: list[str],
    butterfly: Photo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lr = lr_file(tmp_path / "lr.jxl", Photo(butterfly.colour[..., :40, :40]), load("light-x2"))
    site.instead["/jxl/jxl_oxide_wasm.js"] = lambda: b"no program"
    page.set_input_files("#file", lr)
    expect(page.locator("#status")).to_contain_text("whose decoder is not beside this page")
    problems.clear()
    unpacked = tmp_path / "package" / "dist"
    shutil.copytree(folder / "ort", unpacked)
    monkeypatch.setattr(runtime, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    with pytest.warns(CoscaleWarning, match="the page will not read JPEG XL"):
        write_page(tmp_path / "page", [], ort=unpacked.parent)
    assert not (tmp_path / "page" / "jxl").exists()
    write_page(tmp_path / "page", [], ort=unpacked.parent, overwrite=True, jxl=folder / "jxl")
    assert all((tmp_path / "page" / "jxl" / name).is_file() for name in runtime.JXL.files)


def test_takes_for_right_what_the_command_does(
    page: Page, problems: list[str], butterfly: Photo, tmp_path: Path
) -> None:
    """Each file has a name of its own: what the page says of one is not taken for what it says of the next."""
    pair = load("light-x2")
    lr = lr_file(tmp_path / "lr.png", Photo(butterfly.colour[..., 80:125, 60:103]), pair)
    for number, (name, data, verdict) in enumerate(lr_cases(lr.read_bytes())):
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        if verdict != "restored":
            page.set_input_files("#file", path)
            sentence = "does not say how it was made" if verdict == "no note" else "is damaged|has a damaged note"
            expect(page.locator("#status"), name).to_have_text(re.compile(rf"^{path.name} .*({sentence})"))
            continue
        restored = restored_by(page, path, tmp_path / "web.png")
        small, origin = read_lr(path)
        wanted = decode_photo(small, pair, origin)
        # Black beside white overshoots: the exported file clips each of three channels, the command only their mean.
        assert levels_apart(restored.colour, wanted.colour) <= (16 if name == "grey of one bit" else 1), name
        assert (restored.alpha is None) == (wanted.alpha is None), name
        if wanted.alpha is not None and restored.alpha is not None:
            assert levels_apart(restored.alpha, wanted.alpha) <= 1, name
    # Of XML that is not well-formed Chromium makes a document with a style, which the page's policy keeps out.
    problems[:] = [problem for problem in problems if not problem.startswith("Applying inline style")]


def retold(model: bytes, **values: object) -> bytes:
    """An exported upscaler that says otherwise of itself."""
    import onnx

    graph = onnx.load_from_string(model)
    (note,) = (entry for entry in graph.metadata_props if entry.key == "coscale")
    note.value = json.dumps(json.loads(note.value) | values)
    return graph.SerializeToString()


def drop_model(page: Page, path: Path, model: bytes, sentence: str) -> None:
    path.write_bytes(model)
    page.set_input_files("#file", path)
    expect(page.locator("#status")).to_contain_text(f"{path.name} {sentence}")


def test_a_dropped_model_does_not_take_the_place_of_the_pages_own(
    page: Page, site: Site, butterfly: Photo, tmp_path: Path
) -> None:
    own = (site.folder / "light-x2.onnx").read_bytes()
    other = tmp_path / "bicubic.onnx"
    export_onnx(load("bicubic-x2"), other)
    lr = small_file(tmp_path / "lr.png", butterfly)
    first = restored_by(page, lr, tmp_path / "first.png")
    light = json.loads((site.folder / "models.json").read_text())[0]
    told = {"rescaler": "light-x2", "weights_hash": light["weights_hash"]}
    drop_model(
        page,
        tmp_path / "same.onnx",
        retold(other.read_bytes(), **told),
        "calls itself light-x2 at \u00d72, which this page",
    )
    expect(page.locator("#models")).not_to_contain_text("same.onnx")
    none = retold(other.read_bytes(), rescaler="light-x2", weights_hash="")
    drop_model(
        page, tmp_path / "none.onnx", none, "calls itself light-x2, which this page has, and does not say by which"
    )
    named = retold(other.read_bytes(), rescaler="light-x2", weights_hash="ab" * 32)
    drop_model(
        page,
        tmp_path / "named.onnx",
        named,
        "restores LR files by light-x2 at \u00d72, of other weights than this page",
    )
    expect(page.locator("#models")).to_contain_text("light-x2, light-x4, coded-x2, and light-x2 of named.onnx")
    again = restored_by(page, lr, tmp_path / "again.png")
    assert levels_apart(first.colour, again.colour) == 0
    expect(page.locator("#facts")).to_contain_text("by light-x2,")
    # A file that names the dropped one by its hash is restored by it.
    photo, origin = read_lr(lr)
    assert origin
    write_lr(tmp_path / "theirs.png", photo, replace(origin, weights_hash="ab" * 32))
    theirs = restored_by(page, tmp_path / "theirs.png", tmp_path / "web.png")
    expect(page.locator("#facts")).to_contain_text("by light-x2 of named.onnx,")
    assert levels_apart(theirs.colour, decode_photo(photo, load("bicubic-x2")).colour) <= 1
    # Of two with one name and one hash the newer is used, and the page says which that is.
    drop_model(
        page, tmp_path / "newer.onnx", retold(own, rescaler="light-x2", weights_hash="ab" * 32), "restores LR files"
    )
    expect(page.locator("#models")).to_contain_text("light-x2, light-x4, coded-x2, and light-x2 of newer.onnx")
    newer = restored_by(page, tmp_path / "theirs.png", tmp_path / "web.png")
    expect(page.locator("#facts")).to_contain_text("by light-x2 of newer.onnx,")
    assert levels_apart(newer.colour, first.colour) == 0


ABSURD: list[dict[str, object]] = [
    *({"scale": value} for value in (0, 1, -2, 65, 10**9, 2.5, "2", None, True, [2])),
    *({"halo": value} for value in (-1, 10**9, 0.5, "3")),
    *({"multiple": value} for value in (0, -4, 10**9, None)),
    *({"rescaler": value} for value in ("", " ", "\x1b[31mlight-x2", "a\u202eb", "x" * 101, 3)),
    *({"weights_hash": value} for value in ("xyz", 0, [""])),
    {"more": "x" * 70_000},
]


def test_models_that_say_absurd_things(page: Page, problems: list[str], butterfly: Photo, tmp_path: Path) -> None:
    pair, good = load("bicubic-x2"), tmp_path / "good.onnx"
    export_onnx(pair, good)
    for number, values in enumerate(ABSURD):
        bad = retold(good.read_bytes(), **values)
        drop_model(page, tmp_path / f"{number}.onnx", bad, "is not an upscaler that “coscale export” wrote")
    expect(page.locator("#models")).to_have_text("This page restores files by light-x2, light-x4, and coded-x2.")
    # HTML is a name like another one, and letters that hide are shown.
    html = "<img src=x onerror=alert(1)>"
    odd = tmp_path / "<b>\u202e\x1b[31m.onnx"
    odd.write_bytes(retold(good.read_bytes(), rescaler=html))
    page.set_input_files("#file", odd)
    expect(page.locator("#status")).to_contain_text(f"<b>\ufffd\ufffd[31m.onnx restores LR files by {html} at \u00d72")
    photo, origin = read_lr(lr_file(tmp_path / "lr.png", Photo(butterfly.colour[..., :40, :40]), pair))
    assert origin
    write_lr(tmp_path / "html.png", photo, replace(origin, rescaler=html))
    restored_by(page, tmp_path / "html.png", tmp_path / "web.png")
    expect(page.locator("#facts")).to_contain_text(f"by {html} of <b>\ufffd\ufffd[31m.onnx,")
    assert page.locator("main img, main b").count() == 0
    # One that makes images of another size than it says.
    drop_model(
        page, tmp_path / "x3.onnx", retold(good.read_bytes(), rescaler="bicubic-x3", scale=3), "restores LR files"
    )
    write_lr(tmp_path / "x3.png", photo, replace(origin, rescaler="bicubic-x3", scale=3, width=60, height=60))
    page.set_input_files("#file", tmp_path / "x3.png")
    sentence = "x3.png could not be restored: the upscaler does not make images 3 times as large."
    expect(page.locator("#status")).to_have_text(sentence)


def test_model_of_ones_own(page: Page, butterfly: Photo, tmp_path: Path) -> None:
    model, pair = tmp_path / "mine.onnx", load("bicubic-x2")
    export_onnx(pair, model)
    lr = lr_file(tmp_path / "lr.png", Photo(butterfly.colour[..., :51, :43]), pair)
    page.set_input_files("#file", model)
    expect(page.locator("#status")).to_contain_text("mine.onnx restores LR files by bicubic-x2 at \u00d72")
    photo, origin = read_lr(lr)
    wanted = decode_photo(photo, pair, origin)
    assert levels_apart(restored_by(page, lr, tmp_path / "web.png").colour, wanted.colour) <= 1


DROPPED = """text => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(text), letter => letter.charCodeAt(0))], "photo.x2.png"));
  return files;
}"""


def test_dropped_on_a_narrow_dark_page(page: Page, butterfly: Photo, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    lr = lr_file(tmp_path / "photo.x2.png", butterfly, load("light-x2"))
    dropped = page.evaluate_handle(DROPPED, base64.b64encode(lr.read_bytes()).decode())
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    expect(page.locator("#facts")).to_contain_text("256 \u00d7 256")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    no_violations(page)


def test_folder_is_not_written_over(folder: Path) -> None:
    assert "is not empty; give --overwrite" in fails("web", folder)
    models = json.loads((folder / "models.json").read_text())
    names = ["light-x2", "light-x4", "coded-x2"]
    assert [(m["file"], m["takes_level"]) for m in models] == [(f"{name}.onnx", name == "coded-x2") for name in names]


def test_runtime_by_hand_and_without_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = tmp_path / "package" / "dist"
    shutil.copytree(folder / "ort", unpacked)
    write_page(tmp_path / "page", [], ort=unpacked.parent, jxl=folder / "jxl")
    assert all((tmp_path / "page" / "ort" / name).is_file() for name in runtime.ORT.files)
    assert stat.S_IMODE((tmp_path / "page").stat().st_mode) == stat.S_IMODE(unpacked.stat().st_mode)
    first, second, *_ = runtime.ORT.files
    right = (unpacked / first).read_bytes()
    (unpacked / first).write_bytes(right + b"\n")
    with pytest.raises(ExportError, match=rf"has another {first} than onnxruntime-web {runtime.ORT.version}"):
        write_page(tmp_path / "other", [], ort=unpacked.parent)
    (unpacked / first).write_bytes(right)
    (unpacked / second).unlink()
    with pytest.raises(ExportError, match="give the unpacked npm package"):
        write_page(tmp_path / "other", [], ort=tmp_path)
    assert not (tmp_path / "other").exists()
    monkeypatch.setattr(runtime, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    with pytest.raises(ExportError, match=r"could not be fetched from http://127\.0\.0\.1:9/onnxruntime-web"):
        write_page(tmp_path / "other", [])
    with pytest.raises(OutputError, match="is not empty"):
        write_page(tmp_path / "page", [])


def test_a_download_that_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "user_cache_path", lambda _: tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{listening.getsockname()[1]}/")
        answers = {
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut": "was cut short",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ncut": "IncompleteRead",
            b"nothing known\r\n": "nothing known",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad": "is not the file that it was",
        }

        def answer() -> None:
            for said in answers:
                with listening.accept()[0] as connection:
                    connection.recv(10_000)
                    connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        for words in answers.values():
            with pytest.raises(ExportError, match=words):
                runtime.copy_package(runtime.ORT, tmp_path / "ort")
    assert [path.name for path in tmp_path.iterdir()] == ["ort"]


def test_a_page_is_replaced_without_what_it_has_no_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page"
    shutil.copytree(folder, page)
    (page / "mine.onnx").write_bytes(b"of the user")
    moved: list[str] = []
    replace = Path.replace

    def noted(file: Path, to: Path) -> Path:
        moved.append(file.name)
        return replace(file, to)

    monkeypatch.setattr(Path, "replace", noted)
    monkeypatch.setattr(web, "export_onnx", lambda pair, path: path.write_bytes(b"of " + pair.name.encode()))
    written = write_page(page, [load("light-x2")], ort=folder / "ort", overwrite=True)
    assert moved[-2:] == ["models.json", "index.html"]
    assert sorted(path.name for path in page.glob("*.onnx")) == ["light-x2.onnx", "mine.onnx"]
    assert sorted([*written, page / "mine.onnx"]) == sorted(path for path in page.rglob("*") if path.is_file())
