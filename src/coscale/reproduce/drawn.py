"""The figures of the paper, drawn from what a study measured."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coscale.collaborate import HCD
from coscale.evaluate import Row
from coscale.image import Photo
from coscale.quantize import to_uint8
from coscale.reproduce import paper
from coscale.reproduce.figures import Panel, Pixels, amplified, crops, histogram, most_lost, panels, sweep
from coscale.reproduce.figures import courses as falls
from coscale.reproduce.plan import BOTH, LABELS, LR_ONLY, OURS, Plan, Run
from coscale.reproduce.study import Study
from coscale.reproduce.tables import mean, whole

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
    return np.ascontiguousarray(to_uint8(photo.colour[0].expand(3, -1, -1)).permute(1, 2, 0).numpy())


def psnr_of(row: Row) -> str:
    value = f"{row['psnr_y']:.2f} dB"
    return f"{value} ({row['psnr_y'] - row['before']['psnr_y']:+.2f})" if row["before"] else value


def zoomed(study: Study, plan: Plan, target: str) -> Drawing | None:
    """Figures 1 and 5: each photo, and the part of it in which bicubic loses most, as every system restores it."""
    runs = plan.runs(target)  # type: ignore[arg-type]
    rows = []
    for image in runs[0].images:
        original = pixels(study.original(runs[0], image))
        shown, bicubic = [Panel(original, "original")], None
        for run in runs:
            found = study.rows(Run(run.of, (image,), run.rescaler, run.method))
            if not found:
                continue
            restored = pixels(study.restored(run, image))
            bicubic = restored if run.rescaler.startswith("bicubic-") else bicubic
            shown.append(Panel(restored, run.rescaler + LABELS[run.method], psnr_of(found[0])))
        if len(shown) > 1:
            worst = shown[1].image if bicubic is None else bicubic
            rows.append((original, most_lost(original, worst, max(8, min(original.shape[:2]) // 4)), shown))
    if not rows:
        return None
    title = "Figure 1: one photo" if target == "fig1" else f"Figure 5: photos of {plan.second}"
    note = "The square is where bicubic loses most. PSNR-Y is that of the whole photo."
    return Drawing(target, title, note, crops(rows), drawn=False)


def opposite(study: Study, plan: Plan) -> Drawing | None:
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
        change, factor = amplified(lr, before)
        if run is not plain:
            bottom.append(Panel(change, f"its change, times {factor}"))
        else:
            bottom.append(Panel(pixels(study.restored(plain, image)), "restored from the LR in the middle"))
    title = "Figure 2: ascent and descent from one LR"
    note = (
        f"{plan.settings.x2}, {LR_ONLY.lr_steps} steps in the LR's domain. "
        f"The paper: {paper.ADVERSARIAL:+.2f} dB and {paper.COLLABORATIVE:+.2f} dB."
    )
    return Drawing("fig2", title, note, panels([top, bottom]), drawn=False)


def step_size(study: Study, plan: Plan) -> Drawing | None:
    """Figure 6: PSNR by the step alpha."""
    points = [(alpha, HCD(alpha=alpha)) for alpha in plan.alphas]
    return _swept(study, plan, "fig6", "Figure 6: the step", "alpha", points, paper.GOOD_ALPHA)


def radius(study: Study, plan: Plan) -> Drawing | None:
    """Figure 7: PSNR by the radius eps."""
    points = [(eps, HCD(eps=eps)) for eps in plan.radii]
    good = (paper.GOOD_EPS / 1.15, paper.GOOD_EPS * 1.15)
    return _swept(study, plan, "fig7", "Figure 7: the radius of the ball", "eps", points, good)


def _swept(
    study: Study,
    plan: Plan,
    name: str,
    title: str,
    setting: str,
    points: list[tuple[float, HCD]],
    good: tuple[float, float],
) -> Drawing | None:
    images, of = plan.sets[plan.first], plan.settings.x2
    found = [(value, mean(whole(study, Run(plan.first, images, of, method)), "psnr_y")) for value, method in points]
    curve = [(value, psnr) for value, psnr in found if psnr is not None]
    none = mean(whole(study, Run(plan.first, images, of, None)), "psnr_y")
    if not curve or none is None:
        return None
    figure = sweep({f"{of} + HCD": curve}, setting, good, {f"{of} alone": none})
    return Drawing(name, title, f"{of} on {plan.first}, 15 + 15 steps; means over the images.", figure, drawn=True)


def changes(study: Study, plan: Plan) -> Drawing | None:
    """Figure 8: LR images, and below each what the methods change of it."""
    runs = plan.runs("fig8")
    plain = next(run for run in runs if run.method is None)
    methods = [run for run in runs if run.method is not None]
    rows = [[], *([] for _ in methods)]
    for image in plain.images:
        if not all(study.rows(Run(run.of, (image,), run.rescaler, run.method)) for run in runs):
            continue
        before = pixels(study.lr(plain, image)[0])
        rows[0].append(Panel(before, image.stem, f"{before.shape[1]} x {before.shape[0]}"))
        for line, run in zip(rows[1:], methods, strict=True):
            lr = pixels(study.lr(run, image)[0])
            change, factor = amplified(lr, before)
            moved = np.abs(lr.astype(int) - before)
            by = LABELS[run.method].replace(" +", "change by")
            moves = f"{moved.mean():.2f} grey levels, at most {moved.max()}"
            line.append(Panel(change, f"{by}, times {factor}", moves))
    if not rows[0]:
        return None
    note = f"{plan.settings.main}. Grey is no change; most lies on contours and corners."
    return Drawing("fig8", "Figure 8: LR images and their change", note, panels(rows), drawn=False)


def gains(study: Study, plan: Plan) -> Drawing | None:
    """How the gains of both methods spread over the images."""
    groups = {}
    for label, method in (("HCD", BOTH), ("coscale", OURS)):
        runs = [Run(of, images, plan.settings.main, method) for of, images in plan.sets.items()]
        rows = [row for run in runs for row in study.rows(run) if row["before"]]
        if rows:
            groups[label] = [row["psnr_y"] - row["before"]["psnr_y"] for row in rows]
    if not groups:
        return None
    count = max(map(len, groups.values()))
    figure = histogram(groups, "gain of PSNR-Y, dB")
    return Drawing("gains", "Gains, image by image", f"{plan.settings.main}, {count} images.", figure, drawn=True)


def courses(study: Study, plan: Plan) -> Drawing | None:
    """The loss by iteration, of the image as it is optimised and as a file."""
    image = plan.portrait(plan.first)[0]
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for label, method in (("HCD", BOTH), ("coscale", OURS)):
        found = study.rows(Run(plan.first, (image,), plan.settings.main, method))
        course = (found[0].get("course") if found else None) or {}
        for stage, losses in course.items():
            of = f"{label}, {stage.upper()} stage" if len(course) > 1 else label
            curves[of] = losses["loss"], [np.nan if loss is None else loss for loss in losses["rounded"]]
    if not curves:
        return None
    note = (
        f"{plan.settings.main}, {image.name}. HCD's loss is the MSE of RGB, and each stage begins at a random point "
        "of its ball; coscale's also weighs Y."
    )
    return Drawing("courses", "The loss on the way", note, falls(curves), drawn=True)


def all_of(study: Study, plan: Plan, targets: set[str]) -> list[Drawing]:
    """Those of the targets of which something was measured."""
    makers = {
        "fig1": lambda: zoomed(study, plan, "fig1"),
        "fig2": lambda: opposite(study, plan),
        "fig5": lambda: zoomed(study, plan, "fig5"),
        "fig6": lambda: step_size(study, plan),
        "fig7": lambda: radius(study, plan),
        "fig8": lambda: changes(study, plan),
    }
    drawings = [make() for name, make in makers.items() if name in targets]
    if "table1" in targets:
        drawings += [gains(study, plan), courses(study, plan)]
    return [drawing for drawing in drawings if drawing]
