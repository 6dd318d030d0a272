"""python -m bench.train RECIPE...: how fast a training step is here, and on a CPU against plain fp32.

Plain: float32, weights contiguous, not compiled (IRN's dense blocks still choose channels-last for what they compute).
The two take turns in one run; medians count. On a GPU also the share of the time that it spends in kernels, by torch's
profiler, copies left out.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace

import torch
from torch import nn

from coscale.train.data import Photos
from coscale.train.loop import Stepper
from coscale.train.process import Process
from coscale.train.recipes import Recipe, find, prepared
from coscale.train.state import State


def photos(device: torch.device) -> Photos:
    """Noise does for timing."""
    generator = torch.Generator().manual_seed(0)
    return Photos([torch.randint(256, (3, 512, 512), generator=generator, dtype=torch.uint8) for _ in range(8)], device)


def stepper(recipe: Recipe, where: Process, plain: bool) -> Stepper:
    precision = "float32" if plain else "bfloat16"
    layout = torch.contiguous_format if plain else torch.channels_last
    network: nn.Module = prepared(recipe).to(where.device, memory_format=layout)  # type: ignore[call-overload]
    return Stepper(State(recipe, network), photos(where.device), where, compiled=not plain, precision=precision)


def seconds(steps: Stepper, count: int) -> float:
    """Per step."""
    begun = time.perf_counter()
    torch.stack([steps.step() for _ in range(count)]).tolist()  # waits for a GPU
    return (time.perf_counter() - begun) / count


def kernel_share(steps: Stepper, count: int) -> float:
    """The part of the time in which the GPU is in a kernel."""
    kinds = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds):  # its first use takes long
        seconds(steps, 1)
    with torch.profiler.profile(activities=kinds) as profile:
        wall = count * seconds(steps, count)
    events = (event for event in profile.key_averages() if not event.key.startswith(("Memcpy", "Memset")))
    return sum(event.self_device_time_total for event in events) / 1e6 / wall


def measure(recipe: Recipe, rounds: int, count: int) -> dict[str, object]:
    where = Process(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    ours = stepper(recipe, where, plain=False)
    seconds(ours, 3)  # compiles
    row: dict[str, object] = {"recipe": recipe.name, "batch": recipe.batch, "patch": recipe.patch}
    row |= {"device": where.device.type, "torch": torch.__version__, "threads": torch.get_num_threads()}
    if where.device.type == "cuda":
        row["gpu"] = torch.cuda.get_device_name()
        row["steps_per_second"] = 1 / statistics.median(seconds(ours, count) for _ in range(rounds))
        row["kernel_share"] = kernel_share(ours, count)
        return row
    plain = stepper(recipe, where, plain=True)
    seconds(plain, 1)
    pairs = [(seconds(ours, count), seconds(plain, count)) for _ in range(rounds)]
    fast, slow = (statistics.median(column) for column in zip(*pairs, strict=True))
    return row | {"steps_per_second": 1 / fast, "plain_steps_per_second": 1 / slow, "ratio": slow / fast}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--patch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of one round")
    arguments = parser.parse_args()
    for name in arguments.recipes:
        recipe = find(name)
        recipe = replace(recipe, batch=arguments.batch or recipe.batch, patch=arguments.patch or recipe.patch)
        print(json.dumps(measure(recipe, arguments.rounds, arguments.steps)), flush=True)
