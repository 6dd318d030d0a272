"""python -m bench.decode: seconds to restore a photo of one megapixel by each rescaler, against the plain pass.

In float32 from the LR tensor to the HR tensor, in the tiles that the command would choose; plain is bench.plain's. All
take turns in one run; medians count. Also in ms a megapixel, and as the share of what a wide convolution reaches on the
same device in float32. Rows go to results/decode.jsonl.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.peak import convolution_peak, operations_of
from bench.plain import DEVICE, WIDER, keep_rows, machine, plain, rescaler, take_turns
from bench.readme import ROOT
from coscale import tiles
from coscale.machine import keep_freed_memory
from coscale.rescalers import Rescaler
from coscale.tiles import WHOLE, Room, Tiling
from coscale.weights.manifest import read_manifest


@torch.no_grad()
def decode(network: Rescaler, lr: Tensor, tiling: Tiling) -> Tensor:
    return tiles.upscale(network.upscale, lr, network.scale, tiling)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.decode", description=__doc__)
    parser.add_argument("rescalers", nargs="*", default=[WIDER, *read_manifest()])
    parser.add_argument("--side", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "decode.jsonl")
    arguments = parser.parse_args()
    keep_freed_memory()
    runs: dict[str, Callable[[], object]] = {}
    operations: dict[str, int] = {}
    for name in arguments.rescalers:
        network = rescaler(name)
        side = arguments.side // network.scale
        lr = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        tiling = tiles.choose(tiles.Passes(network, (side, side), 3, DEVICE, gradients=False), Room()).tiling
        runs[name] = partial(decode, network, lr, tiling)
        runs[f"{name}, plain"] = partial(decode, plain(network), lr, WHOLE)
        operations[name] = operations_of(runs[name])
    medians, peak = take_turns(runs, arguments.rounds), convolution_peak(DEVICE, "float32")

    def row(name: str) -> dict[str, object]:
        ours, usual = medians[name], medians[f"{name}, plain"]
        found = {"rescaler": name, "megapixels": arguments.side**2 / 1e6, "median_seconds": ours}
        found |= {"plain_seconds": usual, "times_faster": round(usual / ours, 2), "rounds": arguments.rounds}
        found["ms_a_megapixel"] = round(1000 * ours / found["megapixels"], 1)
        found["share_of_peak"] = round(operations[name] / ours / peak, 3)
        return found | machine()

    keep_rows(arguments.out, map(row, arguments.rescalers))


if __name__ == "__main__":
    main()
