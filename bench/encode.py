"""python -m bench.encode [RESCALER...]: seconds to encode, and seconds of one step, against the plain paper loop.

The plain loop is HCD as published (see bench.plain). Ours is what `coscale downscale` does, in bfloat16, with as few
passes as give at least the paper's gain. All take turns in one run on one photo; medians count. Gains are dB of the
RGB of the 8-bit files. One step is also given in ms a megapixel, and as the share of what a wide convolution reaches on
this device in the same precision. Rows go to results/encode.jsonl.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from bench.peak import convolution_peak, operations_of
from bench.plain import DEVICE, WIDER, keep_rows, machine, photo_of, plain, rescaler, take_turns
from bench.readme import ROOT
from coscale import tiles
from coscale.choices import Effort
from coscale.collaborate import HCD, Coscale, Result
from coscale.machine import keep_freed_memory
from coscale.objectives import mse
from coscale.quantize import quantize
from coscale.rescalers import Bfloat16, Rescaler
from coscale.rescalers.steps import LearnedSteps
from coscale.tiles import WHOLE, Room
from coscale.weights.load import load


def step(network: Rescaler, lr: Tensor, hr: Tensor) -> Tensor:
    """One gradient by the LR, on the whole image."""
    x = lr.detach().requires_grad_()
    mse(network.upscale(x), hr).sum().backward()  # not autograd.grad, which PyTorch's counter of operations refuses
    assert x.grad is not None
    return x.grad


def compare(name: str, side: int, rounds: int) -> dict[str, object]:
    network, steps = rescaler(name), None
    if name != WIDER and (learned := load(name, device=DEVICE).steps):
        steps = LearnedSteps(learned, "bfloat16")
    usual, twin = plain(network), Bfloat16(network)
    hr = photo_of(side)
    with torch.no_grad():
        lr = network.downscale(hr)
    tiling = tiles.choose(tiles.Passes(twin, (lr.shape[-2], lr.shape[-1]), 3, DEVICE), Room()).tiling
    compared = tiles.Comparison(twin.upscale, hr, network.scale, lambda a, b: mse(a, b)[None], tiling)
    curvature = Coscale().curvature(network, DEVICE)
    results: dict[str, Result] = {}

    def keep(key: str, run: Callable[[], Result]) -> Callable[[], None]:
        return lambda: results.update({key: run()})

    def ours(effort: Effort) -> Result:
        return Coscale(effort)(network, hr, twin=twin, tiling=tiling, steps=steps, curvature=curvature)

    runs: dict[str, Callable[[], object]] = {
        "HCD, plain": keep("HCD, plain", lambda: HCD()(usual, hr)),
        "HCD": keep("HCD", lambda: HCD()(network, hr, twin=twin)),
        "fast": keep("fast", lambda: ours("fast")),
        "balanced": keep("balanced", lambda: ours("balanced")),
        "step, plain": lambda: step(usual, lr, hr),
        "step": lambda: compared.gradient(lr),
    }
    runs["step"]()
    medians = take_turns(runs, rounds)

    def gain(result: Result) -> float:
        with torch.no_grad():
            before, after = (
                mse(quantize(tiles.upscale(network.upscale, x, network.scale, WHOLE)), hr)
                for x in (quantize(lr), quantize(result.lr))
            )
        return round(10 * math.log10(float(before / after)), 3)

    gains = {key: gain(result) for key, result in results.items()}
    operations = operations_of(lambda: step(network, lr, hr))
    as_good = [key for key in ("fast", "balanced") if gains[key] >= gains["HCD, plain"]]
    quickest = medians[as_good[0]] if as_good else math.nan
    return {
        "rescaler": name,
        "megapixels": round(side * side / 1e6, 3),
        "tile": min(tiling.side, lr.shape[-1]),
        "median_seconds": medians,
        "gain_rgb": gains,
        "times_faster_to_the_papers_gain": round(medians["HCD, plain"] / quickest, 2),
        "times_faster_step": round(medians["step, plain"] / medians["step"], 2),
        "step_ms_a_megapixel": round(1000 * medians["step"] / (side * side / 1e6), 1),
        "step_share_of_peak": round(operations / medians["step"] / convolution_peak(DEVICE, "bfloat16"), 3),
        "times_faster_hcd": round(medians["HCD, plain"] / medians["HCD"], 2),
        "rounds": rounds,
        **machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.encode", description=__doc__)
    parser.add_argument("rescalers", nargs="*", default=[WIDER, "light-x2", "light-x4"])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "encode.jsonl")
    arguments = parser.parse_args()
    keep_freed_memory()
    keep_rows(arguments.out, (compare(name, arguments.side, arguments.rounds) for name in arguments.rescalers))


if __name__ == "__main__":
    main()
