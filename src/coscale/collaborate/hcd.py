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
from torch import Tensor

from coscale import tiles
from coscale.alpha import as_seen, with_alpha
from coscale.collaborate.ball import Norm, project, random_point, steepest
from coscale.collaborate.losses import LOSSES, Loss, LossName
from coscale.collaborate.method import Images, PerImage, Progress, Result, Stage, Stop, Watch
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
    """The paper's method: its settings, and called with (rescaler, original) the method itself.

    - ``hr_steps`` (N_y) and ``lr_steps`` (N_x): iterations of each stage; 0 leaves a stage out.
    - ``alpha``, ``eps``, ``norm``: step and budget, in units of [0, 1], in l2 over an image or in linf.
    - ``loss``: a name, or any function of (restored, original) that gives one value an image.
    - ``start``: a random point of the ball, drawn by ``seed``, or its centre.
    - ``lr_target``: what the LR stage restores: the original (equation 3), or the collaborative HR (the authors' code).
    - ``direction``: ascent makes the paper's adversarial example instead.
    - ``keep``: the best LR seen, after rounding, or the last one, as the authors do.

    The defaults are the paper's. Raises SettingsError for values that make no sense. Source: "Downscaled Representation
    Matters: Improving Image Rescaling with Collaborative Downscaled Images", ICCV 2023, Algorithm 1.
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
    maps: ClassVar[int] = 2

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
        alpha: Images | None = None,
        twin: Rescaler | None = None,
        tiling: Tiling = WHOLE,
        progress: Progress | None = None,
        watch: Watch | None = None,
        hr_start: Images | None = None,
        lr_start: Images | None = None,
    ) -> Result:
        """Run Algorithm 1; see ``Method``. ``hr_start`` and ``lr_start`` replace the random starts of the stages.

        Of a photo that is worked on in tiles, the loss is the mean of the tiles' by area; steps and balls are norms
        over the whole image all the same.
        """
        return _Run(self, rescaler, original, alpha, twin, tiling, progress, watch).run(hr_start, lr_start)


@dataclass
class _Kept:
    """For each image the iterate that is kept so far, and its loss as a file."""

    image: Images
    rounded: PerImage

    def take(self, image: Images, rounded: PerImage, settings: HCD) -> None:
        """Take over the images that are better in ``image``; all of them where the last iterate is kept."""
        sign = 1 if settings.direction == "descent" else -1
        wanted = sign * rounded < sign * self.rounded
        if settings.keep == "last":
            wanted = torch.ones_like(wanted)
        self.image = torch.where(wanted[:, None, None, None], image, self.image)
        self.rounded = torch.where(wanted, rounded, self.rounded)


# From an iterate, whether its gradient and whether its loss as a file are wanted, to
# (loss to descend, its gradient, loss as a file).
_Evaluate = Callable[[Images, bool, bool], tuple[PerImage, Images | None, PerImage]]


class _Run:
    """One optimisation, which counts its passes."""

    def __init__(
        self,
        settings: HCD,
        rescaler: Rescaler,
        original: Images,
        alpha: Images | None,
        twin: Rescaler | None,
        tiling: Tiling,
        progress: Progress | None,
        watch: Watch | None,
    ) -> None:
        self.settings, self.original, self.alpha, self.tiling = settings, original, alpha, tiling
        self.progress, self.watch = progress, watch
        self.exact, self.twin, self.scale = rescaler, twin, rescaler.scale
        self.raw_loss = settings.loss if callable(settings.loss) else LOSSES[settings.loss]
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.downscales = self.upscales = self.gradients = 0

    def run(self, hr_start: Images | None, lr_start: Images | None) -> Result:
        settings, hr_stage, lr_stage = self.settings, None, None
        lr = self.lr_of(self.original)
        before = self.as_file(lr)
        kept = _Kept(self.original, before)
        if settings.hr_steps:
            start, evaluate = self.start(self.original, hr_start), self.through_both(self.twin or self.exact)
            found = kept
            if self.twin:  # its own losses are compared among themselves, and the HR that wins is measured again
                found = _Kept(self.original, evaluate(self.original, False, True)[2])
            hr_stage = self.descend(start, self.original, settings.hr_steps, evaluate, found)
            lr = self.lr_of(found.image)
            if self.twin:
                kept.take(found.image, self.as_file(lr), settings)
                lr = self.lr_of(kept.image)
        target = self.original if settings.lr_target == "original" else kept.image
        best = _Kept(lr, kept.rounded)
        if settings.lr_steps:
            start = self.start(lr, lr_start)
            lr_stage = self.descend(start, lr, settings.lr_steps, self.through_upscaler(target), best)
        cost = (self.downscales, self.upscales, self.gradients)
        reasons: tuple[Stop, ...] = ("passes",) * len(self.original)
        return Result(best.image, kept.image, before, best.rounded, hr_stage, lr_stage, *cost, reasons)

    def loss(self, restored: Images, photo: Images) -> PerImage:
        """The loss of what is seen; ``photo`` has its alpha as a last channel, if any."""
        return self.raw_loss(*as_seen(restored, photo))

    def lr_of(self, hr: Images) -> Images:
        self.downscales += 1
        with torch.no_grad():
            return quantize(tiles.downscale(self.exact.downscale, hr, self.scale, self.tiling))

    def as_file(self, lr: Images) -> PerImage:
        """The loss of the 8-bit photo that the 8-bit LR restores."""
        self.upscales += 1

        def loss(restored: Images, photo: Images) -> Tensor:
            return self.loss(quantize(restored), photo)[None]

        photo = with_alpha(self.original, self.alpha)
        return tiles.mean(self.exact.upscale, quantize(lr), photo, self.scale, loss, self.tiling)[0]

    def through_both(self, networks: Rescaler) -> _Evaluate:
        """The losses of an HR, whose LR is rounded on the way."""

        def restore(hr: Images) -> Images:
            return networks.upscale(quantize(networks.downscale(hr)))

        def losses(restored: Images, photo: Images) -> Tensor:
            return torch.stack((self.loss(restored, photo), self.loss(quantize(restored.detach()), photo)))

        def evaluate(hr: Images, wanted: bool, judge: bool) -> tuple[PerImage, Images | None, PerImage]:
            self.downscales += 1
            self.upscales += 1
            (value, rounded), slope = self.measure(restore, hr, self.original, losses, wanted, self.scale)
            return value, slope, rounded

        return evaluate

    def through_upscaler(self, target: Images) -> _Evaluate:
        """The losses of an LR against ``target``; as a file always against the original."""
        upscale = (self.twin or self.exact).upscale

        def losses(restored: Images, photo: Images) -> Tensor:
            return self.loss(restored, photo)[None]

        def evaluate(lr: Images, wanted: bool, judge: bool) -> tuple[PerImage, Images | None, PerImage]:
            self.upscales += 1
            (value,), slope = self.measure(upscale, lr, target, losses, wanted, 1)
            return value, slope, self.as_file(lr) if judge else torch.full_like(value, torch.nan)

        return evaluate

    def measure(
        self, run: tiles.Map, x: Images, target: Images, losses: tiles.Losses, wanted: bool, unit: int
    ) -> tuple[Tensor, Images | None]:
        target = with_alpha(target, self.alpha)
        if not wanted:
            return tiles.mean(run, x, target, self.scale, losses, self.tiling, unit), None
        return tiles.gradient(run, x, target, self.scale, losses, self.tiling, unit)

    def start(self, base: Images, delta: Images | None) -> Images:
        settings = self.settings
        if delta is None and settings.start == "random":
            # The same for each image, so that a photo's result does not depend on its place in a batch.
            delta = random_point(base[:1].shape, settings.eps, settings.norm, self.generator).to(base)
        return base if delta is None else (base + delta).clamp(0, 1)

    def descend(self, image: Images, base: Images, steps: int, evaluate: _Evaluate, kept: _Kept) -> Stage:
        """One stage: projected normalised gradient steps around ``base`` from ``image``; finds go into ``kept``."""
        settings = self.settings
        sign = 1 if settings.direction == "descent" else -1
        losses, as_files = [], []
        for step in range(steps + 1):
            last = step == steps
            loss, slope, rounded = evaluate(image, not last, settings.keep == "best" or step == 0 or last)
            if last or settings.keep == "best":
                kept.take(image, rounded, settings)
            losses.append(loss)
            as_files.append(rounded)
            if slope is not None:
                moved = image - sign * settings.alpha * steepest(slope, settings.norm)
                image = (base + project(moved - base, settings.eps, settings.norm)).clamp(0, 1)
                self.gradients += 1
                if self.progress:
                    self.progress(self.gradients, settings.passes)
                if self.watch:
                    self.watch(self.gradients, loss)
        return Stage(torch.stack(losses), torch.stack(as_files))
