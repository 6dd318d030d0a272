"""The figures of the paper, drawn from what a study measured."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from coscale.collaborate import HCD, PLAIN
from coscale.errors import CoscaleError, CoscaleWarning
from coscale.image import Photo, to_pillow
from coscale.measurement import Measurement
from coscale.metrics import psnr
from coscale.quantize import quantize
from coscale.reproduce import paper
from coscale.reproduce.plan import BOTH, LABELS, LR_ONLY, OURS, Series, StudyPlan
from coscale.reproduce.plots import (
    Panel,
    Pixels,
    amplified,
    crops,
    factor_for,
    histogram,
    most_lost,
    on_contours,
    panels,
    sweep,
)
from coscale.reproduce.plots import courses as falls
from coscale.reproduce.study import Study
from coscale.reproduce.tables import HOW, gain, mean_psnr, whole
from coscale.rescalers import Rescaler

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure; ``drawn`` is False for one of photos, which a page shows as an image."""

    name: str
    title: str
    note: str
    figure: "Figure"
    drawn: bool


def pixels(photo: Photo) -> Pixels:
    """H x W x 3 in 8 bit; grey becomes RGB."""
    return np.array(to_pillow(photo).convert("RGB"))


def psnr_of(row: Measurement) -> str:
    """Give PSNR-Y and what a method gained of it, as a text."""
    value = f"{row.scores.psnr_y:.2f} dB"
    return f"{value} ({row.gain:+.2f})" if row.before else value


