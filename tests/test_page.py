import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest

from tests.extras import skip_without
from tests.patience import until

skip_without("browser", "reference", "report")

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from matplotlib.figure import Figure as Drawing
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from skimage.color import deltaE_ciede2000, rgb2lab

from coscale.errors import OutputError
from coscale.report.page import (
    Cell,
    Column,
    Comparison,
    Figure,
    Finding,
    Picture,
    Report,
    Section,
    Table,
    Version,
    write_page,
)
from coscale.report.svg import PALETTE, style, svg_of

EVIL = "<script>document.title = 'taken'</script>&\"'"
GONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
LIGHT, DARK = "#fcfcfa", "#131518"


def drawing(height: float = 3) -> str:
    with style():
        figure = Drawing(figsize=(6, height))
        left, right = figure.subplots(1, 2)
        left.plot([0, 1, 2], [1, 3, 2], label="IRN")
        left.legend()
        right.bar(["a", "b"], [1, 2], color="#808080")
        right.set_yscale("symlog")
        return svg_of(figure, "Gain <over> steps")


def gradient(height: int, width: int, shift: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 2 + shift, columns * 2, rows + columns], axis=-1).astype(np.uint8)


def comparison(name: str, height: int, width: int, labels: tuple[str, ...]) -> Comparison:
    versions = (
        Version(label, f"PSNR-Y {30 + i}.20 dB", gradient(height, width, 9 * i)) for i, label in enumerate(labels)
    )
    return Comparison(name, tuple(versions))


