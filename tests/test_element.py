"""The element <coscale-img> as a browser runs it, and the npm package that it comes in."""

import json
import re
import shutil
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.extras import needs, skip_without

skip_without("browser", "export")

import torch
from PIL import Image, ImageCms
from playwright.sync_api import Browser, BrowserContext, Page, expect

from coscale import __version__
from coscale.collaborate import PLAIN
from coscale.image import Photo, to_bytes
from coscale.lrfile import Origin, read_lr, write_lr
from coscale.metrics import compare
from coscale.pipeline import decode_photo, encode_photo, write_encoded
from coscale.storage import find as storage_of
from coscale.web import NPM, runtime
from coscale.weights.load import Loaded, load
from tests.patience import PATIENCE, until
from tests.websites import Site, levels_apart, lr_file, serving

ROOT = Path(__file__).parents[1]
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' blob:"
)
# What a page hears of its elements, from the first on.
HEARD = """
window.heard = [];
for (const kind of ["coscale-restored", "coscale-failed"]) {
  addEventListener(kind, ({ type, target: { id }, detail }) => heard.push({ type, id, ...detail, error: undefined }));
}
"""
PIXELS = """async element => {
  const image = element.shadowRoot.querySelector("img.over");
  const { naturalWidth: width, naturalHeight: height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(image, 0, 0);
  return [width, height, Array.from(context.getImageData(0, 0, width, height).data)];
}"""


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A visitor who was never here."""
    context = chromium.new_context(viewport={"width": 900, "height": 700})
    context.set_default_timeout(1000 * PATIENCE)
    context.add_init_script(HEARD)
    yield context
    context.close()


@pytest.fixture
def problems() -> list[str]:
    """What pages said on the console; a test removes what it expects."""
    return []


@pytest.fixture
def visit(context: BrowserContext, site: Site, problems: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens a page of these elements."""

    def open_page(body: str, policy: str = POLICY, address: str = "") -> Page:
        html = f'<!doctype html><title>Photos</title><link rel="icon" href="{ICON}">' + (
            f'<script type="module" src="coscale/element.js"></script>{body}'
        )
        site.instead["/photos.html"] = html.encode
        site.headers["Content-Security-Policy"] = policy
        page = context.new_page()
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{address or site.address}photos.html")
        return page

    yield open_page
    assert problems == []


ICON = "photos.svg"


@pytest.fixture(autouse=True)
def icon(site: Site) -> None:
    site.instead[f"/{ICON}"] = lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def element(name: str, rest: str = "", src: str = "photo.png") -> str:
    return f'<coscale-img id="{name}" src="{src}" models="models.json" alt="{name}" {rest}></coscale-img>\n'


def put(site: Site, butterfly: Photo, folder: Path, *names: str) -> list[Path]:
    """LR files of different parts of the butterfly."""
    paths = []
    for k, name in enumerate(names or ("photo.png",)):
        photo = Photo(butterfly.colour[..., 10 * k : 10 * k + 80, 5 : 5 + 99])
        paths.append(lr_file(folder / name, photo, load("light-x2")))
        data = paths[-1].read_bytes()
        site.instead[f"/{name}"] = lambda data=data: data
    return paths


def is_(page: Page, name: str, state: str) -> None:
    expect(page.locator(f"#{name}")).to_have_attribute("state", state)


def pixels(page: Page, name: str) -> torch.Tensor:
    width, height, values = page.locator(f"#{name}").evaluate(PIXELS)
    return torch.tensor(values).reshape(1, height, width, 4)[..., :3].permute(0, 3, 1, 2) / 255


def wanted_of(lr: Path, pair: Loaded) -> Photo:
    small, origin = read_lr(lr)
    return decode_photo(small, pair, origin)


