"""Rescaling beside image codecs: PSNR at the bytes that the LR file takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from coscale.evaluate import Row
from coscale.metrics import compare
from coscale.report.page import Cell, Column, Table
from coscale.reproduce.codecs import Codec, Ladder, Pixels, available
from coscale.reproduce.drawn import Drawing, pixels
from coscale.reproduce.figures import trade_off
from coscale.reproduce.plan import BOTH, LABELS, OURS, Plan, Run
from coscale.reproduce.study import Study
from coscale.reproduce.tables import mean, whole

SENTENCES = (
    "At the same number of bytes a codec restores more: that is what it is made for. Rescaling is the right tool where "
    "the small image is itself wanted, by anything that shows PNG, and the large one only sometimes: one file, two "
    "sizes, no decoder of its own needed for the small one. Where only the large photo is wanted in few bytes, use a "
    "codec."
)
_QUALITIES = (5, 10, 20, 30, 45, 60, 75, 85, 92)


@dataclass(frozen=True)
class Rates:
    """The table at equal bytes and the curves, as (bits a pixel, PSNR-Y in dB), means over a set."""

    table: Table
    drawing: Drawing


def rates(study: Study, plan: Plan) -> Rates | None:
    """Of the first set, at the LR sizes of the plan's pairs; None when nothing was measured there."""
    images, codecs = plan.sets[plan.first], available()
    runs = [
        Run(plan.first, images, name, method)
        for name in (plan.settings.main, plan.settings.x2)
        for method in (None, BOTH, OURS)
    ]
    measured = [(run, rows) for run in runs if (rows := whole(study, run))]
    if not measured:
        return None
    originals = {path.name: pixels(study.original(runs[0], path)) for path in images}
    area = sum(image.shape[0] * image.shape[1] for image in originals.values())

    def bits(rows: Iterable[Row]) -> float:
        return 8 * sum(row["lr_bytes"] for row in rows) / area

    ladders = {codec.name: {name: Ladder(codec, image) for name, image in originals.items()} for codec in codecs}
    curves = {codec.name: _curve(codec, ladders[codec.name], originals, area) for codec in codecs}
    marks: dict[str, dict[str, tuple[float, float]]] = {}
    cells: list[tuple[Cell, ...]] = []
    for run, rows in measured:
        psnr = mean(rows, "psnr_y")
        assert psnr is not None
        name = run.rescaler + LABELS[run.method]
        marks.setdefault(run.rescaler, {})[LABELS[run.method].removeprefix(" + ") or "alone"] = (bits(rows), psnr)
        by_codec = (_at_equal_bytes(ladders[codec.name], rows, originals) for codec in codecs)
        cells.append((name, bits(rows), psnr, *by_codec))
    columns = (
        Column("LR file by"),
        Column("bits a pixel", 2, about="8 times the bytes of the LR PNG over the pixels of the photo"),
        Column("PSNR-Y", 2),
        *(Column(codec.name, 2, about="PSNR-Y in dB at the same bytes") for codec in codecs),
    )
    title = f"At equal bytes: {plan.first}"
    note = f"PSNR-Y in dB, means over {len(images)} images; each codec in as many bytes as the LR PNG of each image."
    figure = trade_off(curves, marks)
    drawing = Drawing("rates", f"Rate and distortion: {plan.first}", note, figure, drawn=True)
    return Rates(Table(title, columns, tuple(cells), note), drawing)


def _curve(
    codec: Codec, ladders: dict[str, Ladder], originals: dict[str, Pixels], area: int
) -> list[tuple[float, float]]:
    points = []
    for quality in _QUALITIES:
        if codec.least <= quality <= codec.most:
            coded = {name: ladder.at(quality) for name, ladder in ladders.items()}
            psnr = fmean(_psnr(coded[name].image, original) for name, original in originals.items())
            points.append((8 * sum(one.size for one in coded.values()) / area, psnr))
    return points


def _at_equal_bytes(ladders: dict[str, Ladder], rows: Iterable[Row], originals: dict[str, Pixels]) -> float | None:
    """The mean PSNR-Y; None where some image cannot be made so small."""
    coded = {row["image"]: ladders[row["image"]].at_most(row["lr_bytes"]) for row in rows}
    found = [_psnr(one.image, originals[name]) for name, one in coded.items() if one]
    return fmean(found) if len(found) == len(coded) else None


def _psnr(image: Pixels, original: Pixels) -> float:
    """Of Y, by the protocol of the tables at x4: 4 pixels of border left out."""
    a, b = (torch.from_numpy(np.array(x)).permute(2, 0, 1)[None] / 255 for x in (image, original))
    return float(compare(a, b, 4)["psnr_y"])
