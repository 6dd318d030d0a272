"""The paper again: sets found by content, plans, figures, codecs, and the command from rows to page."""

import json
import math
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch.nn.functional as F
from PIL import Image

from coscale.collaborate import HCD, Method
from coscale.errors import DataError, SettingsError
from coscale.evaluate import identity
from coscale.image import Photo, write
from coscale.measurement import Measurement
from coscale.reproduce import findings, paper
from coscale.reproduce.benchmarks import find_benchmarks
from coscale.reproduce.plan import BOTH, HR_ONLY, LR_ONLY, QUICK, TARGETS, StudyPlan, StudySettings, plan
from coscale.reproduce.plots import Window, amplified, factor_for, most_lost, on_contours
from coscale.reproduce.tables import as_csv, as_markdown
from tests.command import coscale
from tests.extras import needs

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def blank(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)


SET5 = {"baby": (512, 512), "bird": (288, 288), "butterfly": (256, 256), "head": (280, 280), "woman": (228, 344)}


def test_sets_are_found_by_content(tmp_path: Path) -> None:
    for name, (width, height) in SET5.items():
        blank(tmp_path / "a" / "five" / f"{name}_HR.png", width - width % 12, height - height % 12)
        blank(tmp_path / "a" / "five" / f"{name}_LR.png", width // 4, height // 4)
        blank(tmp_path / "a" / "five" / "bicubic" / f"{name}.png", width // 3 + 1, height // 3)
    for i in range(100):
        blank(tmp_path / "b" / f"{i}.bmp", *((481, 321) if i % 2 else (321, 481)))
    blank(tmp_path / "DIV2K_valid" / "x" / "0801.png", 2040, 1200)
    found = find_benchmarks(tmp_path)
    assert {name: len(paths) for name, paths in found.sets.items()} == {"Set5": 5, "BSD100": 100, "DIV2K-valid-1": 1}
    assert all(path.stem.endswith("HR") for path in found.sets["Set5"])
    assert len(found.notes) == 1
    assert "bicubic" in found.notes[0]


def test_a_part_of_a_set_has_its_own_name(tmp_path: Path) -> None:
    blank(tmp_path / "set-5" / "GTmod12" / "x.png", 252, 252)
    blank(tmp_path / "other" / "x.png", 252, 252)
    found = find_benchmarks(tmp_path)
    assert list(found.sets) == ["Set5-1"]
    assert "other" in found.notes[0]


def test_lr_images_are_no_set(tmp_path: Path) -> None:
    blank(tmp_path / "DIV2K_valid_LR_bicubic" / "X2" / "0801x2.png", 1020, 678)
    blank(tmp_path / "urban100-and-friends" / "holiday" / "me.png", 640, 480)
    with pytest.raises(DataError, match="no benchmark set"):
        find_benchmarks(tmp_path)


def test_the_larger_of_two_copies_is_taken(tmp_path: Path) -> None:
    for name, (width, height) in SET5.items():
        blank(tmp_path / "small" / f"{name}.png", width - width % 12, height - height % 12)
        blank(tmp_path / "whole" / f"{name}.png", width, height)
    found = find_benchmarks(tmp_path)
    assert found.sets["Set5"][0].parent.name == "whole"
    assert "small" in found.notes[0]


def test_no_set_says_what_is_expected(tmp_path: Path) -> None:
    blank(tmp_path / "a.png", 20, 20)
    with pytest.raises(DataError, match="DIR/Set5"):
        find_benchmarks(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        find_benchmarks(tmp_path / "a.png")


@pytest.fixture
def data(tmp_path: Path, butterfly: Photo) -> Path:
    """One image of Set5, the butterfly, and a grey one of the size of one of Set14."""
    write(tmp_path / "data" / "Set5" / "butterfly.png", butterfly)
    write(tmp_path / "data" / "Set14" / "grey.png", Photo(F.pad(butterfly.colour[:, :1], (10,) * 4, mode="reflect")))
    return tmp_path / "data"


def test_plans(tmp_path: Path) -> None:
    for name, (width, height) in SET5.items():
        blank(tmp_path / "Set5" / f"{name}.png", width, height)
    blank(tmp_path / "DIV2K" / "0801.png", 2040, 1200)
    found = find_benchmarks(tmp_path).sets
    whole = plan(StudySettings(), found)
    assert len(whole.runs("table1")) == len(StudySettings().x4) * 2 * 3
    assert {run.of for run in whole.runs("table2")} == {"Set5"}
    assert [run.method for run in whole.runs("table3")][1:] == [HCD(hr_steps=n, lr_steps=n) for n in whole.steps]
    wide = whole.per_pixel()
    assert wide is not None
    usual = sum(width * height for width, height in SET5.values()) / 5
    assert wide.eps == pytest.approx(0.3 * math.sqrt(2040 * 1200 / usual), rel=0.01)
    quick = plan(QUICK, found)
    assert {path.stem for path in quick.sets["Set5-2"]} == {"butterfly", "head"}
    assert list(quick.sets) == ["Set5-2"]
    assert list(plan(replace(QUICK, sets=("Set5",)), found).chosen) == ["Set5-2"]
    with pytest.raises(SettingsError, match=r"DIV2K-valid-1 has no image"):
        plan(replace(QUICK, sets=("DIV2K-valid-1",)), found)
    with pytest.raises(SettingsError, match="light-x2 is none of"):
        StudySettings(main="light-x2")
    assert {run.of for run in plan(StudySettings(sets=("Set5",)), found).runs("table1")} == {"Set5"}
    with pytest.raises(SettingsError, match="there are Set5"):
        plan(StudySettings(sets=("Set9",)), found)


def test_systems_of_the_paper() -> None:
    assert paper.system_of("irn-x4-4b") == paper.IRN
    assert paper.system_of("bicubic+my_SwinIR_x4") == "Bicubic & SwinIR"
    assert paper.system_of("bicubic+CRAFT_x4") is None
    assert paper.system_of("bicubic+EDSR_bicubic_x4") == "Bicubic & EDSR"
    assert paper.system_of("bicubic+SwinIR-M_x4_GAN") is None
    assert paper.system_of("light-x4") is None
    assert paper.TABLE_1["Bicubic & SRCNN"].keys() == set(paper.SETS) - {"DIV2K"}


def test_the_window_is_where_most_is_lost() -> None:
    original = np.zeros((40, 50, 3), np.uint8)
    restored = original.copy()
    restored[20:28, 31:39] = 9
    restored[2, 3] = 20
    assert most_lost(original, restored, 8) == Window(20, 31, 8)


def test_changes_are_amplified_around_grey() -> None:
    before = np.full((8, 8, 3), 100, np.uint8)
    after = before.copy()
    after[0], after[1] = 105, 95
    factor = factor_for(after, before)
    assert factor == 22
    image = amplified(after, before, factor)
    assert {*image[0].ravel()} == {128 + 110}
    assert {*image[1].ravel()} == {128 - 110}
    assert {*image[2:].ravel()} == {128}


def test_where_a_change_lies() -> None:
    before = np.zeros((40, 40, 3), np.uint8)
    before[:, 18:22] = 200  # two contours, of a fifth of the columns with what they border on
    edge, flat = before.copy(), before.copy()
    edge[:, 17:19] += 5
    flat[:, :4] += 5
    assert on_contours(before, edge) == 1
    assert on_contours(before, flat) < 0.25


def test_signs_are_told_apart() -> None:
    whole = StudyPlan(StudySettings(), {})

    def gained(values: Mapping[Any, float]) -> Callable[[Method], float | None]:
        return values.get

    grows = {HCD(hr_steps=n, lr_steps=n): gain for n, gain in ((1, 0.1), (5, 0.4), (10, 0.5), (15, 0.55), (20, 0.55))}
    assert findings._steps(gained(grows), whole, "x").holds
    assert findings._steps(gained(grows | {HCD(hr_steps=20, lr_steps=20): 0.7}), whole, "x").holds is False
    assert findings._steps(gained(grows | {HCD(hr_steps=10, lr_steps=10): 0.3}), whole, "x").holds is False
    assert findings._steps(gained({}), whole, "x").holds is None
    radii = dict(zip((HCD(eps=eps) for eps in whole.radii), (0.1, 0.2, 0.5, 0.4, 0.1), strict=True))
    assert findings._eps(gained(radii), whole, "x").holds
    assert findings._eps(gained(radii | {HCD(eps=1.2): 0.9}), whole, "x").holds is False
    alphas = dict(zip((HCD(alpha=alpha) for alpha in whole.alphas), (0.1, 0.5, 0.52, 0.5, 0.4), strict=True))
    assert findings._alpha(gained(alphas), whole, "x").holds
    assert findings._alpha(gained(alphas | {HCD(alpha=0.2): 0.9}), whole, "x").holds is False
    assert findings._alpha(gained(alphas | {HCD(alpha=0.04): 0.1}), whole, "x").holds is False
    domains = {LR_ONLY: 0.4, HR_ONLY: 0.2, BOTH: 0.5}
    assert findings._domains(gained(domains), "x").holds
    assert findings._domains(gained(domains | {BOTH: 0.3}), "x").holds is False
    assert findings._domains(gained(domains | {HR_ONLY: -0.1}), "x").holds is False


def reproduce(data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    small = ("--x2", "bicubic-x2", "--x4", "bicubic-x4", "--main", "bicubic-x4", "--quick")
    return coscale("reproduce", *more, "--data", data, "-o", out, *small)


@needs("report", "rates")
def test_the_command_from_photos_to_page(data: Path, tmp_path: Path, chromium: "Browser") -> None:
    out = tmp_path / "out"
    first = reproduce(data, out, "all")
    assert first.returncode == 0, first.stderr
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert {row["set"] for row in rows} == {"Set5-1", "Set14-1"}
    assert all(row["lr_ssim_bicubic"] > 0.9 for row in rows)
    ours = next(row for row in rows if row["method"] == "coscale" and row["set"] == "Set5-1")
    assert ours["encode_peak_bytes"] is None or ours["encode_peak_bytes"] > 1e8
    assert len(ours["course"]["lr"]["loss"]) == ours["passes"]
    for name in (*(t for t in TARGETS if t.startswith("fig")), "gains", "courses", "rates"):
        with Image.open(out / f"{name}.png") as image:
            assert image.width > 300
    files = [json.loads(line) for line in (out / "rates.jsonl").read_text().splitlines()]
    assert {(row["set"], row["image"], row["width"]) for row in files} == {("Set5-1", "butterfly.png", 160)}
    assert "| Set5-1 | LR webp + coscale | WebP | 1 |" in (out / "rates.md").read_text()
    table = (out / "table1.md").read_text()
    assert "| Bicubic & SwinIR | no weights here | Set5 |" in table
    assert "| Bicubic & Bicubic | bicubic-x4 | Set5-1 | 1 |" in table
    assert (out / "findings.md").read_text().count("\n") == 2 + 10
    assert (out / "index.html").stat().st_size < 5e6

    # A run that was interrupted goes on, and measures only what is missing.
    kept = [json.dumps(row) for row in rows]
    (out / "rows.jsonl").write_text("\n".join(kept[2:]) + "\n" + kept[1][:50])
    assert reproduce(data, out, "table1").returncode == 0
    again = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert again[: len(rows) - 2] == rows[2:]
    scores = [{identity(m): m.scores for m in map(Measurement.from_json, found)} for found in (again, rows)]
    assert scores[0] == scores[1]
    assert "Figure 6" in (out / "index.html").read_text()

    page = chromium.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((out / "index.html").as_uri())
    assert page.inner_text("h1") == "HCD, measured again"
    assert page.locator("table").count() >= 3
    assert not said
    page.close()


@needs("report")
def test_what_is_damaged_or_changed(data: Path, tmp_path: Path, butterfly: Photo) -> None:
    """A truncated photo stops nothing else, a flat one has infinite PSNR, one that was replaced is measured again."""
    out, photo = tmp_path / "out", data / "Set5" / "butterfly.png"
    write(photo, Photo(butterfly.colour * 0 + 0.5))
    whole = (data / "Set14" / "grey.png").read_bytes()
    (data / "Set14" / "grey.png").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):  # the second time with rows that were read back
        done = reproduce(data, out, "table1", "fig1")
        assert done.returncode == 1
        assert done.stderr.count("grey.png") == 1
        assert "| inf |" in (out / "table1.md").read_text()
        assert (out / "index.html").exists()
    write(photo, butterfly)
    assert reproduce(data, out, "table1").returncode == 1
    assert "| inf |" not in (out / "table1.md").read_text()


def test_bad_input_is_one_line(data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / "Set5")
    (data / "Set14" / "broken.png").write_bytes(b"no image")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    cases = (
        ("table1", "--set", "Set5"),
        ("table1", "--weights", "irn-x4"),
        ("table1", "--x4", "bicubic-x2"),
        ("table1", "--rows", str(tmp_path / "rows.jsonl")),
    )
    for case in cases:
        done = reproduce(data, tmp_path / "out", *case)
        assert done.returncode in (1, 2)
        *notes, problem = done.stderr.splitlines()
        assert all("broken.png is no image" in note for note in notes)
        assert problem.startswith("coscale: ")


def test_tables_as_text() -> None:
    from coscale.report.page import Column, Table

    table = Table("t", (Column("a"), Column("b", 2, signed=True)), (("x", 1.234), ("y", None)))
    assert as_markdown(table) == "| a | b |\n| --- | ---: |\n| x | +1.23 |\n| y |  |\n"
    assert as_csv(table) == "a,b\nx,1.234\ny,\n"
