"""coscale's own method: descend on the LR alone, by steps in grey levels a pixel, and round it with care.

    x = round(g(y))
    descend   v = momentum v + gradient of loss(f(x), y)
              x = x - step v / rms(v)                        the step shrinks to 0
              x = drawn back to the fidelity to g(y)         and into [0, 1]
    settle    round a part of x for good, each time another  the parts lie dispersed over the image
              x = x - rate gradient, of what is not rounded  which so makes up for what is
    keep      the best file that is worse neither in RGB nor in Y

The paper's step and ball are norms over the whole image, so the larger a photo, the less each pixel may move and the
less is gained. Here both are root mean squares over the pixels, which a photo's size does not change. No pass goes
through g: from wherever the descent starts, it ends at the same loss (docs/study.md#where-to-start).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import UInt8
from torch import Tensor

from coscale import tiles
from coscale.alpha import as_seen, seen_share, with_alpha
from coscale.collaborate.losses import Loss, chroma_mse, mse, y_mse
from coscale.collaborate.method import Images, PerImage, Progress, Result, Stage, Stop, Watch
from coscale.errors import SettingsError
from coscale.quantize import quantize
from coscale.rescalers import Rescaler
from coscale.tiles import WHOLE, Tiling

Effort = Literal["fast", "balanced", "best"]
_PASSES: dict[Effort, tuple[int, int]] = {"fast": (8, 0), "balanced": (14, 6), "best": (40, 20)}  # descend, settle
_STEP = 0.4 / 255  # root mean square over an image's pixels, of the first step,
_SHARE = 0.2  # but no more than this share of that of the error of RGB
_REACH = 16 / 255  # the farthest that a value may move; on photos few get there, on line art a corner would
_CHROMA = 10**0.03  # what the errors of Cb and Cr may become, as a factor: 0.3 dB
_PRICE, _DEAREST = 4.0, 4.0  # how fast their weights grow with the excess, and how far
_MOMENTUM = 0.7
_CAREFUL = 0.5  # of the rate that the curvature seen so far allows
_STILL, _PATIENCE = 1e-3, 4  # an image has stalled whose loss fell by less than this share in so many passes,
_REST = 5  # and then has so many more in which its step shrinks to 0
_ROUNDING = 1 / 255**2 / 12  # the mean square by which rounding moves a pixel


@dataclass(frozen=True)
class Coscale:
    """coscale's method: its settings, and called with (rescaler, original) the method itself.

    - ``effort``: fast, balanced or best are 8, 20 or at most 60 passes through f and back.
    - ``luma``: the weight W of Y's error beside that of RGB, in the loss RGB-MSE + W Y-MSE.
    - ``fidelity``: the lowest PSNR in dB that the LR file may have against round(g(y)); above 58.9 dB, which rounding
      alone costs, the LR stays as it is.
    - ``objective``: a function of (restored, original), B x C x H x W in [0, 1], that gives one value an image, in
      place of RGB-MSE + W Y-MSE; of a photo that is worked on in tiles, the mean of the tiles' by area.

    With the default objective no result is worse than without the method, in RGB-MSE or Y-MSE of the 8-bit files, and
    what Cb and Cr pay for that is small: their errors join the loss as soon as one of them is 0.3 dB above g's.
    Raises SettingsError for values that make no sense.
    """

    effort: Effort = "balanced"
    luma: float = 0.5
    fidelity: float = 40.0
    objective: Loss | None = None

    name: ClassVar[str] = "coscale"
    maps: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.effort not in get_args(Effort):
            raise SettingsError(f"effort is {self.effort!r}; choose one of {', '.join(get_args(Effort))}")
        if not 0 <= self.luma < math.inf:
            raise SettingsError(f"luma is {self.luma}; it must be finite and not negative")
        if not math.isfinite(self.fidelity):
            raise SettingsError(f"fidelity is {self.fidelity}; it must be a number of dB")

    @property
    def passes(self) -> int:
        return sum(_PASSES[self.effort])

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
    ) -> Result:
        """Improve the LR of a batch of photos; see ``Method``. The LR is a file's already: multiples of 1/255."""
        with torch.no_grad():
            base = quantize(tiles.downscale(rescaler.downscale, original, rescaler.scale, tiling))
            share = 1.0 if alpha is None else float(seen_share(alpha).min())
            photo = with_alpha(original, alpha)
            plain = self._judge(rescaler, base, photo, tiling)
            kept, least = base, plain.loss
            run = _Run(self, twin or rescaler, photo, plain, share, tiling, progress, watch)
            run.descend()
            files = [run.as_file()]
            if run.settle():
                files.append(run.x)
            for lr in files:
                found = self._judge(rescaler, lr, photo, tiling)
                better = (found.loss < least) & self._accepts(found, plain, share)
                kept = torch.where(better[:, None, None, None], lr, kept)
                least = torch.where(better, found.loss, least)
        found = (least < plain.loss).tolist()
        reasons: list[Stop] = [
            why if better or why == "no gradient" else "nothing better"
            for why, better in zip(run.stopped, found, strict=True)
        ]
        losses = torch.stack(run.losses)
        stage = Stage(losses, torch.full_like(losses, torch.nan))
        passes = len(run.losses)
        cost = (1, 1 + passes + len(files), passes)
        return Result(kept, original, plain.loss, least, None, stage, *cost, tuple(reasons))

    @property
    def limit(self) -> float:
        """The largest mean square by which the LR may differ from g's, over the pixels that are seen."""
        return 10 ** (-self.fidelity / 10)

    def measure(self, restored: Images, original: Images) -> PerImage:
        """The loss that files are judged by."""
        if self.objective:
            return self.objective(restored, original)
        loss = mse(restored, original)
        return loss + self.luma * y_mse(restored, original) if self.luma else loss

    def _judge(self, rescaler: Rescaler, lr: Images, original: Images, tiling: Tiling) -> "_Judged":
        def errors(file: Images, photo: Images) -> Tensor:
            file, photo = as_seen(file, photo)
            rows = [self.measure(file, photo)[None], mse(file, photo)[None], y_mse(file, photo)[None]]
            return torch.cat([*rows, chroma_mse(file, photo)] if photo.shape[1] == 3 else rows)

        def restore(x: Images) -> Images:
            return quantize(rescaler.upscale(x))

        loss, rgb, y, *chroma = tiles.mean(restore, lr, original, rescaler.scale, errors, tiling)
        return _Judged(lr, loss, rgb, y, chroma)

    def _accepts(self, found: "_Judged", plain: "_Judged", share: float) -> Tensor:
        """Which images are faithful to g's, and no worse than it in RGB and in Y."""
        faithful = mse(found.lr, plain.lr) <= self.limit * share
        return faithful & (found.rgb <= plain.rgb) & (found.y <= plain.y) if self.objective is None else faithful


