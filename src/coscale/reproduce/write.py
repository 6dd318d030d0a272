"""A study on disk: tables as Markdown and CSV, figures as PNG and PDF, and the page that holds them all."""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coscale import __version__
from coscale.collaborate import PLAIN
from coscale.errors import OutputError
from coscale.files import replacing
from coscale.measurement import Measurement
from coscale.report.page import (
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
from coscale.report.svg import style, svg_of
from coscale.reproduce import paper, rates
from coscale.reproduce.findings import findings
from coscale.reproduce.pictures import Drawing, all_of, pixels, psnr_of
from coscale.reproduce.plan import BOTH, LABELS, OURS, TARGETS, Series, StudyPlan, Target
from coscale.reproduce.study import Study
from coscale.reproduce.tables import as_csv, as_markdown, images, table_1, table_2, table_3

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

PAGE = "index.html"
_VIEWER_PIXELS = 400_000  # of the photos that can be compared, so that the page stays below 5 MB
_DPI = 160
_SAID = {True: "holds", False: "does not hold", None: "was not measured"}

TEXTS = {
    "table1": (
        "Systems at x4",
        "Every system of the paper's table 1, without a method, with HCD at the paper's settings, and with coscale's "
        "own method. PSNR and SSIM are of Y and of 8-bit files, read back and restored; a border of 4 pixels is left "
        "out.",
    ),
    "ablations": (
        "Domains, steps, and the ball",
        "The paper has these of IRN x2 on Set5; gains are to be compared rather than levels, as the weights differ.",
    ),
    "crops": ("Photos, parts of them, and their LR images", ""),
    "rates": ("Beside image codecs", rates.WHEN),
    "all": ("All measurements", "One row a photo, rescaler and method; the same rows are in rows.jsonl."),
}


def check_extra() -> None:
    """Raise OutputError where what draws figures and pages is not installed."""
    missing = next((name for name in ("matplotlib", "jinja2") if find_spec(name) is None), None)
    if missing:
        raise OutputError(f"figures and pages need {missing}: pip install 'coscale[report]'")


def write_all(
    study: Study,
    plan: StudyPlan,
    asked: Iterable[Target],
    rows: Iterable[Measurement],
    beside: rates.Rates | None,
    out: Path,
) -> list[Path]:
    """Write the targets that were asked for, and those that are measured all the same; the paths that were written.

    ``beside``: what the study of rates says, if it was asked for.
    """
    measured = (target for target in TARGETS if (runs := plan.runs(target)) and study.is_measured(runs))
    targets = {*asked, *measured}
    written: list[Path] = []
    makers: dict[str, Callable[[Study, StudyPlan], Table]] = {"table1": table_1, "table2": table_2, "table3": table_3}
    tables = {name: make(study, plan) for name, make in makers.items() if name in targets}
    with style():
        drawings = {drawing.name: drawing for drawing in all_of(study, plan, targets)}
        if beside:
            tables |= beside.tables
            drawings["rates"] = beside.drawing
        for drawing in drawings.values():
            written += _save(drawing, out)
        claims = findings(study, plan)
        said = (Column("the paper finds"), Column("here it"), Column("measured"))
        tables["findings"] = Table("Findings", said, tuple((c.claim, _SAID[c.holds], c.measured) for c in claims))
        for name, table in tables.items():
            written += [_write(out / f"{name}.md", as_markdown(table)), _write(out / f"{name}.csv", as_csv(table))]
        report = _report(study, plan, tables, drawings, claims, list(rows))
    write_page(report, out / PAGE)
    return [*written, out / PAGE]


def _report(
    study: Study,
    plan: StudyPlan,
    tables: dict[str, Table],
    drawings: dict[str, Drawing],
    claims: tuple[Finding, ...],
    rows: list[Measurement],
) -> Report:
    def section(key: str, names: Iterable[str]) -> Section | None:
        chosen = [tables[name] for name in names if name in tables]
        shown = [drawings[name] for name in names if name in drawings]
        if not chosen and not shown:
            return None
        figures = tuple(Figure(d.title, svg_of(d.figure, d.title), d.note) for d in shown if d.drawn)
        pictures = tuple(Picture(d.title, _raster(d.figure), d.note, lossy_quality=86) for d in shown if not d.drawn)
        return Section(key, *TEXTS[key], tables=tuple(chosen), figures=figures, pictures=pictures)

    parts = [
        section("table1", ("table1", "gains", "courses")),
        section("ablations", ("table2", "table3", "fig6", "fig7")),
        section("crops", ("fig1", "fig2", "fig5", "fig8")),
        section("rates", ("rates", "rates-photos")),
        Section("all", *TEXTS["all"], tables=(images(rows),)) if rows else None,
    ]
    device = ", ".join(sorted({row.device for row in rows}))
    torch = ", ".join(sorted({row.torch for row in rows}))
    facts = (
        ("paper", paper.TITLE),
        ("coscale", __version__),
        ("PyTorch", torch),
        ("measured on", device),
        ("sets", ", ".join(f"{name} ({len(paths)})" for name, paths in plan.sets.items())),
        ("measurements", str(len(rows))),
    )
    summary = (
        "What the paper reports, measured again on this machine with these weights, beside the paper's own numbers."
        + (" A quick run: two small images a set and fewer points." if plan.settings.quick else "")
    )
    comparisons = tuple(_comparisons(study, plan)) if "table1" in tables else ()
    return Report("HCD, measured again", summary, facts, claims, tuple(part for part in parts if part), comparisons)


def _comparisons(study: Study, plan: StudyPlan) -> Iterable[Comparison]:
    """Photos of the first set, the small ones first, as the original and as each system restores them."""
    room = _VIEWER_PIXELS
    bicubic = next((name for name in plan.settings.x4 if name.startswith("bicubic-")), None)
    names = [name for name in dict.fromkeys((bicubic, plan.settings.main)) if name]
    images = plan.sets[plan.shown]
    runs = [Series(plan.shown, images, name, PLAIN) for name in names]
    runs += [Series(plan.shown, images, plan.settings.main, method) for method in (BOTH, OURS)]
    measured = [path for path in images if study.rows(Series(plan.shown, (path,), plan.settings.main, PLAIN))]
    originals = {path: pixels(study.original(runs[0], path)) for path in measured}
    for path, original in sorted(originals.items(), key=lambda item: item[1].size):
        room -= original.shape[0] * original.shape[1]
        if room < 0:
            return
        versions = [Version("original", "", original)]
        for run in runs:
            row = study.rows(Series(run.of, (path,), run.rescaler, run.method))
            if row:
                label = run.rescaler + LABELS[run.method]
                versions.append(Version(label, f"PSNR-Y {psnr_of(row[0])}", pixels(study.restored(run, path))))
        yield Comparison(f"{plan.shown}, {path.stem}", tuple(versions))


def _raster(figure: "Drawn") -> np.ndarray:
    """As 8-bit RGB on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_facecolor("white")
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _save(drawing: Drawing, out: Path) -> list[Path]:
    paths = [out / f"{drawing.name}.{kind}" for kind in ("png", "pdf")]
    for path in paths:
        with replacing(path) as temporary:
            # The date would make every file differ from the last one.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
            drawing.figure.savefig(
                temporary,
                format=path.suffix[1:],
                dpi=_DPI,
                facecolor="white",
                metadata=metadata,  # type: ignore[arg-type]
            )
    return paths


def _write(path: Path, text: str) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text)
    return path
