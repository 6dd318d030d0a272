"""The upscaler as an ONNX file that runs without PyTorch: on phones, in browsers, on servers in other languages.

    LR, 1 x 3 x height x width, float32 in [0, 1] --upscaler--> clipped to [0, 1] --> HR, float32

A pair that is told the level of a lossy codec has a second input, of shape 1: the level's share of the highest. Height
and width are free. The exported file is run before it is kept: on small photos that the pair itself has made smaller
and rounded to 8 bit, ONNX Runtime has to restore what PyTorch restores, within one grey level.
"""

import contextlib
import copy
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from coscale import __version__, resize, tiles
from coscale.choices import ExportPrecision
from coscale.errors import ExportError, reason
from coscale.files import replacing
from coscale.levels import LEVELS
from coscale.lrfile import KEY
from coscale.quantize import quantize, to_uint8
from coscale.weights.load import Loaded
from coscale.weights.verify import small_photo

OPSET = 20  # the newest that torch writes without converting from another, and read by ONNX Runtime since 1.18
_LR, _LEVEL = "lr", "level"  # the inputs of a file
_ROUNDS = 5
_SOME_LEVELS = (0, 100, 200)  # of a codec, that a pair which is told one is tried with
_LARGER = 4  # times the size of the small photo, to take the time


def export_onnx(pair: Loaded, path: Path, precision: ExportPrecision = "float32") -> dict[str, Any]:
    """Write the upscaler of ``pair``, which is on the CPU, as an ONNX file, and say what it is and how it compares.

    ``float16``: weights and convolutions in half precision; the image, and the sums of invertible networks, stay in
    float32. The file's metadata has ``metadata_of`` as JSON under the key of LR files. Raises ExportError, and leaves
    no file, when the network cannot be exported or gives other images in ONNX Runtime.
    """
    check_extra()
    network = _network(pair, precision)
    with replacing(path) as temporary:
        _write(pair, network, temporary, metadata_of(pair, precision))
        return {"output": str(path), "precision": precision, "opset": OPSET} | _compare(pair, temporary)


@torch.no_grad()
def seconds_of(pair: Loaded, path: Path) -> dict[str, Any]:
    """Give the median seconds that the file at ``path`` and PyTorch take for one LR image, with as many threads."""
    lr, run = _lrs(pair)[-1], _runner(pair, path)
    onnx_seconds, torch_seconds = _times(lambda: run(lr), lambda: pair.rescaler.upscale(lr))
    return {
        "width": lr.shape[-1],
        "height": lr.shape[-2],
        "threads": torch.get_num_threads(),
        "onnx_seconds": onnx_seconds,
        "torch_seconds": torch_seconds,
    }


def metadata_of(pair: Loaded, precision: ExportPrecision) -> dict[str, Any]:
    """Give what runs an exported upscaler has to know: what it restores, and how to cut an image into tiles for it."""
    return {
        "rescaler": pair.name,
        "scale": pair.scale,
        "weights_hash": pair.weights_hash,
        "version": __version__,
        "precision": precision,
        "halo": tiles.halo_of(pair.rescaler, 3, pair.device),
        "multiple": pair.rescaler.multiple,
        "takes_level": pair.rescaler.is_told,
    }


def check_extra() -> None:
    """Raise ExportError, naming the extra, when what exporting takes is not there."""
    for needed in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(needed)
        except ImportError as error:
            raise ExportError(f"exporting needs {needed} ({error}): pip install 'coscale[export]'") from error


