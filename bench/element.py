"""python -m bench.element FOLDER [--photos PHOTOS] [--rescaler light-x2]: a page of 30 small images, and two visits.

The middle of each of 30 photos that are reduced to a third, 240 x 180 pixels, becomes an LR file, improved by --effort
fast; the page shows them by ``<coscale-img>``. Headless Chromium opens it: at first they are ordinary images; then the
page is zoomed to 200 %, and all that is in view is restored. A second visit has to restore none anew. A row goes to
results/element.jsonl, two pictures of a part of the page to docs, before and after; those of the whole page stay in
FOLDER, with the page. LR files that are there already are not made again, nor is an upscaler that has their weights.
"""

import argparse
import gzip
import json
import platform
import shutil
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright

from bench.readme import ROOT
from coscale import __version__
from coscale.collaborate import Coscale
from coscale.image import Photo, read
from coscale.pipeline import encode_photo, write_encoded
from coscale.quantize import to_uint8
from coscale.resize import downscale
from coscale.web import NPM, write_page
from coscale.web.runtime import ORT
from coscale.weights.load import Loaded, load

PHOTOS = ROOT.parents[0] / "shared" / "data" / "train" / "budgie_crop864"  # CC0
COUNT = 30
HIGH, WIDE = 180, 240
REDUCED = 3
VIEW = {"width": 764, "height": 490}
PART = {"x": 0, "y": 0, "width": 376, "height": 192}  # six images
PATIENCE = 600_000  # milliseconds
STATES = "() => Array.from(document.querySelectorAll('coscale-img'), (e) => e.state)"
THREADS = "crossOriginIsolated ? navigator.hardwareConcurrency : 1"  # as worker.js has it
HEARD = "window.heard = []; addEventListener('coscale-restored', ({ detail }) => heard.push(detail));"
STYLE = "body { margin: 4px; display: flex; flex-wrap: wrap; gap: 4px; background: #fff }"


