"""python -m bench.passes [PART...] [--upscaler CRAFT]: what passes are worth, for docs/method.md.

- descent: the objective in dB of the file after so many passes without learned steps, by BFGS with the known curvature
  and without; mean over the middle 256 x 256 pixels of twelve photos of Set5, Set14 and DIV2K.
- balanced: the same of the effort, with learned steps, against the twenty passes that know nothing; and its seconds.
- foreign: the gain of Y by the learned steps of another pair, and by descent instead.
- rest: PSNR-Y and work of the effort balanced where tiles may rest and where none does, on DIV2K's photos.
- upscaler: the gain of Y and the seconds, as a share of HCD's, of so many passes for a network of others.

Rows go to results/passes.jsonl, where those of other parts stay.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from bench.plain import DEVICE, keep_rows, machine
from bench.readme import ROOT, read_rows
from coscale import tiles
from coscale.choices import Effort
from coscale.collaborate import HCD, Coscale, Method, Result
from coscale.collaborate import coscale as ours
from coscale.collaborate.method import improve
from coscale.collaborate.problem import Problem
from coscale.image import read
from coscale.machine import keep_freed_memory
from coscale.metrics import compare
from coscale.quantize import quantize
from coscale.rescalers import Bfloat16
from coscale.rescalers.steps import LearnedSteps, Steps
from coscale.resize import cut
from coscale.tiles import Tiling
from coscale.weights.load import Loaded, load
from coscale.weights.upscaler import load_upscaler

SIDE = 256
COUNTS = {"descent": (4, 6, 8, 14), "upscaler": (4, 6, 10)}
TILING = Tiling(400, 8)
TILINGS = (Tiling(112, 8), Tiling(208, 8))  # in which tiles may rest
PARTS = ("descent", "balanced", "foreign", "rest", "upscaler")


def photos(sets: Path) -> list[Tensor]:
    """The middle of some photos."""
    paths = [*sorted((sets / "Set5").iterdir())[:3], *sorted((sets / "Set14").iterdir())[::3]]
    found = [read(path).colour for path in (*paths, *sorted((sets / "DIV2K_valid_4").iterdir()))]
    return [middle(image) for image in found if image.shape[1] == 3]


def middle(image: Tensor, side: int = SIDE) -> Tensor:
    top, left = (max(0, (length - side) // 2) for length in image.shape[-2:])
    return cut(image[..., top : top + side, left : left + side], 4)


def run(
    pair: Loaded,
    photo: Tensor,
    method: Method[Any],
    *,
    steps: Steps | None = None,
    known: bool = True,
    tiling: Tiling = TILING,
) -> tuple[Result, float, float]:
    """What a method finds, its work in passes, and its seconds of this process."""
    learned = LearnedSteps(steps, "bfloat16") if steps else None
    curvature = method.curvature(pair.rescaler, DEVICE) if known else None
    twin = Bfloat16(pair.rescaler)
    problem = Problem(pair.rescaler, photo, twin=twin, tiling=tiling, steps=learned, curvature=curvature)
    begun = time.process_time()
    return improve(method, problem, method.begin(problem)), problem.work, time.process_time() - begun


@torch.no_grad()
def y_of(pair: Loaded, lr: Tensor, photo: Tensor) -> float:
    """PSNR-Y of what the file of an LR restores to."""
    restored = tiles.upscale(pair.rescaler.upscale, quantize(lr), pair.scale, TILING)
    return float(compare(quantize(restored), photo, pair.scale)["psnr_y"])


def gain(pair: Loaded, photo: Tensor, method: Method[Any], **how: Any) -> tuple[float, float]:
    """The gain of Y over g's LR, and the seconds."""
    result, _, seconds = run(pair, photo, method, **how)
    return y_of(pair, result.lr, photo) - y_of(pair, result.plain, photo), seconds


def of_passes(count: int, known: bool) -> Any:
    """The effort balanced as a descent of so many passes."""
    table, balanced = "_BY_CURVATURE" if known else "_BY_GRADIENTS", ours._BY_CURVATURE["balanced"]
    return patch.dict(getattr(ours, table), {"balanced": replace(balanced, descent=count, still=0)})


def descents(name: str, images: list[Tensor]) -> Iterator[dict[str, Any]]:
    pair = load(name, device=DEVICE)
    for known in (True, False):
        for count in COUNTS["descent"]:
            with of_passes(count, known):
                found = [float(run(pair, photo, Coscale(), known=known)[0].after) for photo in images]
            yield {"rescaler": name, "what": "descent", "curvature": known, "passes": count, "loss_db": mean_db(found)}


