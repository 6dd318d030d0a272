"""The paper's tables with what was measured beside its numbers, and the table of all images."""

import csv
import math
from collections.abc import Iterable, Sequence
from io import StringIO
from statistics import fmean

from coscale.collaborate import HCD, PLAIN, Method
from coscale.measurement import Measurement
from coscale.report.page import Cell, Column, Table
from coscale.report.tables import markdown_table
from coscale.reproduce import paper
from coscale.reproduce.plan import BOTH, HR_ONLY, LR_ONLY, OURS, Series, StudyPlan
from coscale.reproduce.study import Study

_PSNR, _SSIM, _GAIN, _SECONDS = 2, 4, 2, 2


HOW = "HCD keeps the best file that it saw, where the authors keep the last."


def mean(values: Iterable[float | None]) -> float | None:
    """Give the mean over images, None without any; a PSNR of equal images is infinite, and so is the mean."""
    values = list(values)
    found = [value for value in values if value is not None]
    return fmean(found) if found and len(found) == len(values) else None


def mean_psnr(rows: Iterable[Measurement]) -> float | None:
    """Give the mean PSNR-Y in dB."""
    return mean(row.scores.psnr_y for row in rows)


def mean_ssim(rows: Iterable[Measurement]) -> float | None:
    """Give the mean SSIM of Y."""
    return mean(row.scores.ssim_y for row in rows)


def gain(rows: Iterable[Measurement]) -> float | None:
    """Give the mean gain of PSNR-Y by a method over none; images that were perfect with or without are left out."""
    found = [row.gain for row in rows if math.isfinite(row.gain)]
    return fmean(found) if found else None


def less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def whole(study: Study, run: Series) -> list[Measurement]:
    """Give the rows of a run, if none is missing."""
    rows = study.rows(run)
    return rows if len(rows) == len(run.images) else []


def table_1(study: Study, plan: StudyPlan) -> Table:
    """Give every system on every set; those without weights here with the paper's figures alone."""
    columns = (
        Column("system"),
        Column("measured", about="the rescaler that stands for the system here"),
        Column("set"),
        Column("images", 0),
        Column("paper", _PSNR, about="PSNR-Y in dB"),
        Column("here", _PSNR, about="PSNR-Y in dB, without a method"),
        Column("difference", _GAIN, signed=True),
        Column("SSIM, paper", _SSIM),
        Column("SSIM", _SSIM),
        Column("HCD, paper", _GAIN, signed=True, about="gain of PSNR-Y in dB"),
        Column("HCD", _GAIN, signed=True, about="gain of PSNR-Y in dB"),
        Column("coscale", _GAIN, signed=True, about="gain of PSNR-Y in dB"),
        Column("SSIM, HCD", _SSIM),
        Column("SSIM, coscale", _SSIM),
        Column("LR, coscale", 1, about="PSNR of the LR against g's, in dB"),
    )
    rows: list[tuple[Cell, ...]] = []
    by_system = {name: paper.system_of(name) for name in plan.settings.x4}
    chosen = tuple(plan.chosen)
    for system, published in paper.TABLE_1.items():
        names = [name for name, of in by_system.items() if of == system]
        for of in chosen:
            for name in names:
                rows.append(_system(study, plan, system, name, of, published.get(of)))
        if not names:
            for of, score in published.items():
                if of not in {name.split("-")[0] for name in chosen}:
                    continue
                with_hcd = paper.TABLE_1_HCD.get(system, {}).get(of)
                hcd = with_hcd.psnr - score.psnr if with_hcd else None
                rows.append(
                    (system, "no weights here", of, None, score.psnr, None, None, score.ssim, None, hcd, *[None] * 5)
                )
    rows += [
        _system(study, plan, "not in the paper", name, of, None)
        for name, system in by_system.items()
        if system is None
        for of in chosen
    ]
    note = (
        "At x4. Differences to the paper are those of weights and sizes: what is trained here is small, and trained "
        "for minutes. A set with a number after its name is a part of the paper's, which has no figure for it. "
        f"{HOW}"
    )
    return Table("Table 1: systems", columns, tuple(rows), note)


def _system(
    study: Study, plan: StudyPlan, system: str, name: str, of: str, published: paper.Score | None
) -> tuple[Cell, ...]:
    images = plan.sets[of]
    none, hcd, ours = (whole(study, Series(of, images, name, method)) for method in (PLAIN, BOTH, OURS))
    here = mean_psnr(none)
    with_hcd = paper.TABLE_1_HCD.get(system, {}).get(of)
    theirs = published.psnr if published else None
    return (
        system,
        name,
        of,
        len(images),
        theirs,
        here,
        less(here, theirs),
        published.ssim if published else None,
        mean_ssim(none),
        less(with_hcd.psnr if with_hcd else None, theirs),
        gain(hcd),
        gain(ours),
        mean_ssim(hcd),
        mean_ssim(ours),
        mean(row.lr.psnr_g for row in ours),
    )


