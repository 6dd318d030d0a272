"""How much memory the passes through a rescaler take, told before it is taken."""

import weakref
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from coscale.rescalers import Rescaler

_SIDE = 64  # of the sample, in LR pixels: large enough for its border and copies of the weights not to count
_SLACK = 1.2  # what the passes need besides what autograd keeps, as measured
_LOSS = 8  # HR images in float32 that the loss keeps


def bytes_per_pixel(rescaler: Rescaler, channels: int, device: torch.device, both: bool = True) -> float:
    """Give what a gradient through g and f, or (not ``both``) through f alone, takes for each HR pixel.

    What autograd keeps is seen; a rescaler that finds it again from elsewhere says what is like it, see ``Rescaler``.
    """
    rescaler = rescaler.as_much_memory()
    weights = {tensor.untyped_storage().data_ptr() for tensor in rescaler.weights()}
    side = _SIDE * rescaler.scale if both else _SIDE
    image = torch.full((1, channels, side, side), 0.5, device=device, requires_grad=True)

    def run() -> torch.Tensor:
        return rescaler.upscale(rescaler.downscale(image) if both else image)

    restored, total = _kept_by(run, weights)
    return _SLACK * (total / (restored.shape[-1] * restored.shape[-2]) + _LOSS * 4 * channels)


def bytes_of_loss(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], channels: int) -> float:
    """Give what the gradient of a loss of (restored, original) takes for each of their pixels."""
    image = torch.full((1, channels, _SIDE, _SIDE), 0.5, requires_grad=True)
    _, total = _kept_by(lambda: loss(image, image.detach().clone()))
    return _SLACK * total / _SIDE**2


def _kept_by(run: Callable[[], torch.Tensor], but: Collection[int] = ()) -> tuple[torch.Tensor, int]:
    """What ``run`` gives, and the bytes that autograd keeps of it, ``but`` for storages at some addresses."""
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in but:
            kept[storage.data_ptr()] = storage.nbytes()
        # Not ``x`` itself: what an operation gave holds that operation, which would hold it in turn, for ever.
        return x.detach()

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        found = run()  # held until the sum, since a freed address may be given out again
        return found, sum(kept.values())


def bytes_per_pixel_alone(rescaler: Rescaler, channels: int, device: torch.device) -> float:
    """Give what a pass through g or f without a gradient takes for each HR pixel: the larger of the two."""
    most = 0.0
    with torch.no_grad():
        for run, side in ((rescaler.downscale, _SIDE * rescaler.scale), (rescaler.upscale, _SIDE)):
            with _Held() as held:
                run(torch.full((1, channels, side, side), 0.5, device=device))
            most = max(most, held.peak / (_SIDE * rescaler.scale) ** 2)
    return _SLACK * (most + 4 * channels)


class _Held(TorchDispatchMode):
    """The most bytes that the results of operations held at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.users: dict[int, int] = {}  # of each storage, for views share one

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do without torch's care that nothing here be compiled, which imports the compiler and takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                address, size = storage.data_ptr(), storage.nbytes()
                self.users[address] = self.users.get(address, 0) + 1
                self.now += size if self.users[address] == 1 else 0
                weakref.finalize(tensor, self._drop, address, size)
        self.peak = max(self.peak, self.now)
        return out

    def _drop(self, address: int, size: int) -> None:
        self.users[address] -= 1
        self.now -= size if self.users[address] == 0 else 0


def free_memory(device: torch.device) -> float:
    """Give free memory of the device in bytes; infinite where there is no way to know."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), float("inf"))