def make_report() -> Report:
    columns = (Column("method"), Column("PSNR-Y", 2, about="over luma"), Column("gain", 2, signed=True))
    rows: tuple[tuple[Cell, ...], ...] = (
        ("bicubic", 9.5, None),
        ("IRN", 33.2, -0.25),
        (EVIL, float("nan"), 0.001),
        ("HCD", 104.125, 1.5),
        ("IRN 2", 33.2, float("inf")),
        ("exact", float("inf"), 0.5),
    )
    many = tuple((f"photo {i}", ("IRN", "HCD")[i % 4 == 0], 2.5 * i) for i in range(40))
    tables = (
        Table("Quality", columns, rows, "Borders left out."),
        Table("Every photo", (Column("photo"), Column("method"), Column("bytes", 0)), many),
        Table("", (Column("machine"), Column("cores", 0)), (("server", 12345678), ("phone", None))),
    )
    pictures = (Picture("Crops", gradient(40, 90)), Picture("LR", gradient(20, 20), "small", lossy_quality=60))
    figures = (Figure("One", drawing()), Figure("Two", drawing(2), "With a note."))
    return Report(
        title=f"A report {EVIL}",
        summary="First.\n\nSecond.",
        facts=(("version", "1.0"), ("scale", "4")),
        findings=(
            Finding(f"More is restored {EVIL}", True, "+0.41 dB"),
            Finding("It is fast", False, "3 s"),
            Finding("On a phone too", None, "there was none"),
        ),
        sections=(
            Section("quality", "Quality", "Text.\n\nMore text.", tables),
            Section("drawings", "Drawings", "", (), figures, pictures),
        ),
        comparisons=(
            comparison(f"first {EVIL}", 90, 120, ("original", f"IRN {EVIL}", "HCD", "coscale")),
            comparison("second", 64, 48, ("original", "HCD")),
        ),
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "folder" / "report.html"
    assert write_page(make_report(), path) == path.stat().st_size
    return path


@pytest.fixture(scope="module")
def tab(chromium: Browser, path: Path) -> Iterator[Page]:
    """The page in a window of a laptop; what it asks for and complains of is checked when all tests have passed."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce")
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert not complaints
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}


@pytest.fixture
def page(tab: Page) -> Page:
    """The page as it is when just opened."""
    tab.evaluate("localStorage.clear()")
    tab.mouse.move(0, 0)
    tab.reload()
    return tab


def column(page: Page, table: int, i: int) -> list[str]:
    return page.locator("table").nth(table).locator(f"tbody tr > :nth-child({i + 1})").all_text_contents()


def head(page: Page, table: int, i: int) -> Locator:
    return page.locator("table").nth(table).locator("thead th").nth(i)


def test_numbers_are_readable_and_text_is_escaped(page: Page) -> None:
    assert column(page, 0, 1) == ["9.50", "33.20", GONE, "104.12", "33.20", "∞"]
    assert column(page, 0, 2) == [GONE, f"{MINUS}0.25", "0.00", "+1.50", "+∞", "+0.50"]
    assert column(page, 2, 1) == ["12\u202f345\u202f678", GONE]
    assert column(page, 0, 0)[2] == EVIL
    assert page.title() == f"A report {EVIL}"
    assert page.locator("h1").text_content() == f"A report {EVIL}"
    assert page.locator(".versions button").nth(1).text_content() == f"2 IRN {EVIL}"
    assert page.locator(".mark span").all_text_contents() == ["holds", "does not hold", "not measured"]


def test_tables_sort_by_number_with_the_missing_last(page: Page) -> None:
    head(page, 0, 1).locator("button").click()
    assert column(page, 0, 1) == ["9.50", "33.20", "33.20", "104.12", "∞", GONE]
    assert column(page, 0, 0)[1:3] == ["IRN", "IRN 2"]
    assert head(page, 0, 1).get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert column(page, 0, 1) == ["∞", "104.12", "33.20", "33.20", "9.50", GONE]
    assert column(page, 0, 0)[2:4] == ["IRN", "IRN 2"]
    assert head(page, 0, 1).get_attribute("aria-sort") == "descending"
    head(page, 0, 0).locator("button").press("Enter")
    assert column(page, 0, 0) == [EVIL, "bicubic", "exact", "HCD", "IRN", "IRN 2"]
    assert head(page, 0, 1).get_attribute("aria-sort") == "none"


def test_long_tables_are_folded_and_filtered(page: Page) -> None:
    box = page.get_by_role("searchbox")
    assert page.locator("details").count() == 1
    assert not box.is_visible()
    page.locator("summary").press("Enter")
    box.fill("hcd PHOTO")
    rows = page.locator("table").nth(1).locator("tbody tr")
    assert rows.filter(visible=True).count() == 10
    assert page.get_by_text("10 of 40 rows").is_visible()
    box.fill("")
    assert rows.filter(visible=True).count() == 40


def test_paper_gets_all_rows(page: Page) -> None:
    rows = page.locator("table").nth(1).locator("tbody tr").filter(visible=True)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert rows.count() == 40
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert rows.count() == 0


def test_theme_is_toggled_and_remembered(page: Page) -> None:
    def paper() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    button = page.get_by_role("button", name="Dark theme")
    light = paper()
    assert button.get_attribute("aria-pressed") == "false"
    button.press("Enter")
    dark = paper()
    assert (light, dark) == ("rgb(252, 252, 250)", "rgb(19, 21, 24)")
    page.reload()
    until(lambda: paper() == dark)
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert paper() == light


def clip(page: Page) -> str:
    return page.locator(".version.right").evaluate("pane => getComputedStyle(pane).clipPath")


def test_border_moves_by_keyboard_and_mouse(page: Page) -> None:
    handle = page.get_by_role("slider")
    clips = [clip(page)]
    handle.press("ArrowLeft")
    clips.append(clip(page))
    assert handle.get_attribute("aria-valuenow") == "48"
    box = handle.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + 20  # above the knob
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 200, y, steps=3)
    page.mouse.up()
    clips.append(clip(page))
    handle.press("Home")
    assert handle.get_attribute("aria-valuenow") == "0"
    clips.append(clip(page))
    assert len(set(clips)) == 4, clips
    handle.press("End")
    assert clip(page).endswith("100%)")


def test_only_the_chosen_photo_has_images(page: Page) -> None:
    images = page.locator(".panes img")
    assert images.count() == 4
    assert images.evaluate_all("all => Promise.all(all.map(i => i.decode()))") is not None
    assert images.first.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [120, 90]
    page.get_by_label("Photo", exact=True).select_option(label="second")
    assert images.count() == 2
    assert page.locator("output.size").text_content() == "48 \N{MULTIPLICATION SIGN} 64 pixels"
    assert page.locator(".tag.right b").first.text_content() == "HCD"
    page.get_by_role("button", name="Next photo").click()
    assert images.count() == 4


def test_images_are_lossless(page: Page) -> None:
    """What the browser decodes is what was given, byte for byte."""
    code = """async image => {
        await image.decode();
        const canvas = Object.assign(document.createElement("canvas"), {width: 120, height: 90});
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return Array.from(context.getImageData(0, 0, 120, 90).data);
    }"""
    data = page.locator(".panes img").nth(2).evaluate(code)
    np.testing.assert_array_equal(np.reshape(data, (90, 120, 4))[..., :3], gradient(90, 120, 18))


def test_versions_are_chosen(page: Page) -> None:
    def labels() -> list[str]:
        return page.locator(".stage > .tag b").filter(visible=True).all_text_contents()

    assert labels() == ["original", "coscale"]
    page.locator(".viewer .stage").focus()
    page.keyboard.press("3")
    assert labels() == ["original", "HCD"]
    assert page.locator(".versions [aria-pressed=true]").text_content() == "3 HCD"
    page.keyboard.press("9")
    page.keyboard.press("x")
    assert labels() == ["HCD", "original"]
    page.locator("select.left").select_option(label="coscale")
    page.get_by_role("button", name="2 IRN").click()
    assert labels() == ["coscale", f"IRN {EVIL}"]
    page.locator("h1").click()
    page.keyboard.press("3")  # without the focus, and without the mouse above it, the viewer takes no key
    assert labels() == ["coscale", f"IRN {EVIL}"]


def placed(page: Page) -> list[dict[str, float]]:
    """Where each image lies in its pane, and how large it is."""
    return page.locator(".viewer .panes img").evaluate_all(
        """images => images.map(image => {
            const [box, pane] = [image, image.parentElement].map(e => e.getBoundingClientRect());
            return {x: Math.round(4 * (box.x - pane.x)) / 4, y: Math.round(4 * (box.y - pane.y)) / 4, width: box.width};
        })"""
    )


def test_all_versions_side_by_side_stay_in_step(page: Page) -> None:
    stage = page.locator(".viewer .stage")
    page.get_by_role("button", name="Side by side").click()
    seen = [placed(page)]
    stage.focus()
    box = page.locator(".pane").nth(3).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, -900)
    expect(stage).to_have_attribute("data-whole", "false")
    seen.append(placed(page))
    page.mouse.down()
    page.mouse.move(box["x"] + 10, box["y"] + 20, steps=2)
    page.mouse.up()
    seen.append(placed(page))
    page.keyboard.press("ArrowRight")
    seen.append(placed(page))
    page.keyboard.press("+")
    seen.append(placed(page))
    for images in seen:
        assert len(images) == 4
        assert all(image == images[0] for image in images)
    assert all(a != b for a, b in pairwise(seen))
    page.locator(".viewer").get_by_role("button", name="8\N{MULTIPLICATION SIGN}").click()
    assert placed(page)[0]["width"] == 8 * 120
    assert page.locator(".pane img").first.evaluate("i => getComputedStyle(i).imageRendering") == "pixelated"
    page.keyboard.press("0")
    assert placed(page) == seen[0]


def test_the_wheel_zooms_where_it_is_and_only_after_a_click(page: Page) -> None:
    stage = page.locator(".viewer .stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    readout = page.locator(".viewer .zoom-now")
    x, y = box["x"] + 300, box["y"] + 200
    page.mouse.move(x, y)
    before = readout.text_content()
    page.mouse.wheel(0, -200)
    page.wait_for_selector(".hint:visible")
    assert readout.text_content() == before
    page.get_by_role("button", name="Zoom in").first.click()
    stage.focus()
    box = stage.bounding_box()
    assert box is not None

    def point() -> list[float]:
        image = placed(page)[0]
        return [(x - box["x"] - image["x"]) / image["width"], (y - box["y"] - image["y"]) / image["width"]]

    page.locator(".viewer").get_by_role("button", name="8\N{MULTIPLICATION SIGN}").click()
    stage.focus()
    page.mouse.move(x, y)
    there, text = point(), readout.text_content()
    page.mouse.wheel(0, -250)
    expect(readout).not_to_have_text(text or "")
    assert point() == pytest.approx(there, abs=2e-3)


def test_the_difference_of_equal_versions_is_black(page: Page) -> None:
    def brightest() -> int:
        shot = Image.open(BytesIO(page.locator(".viewer .stage").screenshot()))
        middle = np.asarray(shot.convert("RGB"))[200:400, 300:500]
        return int(middle.max())

    page.get_by_role("button", name="Difference").click()
    assert brightest() > 60  # 8 times the 27 that the two differ by in red
    page.get_by_role("button", name="1 original").click()
    assert brightest() == 0


def test_pictures_open(page: Page) -> None:
    page.locator("button.open").first.click()
    dialog = page.get_by_role("dialog", name="Crops")
    assert dialog.is_visible()
    dialog.get_by_role("button", name="2\N{MULTIPLICATION SIGN}").click()
    assert dialog.locator("img").evaluate("i => i.getBoundingClientRect().width") == 180
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, scheme: str) -> None:
    if scheme == "dark":
        page.get_by_role("button", name="Dark theme").click()
    page.locator("summary").click()
    found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert not found, [(v["id"], [node["html"] for node in v["nodes"]]) for v in found]
    page.locator("button.open").first.click()
    found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    assert not found, [(v["id"], [node["html"] for node in v["nodes"]]) for v in found]


def test_a_phone_shows_all_without_scrolling_sideways(page: Page) -> None:
    try:
        page.set_viewport_size({"width": 390, "height": 844})
        page.locator("summary").click()
        for mode in ("Split", "Side by side", "Difference"):
            page.get_by_role("button", name=mode).click()
            assert page.evaluate("document.documentElement.scrollWidth") == 390
        found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
        assert not found, [v["id"] for v in found]
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})


def test_ids_are_unique_on_the_page(page: Page) -> None:
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate("getComputedStyle(document.querySelector('.drawing text')).fontFamily").startswith("system-ui")


def test_figures_follow_the_page_and_stay_what_they_are() -> None:
    svg = drawing()
    assert svg == drawing()
    assert svg.startswith("<svg")
    assert all(word in svg for word in ("<title>Gain &lt;over&gt; steps</title>", "currentColor", "var(--paper)"))
    assert not any(word in svg for word in ("#000000", "#ffffff", "<style", "<metadata", "font-family", "DejaVu"))
    assert ">IRN</text>" in svg


def linear(*colours: str) -> np.ndarray:
    levels = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours])
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("paper", [LIGHT, DARK])
def test_palette_has_contrast_on_light_and_dark(paper: str) -> None:
    luminance = linear(paper, *PALETTE) @ [0.2126, 0.7152, 0.0722] + 0.05
    ratios = luminance[1:] / luminance[0]
    assert np.maximum(ratios, 1 / ratios).min() >= 3


# What remains of linear RGB without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("vision", VISION)
def test_palette_is_told_apart_by_the_colour_blind(vision: str) -> None:
    seen = np.clip(linear(*PALETTE) @ np.asarray(VISION[vision]).T, 0, 1)
    srgb = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(srgb)
    apart = deltaE_ciede2000(lab[:, None], lab[None])
    assert apart[~np.eye(len(lab), dtype=bool)].min() > 12


def test_a_report_without_anything_is_a_page(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    write_page(Report("Empty", "", (), (), (), ()), path)
    page = chromium.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    assert page.locator("h1").text_content() == "Empty"
    assert not errors
    page.close()


def test_what_cannot_be_shown_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="not of one size"):
        Comparison("x", (Version("a", "", gradient(4, 4)), Version("b", "", gradient(4, 5))))
    for name in ("photos", "two words", "1"):
        with pytest.raises(ValueError, match=name):
            replace(make_report(), sections=(Section(name, "", ""),))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(OutputError, match=r"coscale\[report\]"):
        write_page(make_report(), tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