def middle(photo: Photo) -> Photo:
    """The middle of a photo that is reduced to a third."""
    height, width = (side // REDUCED for side in photo.size)
    small = to_uint8(downscale(photo.colour[..., : REDUCED * height, : REDUCED * width], REDUCED))
    top, left = (height - HIGH) // 2, (width - WIDE) // 2
    return Photo(small[..., top : top + HIGH, left : left + WIDE])


def has_upscaler(folder: Path, pair: Loaded) -> bool:
    """Say whether the page in ``folder`` restores what ``pair`` made, by the version that is here."""
    try:
        models = json.loads((folder / "models.json").read_text())
    except FileNotFoundError:
        return False
    wanted = {"rescaler": pair.name, "weights_hash": pair.weights_hash, "version": __version__}
    return any(wanted.items() <= model.items() for model in models)


def make(folder: Path, photos: Path, rescaler: str) -> list[Path]:
    """Make the page in ``folder``, and give its LR files."""
    pair = load(rescaler)
    if not has_upscaler(folder, pair):
        write_page(folder, [pair], overwrite=True)
    found = sorted(path for path in photos.iterdir() if path.suffix in (".png", ".webp", ".jpg"))[:COUNT]
    if len(found) < COUNT:
        raise SystemExit(f"{photos} has {len(found)} photos; {COUNT} are needed")
    files = []
    for path in found:
        files.append(folder / f"{path.stem}.{rescaler}.{pair.weights_hash[:8]}.webp")
        if not files[-1].exists():
            write_encoded(encode_photo(middle(read(path)), pair, Coscale("fast")), files[-1])
    for module in NPM.glob("*.js"):  # as they are now, also where the page was there
        shutil.copyfile(module, folder / "coscale" / module.name)
    elements = "\n".join(f'<coscale-img src="{file.name}" models="models.json" alt=""></coscale-img>' for file in files)
    (folder / "photos.css").write_text(STYLE)
    head = '<link rel="stylesheet" href="photos.css"><script type="module" src="coscale/element.js"></script>'
    start = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Photos</title>'
    (folder / "photos.html").write_text(f"{start}{head}\n{elements}\n")
    return files


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve ``folder``: give its address, and the list of paths that are asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(f"{address}photos.html")
    page.wait_for_function("() => Array.from(document.querySelectorAll('coscale-img')).every((e) => e.image.complete)")
    return page


def zoom(page: Page) -> CDPSession:
    """Zoom to 200 %: the window has half as many pixels, of twice the dots each; give what commands the screen."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setDeviceMetricsOverride", {**VIEW, "deviceScaleFactor": 2, "mobile": False})
    return session


def visit(page: Page) -> tuple[CDPSession, list[dict[str, Any]]]:
    """Zoom the page, wait until all is restored, and give what commands the screen and what the elements tell."""
    if set(page.evaluate(STATES)) != {"small"}:
        raise SystemExit("an image was restored before anybody looked closer")
    screen = zoom(page)
    page.wait_for_function(f"() => heard.length === {COUNT}")
    return screen, page.evaluate("heard")


def shoot(screen: CDPSession, folder: Path, name: str) -> None:
    """Take the page and a part of it as the screen has them: Playwright's own pictures have one dot for each pixel."""
    whole = {"x": 0, "y": 0, **VIEW}
    for path, clip in ((folder / f"{name}.jpg", whole), (ROOT / "docs" / f"element-{name}.jpg", PART)):
        asked = {"format": "jpeg", "quality": 80, "clip": {**clip, "scale": 1}}
        path.write_bytes(b64decode(screen.send("Page.captureScreenshot", asked)["data"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.element", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--rescaler", default="light-x2")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    files = make(folder, arguments.photos, arguments.rescaler)
    print(f"{folder} has the page", flush=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with served(folder) as (address, asked), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 2 * VIEW["width"], "height": 2 * VIEW["height"]})
        context.set_default_timeout(PATIENCE)
        small = opened(context, address)
        small.evaluate("document.querySelectorAll('coscale-img').forEach((e) => e.setAttribute('restore', 'never'))")
        shoot(zoom(small), folder, "before")
        small.close()
        context.add_init_script(HEARD)
        page = opened(context, address)
        threads = page.evaluate(THREADS)
        screen, first = visit(page)
        shoot(screen, folder, "after")
        page.close()
        asked.clear()
        _, second = visit(opened(context, address))
        again = list(asked)
        browser.close()
    modules = sorted(NPM.glob("*.js"))
    model = folder / f"{arguments.rescaler}.onnx"
    row = {
        "version": __version__,
        "rescaler": arguments.rescaler,
        "images": len(files),
        "megapixels": round(sum(one["width"] * one["height"] for one in first) / 1e6, 3),
        "provider": first[0]["provider"],
        "threads": threads,
        "machine": platform.machine(),
        "ms_per_megapixel": round(1e9 * median(one["seconds"] / (one["width"] * one["height"]) for one in first)),
        "first_restored": sum(not one["cached"] for one in first),
        "second_restored": sum(not one["cached"] for one in second),
        "second_ms": round(median(one["milliseconds"] for one in second)),
        "second_asked_for_upscaler": sum("onnx" in path or "/ort/" in path or "worker" in path for path in again),
        "js_bytes": sum(path.stat().st_size for path in modules),
        "js_gzip_bytes": sum(len(gzip.compress(path.read_bytes(), mtime=0)) for path in modules),
        "model_bytes": model.stat().st_size,
        "model_gzip_bytes": len(gzip.compress(model.read_bytes(), mtime=0)),
        "wasm_bytes": sum((folder / "ort" / name).stat().st_size for name in ORT.files if name in WASM),
        "wasm_gzip_bytes": sum(
            len(gzip.compress((folder / "ort" / name).read_bytes(), mtime=0)) for name in ORT.files if name in WASM
        ),
        "small_bytes": sum(path.stat().st_size for path in files),
    }
    print(json.dumps(row))
    (ROOT / "results" / "element.jsonl").write_text(json.dumps(row) + "\n")


WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

if __name__ == "__main__":
    main()
