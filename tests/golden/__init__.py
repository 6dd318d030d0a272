"""Vectors computed with the reference implementations, and the weights that they were computed with.

``NAME.json`` lists a network's parameters as the reference saves them, ``NAME.npz`` holds inputs and outputs.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parent


def described(name: str) -> dict[str, Any]:
    """What ``NAME.json`` says: how the network is built, and ``shapes`` by parameter name."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def vectors(name: str) -> dict[str, Tensor]:
    """The arrays of ``NAME.npz``."""
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The value that the reference had for a parameter: random, from nothing but its name and shape."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    is_kernel = len(shape) == 4 and shape[0] != 1 and not name.endswith("bias")
    if name.endswith("permute.weight"):
        values = np.linalg.qr(values)[0]
    elif name.endswith("logs"):
        values *= 0.05
    else:
        values *= 0.5 / np.sqrt(np.prod(shape[1:])) if is_kernel else 0.02
    return torch.from_numpy(values.astype(np.float32))


def fill(network: nn.Module) -> nn.Module:
    """``network`` with the reference's weights; what is fixed (buffers) stays."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(weight(name, tuple(parameter.shape)))
    return network.requires_grad_(False)