def balanced(name: str, images: list[Tensor]) -> Iterator[dict[str, Any]]:
    pair = load(name, device=DEVICE)
    for by, steps, known in (("learned steps", pair.steps, True), ("gradients", None, False)):
        results = [run(pair, photo, Coscale(), steps=steps, known=known) for photo in images]
        row = {"rescaler": name, "what": "balanced", "by": by, "passes": results[0][0].gradients}
        row |= {"loss_db": mean_db([float(result.after) for result, _, _ in results])}
        yield row | {"seconds": round(sum(seconds for *_, seconds in results), 2)}


def mean_db(losses: list[float]) -> float:
    return round(statistics.fmean(-10 * math.log10(loss) for loss in losses), 3)


def foreign(own: str, other: str, images: list[Tensor]) -> Iterator[dict[str, Any]]:
    steps, pair = load(own, device=DEVICE).steps, load(other, device=DEVICE)
    efforts: tuple[Effort, ...] = ("instant", "fast")
    for effort in efforts:
        for by, taken in (("steps of " + own, steps), ("descent", None)):
            gains = [gain(pair, photo, Coscale(effort), steps=taken)[0] for photo in images]
            row = {"rescaler": other, "what": "foreign", "by": by, "effort": effort}
            yield row | {"gain_y": round(statistics.fmean(gains), 3)}


def rest(name: str, sets: Path) -> Iterator[dict[str, Any]]:
    pair = load(name, device=DEVICE)
    images = [cut(read(path).colour, pair.scale) for path in sorted((sets / "DIV2K_valid_4").iterdir())]
    for tiling in TILINGS:
        for rests, setting, value in ((True, "_AROUND", math.inf), (False, "_LITTLE", -1.0)):
            with patch.object(ours, setting, value):
                results = [run(pair, photo, Coscale(), steps=pair.steps, tiling=tiling) for photo in images]
            psnr = [y_of(pair, result.lr, photo) for (result, *_), photo in zip(results, images, strict=True)]
            row = {"rescaler": name, "what": "rest", "tile": tiling.side, "rests": rests}
            row |= {"psnr_y": round(statistics.fmean(psnr), 3)}
            row |= {"work": round(statistics.fmean(work for _, work, _ in results), 2)}
            yield row | {"seconds": round(sum(seconds for *_, seconds in results), 1)}


def others(path: Path, images: list[Tensor]) -> Iterator[dict[str, Any]]:
    pair = load_upscaler(path, device=DEVICE)

    def row(by: str, found: list[tuple[float, float]]) -> dict[str, Any]:
        gains, seconds = (round(statistics.fmean(values), 3) for values in zip(*found, strict=True))
        return {"rescaler": pair.name, "what": "upscaler", "by": by, "gain_y": gains, "seconds": seconds}

    yield row("HCD", [gain(pair, photo, HCD(), known=False) for photo in images])
    for count in COUNTS["upscaler"]:
        with of_passes(count, known=True):
            yield row(f"{count} passes", [gain(pair, photo, Coscale()) for photo in images])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.passes", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--sets", type=Path, default=ROOT.parent / "shared" / "data" / "test")
    parser.add_argument("--upscaler", type=Path, help="a checkpoint")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "passes.jsonl")
    arguments = parser.parse_args()
    keep_freed_memory()
    images = photos(arguments.sets)
    small = [middle(photo, 128) for photo in images[::4]]
    measured: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
        "descent": lambda: chain(*(descents(name, images) for name in ("light-x4", "light-x2"))),
        "balanced": lambda: chain(*(balanced(name, images) for name in ("light-x4", "light-x2"))),
        "foreign": lambda: chain(foreign("light-x2", "irn-x2-4b", small), foreign("light-x4", "irn-x4-4b", small)),
        "rest": lambda: rest("light-x4", arguments.sets),
        "upscaler": lambda: others(arguments.upscaler, small) if arguments.upscaler else (),
    }
    kept = [row for row in read_rows(arguments.out) if row["what"] not in arguments.parts]
    rows = ({**row, **machine()} for part in arguments.parts for row in measured[part]())
    keep_rows(arguments.out, chain(kept, rows))


if __name__ == "__main__":
    main()