def test_restored_as_the_command_does(visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path) -> None:
    (lr,) = put(site, butterfly, tmp_path)
    page = visit(element("a", 'width="300"') + element("b"))
    is_(page, "a", "restored")
    assert levels_apart(pixels(page, "a"), wanted_of(lr, load("light-x2")).colour) <= 1
    # The second one is shown at its own size, so it is an image as any other, of the size of the file.
    small = page.locator("#b")
    assert small.get_attribute("state") is None
    box = small.bounding_box()
    assert box
    assert (box["width"], box["height"]) == (50, 40)
    assert small.evaluate("e => e.image.alt") == "b"
    assert page.locator("#a").evaluate("e => [e.clientWidth, e.clientHeight]") == [300, 240]
    (heard,) = page.evaluate("heard")
    assert (heard["type"], heard["width"], heard["height"], heard["cached"]) == ("coscale-restored", 99, 80, False)


def test_a_second_visit_computes_nothing(
    visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path
) -> None:
    put(site, butterfly, tmp_path, "0.png", "1.png", "2.png")
    body = "".join(element(f"e{k}", 'width="200"', f"{k}.png") for k in range(3))
    first = visit(body)
    for k in range(3):
        is_(first, f"e{k}", "restored")
    assert len(first.workers) == 1  # three at once, by one
    before = [pixels(first, f"e{k}") for k in range(3)]
    first.close()
    site.asked.clear()
    second = visit(body)
    for k in range(3):
        is_(second, f"e{k}", "restored")
        assert levels_apart(pixels(second, f"e{k}"), before[k]) == 0
    assert [heard["cached"] for heard in second.evaluate("heard")] == [True] * 3
    assert second.workers == []
    needed = {"/photos.html", f"/{ICON}", "/models.json", *(f"/{k}.png" for k in range(3))}
    assert {path for path in site.asked if not path.startswith("/coscale/")} == needed
    assert "/coscale/worker.js" not in site.asked
    # Another file of the same name is another photo.
    put(site, Photo(butterfly.colour.flip(3)), tmp_path, "0.png")
    third = visit(body)
    is_(third, "e0", "restored")
    assert sorted(heard["cached"] for heard in third.evaluate("heard")) in ([False], [False, True], [False, True, True])
    assert levels_apart(pixels(third, "e0"), before[0]) > 1


def test_what_is_kept_has_bounds(visit: Callable[..., Page]) -> None:
    page = visit("<p>Nothing</p>")
    keep = """async () => {
        const { Kept } = await import("./coscale/index.js");
        const kept = new Kept({ maxBytes: 2500 });
        for (const key of ["a", "b", "c"]) await kept.keep(key, new Blob([new Uint8Array(1000)]));
        await kept.keep("d", new Blob([new Uint8Array(3000)]));
        const found = await Promise.all(["a", "b", "c", "d"].map((key) => kept.find(key)));
        await kept.clear();
        return [...found, await kept.find("c")].map((blob) => blob && blob.size);
    }"""
    assert page.evaluate(keep) == [None, 1000, 1000, None, None]
    # A key depends on the file and on the precision, and what is no key leads nowhere else.
    keys = """async () => {
        const { Kept } = await import("./coscale/index.js");
        const kept = new Kept();
        const models = [{ precision: "float32" }, { precision: "float16" }, {}];
        const keys = await Promise.all(models.map((model) => kept.keyOf(new Uint8Array(9), model)));
        keys.push(await kept.keyOf(new Uint8Array(8), models[0]));
        await kept.keep("ab/../../photo", new Blob(["other"]));
        return [keys, (await (await caches.open("coscale")).keys()).length, await kept.find("ab/../../photo")];
    }"""
    found, *rest = page.evaluate(keys)
    assert len(set(found)) == 4
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in found)
    assert rest == [0, None]