def _ablation(study: Study, plan: StudyPlan, cases: Sequence[tuple[str, Method, paper.Score]]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for label, method, score in cases:
        found = whole(study, Series(plan.first, plan.sets[plan.first], plan.settings.x2, method))
        here = mean_psnr(found)
        gained = gain(found) if method.changes else None
        gained_there = score.psnr - paper.IRN_X2.psnr if method.changes else None
        rows.append([label, score.psnr, here, gained_there, gained, score.ssim, mean_ssim(found)])
    return rows


_ABLATION = (
    Column("paper", _PSNR, about="PSNR-Y in dB, IRN x2 as published"),
    Column("here", _PSNR, about="PSNR-Y in dB"),
    Column("gain, paper", _GAIN, signed=True),
    Column("gain", _GAIN, signed=True),
    Column("SSIM, paper", _SSIM),
    Column("SSIM", _SSIM),
)


def table_2(study: Study, plan: StudyPlan) -> Table:
    """HCD in either domain alone and in both."""
    names = {(15, 0): LR_ONLY, (0, 15): HR_ONLY, (15, 15): BOTH}
    cases: list[tuple[str, Method, paper.Score]] = [("none", PLAIN, paper.IRN_X2)]
    cases += [(f"N_x = {nx}, N_y = {ny}", names[nx, ny], score) for (nx, ny), score in paper.TABLE_2.items()]
    rows = tuple(tuple(row) for row in _ablation(study, plan, cases))
    return Table("Table 2: domains", (Column("steps"), *_ABLATION), rows, _of(plan))


def table_3(study: Study, plan: StudyPlan) -> Table:
    """HCD by its number of steps, with the seconds an image takes."""
    cases: list[tuple[str, Method, paper.Score]] = [("0", PLAIN, paper.IRN_X2)]
    cases += [(str(n), HCD(hr_steps=n, lr_steps=n), paper.TABLE_3[n].score) for n in plan.steps]
    columns = (
        Column("N", 0),
        *_ABLATION,
        Column("downscaling, paper", _SECONDS, about="seconds an image"),
        Column("downscaling", _SECONDS, about="seconds an image"),
        Column("upscaling, paper", _SECONDS, about="seconds an image"),
        Column("upscaling", _SECONDS, about="seconds an image"),
    )
    rows = []
    for (label, method, _), row in zip(cases, _ablation(study, plan, cases), strict=True):
        found = whole(study, Series(plan.first, plan.sets[plan.first], plan.settings.x2, method))
        timed = paper.TABLE_3.get(int(label))
        seconds = (timed.downscaling, timed.upscaling) if timed else (None, None)
        here = mean(row.encode_seconds for row in found), mean(row.decode_seconds for row in found)
        rows.append((int(label), *row[1:], seconds[0], here[0], seconds[1], here[1]))
    return Table("Table 3: steps", columns, tuple(rows), _of(plan))


def _of(plan: StudyPlan) -> str:
    return f"{plan.settings.x2} on {plan.first} ({len(plan.sets[plan.first])} images); the paper: IRN x2 on Set5. {HOW}"


def images(rows: Iterable[Measurement]) -> Table:
    """Give every measurement."""
    columns = (
        *(Column(title) for title in ("set", "image", "size", "rescaler", "method")),
        Column("PSNR-Y", _PSNR),
        Column("gain", _GAIN, signed=True, about="of PSNR-Y over no method, in dB"),
        Column("SSIM-Y", _SSIM),
        Column("PSNR-RGB", _PSNR),
        Column("LR to bicubic", 1, about="PSNR in dB"),
        Column("LR to g's", 1, about="PSNR in dB"),
        Column("LR, kB", 1),
        Column("encode, s", _SECONDS),
        Column("decode, s", _SECONDS),
        Column("encode, MiB", 0, about="peak of the process's memory"),
    )
    table = [
        (
            row.set,
            row.image,
            f"{row.width} x {row.height}",
            row.rescaler,
            method_label(row),
            row.scores.psnr_y,
            gain([row]),
            row.scores.ssim_y,
            row.scores.psnr_rgb,
            row.lr.psnr_bicubic,
            row.lr.psnr_g,
            row.lr_bytes / 1e3,
            row.encode_seconds,
            row.decode_seconds,
            row.encode_peak_bytes / 2**20 if row.encode_peak_bytes else None,
        )
        for row in rows
    ]
    return Table("All measurements", columns, tuple(table))


def method_label(row: Measurement) -> str:
    """Give a method with what differs from its defaults."""
    if row.method == "none":
        return "none"
    usual = {"hcd": BOTH, "coscale": OURS}[row.method]
    changed = [
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in row.arguments.items()
        if key != "precision" and getattr(usual, key) != value
    ]
    return ", ".join([row.method, *changed])


def _text(cell: Cell, column: Column) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if column.digits is None or isinstance(cell, str):
        return str(cell)
    return f"{cell:{'+' if column.signed else ''}.{column.digits}f}"


def as_markdown(table: Table) -> str:
    cells = [[_text(cell, column) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows]
    return f"{markdown_table([column.title for column in table.columns], cells)}\n"


def as_csv(table: Table) -> str:
    """Give all digits, a header, and nothing for what is missing."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.title for column in table.columns)
    writer.writerows(table.rows)
    return stream.getvalue()
