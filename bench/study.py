"""python -m bench.study SET5 [RESCALER...]: what finds the best LR, at equal passes through f and back.

Three crops of the photos in the folder SET5, gradients in bfloat16, the loss of RGB-MSE + 0.5 Y-MSE. Gains are PSNR in
dB of the 8-bit photo that the 8-bit LR restores, over no method, and means over the crops. Rows go to
results/study.jsonl, from which `python -m bench.readme` makes the tables of docs/study.md.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.readme import ROOT
from coscale.collaborate import HCD, Coscale
from coscale.image import read
from coscale.metrics import compare, psnr
from coscale.objectives import mse, y_mse
from coscale.quantize import quantize
from coscale.rescalers import Bfloat16, Rescaler
from coscale.weights.load import load

LEVEL = 1 / 255
CROPS = (("img_003.png", 0, 0), ("img_005.png", 40, 20), ("img_002.png", 20, 20))  # butterfly, woman, bird
SIDE = 192
LUMA = 0.5
LARGER = 1e6  # for L-BFGS: the loss is so small that PyTorch's thresholds would end the search at once


@dataclass
class Problem:
    """The LR image to be found: ``base`` is round(g(original))."""

    rescaler: Rescaler
    original: Tensor
    base: Tensor

    def __post_init__(self) -> None:
        self.twin = Bfloat16(self.rescaler)

    @staticmethod
    def loss_of(restored: Tensor, original: Tensor) -> Tensor:
        restored = restored.clamp(0, 1)
        return mse(restored, original) + LUMA * y_mse(restored, original)

    def loss(self, restored: Tensor) -> Tensor:
        return self.loss_of(restored, self.original)

    def gradient(self, x: Tensor, seen_as: Callable[[Tensor], Tensor] = lambda x: x) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        loss = self.loss(self.twin.upscale(seen_as(x)))
        return loss.detach(), torch.autograd.grad(loss.sum(), x)[0]


def rms(x: Tensor) -> Tensor:
    return x.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-30)


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


def momentum(
    problem: Problem,
    passes: int,
    *,
    step: float = 0.4,
    keep: float = 0.7,
    decay: bool = True,
    sign: bool = False,
    nesterov: bool = False,
    start: Tensor | None = None,
    seen_as: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Steps of a root mean square of ``step`` grey levels along the gradients' decaying sum."""
    x = problem.base if start is None else start
    velocity, last = torch.zeros_like(x), torch.zeros_like(x)
    for done in range(passes):
        _, gradient = problem.gradient(x + keep * last if nesterov else x, seen_as)
        velocity = keep * velocity + gradient
        direction = velocity.sign() if sign else velocity / rms(velocity)
        last = -step * LEVEL * (1 - done / passes if decay else 1) * direction
        x = (x + last).clamp(0, 1)
    return x


def adam(problem: Problem, passes: int) -> Tensor:
    x = problem.base.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.4 * LEVEL, betas=(0.7, 0.99))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, passes)
    for _ in range(passes):
        x.grad = problem.gradient(x)[1]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return x.detach()


def lbfgs(problem: Problem, passes: int) -> Tensor:
    """Of PyTorch, with its line search, each image for itself; it stops after so many gradients."""
    found = []
    for i in range(len(problem.base)):
        one = Problem(problem.rescaler, problem.original[i : i + 1], problem.base[i : i + 1])
        x = one.base.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [x], lr=1, max_iter=passes, max_eval=passes, history_size=10, line_search_fn="strong_wolfe"
        )

        def closure(one: Problem = one, x: Tensor = x) -> float:
            loss, gradient = one.gradient(x)
            x.grad = LARGER * gradient.contiguous()
            return float(LARGER * loss)

        optimizer.step(closure)
        found.append(x.detach().clamp(0, 1))
    return torch.cat(found)


