"""Rescaling beside image codecs: PSNR in at most the bytes that the LR file takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from coscale.measurement import Measurement
from coscale.metrics import compare
from coscale.report.page import Cell, Column, Table
from coscale.reproduce.codecs import Codec, Ladder, Pixels, codecs_here, missing
from coscale.reproduce.pictures import Drawing, pixels
from coscale.reproduce.plan import LABELS, StudyPlan
from coscale.reproduce.plots import trade_off
from coscale.reproduce.study import Study
from coscale.reproduce.tables import mean_psnr, whole

WHEN = (
    "Rescaling is the right tool where the small image is itself wanted, by anything that shows PNG, and the large one "
    "only sometimes: one file, two sizes, no decoder of its own needed for the small one. Where only the large photo "
    "is wanted, in few bytes, use a codec."
)
_QUALITIES = (5, 10, 20, 30, 45, 60, 75, 85, 92, 97, 99)


@dataclass(frozen=True)
class Rates:
    """The table at equal bytes and the curves, as (bits a pixel, PSNR-Y in dB), means over a set."""

    table: Table
    drawing: Drawing


def rates(study: Study, plan: StudyPlan) -> Rates | None:
    """Give of the first set, at the LR sizes of the plan's pairs; None when nothing was measured there."""
    images, codecs = plan.sets[plan.first], codecs_here()
    measured = [(run, rows) for run in plan.runs("rates") if (rows := whole(study, run))]
    if not measured:
        return None
    # Each scale has photos cropped to its multiples.
    by_scale = {study.pair(run.rescaler).scale: run for run, _ in measured}
    ladders = {
        (codec.name, scale): {path.name: Ladder(codec, pixels(study.original(run, path))) for path in images}
        for codec in codecs
        for scale, run in by_scale.items()
    }
    marks: dict[str, dict[str, tuple[float, float]]] = {}
    cells: list[tuple[Cell, ...]] = []
    best: list[str] = []
    for run, rows in measured:
        scale = study.pair(run.rescaler).scale
        area = sum(row.height * row.width for row in rows)
        bits, psnr = 8 * sum(row.lr_bytes for row in rows) / area, mean_psnr(rows)
        assert psnr is not None
        name = run.rescaler + LABELS[run.method]
        marks.setdefault(run.rescaler, {})[LABELS[run.method].removeprefix(" + ") or "alone"] = (bits, psnr)
        found = {codec.name: _at_equal_bytes(ladders[codec.name, scale], rows, scale) for codec in codecs}
        cells.append((name, bits, psnr, *(cell for pair in found.values() for cell in pair)))
        above = [codec for codec, (value, _) in found.items() if value is not None and value > psnr]
        best.append(f"{name}: {', '.join(above) if above else 'none of them'} restored more")
    columns = [Column("LR file by"), Column("bits a pixel", 2), Column("PSNR-Y", 2)]
    for codec in codecs:
        columns.append(Column(codec.name, 2, about="PSNR-Y in dB in at most as many bytes"))
        columns.append(Column("of the bytes", 2, about="the share of the LR file's bytes that it took"))
    note = (
        f"PSNR-Y in dB, means over {len(images)} images, each codec in at most as many bytes as the LR PNG of each "
        "image, at its usual settings: colours at half resolution in JPEG, WebP and AVIF, which PSNR-Y does not see. "
        f"{'; '.join(best)}.{missing()}"
    )
    table = Table(f"At equal bytes: {plan.first}", tuple(columns), tuple(cells), note)
    scale = min(by_scale)
    curves = {codec.name: _curve(codec, ladders[codec.name, scale], scale) for codec in codecs}
    title = f"Rate and distortion: {plan.first}"
    return Rates(table, Drawing("rates", title, missing().strip(), trade_off(curves, marks), drawn=True))


def _curve(codec: Codec, ladders: dict[str, Ladder], border: int) -> list[tuple[float, float]]:
    area = sum(ladder.original.shape[0] * ladder.original.shape[1] for ladder in ladders.values())
    points = []
    for quality in _QUALITIES:
        if codec.least <= quality <= codec.most:
            coded = {name: ladder.at(quality) for name, ladder in ladders.items()}
            psnr = fmean(_psnr(coded[name].image, ladder.original, border) for name, ladder in ladders.items())
            points.append((8 * sum(one.size for one in coded.values()) / area, psnr))
    return points


def _at_equal_bytes(
    ladders: dict[str, Ladder], rows: Iterable[Measurement], border: int
) -> tuple[float | None, float | None]:
    """The mean PSNR-Y, and the share of the bytes; None where some image cannot be made so small."""
    found, shares = [], []
    for row in rows:
        ladder = ladders[row.image]
        coded = ladder.at_most(row.lr_bytes)
        if coded is None:
            return None, None
        found.append(_psnr(coded.image, ladder.original, border))
        shares.append(coded.size / row.lr_bytes)
    return fmean(found), fmean(shares)


def _psnr(image: Pixels, original: Pixels, border: int) -> float:
    """Of Y, by the protocol of the tables."""
    a, b = (torch.from_numpy(np.array(x)).permute(2, 0, 1)[None] / 255 for x in (image, original))
    return float(compare(a, b, border)["psnr_y"])
