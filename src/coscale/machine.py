"""The machine: how many threads to use, memory that is kept and its peak, what it is called."""

import contextlib
import ctypes
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import torch

from coscale.choices import Device
from coscale.errors import SettingsError

_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_CLEAR_REFS, _STATUS, _PROCESSORS = Path("/proc/self/clear_refs"), Path("/proc/self/status"), Path("/proc/cpuinfo")
# Names of GNU's malloc.h: what of the heap's end is given back, what it grows by, and what lies outside of it.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_THRESHOLD = 32 * 2**20  # the most that GNU's allocator takes
# What is compiled for each layer and each size of photo: by oneDNN, and by what lies between it and torch.
_OPERATIONS_KEPT = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
_ENOUGH_OPERATIONS = "256"  # for all passes of one photo; their own 1024 grow by a third of a MB with each new size


def settle(workers: int = 1) -> None:
    """Choose the number of threads of one of so many processes, and what is kept in memory: more and less than usual.

    Freed memory is kept for the next pass, and compiled operations only for as many as a photo needs. What the user
    has set, the number of threads for one, stays.
    """
    for name in _OPERATIONS_KEPT:
        os.environ.setdefault(name, _ENOUGH_OPERATIONS)  # read before the first convolution
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), cores()) // workers))
    keep_freed_memory()


def kind_of(device: Device) -> Literal["cpu", "cuda"]:
    """Say which kind of device is meant: auto is a GPU where there is one. Raises SettingsError where there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("there is no CUDA device here; leave out --device, or give --device cpu")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def cores() -> int:
    """Say how many cores this process may keep busy: those it may run on, or fewer where its container has a quota.

    PyTorch asks for the first alone; threads beyond the quota only stop each other.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *(max(1, math.ceil(quota)) for quota in _quotas())])


def _quotas() -> Iterator[float]:
    """The cores that control groups of Linux allow: this process's own and those around it, by both of their versions.

    In a container the path of its group may be that of the host, of which only the top is to be seen.
    """
    try:
        lines = [line.split(":", 2) for line in _MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = _GROUPS / controllers
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
                with contextlib.suppress(OSError, ValueError):  # no such file, or the quota "max"
                    quota, period = " ".join((folder / name).read_text() for name in names).split()
                    if int(quota) > 0:  # -1 is none
                        yield int(quota) / int(period)


def keep_freed_memory() -> bool:
    """Have GNU's allocator keep up to 1 GiB of what is freed; False where the system has another.

    Else each pass's activations are given back to the system, which hands them out again page by page, zeroed.
    """
    mallopt = _of_the_c_library("mallopt")
    if mallopt is None:
        return False
    wanted = {_MMAP_THRESHOLD: _LARGEST_THRESHOLD, _TRIM_THRESHOLD: 2**30, _TOP_PAD: 64 * 2**20}
    taken = [mallopt(parameter, value) == 1 for parameter, value in wanted.items()]
    return all(taken)


def give_back_freed_memory() -> None:
    """Give what is free back to the system once, such as what decoding a large file took."""
    trim = _of_the_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def reset_peak(device: torch.device) -> None:
    """Begin to measure the peak of memory anew, without what was freed before."""
    give_back_freed_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR_REFS.exists():
        with contextlib.suppress(OSError):  # where it may not be written, the peak is that of the process's life
            _CLEAR_REFS.write_text("5")


def peak(device: torch.device) -> int | None:
    """Give the most memory in bytes since ``reset_peak``: PyTorch's on a GPU, else all that is resident of this
    process.

    None where the system does not tell, which is everywhere but on Linux.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(line.split()[1]) * 1024 if line else None


def name_of(device: torch.device) -> str:
    """Give what a device calls itself; of a processor also the cores that may be used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = _PROCESSORS.read_text().splitlines()
    except OSError:
        lines = []
    found = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(found, platform.processor() or platform.machine())}, {cores()} cores"


def _of_the_c_library(name: str) -> Callable[..., int] | None:
    """A function that GNU's C library has, and others may not."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