def zoomed(study: Study, plan: StudyPlan, target: Literal["fig1", "fig5"]) -> Drawing | None:
    """Figures 1 and 5: each photo, and the part of it in which bicubic loses most, as every system restores it."""
    runs = plan.runs(target)
    rows = []
    for image in runs[0].images:
        measured = [run for run in runs if study.rows(Series(run.of, (image,), run.rescaler, run.method))]
        if not measured:
            continue
        original = pixels(study.original(measured[0], image))
        shown = [Panel(original, "original")]
        for run in measured:
            (row,) = study.rows(Series(run.of, (image,), run.rescaler, run.method))
            restored = pixels(study.restored(run, image))
            shown.append(Panel(restored, run.rescaler + LABELS[run.method], psnr_of(row)))
        # The first system is bicubic, unless the user has left it out.
        rows.append((original, most_lost(original, shown[1].image, max(8, min(original.shape[:2]) // 4)), shown))
    if not rows:
        return None
    title = "Figure 1: one photo" if target == "fig1" else f"Figure 5: photos of {plan.second}"
    note = f"The square is where {runs[0].rescaler} loses most. PSNR-Y is that of the whole photo."
    return Drawing(target, title, note, crops(rows), drawn=False)


def opposite(study: Study, plan: StudyPlan) -> Drawing | None:
    """Figure 2: from one LR, an adversarial and a collaborative one."""
    plain, adversarial, collaborative = plan.runs("fig2")
    image = plain.images[0]
    if not all(study.rows(run) for run in (plain, adversarial, collaborative)):
        return None
    before = pixels(study.lr(plain, image)[0])
    top, bottom = [], []
    for name, run in (("adversarial", adversarial), ("none", plain), ("collaborative", collaborative)):
        lr = pixels(study.lr(run, image)[0])
        note = psnr_of(study.rows(run)[0])
        top.append(Panel(lr, f"LR, {name}", f"restores to {note}"))
        if run is not plain:
            factor = factor_for(lr, before)
            bottom.append(Panel(amplified(lr, before, factor), f"its change, times {factor}"))
        else:
            bottom.append(Panel(pixels(study.restored(plain, image)), "restored from the LR in the middle"))
    title = "Figure 2: ascent and descent from one LR"
    note = (
        f"{plan.settings.x2}, {LR_ONLY.lr_steps} steps in the LR's domain. "
        f"The paper: {paper.ADVERSARIAL:+.2f} dB and {paper.COLLABORATIVE:+.2f} dB."
    )
    return Drawing("fig2", title, note, panels([top, bottom]), drawn=False)


def step_size(study: Study, plan: StudyPlan) -> Drawing | None:
    """Figure 6: PSNR by the step alpha."""
    points = [(alpha, HCD(alpha=alpha)) for alpha in plan.alphas]
    return _swept(study, plan, "fig6", "Figure 6: the step", "alpha", points, paper.GOOD_ALPHA)


def radius(study: Study, plan: StudyPlan) -> Drawing | None:
    """Figure 7: PSNR by the radius eps."""
    points = [(eps, HCD(eps=eps)) for eps in plan.radii]
    return _swept(study, plan, "fig7", "Figure 7: the radius of the ball", "eps", points, (paper.GOOD_EPS,))


def _swept(
    study: Study,
    plan: StudyPlan,
    name: str,
    title: str,
    setting: str,
    points: list[tuple[float, HCD]],
    good: tuple[float, ...],
) -> Drawing | None:
    images, of = plan.sets[plan.first], plan.settings.x2
    found = [(value, mean_psnr(whole(study, Series(plan.first, images, of, method)))) for value, method in points]
    curve = [(value, psnr) for value, psnr in found if psnr is not None]
    none = mean_psnr(whole(study, Series(plan.first, images, of, PLAIN)))
    if not curve or none is None:
        return None
    figure = sweep({f"{of} + HCD": curve}, setting, good, {f"{of} alone": none})
    note = f"{of} on {plan.first}, 15 + 15 steps; means over {len(images)} images. {HOW}"
    return Drawing(name, title, note, figure, drawn=True)


def changes(study: Study, plan: StudyPlan) -> Drawing | None:
    """Figure 8: LR images, and below each what the methods change of it."""
    runs = plan.runs("fig8")
    plain = next(run for run in runs if run.method == PLAIN)
    methods = [run for run in runs if run.method != PLAIN]
    rows = [[], *([] for _ in methods)]
    for image in plain.images:
        if not study.is_measured([Series(run.of, (image,), run.rescaler, run.method) for run in runs]):
            continue
        before = pixels(study.lr(plain, image)[0])
        after = [pixels(study.lr(run, image)[0]) for run in methods]
        factor = min(factor_for(lr, before) for lr in after)  # one a column, so that the methods can be compared
        rows[0].append(Panel(before, image.stem, f"{before.shape[1]} x {before.shape[0]}"))
        for line, run, lr in zip(rows[1:], methods, after, strict=True):
            moved = np.abs(lr.astype(int) - before)
            moves = f"{moved.mean():.2f} levels, at most {moved.max()}\n{on_contours(before, lr):.0%} on contours"
            line.append(
                Panel(amplified(lr, before, factor), f"{LABELS[run.method].strip(' +')}, times {factor}", moves)
            )
    if not rows[0]:
        return None
    note = (
        f"{plan.settings.main}. Grey is no change. *On contours*: the share of the squared change on the fifth of the "
        "pixels with the steepest luma; by chance it would be 20%."
    )
    return Drawing("fig8", "Figure 8: LR images and their change", note, panels(rows), drawn=False)


def gains(study: Study, plan: StudyPlan) -> Drawing | None:
    """Say how the gains of both methods spread over the images."""
    name, groups = plan.settings.main, {}
    for label, method in (("HCD", BOTH), ("coscale", OURS)):
        runs = [Series(of, images, name, method) for of, images in plan.chosen.items()]
        found = [gain([row]) for run in runs for row in study.rows(run)]
        groups[f"{label}, {len(found)} images"] = [value for value in found if value is not None]
    if not all(groups.values()):
        return None
    note = f"{name} on {', '.join(plan.chosen)}."
    return Drawing("gains", "Gains, image by image", note, histogram(groups, "gain of PSNR-Y, dB"), drawn=True)


def courses(study: Study, plan: StudyPlan) -> Drawing | None:
    """Give PSNR by iteration, of what the LR restores to as it is in float and as a file."""
    image, name = plan.portrait(plan.shown)[0], plan.settings.main
    runs = {"HCD": Series(plan.shown, (image,), name, LR_ONLY), "coscale": Series(plan.shown, (image,), name, OURS)}
    curves = {label: _course(study, run, image) for label, run in runs.items()}
    note = (
        f"{name}, {image.name}; float32. HCD in the LR's domain alone, from a random point of its ball. coscale "
        "rounds a part of the LR for good in each of its last passes."
    )
    return Drawing("courses", "On the way", note, falls(curves), drawn=True)


class _Watched:
    """A rescaler that remembers each LR whose gradient is taken."""

    def __init__(self, rescaler: Rescaler) -> None:
        self.scale, self.downscale, self._upscale = rescaler.scale, rescaler.downscale, rescaler.upscale
        self.seen: list[Tensor] = []

    def upscale(self, lr: Tensor, /) -> Tensor:
        if lr.requires_grad:
            self.seen.append(lr.detach().clone())
        return self._upscale(lr)


def _course(study: Study, run: Series, image: Path) -> tuple[list[float], list[float]]:
    """PSNR of RGB, whole image, at each iteration: of the LR in float, and rounded; what is restored is 8 bit."""
    pair = study.pair(run.rescaler)
    hr = study.original(run, image).colour.to(pair.device)
    watched = _Watched(pair.rescaler)
    run.method(pair.rescaler, hr, twin=watched)
    found: tuple[list[float], list[float]] = [], []
    with torch.no_grad():
        for lr in watched.seen:
            for values, as_it_is in zip(found, (lr, quantize(lr)), strict=True):
                values.append(float(psnr(quantize(pair.rescaler.upscale(as_it_is)), hr)))
    return found


def all_of(study: Study, plan: StudyPlan, targets: set[str]) -> list[Drawing]:
    """Those of the targets of which something was measured."""
    makers = {
        "fig1": lambda: zoomed(study, plan, "fig1"),
        "fig2": lambda: opposite(study, plan),
        "fig5": lambda: zoomed(study, plan, "fig5"),
        "fig6": lambda: step_size(study, plan),
        "fig7": lambda: radius(study, plan),
        "fig8": lambda: changes(study, plan),
    }
    wanted = [make for name, make in makers.items() if name in targets]
    if "table1" in targets:
        wanted += [lambda: gains(study, plan), lambda: courses(study, plan)]
    drawings = []
    for make in wanted:
        try:
            drawings.append(make())
        except CoscaleError as error:  # a file that was there when it was measured
            warnings.warn(f"a figure is left out: {error}", CoscaleWarning, stacklevel=2)
    return [drawing for drawing in drawings if drawing]