def test_restored_only_where_it_is_wanted(
    visit: Callable[..., Page], site: Site, context: BrowserContext, butterfly: Photo, tmp_path: Path
) -> None:
    names = [f"{k}.png" for k in range(4)]
    put(site, butterfly, tmp_path, *names)
    saves = "Object.assign(new EventTarget(), { saveData: true })"
    context.add_init_script(f'Object.defineProperty(navigator, "connection", {{ value: {saves} }})')
    never, always, saving, below = names
    page = visit(
        element("never", 'width="200" restore="never"', never)
        + element("always", 'restore="always"', always)
        + element("saving", 'width="200"', saving)
        + '<div style="height: 3000px"></div>'
        + element("below", 'restore="always"', below),
        POLICY.replace("style-src 'self'", "style-src 'unsafe-inline'"),
    )
    is_(page, "always", "restored")
    for name in ("never", "saving", "below"):
        assert page.locator(f"#{name}").get_attribute("state") is None
    page.evaluate('navigator.connection.saveData = false; navigator.connection.dispatchEvent(new Event("change"))')
    is_(page, "saving", "restored")
    assert page.locator("#below").get_attribute("state") is None
    page.locator("#below").scroll_into_view_if_needed()
    is_(page, "below", "restored")
    assert page.locator("#never").get_attribute("state") is None
    assert page.locator("#never").evaluate("e => e.restore()") is True  # asked for, it is


def test_zooming_restores(visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path) -> None:
    put(site, butterfly, tmp_path, "0.png", "1.png", "photo.png")
    # An image for twice the dots says of itself that it has half as many pixels as the file.
    dense = '<coscale-img id="dense" srcset="0.png 2x" models="models.json" width="50"></coscale-img>'
    page = visit(
        element("dots", src="0.png") + element("wide", src="1.png") + dense + element("tall") + element("whole")
    )
    page.wait_for_function("() => Array.from(document.querySelectorAll('coscale-img')).every(e => e.image.complete)")
    assert page.locator("#dense").evaluate("e => [e.image.naturalWidth, e.clientWidth]") == [25, 50]
    page.locator("#whole").evaluate("e => { e.style = 'width: 50px; height: 80px; object-fit: contain' }")
    page.locator("#wide").evaluate("e => { e.style.width = '99px' }")
    is_(page, "wide", "restored")
    for name in ("dots", "dense", "tall", "whole"):
        assert page.locator(f"#{name}").get_attribute("state") is None
    page.locator("#tall").evaluate("e => { e.style = 'width: 50px; height: 80px' }")
    is_(page, "tall", "restored")
    for name in ("dots", "dense", "whole"):
        assert page.locator(f"#{name}").get_attribute("state") is None
    screen = page.context.new_cdp_session(page)
    zoomed = {"width": 450, "height": 350, "deviceScaleFactor": 2, "mobile": False}
    screen.send("Emulation.setDeviceMetricsOverride", zoomed)  # what a page sees of the browser's zoom of 200 %
    for name in ("dots", "dense", "whole"):
        is_(page, name, "restored")


def test_an_image_of_the_page_within_it(
    visit: Callable[..., Page], site: Site, problems: list[str], butterfly: Photo, tmp_path: Path
) -> None:
    """Without a program, or before it comes, that image is all there is."""
    put(site, butterfly, tmp_path, "0.png", "1.png")
    page = visit('<coscale-img id="a" models="models.json" width="200"><img src="0.png" alt="Wings"></coscale-img>')
    is_(page, "a", "restored")
    before = pixels(page, "a")
    assert page.get_by_role("img", name="Wings").count() == 1
    page.locator("#a").evaluate("e => { e.image.src = '1.png' }")
    page.wait_for_function("() => heard.length === 2")
    assert levels_apart(pixels(page, "a"), before) > 1
    # What failed is looked at again when another image takes its place.
    site.instead["/plain.png"] = lambda: to_bytes(Photo(butterfly.colour[..., :40, :50]), ".png")
    for count, (name, state) in enumerate({"gone": "failed", "plain": "failed", "0": "restored"}.items(), start=3):
        page.locator("#a").evaluate(f"e => {{ e.image.src = '{name}.png' }}")
        page.wait_for_function(f"() => heard.length === {count}")
        is_(page, "a", state)
    assert page.locator("#a").get_attribute("problem") is None
    problems.clear()


