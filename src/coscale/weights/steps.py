"""Learned steps in files: beside the weights of the rescaler that they were trained for, and of no use to another."""

import warnings
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from coscale.errors import CoscaleWarning, RescalerError
from coscale.files import sha256
from coscale.rescalers.steps import Steps

_HASH = "weights_hash"


def beside(weights: Path) -> Path:
    """Say where the steps lie that belong to a file of weights."""
    return weights.with_suffix(".steps.safetensors")


def write_steps(steps: Steps, weights_hash: str, path: Path) -> None:
    """Write steps, in half precision, which changes a step by a thousandth, and the hash of what they are for."""
    tensors = {name: value.detach().half().cpu().contiguous() for name, value in steps.state_dict().items()}
    save_file(tensors, path, {_HASH: weights_hash})


def read_steps(path: Path, scale: int, weights_hash: str) -> Steps:
    """Read the steps for the weights of this hash.

    Raises RescalerError for a file that is damaged, or for other weights.
    """
    try:
        with safe_open(path, "pt") as file:
            theirs = (file.metadata() or {}).get(_HASH, "")
        tensors = {name: value.float() for name, value in load_file(path).items()}
        count = len(tensors["lengths"])
        head, blocks = tensors["networks.0.head.weight"], [name for name in tensors if "networks.0.blocks" in name]
        steps = Steps(scale, count, len(head), len(blocks) // 4)
        steps.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise RescalerError(f"{path} holds no learned steps for scale {scale}") from error
    if theirs != weights_hash:
        raise RescalerError(f"{path} is for other weights ({theirs[:12]}) than these ({weights_hash[:12]})")
    if not all(value.isfinite().all() for value in tensors.values()):
        raise RescalerError(f"{path} has values that are not finite")
    steps.identity = sha256(path)[:12]
    return steps.requires_grad_(False).eval()


def steps_beside(weights: Path, scale: int, weights_hash: str) -> Steps | None:
    """Read the steps that lie beside a file of weights; None without any, and with a warning for what is of no use."""
    path = beside(weights)
    if not path.is_file():
        return None
    try:
        return read_steps(path, scale, weights_hash)
    except RescalerError as error:
        warnings.warn(f"encodes without learned steps: {error}", CoscaleWarning, stacklevel=3)
        return None
