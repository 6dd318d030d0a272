"""The signs of what the paper finds, each checked on what was measured."""

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

from coscale.collaborate import HCD, PLAIN, Method
from coscale.pipeline import decode_photo
from coscale.report.page import Finding
from coscale.reproduce import paper
from coscale.reproduce.pictures import pixels
from coscale.reproduce.plan import BOTH, HR_ONLY, LR_ONLY, OURS, Series, StudyPlan
from coscale.reproduce.plots import on_contours
from coscale.reproduce.study import Study
from coscale.reproduce.tables import gain, whole

_SAME = 0.01  # dB, by which means of the same quality may differ
_CLOSE = 0.05  # dB, to the best of a sweep
_ROUNDS = 9


def findings(study: Study, plan: StudyPlan) -> tuple[Finding, ...]:
    """Give one for each finding of the paper; those whose measurements are missing say so."""

    def gained(method: Method) -> float | None:
        return gain(whole(study, Series(plan.first, plan.sets[plan.first], plan.settings.x2, method)))

    of = f"{plan.settings.x2} on {plan.first}"
    return (
        _every_set(study, plan),
        _domains(gained, of),
        _steps(gained, plan, of),
        _opposite(study, plan),
        _alpha(gained, plan, of),
        _eps(gained, plan, of),
        _large(study, plan),
        _where(study, plan),
        _ssim(study, plan),
        _time(study, plan),
    )


Gained = Callable[[Method], float | None]


def _every_set(study: Study, plan: StudyPlan) -> Finding:
    claim = "HCD improves every rescaler on every set"
    found = [
        (f"{name} on {of}", gain(whole(study, Series(of, images, name, BOTH))))
        for name in plan.settings.x4
        for of, images in plan.chosen.items()
    ]
    gains = [(where, value) for where, value in found if value is not None]
    if not gains:
        return Finding(claim, None, "")
    least, most = (pick(gains, key=lambda item: item[1]) for pick in (min, max))
    measured = f"from {least[1]:+.2f} dB ({least[0]}) to {most[1]:+.2f} dB ({most[0]}), of Y, in {len(gains)} cases"
    return Finding(claim, least[1] > 0, measured)


def _opposite(study: Study, plan: StudyPlan) -> Finding:
    claim = "From one LR, ascent makes one that restores worse, and descent one that restores better"
    _, *runs = plan.runs("fig2")
    up, down = (gain(study.rows(run)) for run in runs)
    if up is None or down is None:
        return Finding(claim, None, "")
    there = f"the paper: {paper.ADVERSARIAL:+.2f} and {paper.COLLABORATIVE:+.2f}"
    measured = f"{plan.settings.x2}, {runs[0].images[0].name}: {up:+.2f} dB and {down:+.2f} dB; {there}"
    return Finding(claim, up < 0 < down, measured)


def _where(study: Study, plan: StudyPlan) -> Finding:
    claim = "The LR changes most on contours and corners"
    plain, hcd, _ = plan.runs("fig8")
    shares = [
        on_contours(*(pixels(study.lr(run, image)[0]) for run in (plain, hcd)))
        for image in plain.images
        if study.is_measured([Series(run.of, (image,), run.rescaler, run.method) for run in (plain, hcd)])
    ]
    if not shares:
        return Finding(claim, None, "")
    share = (
        f"{min(shares):.0%} to {max(shares):.0%} of HCD's change is on the fifth of the pixels with the steepest luma"
    )
    return Finding(claim, min(shares) > 0.4, f"{plan.settings.main}, {len(shares)} images of {plan.first}: {share}")


def _domains(gained: Gained, of: str) -> Finding:
    claim = "Both domains gain more than either alone, and either more than none"
    lr, hr, both = gained(LR_ONLY), gained(HR_ONLY), gained(BOTH)
    if lr is None or hr is None or both is None:
        return Finding(claim, None, "")
    holds = both > max(lr, hr) and min(lr, hr) > 0
    return Finding(claim, holds, f"{of}: LR alone {lr:+.2f} dB, HR alone {hr:+.2f} dB, both {both:+.2f} dB")


