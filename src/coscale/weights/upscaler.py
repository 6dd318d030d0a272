"""A super-resolution network of yours as upscaler: from a checkpoint, an ONNX file, a program in a file, or Python."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.export.passes import move_to_device_pass

from coscale.errors import RescalerError, ran_out_of_memory, reason
from coscale.files import StrPath, sha256
from coscale.rescalers import FROM_FILE
from coscale.rescalers.superres import SuperResolution
from coscale.weights.architectures import network_of
from coscale.weights.load import Loaded, compiled_of, fingerprint_of
from coscale.weights.onnx_upscaler import onnx_upscaler
from coscale.weights.reading import holds_onnx, program_in, read
from coscale.weights.tables import object_in, tables_in
from coscale.weights.trying import tried

LARGEST_SCALE = 16  # so that no file asks for images beyond measure


def load_upscaler(
    source: StrPath | nn.Module,
    scale: int | None = None,
    device: torch.device | str = "cpu",
    compiled: bool = False,
    trust: bool = False,
) -> Loaded:
    """Bicubic and a super-resolution network, which ``source`` is or is the file of.

    A file is a checkpoint (.pth, .pt, .safetensors) of a known architecture, or an ONNX file of known operators, of
    which nothing is run; or a program: a TorchScript file, one of torch.export (.pt2), or a network that torch.save
    wrote whole. What a file is, its content says and not its name. A program can do whatever its user can, so it is run
    only with ``trust``. A module is code of the caller's own; it takes and gives RGB in [0, 1]; for others, and for
    sides that must be a multiple, give a ``SuperResolution`` of it. ``scale`` is needed where the weights do not tell
    it, and checked where they do. ``compiled`` as in ``load``. Raises RescalerError when the source cannot be used, is
    a program that is not trusted, has another scale, or takes more memory than there is.
    """
    device = torch.device(device)
    what = "the network" if isinstance(source, nn.Module) else str(source)
    try:
        if isinstance(source, nn.Module):
            name, pair = _of_module(source, device, what)
            weights_hash = None
        else:
            name, pair, weights_hash = _of_file(Path(source), scale, device, trust)
        if scale not in (None, pair.scale):
            raise RescalerError(
                f"{what} upscales by {pair.scale}, not by {scale}; leave out --scale, or give another file"
            )
        if pair.scale > LARGEST_SCALE:
            raise RescalerError(f"{what} upscales by {pair.scale}; give one that upscales by {LARGEST_SCALE} or less")
        # Nothing here trains a loaded rescaler: without weight gradients the optimiser does a third less work.
        pair.requires_grad_(False).to(device)
        weights_hash = weights_hash or fingerprint_of(pair.state_dict())
        if not isinstance(source, nn.Module):  # the same numbers may stand in other code
            pair.identity = f"{name} {weights_hash}"
        fast = compiled_of(pair, device) if compiled else None
        return Loaded(FROM_FILE + name, pair, weights_hash, device, fast)
    except (RuntimeError, MemoryError) as error:
        if ran_out_of_memory(error):
            raise RescalerError(f"{what} takes more memory than there is; give a smaller network") from error
        raise


def _of_module(network: nn.Module, device: torch.device, what: str) -> tuple[str, SuperResolution]:
    if any(tensor.is_inference() for tensor in network.state_dict().values()):
        network = copy.deepcopy(network)  # of what was made in inference mode, no gradient could be taken
    network.eval()
    pair = network if isinstance(network, SuperResolution) else tried(network.to(device), device, what)
    return type(pair.network).__name__, pair


def _of_file(
    path: Path, scale: int | None, device: torch.device, trust: bool
) -> tuple[str, SuperResolution, str | None]:
    """The network in a file, its name, and the file's hash where it may hold numbers that are no parameters."""
    if holds_onnx(path):
        return "ONNX", *onnx_upscaler(path, device)
    program = program_in(path)
    content = None if program else read(path)
    whole = None if program else object_in(content)
    if not program and not whole:
        return *network_of(tables_in(content, path), path, scale), None
    kind = f"program of {program}" if program else f"Python object, {whole}"
    if not trust:
        raise RescalerError(
            f"{path} is a {kind}: running it would run code of the file, which can read, change and send whatever you "
            "can; if you trust who made it, give --trust (trust=True in Python), else a checkpoint of tensors"
        )
    if program == "TorchScript":
        name, network = program, _script(path, device)
    elif program == "torch.export":
        name, network = program, _exported(path, device)
    elif program:
        raise RescalerError(f"{path} is a {kind}, which is not read here; give the network in it from Python")
    else:
        network = _whole(path, device, kind)
        name = type(network).__name__
    return name, tried(network, device, str(path)), sha256(path)


def _script(path: Path, device: torch.device) -> nn.Module:
    with _explained(path, "TorchScript"):
        return torch.jit.load(path, device).eval()


def _exported(path: Path, device: torch.device) -> nn.Module:
    with _explained(path, "torch.export"):
        module = move_to_device_pass(torch.export.load(path), device).module()
    # A program is as it was exported, and refuses to be told so.
    del module.train, module.eval
    return module


def _whole(path: Path, device: torch.device, kind: str) -> nn.Module:
    """A network that torch.save wrote whole, alone or in a table beside other things."""
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, device, weights_only=False)
    except (ImportError, AttributeError) as error:  # its classes are not here
        raise RescalerError(
            f"{path} is a {kind}, whose code is not installed here ({reason(error)}); save the network's state_dict, "
            "or give the network from Python"
        ) from error
    except Exception as error:  # code may fail in any way
        raise RescalerError(f"{path} is a {kind}, which fails ({reason(error)}); give another file") from error
    values = (content, *(content.values() if isinstance(content, dict) else ()))
    network = next((value for value in values if isinstance(value, nn.Module)), None)
    if network is None:
        raise RescalerError(f"{path} is a {kind}, and no network; give another file")
    return network.eval()


@contextlib.contextmanager
def _explained(path: Path, kind: str) -> Iterator[None]:
    """Say in one line why a program cannot be loaded, and nothing else: torch logs much of it too."""
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):  # that TorchScript is old is not the user's concern
            yield
    except Exception as error:  # what is damaged fails in many ways
        if ran_out_of_memory(error):
            raise
        raise RescalerError(f"{path} is a damaged program of {kind} ({reason(error)}); give another file") from error
    finally:
        log.setLevel(level)
