"""python -m bench.encode [RESCALER...]: seconds to encode and to take one step, against the plain loops, side by side.

The plain paper loop is HCD as published on the whole image: float32, eager autograd, contiguous memory. Ours is what
`coscale downscale` does, in bfloat16. All take turns in one run on one photo; medians count. Rows go to
results/encode.jsonl.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from bench.readme import ROOT
from coscale import tiles
from coscale.collaborate import HCD, Coscale, mse
from coscale.image import read
from coscale.rescalers import Bfloat16, Rescaler
from coscale.tiles import Room
from coscale.weights.load import load

CPU = torch.device("cpu")


def photo_of(side: int) -> Tensor:
    """A photo of so many pixels a side: the butterfly, mirrored again and again."""
    image = read(ROOT / "examples" / "butterfly.png").colour
    while image.shape[-1] < side:
        image = torch.cat((image, image.flip(-1)), -1)
        image = torch.cat((image, image.flip(-2)), -2)
    return image[..., :side, :side].contiguous()


def step(rescaler: Rescaler, lr: Tensor, hr: Tensor) -> Tensor:
    """One gradient by the LR, on the whole image."""
    x = lr.detach().requires_grad_()
    return torch.autograd.grad(mse(rescaler.upscale(x), hr).sum(), x)[0]


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def compare(name: str, side: int, rounds: int) -> dict[str, object]:
    rescaler = load(name).rescaler
    twin = Bfloat16(rescaler)
    hr = photo_of(side)
    with torch.no_grad():
        lr = rescaler.downscale(hr)
    tiling = tiles.choose(twin, (lr.shape[-2], lr.shape[-1]), 3, CPU, Room()).tiling
    runs: dict[str, Callable[[], object]] = {
        "paper, plain": lambda: HCD()(rescaler, hr),
        "paper, bfloat16": lambda: HCD()(rescaler, hr, twin=twin),
        "fast": lambda: Coscale("fast")(rescaler, hr, twin=twin, tiling=tiling),
        "balanced": lambda: Coscale()(rescaler, hr, twin=twin, tiling=tiling),
        "step, plain": lambda: step(rescaler, lr, hr),
        "step": lambda: tiles.gradient(twin.upscale, lr, hr, rescaler.scale, lambda a, b: mse(a, b)[None], tiling),
    }
    runs["step"]()
    taken = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            taken[key].append(seconds(run))
    medians = {key: round(median(values), 4) for key, values in taken.items()}
    return {
        "rescaler": name,
        "megapixels": round(side * side / 1e6, 3),
        "tile": min(tiling.side, lr.shape[-1]),
        "median_seconds": medians,
        "fast_against_paper": round(medians["paper, plain"] / medians["fast"], 2),
        "step_against_plain": round(medians["step, plain"] / medians["step"], 2),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.encode", description=__doc__)
    parser.add_argument("rescalers", nargs="*", default=["light-x2", "light-x4", "irn-x2-4b"])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "encode.jsonl")
    arguments = parser.parse_args()
    with arguments.out.open("w") as file:
        for name in arguments.rescalers:
            row = compare(name, arguments.side, arguments.rounds)
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