def line_search(problem: Problem, passes: int) -> Tensor:
    """Conjugate gradients (Polak-Ribiere); the step to the minimum of the parabola through one more forward pass."""
    x, direction, last = problem.base, None, torch.zeros_like(problem.base)
    for _ in range(round(passes * 3 / 4)):  # a forward pass is about a third of a pass
        loss, gradient = problem.gradient(x)
        if direction is None:
            direction = -gradient
        else:
            share = (dot(gradient, gradient - last) / dot(last, last)).clamp(min=0)
            direction = share * direction - gradient
            direction = torch.where(dot(direction, gradient) > 0, -gradient, direction)
        last = gradient
        probe, slope = 0.3 * LEVEL / rms(direction), dot(gradient, direction)
        with torch.no_grad():
            there = problem.loss(problem.twin.upscale(x + probe * direction))
        curvature = 2 * ((there - loss)[:, None, None, None] - slope * probe) / probe**2
        length = torch.where(curvature > 0, -slope / curvature, probe).clamp(max=6 * probe)
        x = (x + length * direction).clamp(0, 1)
    return x


def barzilai_borwein(problem: Problem, passes: int) -> Tensor:
    """Gradient steps whose length is read from the last two gradients; the best point seen."""
    x, before = problem.base, None
    best, least = x, torch.full_like(x[:, :1, :1, :1], math.inf)
    for _ in range(passes):
        loss, gradient = problem.gradient(x)
        better = loss[:, None, None, None] < least
        best, least = torch.where(better, x, best), torch.where(better, loss[:, None, None, None], least)
        rate = first = 0.4 * LEVEL / rms(gradient)
        if before is not None:
            moved, bent = x - before[0], gradient - before[1]
            rate = dot(moved, bent) / dot(bent, bent).clamp(min=1e-30)
            rate = torch.where(rate > 0, rate, first).clamp(max=3 * first)
        before = x, gradient
        x = (x - rate * gradient).clamp(0, 1)
    return best


def noisy(x: Tensor) -> Tensor:
    return x + (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 0.5) * LEVEL


def flips(problem: Problem, passes: int, of_these: int = 6) -> Tensor:
    """Round, then let the gradient at the rounded LR say which values go up or down by one; a third at a time."""
    x = momentum(problem, passes - of_these)
    _, before = problem.gradient(x)
    rounded = quantize(x)
    rate = torch.zeros_like(x[:, :1, :1, :1])
    part = torch.arange(x.shape[-1]) % 3 + torch.arange(x.shape[-2])[:, None]
    for done in range(of_these - 1):
        _, gradient = problem.gradient(rounded)
        if not done:
            bent = gradient - before
            rate = 0.5 * dot(rounded - x, bent) / dot(bent, bent)
        moved = quantize(rounded - rate * gradient)
        rounded = torch.where(part % 3 == done % 3, moved, rounded)
    return rounded


def hr_stage(problem: Problem, passes: int) -> Tensor:
    """Descend on the photo, through round, g and f; its LR."""
    x, velocity = problem.original, torch.zeros_like(problem.original)
    for done in range(passes):
        x = x.detach().requires_grad_()
        loss = problem.loss(problem.twin.upscale(quantize(problem.twin.downscale(x))))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        with torch.no_grad():
            velocity = 0.7 * velocity + gradient
            x = (x - 0.8 * LEVEL * (1 - done / passes) * velocity / rms(velocity)).clamp(0, 1)
    with torch.no_grad():
        return problem.rescaler.downscale(x).clamp(0, 1)


def shaken(problem: Problem, levels: float) -> Tensor:
    noise = torch.randn(problem.base.shape, generator=torch.Generator().manual_seed(1))
    return (problem.base + levels * LEVEL * noise).clamp(0, 1)


def ours(problem: Problem, settings: Coscale | HCD) -> Tensor:
    return settings(problem.rescaler, problem.original, twin=problem.twin).lr


