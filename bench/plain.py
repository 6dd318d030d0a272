"""What the speed of coscale is compared with, and how: the plain loop, alternating runs, medians.

Plain is how a paper's code does it: the whole image, float32, eager autograd, contiguous memory, dense blocks that
concatenate. It runs in the same process, so it too gains from memory that the allocator keeps.
"""

import contextlib
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.peak import wait_for
from bench.readme import ROOT
from coscale.image import read
from coscale.machine import name_of
from coscale.rescalers import IRN, Rescaler, find
from coscale.rescalers.irn import DenseBlock
from coscale.weights.load import load

WIDER = "irn-x2 (8 blocks)"


class Concatenating(DenseBlock):
    """A dense block as it is usually written."""

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for k in range(1, 5):
            new = F.leaky_relu(self.get_submodule(f"conv{k}")(features), 0.2)
            features = torch.cat((features, new), 1)
        return self.get_submodule("conv5")(features)


# Where benches compute; the first GPU if there is one.
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rescaler(name: str) -> Rescaler:
    """A rescaler by name, on DEVICE.

    The published size of IRN x2, for which there are no weights here, is irn-x2-4b with four more blocks that change
    nothing: it takes what the published one takes, and gives what irn-x2-4b gives. A rescaler that has no weights here
    has those that it begins training with, which take as long.
    """
    if name != WIDER and find(name).checkpoint == "yours":
        network = find(name).build().requires_grad_(False).eval()
        return network.to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if name != WIDER:
        return load(name, device=DEVICE).rescaler
    network = IRN((8,))
    trained = load("irn-x2-4b").rescaler
    assert isinstance(trained, nn.Module)
    network.load_state_dict(trained.state_dict(), strict=False)
    network.requires_grad_(False).eval()
    return network.to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]


def plain(network: Rescaler) -> Rescaler:
    """The same, computed plainly."""
    assert isinstance(network, nn.Module)
    same: nn.Module = copy.deepcopy(network)
    for module in same.modules():
        if isinstance(module, DenseBlock):
            module.__class__ = Concatenating
    return same.to(memory_format=torch.contiguous_format)  # type: ignore[return-value, call-overload]


def photo_of(side: int) -> Tensor:
    """A photo of so many pixels a side: the butterfly, mirrored again and again."""
    image = read(ROOT / "examples" / "butterfly.png").colour
    while image.shape[-1] < side:
        image = torch.cat((image, image.flip(-1)), -1)
        image = torch.cat((image, image.flip(-2)), -2)
    return image[..., :side, :side].contiguous().to(DEVICE)


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    wait_for(DEVICE)
    return time.perf_counter() - begun


def take_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of the seconds that each takes, all of them in turn in each round."""
    taken = [{key: seconds(run) for key, run in runs.items()} for _ in range(rounds)]
    return {key: round(statistics.median(each[key] for each in taken), 4) for key in runs}


def keep_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Print rows as they are measured, and make them the file's."""
    with path.open("w") as file:
        for row in rows:
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")


def processor() -> str:
    """The processor's name, its cores that may be used, and what it has for bfloat16."""
    found = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags()]
    return f"{name_of(torch.device('cpu'))}, {' and '.join(found) or 'no bfloat16'}"


def flags() -> set[str]:
    """Of the processor, where Linux tells them."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.split())
    return set()


def machine() -> dict[str, object]:
    """What a measurement was taken on."""
    name = processor() if DEVICE.type == "cpu" else name_of(DEVICE)
    return {"machine": name, "threads": torch.get_num_threads(), "torch": torch.__version__}