def test_what_cannot_be_restored_stays_small(
    visit: Callable[..., Page], site: Site, problems: list[str], butterfly: Photo, tmp_path: Path
) -> None:
    (lr,) = put(site, butterfly, tmp_path)
    photo, origin = read_lr(lr)
    assert origin
    files = {
        "plain": to_bytes(photo, ".png"),
        "model": changed(photo, origin, tmp_path, rescaler="irn-x2"),
        "weights": changed(photo, origin, tmp_path, weights_hash="ab" * 32),
        "path": changed(photo, origin, tmp_path, weights_hash="/../"),
        "resized": changed(photo, origin, tmp_path, width=500),
        "lossy": to_bytes(Photo(photo.colour), ".jpg"),
    }
    for name, data in files.items():
        site.instead[f"/{name}.png"] = lambda data=data: data
    said = {
        "gone": "gone.png cannot be loaded as an image; look at its address and its format.",
        "plain": "plain.png does not say how it was made, so it is not an LR file of coscale",
        "model": "model.png was made by irn-x2, which is not here; write the models of this page anew with",
        "weights": "weights.png was made by other weights of light-x2 than are here",
        "path": "path.png has a damaged note about its origin",
        "resized": "resized.png has 50 \u00d7 40 pixels, but its note is about a photo of 500 \u00d7 80 at \u00d72",
        "lossy": "lossy.png does not say how it was made",
    }
    with serving(site.folder) as elsewhere:
        elsewhere.instead["/far.png"] = lr.read_bytes
        elsewhere.instead["/no.png"] = lambda: None
        policy = POLICY.replace("'self'", f"'self' {elsewhere.address}")
        far = element("far", 'width="200"', f"{elsewhere.address}far.png")
        body = "".join(element(name, 'width="200"', f"{name}.png") for name in said) + far
        unsaid = '<coscale-img id="unsaid" width="200" src="photo.png"></coscale-img>'
        page = visit(body + unsaid + element("good", 'width="200"'), policy)
        said["far"] = "far.png cannot be read: its server does not let other pages read it (CORS)"
        said["unsaid"] = "photo.png cannot be restored without upscalers: the attribute “models” has to say where"
        for name, words in said.items():
            is_(page, name, "failed")
            problem = page.locator(f"#{name}").get_attribute("problem") or ""
            assert problem.startswith(words), problem
            assert page.locator(f"#{name}").evaluate("e => e.shadowRoot.querySelectorAll('.over').length") == 0
            if name != "gone":
                assert page.locator(f"#{name}").evaluate("e => e.image.naturalWidth") == 50
        is_(page, "good", "restored")  # which the others do not disturb
        heard = {one["id"]: one for one in page.evaluate("heard")}
        assert heard["far"]["type"] == "coscale-failed"
        ours = [problem for problem in problems if problem.startswith("coscale: ")]
        assert sorted(ours) == sorted(f"coscale: {heard[name]['problem']}" for name in said)  # one warning for each
        problems.clear()  # beside these, the browser says what it was asked for in vain


def changed(photo: Photo, origin: Origin, folder: Path, **values: Any) -> bytes:
    write_lr(folder / "changed.png", photo, Origin(**(vars(origin) | values)))
    return (folder / "changed.png").read_bytes()


