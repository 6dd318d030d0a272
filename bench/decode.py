"""python -m bench.decode: seconds to restore a photo of one megapixel by each rescaler in the package.

In float32 from the LR tensor to the HR tensor. The rescalers take turns in one run; medians count.
"""

import json
import platform
import statistics
import time

import torch

from coscale.weights.load import Loaded, load
from coscale.weights.manifest import read_manifest

HEIGHT, WIDTH = 1000, 1000


@torch.no_grad()
def seconds(loaded: Loaded) -> float:
    lr = torch.rand(1, 3, HEIGHT // loaded.scale, WIDTH // loaded.scale, generator=torch.Generator().manual_seed(0))
    lr = lr.to(loaded.device)
    begun = time.perf_counter()
    loaded.rescaler.upscale(lr).sum().item()  # waits for a GPU
    return time.perf_counter() - begun


def main(rounds: int = 5) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pairs = [load(name, device=device) for name in read_manifest()]
    for pair in pairs:
        seconds(pair)
    taken = [[seconds(pair) for pair in pairs] for _ in range(rounds)]
    for pair, each in zip(pairs, zip(*taken, strict=True), strict=True):
        row = {"rescaler": pair.name, "median_seconds": statistics.median(each), "seconds": each, "device": device}
        row |= {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine()}
        print(json.dumps(row))


if __name__ == "__main__":
    main()
