"""HCD: Algorithm 1 of "Downscaled Representation Matters" (ICCV 2023), in both stages and in either alone.

    HR stage   photo y     --descend-->  y + delta_y,  the loss taken through round(g(.)) and f
    LR stage   round(g(y + delta_y))  --descend-->  x,  the loss taken through f

Each step goes ``alpha`` along the normalised gradient, back into the ball of radius ``eps`` around the stage's start
(norms over the whole image, as in the paper), and back into [0, 1].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch

from coscale.collaborate.ball import Norm, project, random_point, steepest
from coscale.collaborate.losses import LOSSES, Loss, LossName
from coscale.collaborate.method import Images, PerImage, Progress, Result, Stage
from coscale.errors import SettingsError
from coscale.quantize import quantize
from coscale.rescalers import Rescaler
from coscale.tiles import WHOLE, Tiling

Start = Literal["random", "zero"]
Target = Literal["original", "collaborative"]
Direction = Literal["descent", "ascent"]
Keep = Literal["best", "last"]


@dataclass(frozen=True)
class HCD:
    """The settings of Algorithm 1; the defaults are the paper's. Raises SettingsError for values that make no sense.

    ``hr_steps`` (N_y) and ``lr_steps`` (N_x): iterations of each stage; 0 leaves a stage out.
    ``alpha``, ``eps``, ``norm``: step and budget, in units of [0, 1], in l2 over an image or in linf.
    ``loss``: a name, or any function of (restored, original) that gives one value an image.
    ``start``: a random point of the ball, drawn by ``seed``, or its centre.
    ``lr_target``: what the LR stage restores: the original (equation 3), or the collaborative HR (the authors' code).
    ``direction``: ascent makes the paper's adversarial example instead.
    ``keep``: the best LR seen, after rounding, or the last one, as the authors do.
    """

    hr_steps: int = 15
    lr_steps: int = 15
    alpha: float = 20 / 255
    eps: float = 0.3
    norm: Norm = "l2"
    loss: LossName | Loss = "mse"
    start: Start = "random"
    seed: int = 0
    lr_target: Target = "original"
    direction: Direction = "descent"
    keep: Keep = "best"

    name: ClassVar[str] = "hcd"
    tiled: ClassVar[bool] = False  # its norms are over the whole image, and so are its passes

    def __post_init__(self) -> None:
        for name in ("hr_steps", "lr_steps", "alpha", "eps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be finite and not negative")
        choices = {"norm": Norm, "start": Start, "lr_target": Target, "direction": Direction, "keep": Keep}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                options = ", ".join(get_args(kind))
                raise SettingsError(f"{name} is {getattr(self, name)!r}; choose one of {options}")
        if isinstance(self.loss, str) and self.loss not in LOSSES:
            raise SettingsError(f"loss is {self.loss!r}; choose one of {', '.join(LOSSES)}, or give a function")

    @property
    def passes(self) -> int:
        return self.hr_steps + self.lr_steps

    def __call__(
        self,
        rescaler: Rescaler,
        original: Images,
        *,
        twin: Rescaler | None = None,
        tiling: Tiling = WHOLE,
        progress: Progress | None = None,
        hr_start: Images | None = None,
        lr_start: Images | None = None,
    ) -> Result:
        """Run Algorithm 1; see ``Method``. ``hr_start`` and ``lr_start`` replace the random starts of the stages."""
        if tiling != WHOLE:
            raise SettingsError("HCD optimises photos whole; leave out the tiles, or take --method coscale")
        return _run(self, rescaler, original, twin, progress, hr_start, lr_start)


class _Counted:
    """A rescaler that counts its forward passes."""

    def __init__(self, rescaler: Rescaler) -> None:
        self.rescaler = rescaler
        self.scale = rescaler.scale
        self.downscales = self.upscales = 0

    def downscale(self, hr: Images) -> Images:
        self.downscales += 1
        return self.rescaler.downscale(hr)

    def upscale(self, lr: Images) -> Images:
        self.upscales += 1
        return self.rescaler.upscale(lr)


@dataclass
class _Kept:
    """For each image the LR that is kept so far, the HR it came from, and its loss as a file."""

    lr: Images
    hr: Images
    rounded: PerImage

    def take(self, other: "_Kept", settings: HCD) -> None:
        """Take over the images that are better in ``other``; all of them where the last iterate is kept."""
        sign = 1 if settings.direction == "descent" else -1
        wanted = sign * other.rounded < sign * self.rounded
        if settings.keep == "last":
            wanted = torch.ones_like(wanted)
        pick = wanted[:, None, None, None]
        self.lr = torch.where(pick, other.lr, self.lr)
        self.hr = torch.where(pick, other.hr, self.hr)
        self.rounded = torch.where(wanted, other.rounded, self.rounded)


# From an iterate, and whether its loss as a file is wanted, to (loss to descend, what would be kept).
_Evaluate = Callable[[Images, bool], tuple[PerImage, _Kept]]


def _run(
    settings: HCD,
    rescaler: Rescaler,
    original: Images,
    twin: Rescaler | None,
    progress: Progress | None,
    hr_start: Images | None,
    lr_start: Images | None,
) -> Result:
    exact = _Counted(rescaler)
    cheap = _Counted(twin) if twin else exact
    loss = settings.loss if callable(settings.loss) else LOSSES[settings.loss]
    generator = torch.Generator().manual_seed(settings.seed)
    total, done = settings.passes, 0

    def as_file(restored: Images) -> PerImage:
        return loss(quantize(restored.detach()), original)

    def through_both(networks: _Counted, hr: Images) -> tuple[PerImage, _Kept]:
        lr = quantize(networks.downscale(hr))
        restored = networks.upscale(lr)
        return loss(restored, original), _Kept(lr.detach(), hr.detach(), as_file(restored))

    def through_upscaler(lr: Images, judge: bool) -> tuple[PerImage, _Kept]:
        value = loss(cheap.upscale(lr), target)
        with torch.no_grad():
            rounded = as_file(exact.upscale(quantize(lr))) if judge else torch.full_like(value, torch.nan)
        return value, _Kept(lr.detach(), kept.hr, rounded)

    def start(base: Images, delta: Images | None) -> Images:
        if delta is None and settings.start == "random":
            # The same for each image, so that a photo's result does not depend on its place in a batch.
            delta = random_point(base[:1].shape, settings.eps, settings.norm, generator).to(base)
        return base if delta is None else (base + delta).clamp(0, 1)

    def tick() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    with torch.no_grad():
        kept = through_both(exact, original)[1]
    before = kept.rounded
    hr_stage = lr_stage = None
    if settings.hr_steps:
        image = start(original, hr_start)
        found = kept
        if twin:  # its own losses are compared among themselves, and the HR that wins is measured again
            with torch.no_grad():
                found = through_both(cheap, original)[1]
        hr_stage = _descend(
            image, original, settings.hr_steps, lambda hr, _: through_both(cheap, hr), settings, found, tick
        )
        if twin:
            with torch.no_grad():
                kept.take(through_both(exact, found.hr)[1], settings)
    target = original if settings.lr_target == "original" else kept.hr
    if settings.lr_steps:
        base = kept.lr
        lr_stage = _descend(start(base, lr_start), base, settings.lr_steps, through_upscaler, settings, kept, tick)
    cost = (exact.downscales, exact.upscales, total)
    if twin:
        cost = (exact.downscales + cheap.downscales, exact.upscales + cheap.upscales, total)
    return Result(kept.lr, kept.hr, before, kept.rounded, hr_stage, lr_stage, *cost, ("passes",) * len(original))


def _descend(
    image: Images, base: Images, steps: int, evaluate: _Evaluate, settings: HCD, kept: _Kept, tick: Callable[[], None]
) -> Stage:
    """One stage: projected normalised gradient steps around ``base`` from ``image``, its finds put into ``kept``."""
    sign = 1 if settings.direction == "descent" else -1
    losses, rounded = [], []
    for step in range(steps + 1):
        last = step == steps
        image = image.detach().requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            loss, found = evaluate(image, settings.keep == "best" or step == 0 or last)
        if last or settings.keep == "best":
            kept.take(found, settings)
        losses.append(loss.detach())
        rounded.append(found.rounded)
        if not last:
            (grad,) = torch.autograd.grad(loss.sum(), image)
            moved = image.detach() - sign * settings.alpha * steepest(grad, settings.norm)
            image = (base + project(moved - base, settings.eps, settings.norm)).clamp(0, 1)
            tick()
    return Stage(torch.stack(losses), torch.stack(rounded))