@pytest.mark.parametrize("path", ["/light-x2.onnx", "/models.json", "/ort/ort.wasm.min.mjs", "/coscale/worker.js"])
def test_a_file_of_the_decoder_that_does_not_come(
    visit: Callable[..., Page], site: Site, problems: list[str], butterfly: Photo, tmp_path: Path, path: str
) -> None:
    put(site, butterfly, tmp_path)
    site.instead[path] = lambda: None
    page = visit(element("a", 'width="200"'))
    is_(page, "a", "failed")
    words = "photo.png (could not be restored: |needs the list of upscalers)"
    assert re.match(words, page.locator("#a").get_attribute("problem") or "")
    problems.clear()
    del site.instead[path]
    assert page.locator("#a").evaluate("e => e.restore()") is True


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (
            POLICY.replace(" blob:", ""),
            "cannot be shown restored: this page's policy has to let images of “blob:”",
        ),
        (POLICY.replace("worker-src 'self'", "worker-src 'none'"), "could not be restored: "),
        (POLICY.replace(" 'wasm-unsafe-eval'", ""), "could not be restored: "),
    ],
)
def test_a_policy_that_forbids_a_part(
    visit: Callable[..., Page],
    site: Site,
    problems: list[str],
    butterfly: Photo,
    tmp_path: Path,
    policy: str,
    words: str,
) -> None:
    put(site, butterfly, tmp_path)
    page = visit(element("a", 'width="200"'), policy)
    is_(page, "a", "failed")
    assert words in (page.locator("#a").get_attribute("problem") or "")
    assert page.locator("#a").evaluate("e => e.image.naturalWidth") == 50
    problems.clear()


def test_the_package_from_another_origin(
    visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path
) -> None:
    """Its server lets others read it, and the page has a worker of its own, which has but one line."""
    (lr,) = put(site, butterfly, tmp_path)
    with serving(site.folder) as elsewhere:
        elsewhere.headers["Access-Control-Allow-Origin"] = "*"
        far = elsewhere.address
        site.instead["/worker.js"] = f'import "{far}coscale/worker.js";'.encode
        site.instead["/coscale/element.js"] = f'import "{far}coscale/element.js";'.encode
        policy = POLICY
        for kind in ("script", "worker", "connect"):
            policy = policy.replace(f"{kind}-src 'self'", f"{kind}-src 'self' {far}")
        page = visit(element("a", 'width="200" worker="worker.js"').replace("models.json", f"{far}models.json"), policy)
        is_(page, "a", "restored")
        assert levels_apart(pixels(page, "a"), wanted_of(lr, load("light-x2")).colour) <= 1
        assert "/coscale/index.js" in elsewhere.asked
    assert not [path for path in site.asked if path.startswith(("/ort/", "/light"))]


def test_an_element_that_goes_is_given_up(
    visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path
) -> None:
    put(site, butterfly, tmp_path, "0.png", "1.png", "2.png")
    site.instead["/ort/ort.wasm.min.mjs"] = lambda: b"await new Promise(() => {});"  # the worker never gets further
    page = visit(element("a", 'width="200"', "0.png") + element("b", 'width="200"', "1.png"))
    page.wait_for_function("() => performance.getEntriesByName(new URL('1.png', location).href).length > 0")
    for name in ("a", "b"):
        is_(page, name, "restoring")
    del site.instead["/ort/ort.wasm.min.mjs"]
    page.locator("#a").evaluate("e => e.remove()")
    page.locator("#b").evaluate("e => { e.src = '2.png' }")
    is_(page, "b", "restored")
    assert [(one["type"], one["src"].split("/")[-1]) for one in page.evaluate("heard")] == [
        ("coscale-restored", "2.png")
    ]
    assert len(page.workers) == 1


