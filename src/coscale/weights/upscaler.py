"""A super-resolution network of yours as upscaler: from a checkpoint, from an exported program, or from Python."""

import contextlib
import logging
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.export.passes import move_to_device_pass

from coscale import resize
from coscale.errors import RescalerError
from coscale.files import StrPath
from coscale.rescalers import FROM_FILE
from coscale.rescalers.superres import SuperResolution
from coscale.weights.architectures import network_of, reason
from coscale.weights.load import Loaded, compiled_of, fingerprint_of, read_checkpoint
from coscale.weights.manifest import sha256

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)  # that the sides of a program's images may have to be of
SIDES = (25, 39)  # of the image that a program is tried on, made up to these


def load_upscaler(
    source: StrPath | nn.Module, scale: int | None = None, device: torch.device | str = "cpu", compiled: bool = False
) -> Loaded:
    """Bicubic and a super-resolution network, which ``source`` is or is the file of.

    A file is a checkpoint (.pth, .pt, .safetensors) of a known architecture, a TorchScript file, or one of torch.export
    (.pt2). The last two are programs, which may do anything: load only those that you trust. A module takes and gives
    RGB in [0, 1]; for others, and for sides that must be a multiple, give a ``SuperResolution`` of it. ``scale`` is
    needed where the weights do not tell it, and checked where they do. ``compiled`` as in ``load``. Raises
    RescalerError when the source cannot be used, or has another scale.
    """
    device = torch.device(device)
    weights_hash = None
    if isinstance(source, nn.Module):
        network = source.eval()
        pair = network if isinstance(network, SuperResolution) else _tried(network.to(device), device, "the network")
        name, what = type(pair.network).__name__, "the network"
    else:
        path = Path(source)
        what = str(path)
        if not path.is_file():
            raise RescalerError(f"the upscaler {path} does not exist; check the path")
        if path.suffix == ".pt2" or _is_script(path):
            name, network = _exported(path, device) if path.suffix == ".pt2" else _script(path, device)
            pair = _tried(network, device, what)
            weights_hash = sha256(path)  # a program may hold numbers that are no parameters
        else:
            name, pair = network_of(read_checkpoint(path), path, scale)
    if scale not in (None, pair.scale):
        raise RescalerError(f"{what} upscales by {pair.scale}, not by {scale}; leave out --scale, or give another file")
    # Nothing here trains a loaded rescaler: without weight gradients the optimiser does a third less work.
    pair.requires_grad_(False).to(device)
    fast = compiled_of(pair, device) if compiled else None
    return Loaded(FROM_FILE + name, pair, weights_hash or fingerprint_of(pair.state_dict()), device, fast)


@torch.no_grad()
def _tried(network: nn.Module, device: torch.device, what: str) -> SuperResolution:
    """A network that says nothing about itself, with the scale that it has on a small image, and the least multiple
    that it takes as sides."""
    small = resize.upscale(torch.linspace(0, 1, 3 * 5 * 7).reshape(1, 3, 5, 7), 16).to(device)
    first: Exception | None = None
    for multiple in MULTIPLES:
        height, width = (-(-side // multiple) * multiple for side in SIDES)
        try:
            out = network(small[..., :height, :width])
        except Exception as error:  # what a network makes of a size that it does not take is its own affair
            first = first or error
            continue
        out = out[0] if isinstance(out, tuple | list) else out
        scale = out.shape[-1] // width
        if scale < 2 or tuple(out.shape) != (1, 3, scale * height, scale * width):
            raise RescalerError(
                f"{what} makes {tuple(out.shape)} of an image {(1, 3, height, width)}; give a network that makes RGB "
                "images a whole number of times as large"
            )
        return SuperResolution(network, scale, multiple=multiple)
    assert first is not None
    raise RescalerError(
        f"{what} takes no image whose sides are multiples of {MULTIPLES[-1]} or less ({reason(first)}); "
        "export it for images of any height and width, on the device that is used here"
    )


def _is_script(path: Path) -> bool:
    """Whether a file is of TorchScript, which has its constants beside the tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _script(path: Path, device: torch.device) -> tuple[str, nn.Module]:
    try:
        with warnings.catch_warnings(action="ignore"):  # that TorchScript is old is not the user's concern
            return "TorchScript", torch.jit.load(path, device).eval()
    except Exception as error:  # what is damaged fails in many ways
        raise RescalerError(f"{path} is no TorchScript file, or is damaged ({reason(error)}); give another") from error


def _exported(path: Path, device: torch.device) -> tuple[str, nn.Module]:
    try:
        with _tensors_alone(path):
            program = torch.export.load(path)
        module = move_to_device_pass(program, device).module()
    except Exception as error:  # what is damaged fails in many ways
        raise RescalerError(
            f"{path} is no file of torch.export, is damaged, or would run code ({reason(error)}); give another"
        ) from error
    # A program is as it was exported, and refuses to be told so.
    del module.train, module.eval
    return "torch.export", module


@contextlib.contextmanager
def _tensors_alone(path: Path) -> Iterator[None]:
    """Have torch.export read nothing but tensors out of pickles, and log nothing when it fails."""
    with zipfile.ZipFile(path) as archive:
        if any("opaque_obj" in name or "custom_obj" in name for name in archive.namelist()):
            raise RescalerError("it holds objects of its own")
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before, level = os.environ.get(variable), logging.getLogger("torch.export").level
    os.environ[variable] = "1"
    logging.getLogger("torch.export").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logging.getLogger("torch.export").setLevel(level)
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