def _steps(gained: Gained, plan: StudyPlan, of: str) -> Finding:
    claim = "The gain grows with the number of steps, and is flat by 15"
    found = [(n, value) for n in plan.steps if (value := gained(HCD(hr_steps=n, lr_steps=n))) is not None]
    measured = f"{of}: " + ", ".join(f"{value:+.2f} dB by {n}" for n, value in found)
    values = dict(found)
    if not {1, 5, 10, 15, 20} <= set(values):
        return Finding(claim, None, f"{measured}; not all steps were taken" if found else "")
    grows = all(later >= earlier - _SAME for (_, earlier), (n, later) in pairwise(found) if n <= 15)
    flat = abs(values[20] - values[15]) < 0.1 * values[15]
    return Finding(claim, grows and flat, measured)


def _alpha(gained: Gained, plan: StudyPlan, of: str) -> Finding:
    low, high = paper.GOOD_ALPHA
    claim = f"Steps alpha from {low:g} to {high:g} are good"
    found = [(alpha, value) for alpha in plan.alphas if (value := gained(HCD(alpha=alpha))) is not None]
    inside = [value for alpha, value in found if low <= alpha <= high]
    measured = f"{of}: " + ", ".join(f"{value:+.2f} dB at {alpha:.3g}" for alpha, value in found)
    if len(found) < len(plan.alphas) or len(inside) < 2:
        return Finding(claim, None, f"{measured}; too few points" if found else "")
    return Finding(claim, min(inside) >= max(value for _, value in found) - _CLOSE, measured)


def _eps(gained: Gained, plan: StudyPlan, of: str) -> Finding:
    claim = f"On small images a radius eps of {paper.GOOD_EPS:g} is moderate: much less gains less, much more loses"
    found = {eps: value for eps in plan.radii if (value := gained(HCD(eps=eps))) is not None}
    if len(found) < len(plan.radii):
        return Finding(claim, None, "")
    usual, least, most = found[HCD.eps], found[min(found)], found[max(found)]
    measured = f"{of}: " + ", ".join(f"{value:+.2f} dB at {eps:g}" for eps, value in found.items())
    return Finding(claim, usual > least and usual > most, measured)


def _large(study: Study, plan: StudyPlan) -> Finding:
    claim = "On a 2K photo the same radius gains a fraction, since it is a norm over the whole image"
    wide, name = plan.per_pixel(), plan.settings.main
    if plan.large is None or wide is None:
        return Finding(claim, None, "no 2K photo was measured")
    small = gain(whole(study, Series(plan.first, plan.sets[plan.first], name, BOTH)))
    usual, widened, ours = (gain(whole(study, Series(*plan.large, name, method))) for method in (BOTH, wide, OURS))
    if small is None or usual is None or widened is None or ours is None:
        return Finding(claim, None, "")
    measured = (
        f"{name}: {small:+.2f} dB on {plan.first}, {usual:+.2f} dB on {plan.large[1][0].name}; "
        f"with eps {wide.eps:.2g} and alpha as much wider {widened:+.2f} dB, and coscale {ours:+.2f} dB"
    )
    return Finding(claim, usual < small / 2 and small > 0, measured)


def _ssim(study: Study, plan: StudyPlan) -> Finding:
    claim = "SSIM rises with PSNR"
    rows = [row for run in plan.runs("table1") if run.method == BOTH for row in study.rows(run)]
    better = [row for row in rows if row.before and row.gain > 0]
    if not better:
        return Finding(claim, None, "")
    risen = sum(row.before is not None and row.scores.ssim_y > row.before.ssim_y for row in better)
    return Finding(claim, risen >= 0.9 * len(better), f"in {risen} of the {len(better)} measurements whose PSNR-Y rose")


def _time(study: Study, plan: StudyPlan) -> Finding:
    claim = "Upscaling takes as long as without the method"
    name, image = plan.settings.main, max(plan.sets[plan.first], key=lambda path: path.stat().st_size)
    runs = [Series(plan.first, (image,), name, method) for method in (PLAIN, BOTH)]
    if not all(study.rows(run) for run in runs):
        return Finding(claim, None, "")
    files = [study.lr(run, image) for run in runs]
    decode_photo(files[0][0], study.pair(name), files[0][1])  # the first pass takes what later ones find ready
    ratios = []
    for _ in range(_ROUNDS):  # by turns, so that what else the machine does falls on both
        seconds = []
        for lr, origin in files:
            begun = time.perf_counter()
            decode_photo(lr, study.pair(name), origin)
            seconds.append(time.perf_counter() - begun)
        ratios.append(seconds[1] / seconds[0])
    measured = f"{name}, {image.name}: {median(ratios):.2f} times as long, the median of {_ROUNDS} turns"
    return Finding(claim, abs(median(ratios) - 1) < 0.1, measured)