def test_tiles_appear_one_by_one(visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path) -> None:
    """They make up the photo, and until it is whole a canvas shows those that are done."""
    wide = Photo(torch.cat([butterfly.colour[..., :37, :], butterfly.colour[..., 40:77, :163]], 3))
    lr = lr_file(tmp_path / "wide.png", wide, load("light-x2"))
    site.instead["/wide.png"] = lr.read_bytes
    page = visit("<p>Nothing</p>")
    code = """async () => {
        const { Restorer, toImageData } = await import("./coscale/index.js");
        const file = new Uint8Array(await (await fetch("wide.png")).arrayBuffer());
        const context = new OffscreenCanvas(419, 37).getContext("2d");
        const tiles = [];
        const shares = [];
        const onTile = ({ x, y, width, height, data }) => {
            tiles.push([x, y, width, height]);
            context.putImageData(new ImageData(data, width, height), x, y);
        };
        const restorer = new Restorer({ models: "models.json" });
        await Promise.all([restorer.models(), restorer.models()]);
        const { signal } = new AbortController();
        let listening = 0;
        for (const [name, step] of [["addEventListener", 1], ["removeEventListener", -1]]) {
            signal[name] = (...rest) => {
                listening += step;
                EventTarget.prototype[name].apply(signal, rest);
            };
        }
        const photo = await restorer.restore(file, { signal, onTile, onProgress: (done) => shares.push(done) });
        const drawn = context.getImageData(0, 0, 419, 37).data;
        return [tiles, shares, toImageData(photo).data.every((value, i) => value === drawn[i]), listening];
    }"""
    assert page.evaluate(code) == [[[0, 0, 210, 37], [210, 0, 209, 37]], [0.5, 1], True, 0]
    assert site.asked.count("/models.json") == 1  # by however many at a time
    page.evaluate("""() => {
        window.seen = [];
        const element = document.createElement("coscale-img");
        new MutationObserver((changes) => {
            for (const { addedNodes } of changes) for (const { localName } of addedNodes) seen.push(localName);
        }).observe(element.shadowRoot, { childList: true });
        Object.assign(element, { id: "a", src: "wide.png" });
        element.setAttribute("restore", "always");
        element.setAttribute("models", "models.json");
        document.body.append(element);
    }""")
    is_(page, "a", "restored")
    assert page.evaluate("seen") == ["canvas", "img"]
    assert levels_apart(pixels(page, "a"), wanted_of(lr, load("light-x2")).colour) <= 1


def memory_of(page: Page) -> int:
    """The bytes that the pages of a browser hold in memory."""
    assert page.context.browser is not None
    found = page.context.browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    pages = [Path(f"/proc/{one['id']}/statm") for one in found if one["type"] == "renderer"]
    return sum(4096 * int(path.read_text().split()[1]) for path in pages)


def test_memory_is_given_back(visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path) -> None:
    """One worker restores all and takes no more for many photos than for one; without work it ends."""
    lr = lr_file(tmp_path / "large.png", Photo(butterfly.pixels[..., :128, :128]), load("light-x2"))
    site.instead["/large.png"] = lr.read_bytes
    page = visit("<p>Nothing</p>")
    code = """async ([count, idle]) => {
        const { Restorer } = await import("./coscale/index.js");
        if (idle !== window.idle) {
            window.restorer?.close();
            Object.assign(window, { idle, restorer: new Restorer({ models: "models.json", idle }) });
        }
        const file = new Uint8Array(await (await fetch("large.png")).arrayBuffer());
        await Promise.all(Array.from({ length: count }, () => restorer.restorePng(file)));
    }"""
    page.evaluate(code, [1, 1e9])
    one = memory_of(page)
    page.evaluate(code, [8, 1e9])
    assert memory_of(page) < one + 100e6  # a worker for each would have taken more
    assert len(page.workers) == 1
    page.evaluate(code, [1, 0])
    until(lambda: page.evaluate("0") == 0 and page.workers == [])


def lossy_files(folder: Path, photo: Photo, names: dict[str, float]) -> dict[str, Path]:
    """LR files of lossy formats."""
    files = {}
    for name, quality in names.items():
        encoded = encode_photo(photo, load("coded-x2"), PLAIN, storage=storage_of(name, asked={"quality": quality}))
        files[name] = folder / f"photo.x2.{name}"
        write_encoded(encoded, files[name])
    return files


@needs("jpeg")
def test_lossy_formats(visit: Callable[..., Page], site: Site, butterfly: Photo, tmp_path: Path) -> None:
    """The browser's own decoders give what the command's do."""
    pair, photo = load("coded-x2"), Photo(butterfly.colour[..., :171, :203])
    files = lossy_files(tmp_path, photo, {"jpg": 80, "webp": 80, "avif": 70})
    for name, path in files.items():
        site.instead[f"/photo.{name}"] = path.read_bytes
    page = visit("".join(element(name, 'width="300"', f"photo.{name}") for name in files))
    for name, path in files.items():
        is_(page, name, "restored")
        restored, wanted = pixels(page, name), wanted_of(path, pair).colour
        theirs, ours = (float(compare(one, photo.colour, 2)["psnr_rgb"]) for one in (restored, wanted))
        assert abs(theirs - ours) < 0.05, name
        assert levels_apart(restored, wanted) <= 2, name  # 1 where the browser's decoder is as new as the command's


