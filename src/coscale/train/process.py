"""Where a run computes: this process alone, or one of several that ``torchrun`` has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Process:
    """This process's device, its rank, and how many processes there are."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Say whether this is the process that measures, writes and speaks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Give the mean over the processes."""
        if self.count == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.count

    def agree(self, value: int) -> int:
        """Give the first process's ``value``."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, device=self.device)
        dist.broadcast(shared, 0)
        return int(shared)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def started(device: str) -> Iterator[Process]:
    """Give this process, on ``device``; under ``torchrun`` on the GPU of its local rank, and known to the others."""
    if "WORLD_SIZE" not in os.environ:
        yield Process(torch.device(device))
        return
    here = torch.device(device, int(os.environ["LOCAL_RANK"])) if device == "cuda" else torch.device(device)
    if here.type == "cuda":
        torch.cuda.set_device(here)
    dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    try:
        yield Process(here, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
