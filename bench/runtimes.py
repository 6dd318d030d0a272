"""python -m bench.runtimes [RESCALER...]: seconds to restore a photo by PyTorch, and by what else can run the network.

From the LR tensor to the HR tensor, in one tile, all in turn in one run; medians count. Runtimes that are not installed
are left out: ncnn comes with the extra fast, ONNX Runtime with export, OpenVINO by pip install openvino. In 8-bit
integers, each tensor's range is what it is for the photo itself, which flatters them. Rows, with the largest and the
mean difference from PyTorch in float32 in grey levels and, for floating-point numbers, the share of what a wide
convolution reaches on this machine in that precision, go to results/runtimes.jsonl, beside those of other machines and
other rescalers.
"""

import argparse
import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bench.peak import convolution_peak, operations_of
from bench.plain import DEVICE, keep_rows, machine, photo_of, rescaler, take_turns
from bench.readme import ROOT, read_rows
from coscale.machine import keep_freed_memory
from coscale.quantize import quantize
from coscale.rescalers import Bfloat16, Precision, Rescaler
from coscale.rescalers.compiled import Compiled

Decode = Callable[[], Tensor]


class Upscaler(nn.Module):
    """The upscaler alone, as exporters take it."""

    def __init__(self, network: Rescaler) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr: Tensor) -> Tensor:
        return self.network.upscale(lr)


def by_pytorch(network: Rescaler, lr: Tensor) -> Iterator[tuple[str, str, Decode]]:
    yield "PyTorch", "float32", lambda: network.upscale(lr)
    yield "PyTorch", "bfloat16", lambda: Bfloat16(network).upscale(lr)
    compiled = Compiled(network, DEVICE)
    yield "torch.compile", "float32", lambda: compiled.upscale(lr)
    yield "torch.compile", "bfloat16", lambda: Bfloat16(compiled).upscale(lr)


def by_ncnn(network: Rescaler, lr: Tensor) -> Iterator[tuple[str, str, Decode]]:
    if quick := network.quick():
        yield "ncnn", "float32", lambda: quick.upscale(lr)


def by_onnx_runtime(network: Rescaler, lr: Tensor) -> Iterator[tuple[str, str, Decode]]:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, quant_pre_process, quantize_static

    class OfTheLR(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{name: lr.numpy()}]

        def get_next(self) -> dict[str, Any]:
            return self.left.pop() if self.left else None  # type: ignore[return-value]  # as it says itself

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    name = "lr"
    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path, prepared, integers = (f"{folder}/{each}.onnx" for each in ("upscaler", "prepared", "int8"))
        torch.onnx.export(Upscaler(network), (lr,), path, dynamo=False, opset_version=17, input_names=[name])
        quant_pre_process(path, prepared)
        quantize_static(prepared, integers, OfTheLR(), per_channel=True)
        for precision, model in (("float32", path), ("int8", integers)):
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            yield (
                *("ONNX Runtime", precision),
                lambda session=session: torch.from_numpy(session.run(None, {name: lr.numpy()})[0]),
            )


def by_openvino(network: Rescaler, lr: Tensor) -> Iterator[tuple[str, str, Decode]]:
    import openvino  # type: ignore[import-not-found]

    with warnings.catch_warnings(action="ignore"):
        model = openvino.convert_model(Upscaler(network), example_input=lr, input=list(lr.shape))
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
    for precision, hint in (("float32", "f32"), ("bfloat16", "bf16")):
        run = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint} | threads)
        yield "OpenVINO", precision, lambda run=run: torch.from_numpy(np.array(run(lr.numpy())[0]))


@torch.no_grad()
def compare(name: str, megapixels: float, rounds: int) -> list[dict[str, Any]]:
    network = rescaler(name)
    side = round((megapixels * 1e6) ** 0.5 / network.scale)
    lr = quantize(network.downscale(photo_of(side * network.scale)))
    runs: dict[tuple[str, str], Decode] = {}
    for kind in (by_pytorch, by_ncnn, by_onnx_runtime, by_openvino):
        try:
            runs |= {(what, precision): run for what, precision, run in kind(network, lr)}
        except ImportError as error:
            print(f"left out: {error}", flush=True)
    outs = {key: run().float() for key, run in runs.items()}  # which also warms them up
    exact = outs["PyTorch", "float32"]
    medians = take_turns({" ".join(key): run for key, run in runs.items()}, rounds)
    operations = operations_of(lambda: network.upscale(lr))
    peaks = {precision: convolution_peak(DEVICE, precision) for precision in get_args(Precision)}
    found = []
    for key, out in outs.items():
        taken, away = medians[" ".join(key)], 255 * (out - exact).abs()
        row = {"rescaler": name, "megapixels": megapixels, "runtime": key[0], "precision": key[1], "seconds": taken}
        row |= {"times_faster": round(medians["PyTorch float32"] / taken, 2)}
        if key[1] in peaks:
            row["share_of_peak"] = round(operations / taken / peaks[key[1]], 3)
        row |= {"most_levels": round(float(away.max()), 3), "mean_levels": round(float(away.mean()), 4)}
        found.append(row | {"rounds": rounds, **machine()})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.runtimes", description=__doc__)
    parser.add_argument("rescalers", nargs="*", default=["light-x2", "light-x4", "base-x2", "base-x4"])
    parser.add_argument("--megapixels", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "runtimes.jsonl")
    arguments = parser.parse_args()
    keep_freed_memory()
    here = machine()["machine"]
    others = [
        row for row in read_rows(arguments.out) if row["machine"] != here or row["rescaler"] not in arguments.rescalers
    ]
    measured = (row for name in arguments.rescalers for row in compare(name, arguments.megapixels, arguments.rounds))
    keep_rows(arguments.out, itertools.chain(others, measured))


if __name__ == "__main__":
    main()