PARTS = """(text) => import("./coscale/lr.js").then(async ({ parse, samples }) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const partsOf = ({ packet, profile, isLossy, width, height }) =>
    [packet, btoa(String.fromCharCode(...(profile ?? []))), isLossy, width, height];
  const cut = Array.from({ length: 40 }, (_, k) => {
    try {
      return partsOf(parse(bytes.slice(0, 16 + Math.floor(k * (bytes.length - 16) / 40))));
    } catch (error) {
      return error.message;
    }
  });
  let unpacked = 0;
  window.createImageBitmap = async () => { unpacked++; };
  const check = ({ width }) => { throw new Error(`of ${width}`); };
  const refused = await samples(parse(bytes), 3, { check }).catch((error) => error.message);
  return [partsOf(parse(bytes)), cut, refused, unpacked];
})"""


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_what_lossy_files_carry(visit: Callable[..., Page], butterfly_path: Path, suffix: str) -> None:
    """Size, note and profile are found where other programs put them, damage is told, all before it is unpacked."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile += bytes(0 if suffix == "avif" else 90_000)  # of a JPEG, more than one segment
    packet, file = "<x:xmpmeta>something</x:xmpmeta>", BytesIO()
    with Image.open(butterfly_path) as image:
        kind = {"jpg": "JPEG"}.get(suffix, suffix.upper())
        image.convert("RGB").resize((61, 40)).save(file, kind, icc_profile=profile, xmp=packet.encode())
    page = visit("<p>Nothing</p>")
    parts, cut, *refused = page.evaluate(PARTS, b64encode(file.getvalue()).decode())
    assert parts == [packet, b64encode(profile).decode(), True, 61, 40]
    # A file that is cut short is told to be, or has all of this still: then it is the pixels that are cut.
    damaged = "is damaged or cut short; copy or save it again."
    told = [one == damaged for one in cut]
    assert told == sorted(told, reverse=True)
    assert told[0]
    assert all(one == parts for one in cut[sum(told) :])
    assert refused == ["of 61", 0]


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def avif_of(sizes: bytes, items: list[bytes], more: bytes) -> bytes:
    """Give an AVIF without pixels; item 1 is a packet, ``sizes`` are those of the numbers of ``items``."""
    plain, short = bytes(4), (1).to_bytes(2, "big")
    entry = box(b"infe", b"\x02", bytes(3), short, bytes(2), b"mime\0application/rdf+xml\0")
    size = box(b"ispe", plain, (50).to_bytes(4, "big"), (40).to_bytes(4, "big"))
    meta = box(
        b"meta",
        plain,
        box(b"pitm", plain, (2).to_bytes(2, "big")),
        box(b"iinf", plain, short, entry),
        box(b"iloc", plain, sizes, len(items).to_bytes(2, "big"), *items),
        box(b"iprp", box(b"ipco", size), box(b"ipma", plain, (1).to_bytes(4, "big"), b"\0\x02\x01\x01")),
    )
    return box(b"ftyp", b"avif", plain) + meta + more


HOSTILE = """async (texts) => {
  const { parse } = await import("./coscale/lr.js");
  const { readPacket } = await import("./coscale/xmp.js");
  const read = (text) => {
    try {
      const { packet, width, height } = parse(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));
      return [packet, width, height];
    } catch (error) {
      return error.message;
    }
  };
  const blank = `urn:coscale:ns:1.0/${"\\0".repeat(900_000)}<!DOCTYPE`;
  return [...texts.map(read), readPacket(blank), readPacket(" ".repeat(900_000) + "x")];
}"""


def test_files_that_ask_for_much_work(visit: Callable[..., Page]) -> None:
    """None takes more than its bytes: each of these would take minutes, or more memory than there is."""
    unwanted = (2).to_bytes(2, "big") + bytes(2) + b"\xff\xff"  # 65 535 pieces, whose numbers have no bytes
    wanted = (1).to_bytes(2, "big") + bytes(2)
    nothing = avif_of(b"\0\0", [unwanted] * 50_000 + [wanted + b"\0\x01"], b"")
    pieces = ((0).to_bytes(4, "big") + (500_000).to_bytes(4, "big")) * 20_000  # 10 GB of half a megabyte
    overlapping = avif_of(b"\x44\0", [wanted + (20_000).to_bytes(2, "big") + pieces], bytes(400_000))
    short = avif_of(b"\x44\0", [wanted + b"\0\x01" + (4).to_bytes(4, "big") * 2], b"")
    files = [b64encode(data).decode() for data in (nothing, overlapping, short)]
    damaged = "is damaged or cut short; copy or save it again."
    assert visit("<p>Nothing</p>").evaluate(HOSTILE, files) == [
        ["", 50, 40],
        damaged,
        ["ftyp", 50, 40],
        {"note": "", "channels": 3},
        {"note": None, "channels": 3},
    ]


def test_the_package_is_what_python_has() -> None:
    """One version, one licence, one runtime, and types for every name."""
    package = json.loads((NPM / "package.json").read_text())
    assert package["version"] == __version__
    assert f'VERSION = "{__version__}"' in (NPM / "version.js").read_text()
    assert (NPM / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    wanted = {library.name: library.version for library in (runtime.ORT, runtime.JXL)}
    assert package["peerDependencies"] == wanted
    for text in (NPM / "README.md", ROOT / "docs" / "web.md"):
        assert f"npm install ./coscale-VERSION.tgz {runtime.ORT.name}@{runtime.ORT.version}\n" in text.read_text()
    exported = re.findall(r"^export \{ (.*) \} from", (NPM / "index.js").read_text(), re.MULTILINE)
    names = {name for line in exported for name in line.split(", ")}
    types = (NPM / "index.d.ts").read_text()
    assert names == set(re.findall(r"^export (?:class|const|function) (\w+)", types, re.MULTILINE))


def test_a_page_of_the_packed_file(chromium: Browser, folder: Path, butterfly: Photo, tmp_path: Path) -> None:
    """What npm would publish, with the upscalers and the runtime beside it, asks nobody else for anything."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm here; install it (Debian: apt-get install npm)")
    done = subprocess.run(
        [npm, "pack", "--offline", "--json", "--cache", tmp_path / "npm", "--pack-destination", tmp_path, NPM],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (packed,) = json.loads(done.stdout)
    with tarfile.open(tmp_path / packed["filename"]) as archive:
        archive.extractall(tmp_path, filter="data")
    page_folder = tmp_path / "site"
    shutil.copytree(folder, page_folder, ignore=shutil.ignore_patterns("coscale", "index.html", "app.js"))
    (tmp_path / "package").rename(page_folder / "coscale")
    assert {"LICENSE", "README.md", "index.d.ts", "package.json"} <= {
        p.name for p in (page_folder / "coscale").iterdir()
    }
    lr = lr_file(page_folder / "photo.png", Photo(butterfly.colour[..., :80, :99]), load("light-x2"))
    html = f'<!doctype html><script type="module" src="coscale/element.js"></script>{element("a", "width=200")}'
    (page_folder / "photos.html").write_text(html)
    asked: list[str] = []
    with serving(page_folder) as site:
        page = chromium.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{site.address}photos.html")
        expect(page.locator("#a")).to_have_attribute("state", "restored", timeout=1000 * PATIENCE)
        assert levels_apart(pixels(page, "a"), wanted_of(lr, load("light-x2")).colour) <= 1
        page.close()
        assert all(url.startswith((site.address, "blob:")) for url in asked)
