"""python -m bench.train RECIPE...: how fast a training step is, eager and compiled, and on a CPU against plain fp32.

Plain: float32, weights contiguous, not compiled (IRN's dense blocks still choose channels-last for what they compute).
All take turns in one run; medians count. Beside steps a second stands the share of what a convolution of 64 channels
reaches on the same device and in the same precision. On a GPU also the share of the time that it spends in kernels, by
torch's profiler, copies left out.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace

import torch
from torch import nn

from bench.peak import convolution_peak, operations_of
from coscale.machine import name_of
from coscale.rescalers import Precision, fastest
from coscale.train.data import Photos
from coscale.train.loop import Engine, Stepper
from coscale.train.process import Process
from coscale.train.recipes import TrainingRecipe, find, prepared
from coscale.train.state import State


def photos(device: torch.device) -> Photos:
    """Noise does for timing."""
    generator = torch.Generator().manual_seed(0)
    return Photos([torch.randint(256, (3, 512, 512), generator=generator, dtype=torch.uint8) for _ in range(8)], device)


def stepper(
    recipe: TrainingRecipe, where: Process, engine: Engine, precision: Precision, plain: bool = False
) -> Stepper:
    layout = torch.contiguous_format if plain else torch.channels_last
    network: nn.Module = prepared(recipe).to(where.device, memory_format=layout)  # type: ignore[call-overload]
    return Stepper(State(recipe, network), photos(where.device), where, engine, precision)


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


def measure(recipe: TrainingRecipe, rounds: int, count: int, threads: int) -> dict[str, object]:
    """Steps a second of each engine, and the share of the device's convolution peak that they reach."""
    torch.set_num_threads(threads)
    where = Process(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    precision = fastest(where.device)
    engines: tuple[Engine, ...] = ("graph", "compile", "eager") if where.device.type == "cuda" else ("compile", "eager")
    ways = {engine: stepper(recipe, where, engine, precision) for engine in engines}
    if where.device.type == "cpu":
        ways["plain"] = stepper(recipe, where, "eager", "float32", plain=True)
    for way in ways.values():
        seconds(way, 3)  # compiles
    taken = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(seconds(way, count))
    rates = {name: 1 / statistics.median(times) for name, times in taken.items()}
    operations, peak = operations_of(lambda: ways["eager"].step()), convolution_peak(where.device, precision)
    row: dict[str, object] = {"recipe": recipe.name, "batch": recipe.batch, "patch": recipe.patch}
    row |= {"device": name_of(where.device), "precision": precision, "torch": torch.__version__, "threads": threads}
    row |= {"steps_per_second": rates, "gflop_per_step": operations / 1e9, "peak_gflops": peak / 1e9}
    row["share_of_peak"] = {name: rate * operations / peak for name, rate in rates.items() if name != "plain"}
    if where.device.type == "cuda":
        row["kernel_share"] = kernel_share(ways["graph"], count)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--patch", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of one round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    for name in arguments.recipes:
        recipe = find(name)
        recipe = replace(recipe, batch=arguments.batch or recipe.batch, patch=arguments.patch or recipe.patch)
        print(json.dumps(measure(recipe, arguments.rounds, arguments.steps, arguments.threads)), flush=True)