Variant = Callable[[Problem], Tensor]
VARIANTS: dict[str, dict[str, tuple[int, Variant]]] = {
    "step": {
        "paper's, HR and LR stage": (30, lambda p: ours(p, HCD(loss=p.loss_of))),
        "paper's, LR stage": (20, lambda p: ours(p, HCD(hr_steps=0, lr_steps=20, loss=p.loss_of))),
        "paper's LR stage, its ball three times as large": (
            20,
            lambda p: ours(p, HCD(hr_steps=0, lr_steps=20, loss=p.loss_of, eps=0.9)),
        ),
        "normalised": (20, lambda p: momentum(p, 20, keep=0, decay=False)),
        "normalised, decay": (20, lambda p: momentum(p, 20, keep=0)),
        "sign, decay": (20, lambda p: momentum(p, 20, keep=0, sign=True)),
        "momentum 0.7, decay": (20, lambda p: momentum(p, 20)),
        "momentum 0.7, decay, step 0.2": (20, lambda p: momentum(p, 20, step=0.2)),
        "momentum 0.7, decay, step 0.8": (20, lambda p: momentum(p, 20, step=0.8)),
        "momentum 0.9, decay": (20, lambda p: momentum(p, 20, keep=0.9)),
        "Nesterov 0.7, decay": (20, lambda p: momentum(p, 20, nesterov=True)),
        "Adam, decay": (20, lambda p: adam(p, 20)),
        "L-BFGS": (20, lambda p: lbfgs(p, 20)),
        "conjugate gradients, line search": (20, lambda p: line_search(p, 20)),
        "Barzilai-Borwein": (20, lambda p: barzilai_borwein(p, 20)),
    },
    "rounding": {
        "at the end": (20, lambda p: momentum(p, 20)),
        "in each pass, straight-through": (20, lambda p: momentum(p, 20, seen_as=quantize)),
        "noise in each pass": (20, lambda p: momentum(p, 20, seen_as=noisy)),
        "at the end, then flips by the gradient": (20, lambda p: flips(p, 20)),
        "part by part (coscale)": (20, lambda p: ours(p, Coscale())),
    },
    "start": {
        "g(y)": (60, lambda p: momentum(p, 60)),
        "after an HR stage of 20": (80, lambda p: momentum(p, 60, start=hr_stage(p, 20))),
        "after an HR stage of 40": (100, lambda p: momentum(p, 60, start=hr_stage(p, 40))),
        "noise of 3 grey levels": (60, lambda p: momentum(p, 60, start=shaken(p, 3), step=0.8)),
        "noise of 6 grey levels": (60, lambda p: momentum(p, 60, start=shaken(p, 6), step=1.2)),
        "g(y), 240 passes, step 3": (240, lambda p: momentum(p, 240, step=3)),
    },
    "effort": {
        "fast": (8, lambda p: ours(p, Coscale("fast"))),
        "balanced": (20, lambda p: ours(p, Coscale())),
        "best": (60, lambda p: ours(p, Coscale("best"))),
    },
}


def measure(rescaler: str, photos: Path) -> Iterator[dict[str, object]]:
    network = load(rescaler).rescaler
    crops = [read(photos / name).colour[..., t : t + SIDE, left : left + SIDE] for name, t, left in CROPS]
    original = torch.cat(crops)

    @torch.no_grad()
    def quality(lr: Tensor) -> dict[str, Tensor]:
        return compare(quantize(network.upscale(lr)), original, network.scale)

    with torch.no_grad():
        base = quantize(network.downscale(original))
    before = quality(base)
    for group, variants in VARIANTS.items():
        for name, (passes, variant) in variants.items():
            begun = time.perf_counter()
            found = variant(Problem(network, original, base))
            seconds = time.perf_counter() - begun
            lr = quantize(found)
            gains = {key[5:]: value - before[key] for key, value in quality(lr).items() if key.startswith("psnr")}
            not_rounded = quality(found)["psnr_y"] - before["psnr_y"]
            yield {
                "rescaler": rescaler,
                "group": group,
                "variant": name,
                "passes": passes,
                **{key: round(float(gain.mean()), 4) for key, gain in gains.items()},
                "y_not_rounded": round(float(not_rounded.mean()), 4),
                "lr_psnr_g": round(float(psnr(lr, base).mean()), 2),
                "seconds": round(seconds, 2),
            }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.study", description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("rescalers", nargs="*", default=["light-x2", "light-x4"])
    arguments = parser.parse_args()
    with (ROOT / "results" / "study.jsonl").open("w") as file:
        for rescaler in arguments.rescalers:
            for row in measure(rescaler, arguments.photos):
                print(json.dumps(row), flush=True)
                file.write(json.dumps(row) + "\n")