class _Upscaler(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h2 w2"]:
        return self.network.upscale(lr).float().clamp(0, 1)  # type: ignore[operator]


class _ToldUpscaler(_Upscaler):
    def forward(self, lr: Float[Tensor, "1 3 h w"], level: Float[Tensor, " 1"]) -> Float[Tensor, "1 3 h2 w2"]:  # type: ignore[override]
        return self.network.restore(lr, level).float().clamp(0, 1)  # type: ignore[operator]


def _network(pair: Loaded, precision: ExportPrecision) -> nn.Module:
    """The rescaler as it is exported; half precision needs other weights, so a copy."""
    network = pair.rescaler.exportable()
    if precision == "float32":
        return network
    if not any(True for _ in network.parameters()):
        raise ExportError(f"{pair.name} has no weights that float16 would make smaller; leave out --precision")
    return _halved(copy.deepcopy(network) if network is pair.rescaler else network)


def _halved(network: nn.Module) -> nn.Module:
    """Every layer with weights gets its input in their precision; sums with the image go back to the image's."""
    network.half()
    for module in network.modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_pre_hook(_in_half)
    return network


def _in_half(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.half() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)


def _write(pair: Loaded, network: nn.Module, path: Path, metadata: dict[str, Any]) -> None:
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    any_size = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    is_told = pair.rescaler.is_told
    upscaler = (_ToldUpscaler if is_told else _Upscaler)(network).eval()
    try:
        with _quiet():
            program = torch.onnx.export(
                upscaler,
                (torch.zeros(1, 3, 24, 40), torch.zeros(1))[: 1 + is_told],
                dynamo=True,
                dynamic_shapes=(any_size, {})[: 1 + is_told],
                input_names=[_LR, _LEVEL][: 1 + is_told],
                output_names=["hr"],
                opset_version=OPSET,
                verbose=False,
            )
            assert program is not None
            ClearMetadataAndDocStringPass()(program.model)  # where each node comes from, with paths of this machine
            program.model.metadata_props[KEY] = json.dumps(metadata)
            program.save(path)
    except OSError:
        raise
    except Exception as error:  # what a network makes of being traced is its own affair
        raise ExportError(
            f"{pair.name} cannot be exported in {metadata['precision']}: {reason(_first(error))}; torch.onnx has to "
            "be able to trace the network for images of any size"
        ) from error


def _first(error: BaseException) -> Exception:
    """What the exporter's own errors, which are pages of advice, came from."""
    while error.__cause__:
        error = error.__cause__
    assert isinstance(error, Exception)
    return error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells its makers much, in warnings and logs."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def _compare(pair: Loaded, path: Path) -> dict[str, Any]:
    """How the file at ``path`` does against PyTorch."""
    run = _runner(pair, path)
    worst, differ, count = 0, 0, 0
    for level, lr in product(_SOME_LEVELS if pair.rescaler.is_told else (0,), _lrs(pair)):
        restored = pair.rescaler.told(level).upscale(lr)
        difference = (to_uint8(run(lr, level)).int() - to_uint8(restored).int()).abs()
        worst = max(worst, int(difference.max()))
        differ, count = differ + int((difference > 0).sum()), count + difference.numel()
    if worst > 1:
        raise ExportError(
            f"{pair.name} restores otherwise in ONNX Runtime than in PyTorch, by up to {worst} grey levels; "
            "no file was written"
        )
    return {"bytes": path.stat().st_size, "worst": worst, "share": differ / count}


def _lrs(pair: Loaded) -> list[Tensor]:
    """LR images of three sizes, 8 bit: a small one, an odd one, and a large one."""
    scale = pair.scale
    photo = resize.cut(small_photo(), scale)
    odd = photo[..., : photo.shape[-2] - scale, : photo.shape[-1] - scale]
    large = resize.resize(photo, (_LARGER * photo.shape[-2], _LARGER * photo.shape[-1])).clamp(0, 1)
    return [quantize(pair.rescaler.downscale(hr)) for hr in (photo, odd, large)]


def _runner(pair: Loaded, path: Path) -> Callable[..., Tensor]:
    """ONNX Runtime on the CPU, with as many threads as PyTorch has: a function of an LR and, if need be, a level."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3

    def explained(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:  # ONNX Runtime has a kind of exception for each way to fail
            raise ExportError(f"ONNX Runtime cannot run {pair.name} as exported: {reason(error)}") from error

    session = explained(lambda: onnxruntime.InferenceSession(os.fspath(path), options, ["CPUExecutionProvider"]))

    def run(lr: Tensor, level: int = 0) -> Tensor:
        told = {_LEVEL: np.array([level / (LEVELS - 1)], np.float32)} if pair.rescaler.is_told else {}
        restored = torch.from_numpy(explained(lambda: session.run(None, {_LR: lr.numpy()} | told))[0])
        wanted = (*lr.shape[:-2], lr.shape[-2] * pair.scale, lr.shape[-1] * pair.scale)
        if tuple(restored.shape) != wanted:
            raise ExportError(
                f"{pair.name} as exported makes {tuple(restored.shape)} of {tuple(lr.shape)}, not {wanted}; "
                "no file was written"
            )
        return restored

    return run


def _times(*ways: Callable[[], Any]) -> list[float]:
    """The median seconds of each way; they take turns, and the first turn does not count."""
    taken: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way()
    for _ in range(_ROUNDS):
        for way, seconds in zip(ways, taken, strict=True):
            begun = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - begun)
    return [median(seconds) for seconds in taken]