class _Run:
    """One optimisation: the LR ``x`` as it is now, and what its last gradient was."""

    def __init__(
        self,
        settings: Coscale,
        rescaler: Rescaler,
        original: Images,
        plain: "_Judged",
        share: float,
        tiling: Tiling,
        progress: Progress | None,
        watch: Watch | None,
    ) -> None:
        self.settings, self.rescaler, self.original, self.base = settings, rescaler, original, plain.lr
        self.tiling, self.progress, self.watch = tiling, progress, watch
        rgb = plain.rgb / max(share, 1e-9)  # of what is seen
        self.step = (_SHARE * rgb.sqrt()).clamp(max=_STEP)[:, None, None, None]
        # How much the errors of Cb and Cr weigh, 0 while they are small, and how large they may be.
        guarded = settings.objective is None and bool(plain.chroma)
        self.allowed = _CHROMA * torch.stack(plain.chroma) if guarded else None
        self.weight = torch.zeros_like(self.allowed) if self.allowed is not None else None
        self.limit = settings.limit * share
        self.radius = math.sqrt(max(0.0, self.limit - _ROUNDING))
        self.x, self.losses = self.base, list[PerImage]()
        self.seen: tuple[Images, Images] | None = None  # where the last gradient was taken, and that
        self.stopped: list[Stop] = ["passes" for _ in original]

    def gradient(self) -> Images:
        """Of the loss at ``x``, and of Cb's and Cr's errors by their weights."""

        def losses(restored: Images, photo: Images) -> Tensor:
            restored, photo = as_seen(restored.clamp(0, 1), photo)
            loss = self.settings.measure(restored, photo)[None]
            if self.weight is None:
                return loss
            chroma = chroma_mse(restored, photo)
            return torch.cat((loss + (self.weight * chroma).sum(0, keepdim=True), chroma))

        run, scale = self.rescaler.upscale, self.rescaler.scale
        (loss, *chroma), slope = tiles.gradient(run, self.x, self.original, scale, losses, self.tiling)
        if self.weight is not None:
            self.chroma = torch.stack(chroma)
            loss = loss - (self.weight * self.chroma).sum(0)
        self.losses.append(loss)
        if self.progress:
            self.progress(len(self.losses), self.settings.passes)
        if self.watch:
            self.watch(len(self.losses), loss)
        return slope

    def guard_chroma(self) -> Tensor:
        """Weigh Cb's and Cr's errors more while they are too large, less when not; say in which images they are not."""
        if self.weight is None or self.allowed is None:
            return torch.ones_like(self.losses[-1], dtype=torch.bool)
        excess = self.chroma / self.allowed.clamp(min=1e-12) - 1
        self.weight = (self.weight + _PRICE * excess).clamp(0, _DEAREST)
        return (excess < 0.01).all(0)

    def within(self, x: Images) -> Images:
        """Drawn back until it keeps the fidelity once it is rounded, the reach of each value, and [0, 1]."""
        delta = (x - self.base).clamp_(-_REACH, _REACH)
        return delta.mul_((self.radius / _rms(delta)).clamp(max=1)).add_(self.base).clamp_(0, 1)

    def descend(self) -> None:
        """Normalised steps with momentum, each smaller than the last; one that gains no more comes to rest."""
        passes = _PASSES[self.settings.effort][0]
        velocity = torch.zeros_like(self.x)
        step, brake = self.step, self.step / passes
        for _ in range(passes):
            gradient = self.gradient()
            self.seen = self.x, gradient
            free = self.guard_chroma()
            brake = torch.where(self._just_stalled(gradient, free), step / _REST, brake)
            velocity.mul_(_MOMENTUM).add_(gradient)
            self.x = self.within(self.x - velocity * (step / _rms(velocity)))
            step = step - brake
            step = torch.where(step > brake / 2, step, 0)  # what is left is an error of rounding
            if not step.any() or not self.radius or not gradient.any():
                break

    def _just_stalled(self, gradient: Images, free: Tensor) -> Tensor:
        """Which images have stopped to gain, once for each, and note why; those not ``free`` still have to mend."""
        still = torch.zeros_like(self.losses[-1], dtype=torch.bool)
        if len(self.losses) > _PATIENCE:
            still = self.losses[-1] > (1 - _STILL) * self.losses[-1 - _PATIENCE]
        flat = (gradient == 0).flatten(1).all(1)
        new = torch.tensor([why == "passes" for why in self.stopped], device=still.device) & ((still & free) | flat)
        for i in new.nonzero().flatten().tolist():
            self.stopped[i] = "no gradient" if flat[i] else "converged"
        return new[:, None, None, None]

    def settle(self) -> bool:
        """Round ``x`` part by part; what is not rounded yet makes up for what is. False where there is nothing to do.

        The rate comes from the curvature that the rounding itself shows, at no pass of its own: half of the least
        s y / y y so far, for rounding moves ``x`` in all directions alike, and y y is ruled by the most curved.
        """
        passes = _PASSES[self.settings.effort][1]
        if not passes or self.seen is None or torch.equal(self.x, self.base):
            return False
        part = _dispersed(self.x, passes + 1)
        rate = torch.full_like(self.x[:, :1, :1, :1], math.inf)
        for done in range(passes):
            self.x = torch.where(part == done, quantize(self.x), self.x)
            gradient = self.gradient()
            moved, bent = self.x - self.seen[0], gradient - self.seen[1]
            self.seen = self.x, gradient
            found = _dot(moved, bent) / _dot(bent, bent).clamp(min=1e-30)
            rate = torch.where(found > 0, torch.minimum(rate, found), rate)
            step = torch.where(rate.isfinite(), _CAREFUL * rate, 0) * gradient
            self.x = torch.where(part <= done, self.x, self.within(self.x - step))
        self.x = quantize(self.x)
        return True

    def as_file(self) -> Images:
        """``x`` rounded all at once, drawn towards g's as far as the fidelity of what is rounded asks for."""
        lr, delta = quantize(self.x), self.x - self.base
        for _ in range(8):
            over = mse(lr, self.base) > self.limit
            if not over.any():
                break
            delta = torch.where(over[:, None, None, None], 0.9 * delta, delta)
            lr = quantize(self.base + delta)
        return lr


@dataclass(frozen=True)
class _Judged:
    """An LR file of each image with its errors."""

    lr: Images
    loss: PerImage
    rgb: PerImage
    y: PerImage
    chroma: list[PerImage]  # Cb and Cr; empty for grey


def _dispersed(x: Images, parts: int) -> UInt8[Tensor, "1 c h w"]:
    """A part, from 0 to ``parts`` - 1, for each value of an image, such that those of each lie evenly over it.

    Source: the R2 sequence (Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018).
    """
    channels, height, width = (torch.arange(n, dtype=torch.float64, device=x.device) for n in x.shape[1:])
    first = channels[:, None, None] / 3 + 0.5698402909980532 * width
    # A row at a time, since float64 of a large image would take eight times the memory of the parts.
    rows = [((first + 0.7548776662466927 * y) % 1 * parts).to(torch.uint8) for y in height]
    return torch.cat(rows, 1)[None]


def _dot(a: Images, b: Images) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


def _rms(x: Images) -> Tensor:
    """Root mean square of each image; tiny instead of zero, which nothing can be divided by."""
    return (torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True) / x[0].numel() ** 0.5).clamp(min=1e-30)
