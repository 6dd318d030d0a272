"""What a device can compute at best, and what part of it a piece of code reaches."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from coscale.rescalers import Precision

CHANNELS = 64
# Of the image that is convolved: in the cache of a core, and enough for a GPU.
SIDES = {"cpu": 96, "cuda": 512}
SECONDS = 1.0


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """The least seconds of one call, over about a second of them."""
    run()
    wait_for(device)
    taken, begun = [], time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        start = time.perf_counter()
        run()
        wait_for(device)
        taken.append(time.perf_counter() - start)
    return min(taken)


@torch.no_grad()
def convolution_peak(device: torch.device, precision: Precision) -> float:
    """Floating-point operations a second of a 3 x 3 convolution of 64 channels, as our networks have them."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    side = SIDES[device.type]
    x, kernel = (
        torch.rand(size, device=device).to(dtype=dtype, memory_format=torch.channels_last)
        for size in ((1, CHANNELS, side, side), (CHANNELS, CHANNELS, 3, 3))
    )
    seconds = seconds_of(lambda: F.conv2d(x, kernel, padding=1), device)
    return 2 * 9 * CHANNELS**2 * side**2 / seconds


def operations_of(run: Callable[[], object]) -> int:
    """Floating-point operations of convolutions and products in one call, backward passes included; not compiled."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
