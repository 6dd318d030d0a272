"""Whether weights give on this machine what they gave where they were made.

Beside each file of weights in the package stand test vectors, a small photo, its LR and what was restored, as 8 bit.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from coscale.errors import RescalerError
from coscale.files import sha256
from coscale.quantize import from_uint8, to_uint8
from coscale.rescalers import find
from coscale.weights.load import Loaded, bundled, load
from coscale.weights.manifest import FOLDER, entry_of
from coscale.weights.steps import beside

LARGEST_SHARE = 0.01  # of values that may differ, by one grey level: other hardware rounds otherwise


def vectors(name: str) -> Path:
    """Give the file of test vectors of a bundled rescaler."""
    return FOLDER / "vectors" / f"{name}.safetensors"


def small_photo() -> Float[Tensor, "1 3 64 96"]:
    """Give the photo that test vectors are of."""
    return from_uint8(load_file(vectors("light-x2"))["hr"])


def write_vectors(rescaler: Loaded, hr: UInt8[Tensor, "1 3 h w"], path: Path) -> None:
    """Keep what ``rescaler`` makes of ``hr``."""
    path.parent.mkdir(exist_ok=True)
    lr = _lr(rescaler, hr)
    values = {"hr": hr, "lr": lr, "restored": _restored(rescaler, lr)}
    save_file({kind: value.contiguous() for kind, value in values.items()}, path)


def verify(name: str, device: str = "cpu") -> float:
    """Check a bundled rescaler's file against its hash, and what it gives against its test vectors.

    Returns the share of 8-bit values that differ, each by one grey level. Raises RescalerError when the file is not
    the one that was shipped, or when more than 1 % of values differ, or one by more.
    """
    path, entry = bundled(find(name)), entry_of(name)
    if not path.is_file() or not vectors(name).is_file() or sha256(path) != entry.sha256:
        raise RescalerError(f"{path} is not the file that was shipped; install coscale anew")
    if (steps := entry.steps) and not (beside(path).is_file() and sha256(beside(path)) == steps.sha256):
        raise RescalerError(f"{beside(path)} is not the file that was shipped; install coscale anew")
    wanted = load_file(vectors(name))
    rescaler = load(name, device=device)
    worst = 0.0
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # TF32 has 10 bits, an image 8
    with exact:
        results = (("lr", _lr(rescaler, wanted["hr"])), ("restored", _restored(rescaler, wanted["lr"])))
    # What is restored comes from the LR as stored, so that one value rounded otherwise there does not become many.
    for kind, given in results:
        difference = (given.int() - wanted[kind].int()).abs()
        share = float((difference > 0).float().mean())
        if difference.max() > 1 or share > LARGEST_SHARE:
            raise RescalerError(
                f"{name} on {device} gives another {kind} than it should: {share:.1%} of its values differ, "
                f"by up to {int(difference.max())} grey levels; try another version of torch or --device cpu"
            )
        worst = max(worst, share)
    return worst


@torch.no_grad()
def _lr(rescaler: Loaded, hr: UInt8[Tensor, "1 3 h w"]) -> UInt8[Tensor, "1 3 h2 w2"]:
    return to_uint8(rescaler.rescaler.downscale(from_uint8(hr).to(rescaler.device))).cpu()


@torch.no_grad()
def _restored(rescaler: Loaded, lr: UInt8[Tensor, "1 3 h w"]) -> UInt8[Tensor, "1 3 h2 w2"]:
    return to_uint8(rescaler.rescaler.upscale(from_uint8(lr).to(rescaler.device))).cpu()
