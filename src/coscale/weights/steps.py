"""Learned steps in files: beside the weights of the rescaler that they were trained for, and of no use to another."""

import warnings
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from coscale.errors import CoscaleWarning, RescalerError
from coscale.files import sha256
from coscale.rescalers.steps import Steps
from coscale.weights.tables import check_fit

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
    except (OSError, SafetensorError) as error:
        raise RescalerError(f"{path} is damaged, or holds no learned steps") from error
    if theirs != weights_hash:
        raise RescalerError(f"{path} is for other weights ({theirs[:12]}) than these ({weights_hash[:12]})")
    heads = [value for name, value in tensors.items() if name.endswith(".head.weight")]
    inner = [value for name, value in tensors.items() if ".blocks." in name and name.endswith(".weight")]
    width, each = (len(heads[0]) if heads and heads[0].ndim else 0), len(inner) // (2 * max(1, len(heads)))
    # What is built takes no more memory than what the file has been found to hold.
    if not width or not each or any(value.shape != (width, width, 3, 3) for value in inner):
        raise RescalerError(f"{path} holds no learned steps")
    steps = Steps(scale, len(heads), width, each)
    check_fit(steps, tensors, path)
    steps.load_state_dict(tensors, assign=True)
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
