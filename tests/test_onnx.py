"""Upscalers in ONNX files: their operators, what is found out about them, and what cannot be used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coscale.collaborate import Coscale
from coscale.diagnose import diagnose
from coscale.errors import RescalerError
from coscale.image import Photo, read, write
from coscale.metrics import compare
from coscale.pipeline import decode_photo, encode_photo
from coscale.quantize import quantize
from coscale.rescalers import operators
from coscale.rescalers.dressed import Dress, Dressed, Range, Windows
from coscale.weights.load import Loaded
from coscale.weights.reading import read as read_checkpoint
from coscale.weights.upscaler import load_upscaler
from tests.command import coscale, fails
from tests.extras import needs, skip_without

skip_without("onnx")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = Path(__file__).parents[2] / "shared" / "weights"
FLOAT, HALF, BYTES = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8
ANY = (1, 3, "height", "width")
Nodes = Sequence[tuple[str, str, str, Mapping[str, Any]]]  # operator, inputs, outputs, attributes


def model(
    nodes: Nodes,
    constants: Mapping[str, Any] | None = None,
    shape: Sequence[int | str] = ANY,
    opset: int = 17,
    dtype: int = FLOAT,
) -> onnx.ModelProto:
    """A network from ``x`` to ``y``."""
    graph = helper.make_graph(
        [helper.make_node(op, given.split(), made.split(), **values) for op, given, made, values in nodes],
        "network",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, [None] * len(shape))],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def larger(given: str, made: str, mode: str = "cubic") -> tuple[str, str, str, Mapping[str, Any]]:
    """Twice the size."""
    values = {"mode": mode, "coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor"}
    return "Resize", f"{given}  twice", made, values


TWICE = {"twice": np.array([1, 1, 2, 2], np.float32)}


def resized(inputs: str, **values: Any) -> tuple[str, str, str, Mapping[str, Any]]:
    return "Resize", inputs, "y", values


def saved(path: Path, made: onnx.ModelProto) -> Path:
    # helper splits at blanks, so an input that is left out has to be put back.
    for node in made.graph.node:
        if node.op_type == "Resize" and len(node.input) == 2 and made.opset_import[0].version > 10:
            node.input.insert(1, "")
    path.write_bytes(made.SerializeToString())
    return path


def network_in(pair: Loaded) -> Any:
    return pair.rescaler.network  # type: ignore[attr-defined]


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


CONV = {"w": noise(4, 3, 3, 3), "b": noise(4)}
# Each is run here and by ONNX Runtime, on 1 x 4 x 6 x 8 values unless the constants say otherwise.
OPERATORS: dict[str, tuple[Nodes, Mapping[str, Any], int]] = {
    "conv": (
        [("Conv", "x w b", "y", {"pads": [0, 1, 2, 1], "strides": [2, 1]})],
        {"w": noise(3, 4, 3, 3), "b": noise(3)},
        17,
    ),
    "conv, same": ([("Conv", "x w", "y", {"auto_pad": "SAME_LOWER", "strides": [2, 2]})], {"w": noise(3, 4, 2, 2)}, 17),
    "conv, groups": ([("Conv", "x w", "y", {"group": 2, "dilations": [2, 2]})], {"w": noise(4, 2, 3, 3)}, 17),
    "transposed": (
        [("ConvTranspose", "x w", "y", {"strides": [2, 2], "pads": [1, 1, 0, 1], "output_padding": [1, 0]})],
        {"w": noise(4, 3, 3, 3)},
        17,
    ),
    "max pool": ([("MaxPool", "x", "y", {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "strides": [2, 2]})], {}, 17),
    "average": ([("AveragePool", "x", "y", {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]})], {}, 17),
    "average of all": (
        [("AveragePool", "x", "y", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1})],
        {},
        17,
    ),
    "prelu": ([("PRelu", "x s", "y", {})], {"s": noise(4, 1, 1)}, 17),
    "clip by inputs": ([("Clip", "x a b", "y", {})], {"a": np.float32(-0.5), "b": np.float32(0.5)}, 17),
    "clip by attributes": ([("Clip", "x", "y", {"min": -0.5})], {}, 9),
    "softmax": ([("Softmax", "x", "y", {"axis": 1})], {}, 17),
    "softmax of old": ([("Softmax", "x", "y", {"axis": 2})], {}, 11),
    "layer norm": ([("LayerNormalization", "x s b", "y", {"axis": -1})], {"s": noise(8), "b": noise(8)}, 17),
    "instance norm": ([("InstanceNormalization", "x s b", "y", {})], {"s": noise(4), "b": noise(4)}, 17),
    "group norm": ([("GroupNormalization", "x s b", "y", {"num_groups": 2})], {"s": noise(4), "b": noise(4)}, 21),
    "depth, DCR": ([("DepthToSpace", "x", "y", {"blocksize": 2})], {}, 17),
    "depth, CRD": ([("DepthToSpace", "x", "y", {"blocksize": 2, "mode": "CRD"})], {}, 17),
    "space": ([("SpaceToDepth", "x", "y", {"blocksize": 2})], {}, 17),
    "pad, reflect": ([("Pad", "x p", "y", {"mode": "reflect"})], {"p": i64(0, 0, 2, 3, 0, 0, 1, 4)}, 17),
    "pad, edge": ([("Pad", "x p", "y", {"mode": "edge"})], {"p": i64(0, 0, 2, 3, 0, 1, 1, 4)}, 17),
    "pad, value": ([("Pad", "x p v", "y", {})], {"p": i64(0, 0, -1, 3, 0, 0, 1, -2), "v": np.float32(0.7)}, 17),
    "pad of old": ([("Pad", "x", "y", {"pads": [0, 0, 1, 2, 0, 0, 3, 4]})], {}, 10),
    "slice": (
        [("Slice", "x s e a t", "y", {})],
        {"s": i64(-1, 1), "e": i64(-100, 7), "a": i64(2, -1), "t": i64(-2, 3)},
        17,
    ),
    "slice of old": ([("Slice", "x", "y", {"starts": [1, 0], "ends": [5, -1], "axes": [2, 3]})], {}, 9),
    "split": ([("Split", "x s", "a b", {"axis": 1}), ("Concat", "b a", "y", {"axis": 1})], {"s": i64(1, 3)}, 17),
    "split evenly": ([("Split", "x", "a b", {"axis": 3}), ("Sub", "b a", "y", {})], {}, 13),
    "gather": ([("Gather", "x i", "y", {"axis": 1})], {"i": i64(2, -1, 0)}, 17),
    "gather elements": ([("GatherElements", "x i", "y", {"axis": 3})], {"i": np.ones((1, 4, 6, 2), np.int64)}, 17),
    "scatter": (
        [("ScatterND", "x i u", "y", {})],
        {"i": np.array([[0, 1], [0, -1]], np.int64), "u": noise(2, 6, 8)},
        17,
    ),
    "shapes": (
        [
            *(("Shape", "x", "s", {}), ("Gather", "s three", "w", {}), ("Unsqueeze", "w zero", "w1", {})),
            *(("Concat", "zero minus w1", "t", {"axis": 0}), ("Reshape", "x t", "r", {})),
            *(("Transpose", "r", "y", {"perm": [0, 2, 1]}),),
        ],
        {"three": np.int64(3), "zero": i64(0), "minus": i64(-1)},
        17,
    ),
    "constant of shape": (
        [("Shape", "x", "s", {}), ("ConstantOfShape", "s", "c", {}), ("Add", "x c", "a", {}), ("Tile", "a n", "y", {})],
        {"n": i64(1, 2, 1, 3)},
        17,
    ),
    "range and expand": (
        [("Range", "a b c", "r", {}), ("Cast", "r", "f", {"to": FLOAT}), ("Expand", "f s", "e", {}),
         ("Mul", "e x", "y", {})],
        {"a": np.int64(0), "b": np.int64(8), "c": np.int64(1), "s": i64(1, 4, 1, 1)},
        17,
    ),
    "whole division": (
        [("Cast", "x", "i", {"to": TensorProto.INT64}), ("Div", "i n", "d", {}), ("Mod", "i n", "m", {}),
         ("Add", "d m", "s", {}), ("Cast", "s", "y", {"to": FLOAT})],
        {"n": np.int64(2)},
        17,
    ),
    "means": ([("ReduceMean", "x", "y", {"axes": [2, 3], "keepdims": 0})], {}, 17),
    "sums": ([("ReduceSum", "x a", "y", {})], {"a": i64(1)}, 17),
    "largest": ([("ReduceMax", "x a", "y", {})], {"a": i64(-1)}, 18),
    "norm": ([("ReduceL2", "x", "y", {"axes": [1]})], {}, 17),
    "matrices": ([("MatMul", "x m", "y", {})], {"m": noise(8, 5)}, 17),
    "gemm": (
        [("Flatten", "x", "f", {"axis": 2}), ("Gemm", "f m b", "y", {"transB": 1, "alpha": 0.5})],
        {"m": noise(5, 48), "b": noise(5)},
        17,
    ),
    "einsum": ([("Einsum", "x m", "y", {"equation": "bchw,wv->bchv"})], {"m": noise(8, 3)}, 17),
    "where": ([("Greater", "x z", "g", {}), ("Where", "g x z", "y", {})], {"z": np.float32(0.1)}, 17),
    "selu": ([("Selu", "x", "y", {})], {}, 17),
    "activations": (
        [("Elu", "x", "a", {}), ("HardSigmoid", "a", "b", {}), ("HardSwish", "b", "c", {}), ("Softplus", "c", "d", {}),
         ("Erf", "d", "e", {}), ("Tanh", "e", "f", {}), ("LeakyRelu", "f", "y", {"alpha": 0.3})],
        {},
        17,
    ),
    "gelu": ([("Gelu", "x", "y", {"approximate": "tanh"})], {}, 20),
    "power": ([("Pow", "x n", "a", {}), ("Sqrt", "a", "y", {})], {"n": np.float32(2)}, 17),
    "top": ([("TopK", "x k", "y i", {"axis": 1})], {"k": i64(2)}, 17),
    "upsample": ([("Upsample", "x s", "y", {"mode": "linear"})], {"s": f32(1, 1, 2, 3)}, 9),
    "upsample of old": ([("Upsample", "x", "y", {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 2.0]})], {}, 7),
    "resize of old": ([("Resize", "x s", "y", {"mode": "nearest"})], {"s": f32(1, 1, 1.5, 2)}, 10),
    "grid": ([("GridSample", "x g", "y", {"align_corners": 1})], {"g": 0.5 * noise(1, 3, 5, 2)}, 17),
}  # fmt: skip
for _coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
    for _mode in ("nearest", "linear", "cubic"):
        for _size in ((9, 5), (12, 16), (4, 3)):
            OPERATORS[f"resize {_coordinates} {_mode} {_size}"] = (
                [resized("x r s z", mode=_mode, coordinate_transformation_mode=_coordinates)],
                {"r": f32(), "s": f32(), "z": i64(1, 4, *_size)},
                13,
            )


@pytest.mark.parametrize("case", OPERATORS)
def test_operators_are_those_of_onnx_runtime(tmp_path: Path, case: str) -> None:
    from coscale.weights.onnx_file import read_onnx

    nodes, constants, opset = OPERATORS[case]
    path = tmp_path / "a.onnx"
    path.write_bytes(model(nodes, constants, (1, 4, "h", "w"), opset).SerializeToString())
    x = torch.from_numpy(noise(1, 4, 6, 8)).requires_grad_()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(np.asarray(session.run(["y"], {"x": x.detach().numpy()})[0]))
    ours = read_onnx(path).graph(x)
    assert ours.shape == theirs.shape
    assert (ours.detach() - theirs).abs().max() < 2e-5
    if case != "whole division":
        assert torch.autograd.grad(ours.square().sum(), x)[0].isfinite().all()


def convolved(scale: int, channels: int = 3, seed: int = 0) -> tuple[Nodes, dict[str, Any], nn.Module]:
    """Bicubic's sibling of two convolutions, as a graph and as a module."""
    torch.manual_seed(seed)
    first, second = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv2d(8, channels * scale**2, 3, padding=1)
    for conv in (first, second):
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.dirac_(conv.weight)
        conv.weight.data += 0.02 * torch.randn_like(conv.weight)
    with torch.no_grad():  # of each pixel its colour, repeated
        second.weight.copy_(0.02 * torch.randn_like(second.weight))
        for out in range(channels * scale**2):
            second.weight[out, out // scale**2, 1, 1] += 1
    nodes = [
        ("Conv", "x w1 b1", "a", {"pads": [1, 1, 1, 1]}),
        ("LeakyRelu", "a", "l", {"alpha": 0.1}),
        ("Conv", "l w2 b2", "c", {"pads": [1, 1, 1, 1]}),
        ("DepthToSpace", "c", "y", {"blocksize": scale, "mode": "CRD"}),
    ]
    names = {"w1": first.weight, "b1": first.bias, "w2": second.weight, "b2": second.bias}
    constants = {name: value.detach().numpy() for name, value in names.items()}  # type: ignore[union-attr]
    return nodes, constants, nn.Sequential(first, nn.LeakyReLU(0.1), second, nn.PixelShuffle(scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_network_and_its_gradient(tmp_path: Path, scale: int, crop: Tensor) -> None:
    nodes, constants, network = convolved(scale)
    pair = load_upscaler(saved(tmp_path / "network", model(nodes, constants)))  # what a file is, its content says
    assert (pair.name, pair.scale, len(pair.weights_hash)) == ("bicubic+ONNX", scale, 64)
    diagnose(pair)
    batch = torch.cat((crop, crop.flip(-1)))[..., :17, :23]
    slopes = []
    for run in (pair.rescaler.upscale, network):
        lr = batch.clone().requires_grad_()
        restored = run(lr)
        assert (restored - network(batch)).abs().max() < 1e-5
        slopes.append(torch.autograd.grad(restored.square().sum(), lr)[0])
    assert torch.allclose(*slopes, rtol=1e-4, atol=1e-5)
    with pytest.raises(RescalerError, match=f"upscales by {scale}, not by 5"):
        load_upscaler(tmp_path / "network", 5)


def test_half_precision(tmp_path: Path, crop: Tensor) -> None:
    nodes, constants, network = convolved(2)
    halves = {name: value.astype(np.float16) for name, value in constants.items()}
    pair = load_upscaler(saved(tmp_path / "a.onnx", model(nodes, halves, dtype=HALF)))
    diagnose(pair, "bfloat16")
    with torch.no_grad():
        assert (pair.rescaler.upscale(crop) - network(crop)).abs().max() < 2e-3


def test_a_network_of_one_size_runs_in_windows(tmp_path: Path, crop: Tensor) -> None:
    nodes, constants, network = convolved(2)
    pair = load_upscaler(saved(tmp_path / "a.onnx", model(nodes, constants, (1, 3, 16, 24))))
    windows = network_in(pair)
    assert isinstance(windows, Windows)
    assert (windows.size, windows.halo) == ((16, 24), 2)  # as far as two convolutions see
    with torch.no_grad():
        for height, width in ((16, 24), (48, 48), (17, 47), (20, 24)):
            lr = crop[..., :height, :width]
            assert (pair.rescaler.upscale(lr) - network(lr)).abs().max() < 1e-5
        assert pair.rescaler.upscale(crop[..., :3, :1]).shape == (1, 3, 6, 2)
    lr = crop.clone().requires_grad_()
    (slope,) = torch.autograd.grad(pair.rescaler.upscale(lr).sum(), lr)
    assert bool((slope != 0).all())


def wrapped(before: Nodes, after: Nodes, constants: Mapping[str, Any]) -> onnx.ModelProto:
    """Twice the size by bicubic, from ``a`` to ``b``, with something before and after it."""
    return model([*before, larger("a", "b"), *after], {**TWICE, **constants})


LIMITS = {"low": np.float32(16), "high": np.float32(235)}
FLIP = {"flip": i64(2, 1, 0)}
DRESSES: dict[str, tuple[Nodes, Nodes, Mapping[str, Any], Dress]] = {
    "[0, 1]": ([("Identity", "x", "a", {})], [("Identity", "b", "y", {})], {}, Dress()),
    "[0, 255]": (
        [("Clip", "x low high", "a", {})],  # of values in [0, 1] nothing would be left
        [("Identity", "b", "y", {})],
        LIMITS,
        Dress(takes=Range(0, 255), gives=Range(0, 255)),
    ),
    "[0, 1] to [-1, 1]": (
        [("Identity", "x", "a", {})],
        [("Mul", "b two", "c", {}), ("Sub", "c one", "y", {})],
        {"two": np.float32(2), "one": np.float32(1)},
        Dress(gives=Range(-1, 1)),
    ),
    "[0, 1] to [0, 255]": (
        [("Identity", "x", "a", {})],
        [("Mul", "b white", "y", {})],
        {"white": np.float32(255)},
        Dress(gives=Range(0, 255)),
    ),
    "RGB to BGR": (
        [("Identity", "x", "a", {})],
        [("Gather", "b flip", "y", {"axis": 1})],
        FLIP,
        Dress(gives_bgr=True),
    ),
    "BGR in [0, 255] to RGB": (
        [("Gather", "x flip", "f", {"axis": 1}), ("Clip", "f low high", "a", {})],
        [("Identity", "b", "y", {})],
        {**FLIP, **LIMITS},
        Dress(Range(0, 255), Range(0, 255), gives_bgr=True),
    ),
}


@pytest.mark.parametrize("case", DRESSES)
@pytest.mark.filterwarnings("error::coscale.errors.CoscaleWarning")
def test_range_and_order_are_found(tmp_path: Path, case: str, butterfly: Photo) -> None:
    before, after, constants, dress = DRESSES[case]
    pair = load_upscaler(saved(tmp_path / "a.onnx", wrapped(before, after, constants)))
    found = network_in(pair).dress
    assert (found.takes, found.gives) == (dress.takes, dress.gives)
    # Which of both is the other way round than usual cannot be told, and does not matter.
    assert (found.takes_bgr ^ found.gives_bgr) == (dress.takes_bgr ^ dress.gives_bgr)
    diagnose(pair)
    with torch.no_grad():
        restored = pair.rescaler.upscale(pair.rescaler.downscale(butterfly.colour)).clamp(16 / 255, 235 / 255)
    original = butterfly.colour.clamp(16 / 255, 235 / 255)
    assert float(compare(quantize(restored), original, 2)["psnr_rgb"]) > 26


def test_colours_as_the_last_axis(tmp_path: Path, crop: Tensor) -> None:
    nodes, constants, network = convolved(2)
    inner = [(op, given.replace("x", "a0"), made.replace("y", "b0"), values) for op, given, made, values in nodes]
    last = [("Transpose", "x", "a0", {"perm": [0, 3, 1, 2]}), *inner, ("Transpose", "b0", "y", {"perm": [0, 2, 3, 1]})]
    for shape in ((1, "h", "w", 3), (1, 24, 24, 3)):
        pair = load_upscaler(saved(tmp_path / "a.onnx", model(last, constants, shape)))
        with torch.no_grad():
            assert (pair.rescaler.upscale(crop) - network(crop)).abs().max() < 1e-5


@pytest.mark.parametrize("size", [("h", "w"), (24, 24)])
def test_a_network_of_luma(tmp_path: Path, size: tuple[Any, Any], butterfly: Photo) -> None:
    nodes, constants, _ = convolved(2, 1)
    pair = load_upscaler(saved(tmp_path / "a.onnx", model(nodes, constants, ("batch", 1, *size))))
    assert pair.rescaler.channels == 1  # type: ignore[attr-defined]
    photo = Photo(butterfly.colour[..., :96, :96].contiguous())
    with torch.no_grad():
        assert pair.rescaler.upscale(photo.colour).shape == (1, 3, 192, 192)
    gains = [encode_photo(photo, pair, method) for method in (Coscale("fast"),)]  # type: ignore[arg-type]
    assert decode_photo(gains[0].lr, pair, gains[0].origin).size == (96, 96)


def test_bytes_as_values(tmp_path: Path, crop: Tensor) -> None:
    graph = model([("Cast", "x", "a", {"to": FLOAT}), larger("a", "y", "linear")], TWICE, dtype=BYTES)
    graph.graph.output[0].type.tensor_type.elem_type = FLOAT
    pair = load_upscaler(saved(tmp_path / "a.onnx", graph))
    diagnose(pair)
    with torch.no_grad():
        wanted = F.interpolate(quantize(crop), scale_factor=2.0, mode="bilinear")
        assert (pair.rescaler.upscale(crop) - wanted).abs().max() < 1e-5


def test_whole_numbers_have_no_gradient(tmp_path: Path, crop: Tensor) -> None:
    steps = [("Cast", "x", "a", {"to": FLOAT}), larger("a", "b"), ("Clip", "b low high", "c", {})]
    limits = {"low": np.float32(0), "high": np.float32(255)}
    graph = model([*steps, ("Cast", "c", "y", {"to": BYTES})], {**TWICE, **limits}, dtype=BYTES)
    graph.graph.output[0].type.tensor_type.elem_type = BYTES
    pair = load_upscaler(saved(tmp_path / "a.onnx", graph))
    diagnose(pair, optimised=False)
    with pytest.raises(RescalerError, match=r"no gradient|gradient is zero"):
        diagnose(pair)
    with torch.no_grad():
        assert pair.rescaler.upscale(crop).shape == (1, 3, 96, 96)


def test_a_network_for_multiples_and_one_that_takes_no_small_image(tmp_path: Path, crop: Tensor) -> None:
    unshuffled = [("SpaceToDepth", "x", "a", {"blocksize": 4}), ("DepthToSpace", "a", "b", {"blocksize": 4})]
    pair = load_upscaler(saved(tmp_path / "a.onnx", model([*unshuffled, larger("b", "y")], TWICE)))
    assert pair.rescaler.multiple == 4  # type: ignore[attr-defined]
    pool = [("AveragePool", "x", "a", {"kernel_shape": [7, 7]}), ("ReduceMean", "a", "m", {"axes": [2, 3]})]
    zero = [("Mul", "m nothing", "n", {}), ("Add", "x n", "b", {}), larger("b", "y")]
    made = model([*pool, *zero], {**TWICE, "nothing": np.float32(0)})
    pair = load_upscaler(saved(tmp_path / "b.onnx", made))
    assert pair.rescaler.minimum == 8  # type: ignore[attr-defined]
    assert pair.rescaler.upscale(crop[..., :1, :2]).shape == (1, 3, 2, 4)


def test_weights_beside_the_file(tmp_path: Path, crop: Tensor) -> None:
    nodes, constants, network = convolved(2)
    path, weights = tmp_path / "a.onnx", tmp_path / "a.bin"
    onnx.save_model(model(nodes, constants), path, save_as_external_data=True, location="a.bin", size_threshold=0)
    pair = load_upscaler(path)
    with torch.no_grad():
        assert (pair.rescaler.upscale(crop) - network(crop)).abs().max() < 1e-5
    data = bytearray(weights.read_bytes())
    data[3] ^= 1  # of the first weight's exponent
    weights.write_bytes(data)
    assert load_upscaler(path).weights_hash != pair.weights_hash
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(RescalerError, match="is a damaged ONNX file"):
        load_upscaler(path)
    weights.unlink()
    with pytest.raises(RescalerError, match=r"has its weights in a\.bin, which is not beside it; put that there too"):
        load_upscaler(path)
    (tmp_path / "secret").write_bytes(bytes(data))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "linked"):
        made = onnx.load(path, load_external_data=False)
        for tensor in made.graph.initializer:
            tensor.external_data[0].value = name
        (tmp_path / "in" / "a.onnx").write_bytes(made.SerializeToString())
        with pytest.raises(RescalerError, match="outside of its folder"):
            load_upscaler(tmp_path / "in" / "a.onnx")


def two_inputs() -> onnx.ModelProto:
    made = model([("Add", "x noise", "a", {}), larger("a", "y")], TWICE)
    made.graph.input.append(helper.make_tensor_value_info("noise", FLOAT, ANY))
    return made


def strange(domain: str) -> onnx.ModelProto:
    made = model([("Magic", "x", "a", {}), ("Spell", "a", "b", {}), larger("b", "y")], TWICE)
    for node in made.graph.node[:2]:
        node.domain = domain
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def vast(operator: str) -> onnx.ModelProto:
    """A few bytes that ask for terabytes."""
    size = {"size": i64(1, 3, 2**20, 2**20)}
    match operator:
        case "ConstantOfShape":  # is computed before there is an image
            nodes = [("ConstantOfShape", "size", "c", {}), ("ReduceMean", "c", "m", {}), ("Add", "x m", "a", {})]
        case "Expand":
            nodes = [("ReduceMean", "x", "m", {}), ("Expand", "m size", "e", {}), ("Relu", "e", "a", {})]
        case _:
            nodes = [("Tile", "x size", "a", {})]
    return model([*nodes, larger("a", "y")], {**TWICE, **size})


SAME = [("Relu", "x", "y", {})]
BAD = {
    "unknown operators": (lambda: strange(""), "uses operators that are not known here: Magic, Spell; export it"),
    "another domain": (lambda: strange("com.example"), r"not known here: com\.example\.Magic, com\.example\.Spell;"),
    "a control flow": (
        lambda: model([("Loop", "n c x", "y", {"body": model(SAME).graph})], {"n": np.int64(1), "c": np.bool_(True)}),
        "not known here: Loop;",
    ),
    "two inputs": (two_inputs, r"takes 2 inputs \(x, noise\); give a network that takes one image"),
    "old": (lambda: model([larger("x", "y")], TWICE, opset=6), "is of ONNX opset 6, which is too old: 7 is the least"),
    "no upscaler": (
        lambda: model([("GlobalAveragePool", "x", "a", {}), ("Flatten", "a", "y", {})]),
        r"makes \(1, 3\) of an image \(1, 3, 25, 39\)",
    ),
    "scale 1": (lambda: model(SAME), "a whole number of times as large"),
    "scale 1 of one size": (lambda: model(SAME, shape=(1, 3, 16, 16)), "a whole number of times as large"),
    "scale 20": (
        lambda: model([("Resize", "x r s", "y", {})], {"r": f32(), "s": f32(1, 1, 20, 20)}),
        "upscales by 20; give one that upscales by 16 or less",
    ),
    "four channels": (lambda: model([larger("x", "y")], TWICE, (1, 4, "h", "w")), "of shape 1 x 4 x any x any; give a"),
    "a batch": (lambda: model([larger("x", "y")], TWICE, (8, 3, "h", "w")), "takes 8 images at once"),
    "video": (lambda: model(SAME, shape=(1, 3, 5, "h", "w")), "takes values of 5 dimensions"),
    "words": (lambda: model(SAME, dtype=TensorProto.INT64), "takes values of type int64"),
    "a vast size": (lambda: model([larger("x", "y")], TWICE, (1, 3, 10**6, 10**6)), "of 1000000 x 1000000 alone"),
    "a name": (lambda: model([("Add", "x nowhere", "a", {}), larger("a", "y")], TWICE), "nothing in it gives 'nowh"),
    "no nodes": (lambda: model([]), "is an ONNX file without a network"),
    "a wrong shape": (
        lambda: model([("Conv", "x w", "a", {}), larger("a", "y")], {**TWICE, "w": noise(3, 5, 3, 3)}),
        "its Conv fails",
    ),
    "not known so": (
        lambda: model([("Resize", "x r s", "y", {"coordinate_transformation_mode": "tf_crop_and_resize"})],
                      {"r": f32(0, 0, 0, 0, 1, 1, 1, 1), "s": TWICE["twice"]}),
        "its Resize has coordinate_transformation_mode 'tf_crop_and_resize', which is not known here",
    ),
    "vast, constant": (lambda: vast("ConstantOfShape"), "it asks for more memory"),
    "vast, expanded": (lambda: vast("Expand"), "it asks for more memory"),
    "vast, repeated": (lambda: vast("Tile"), "it asks for more memory"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used(tmp_path: Path, case: str) -> None:
    build, message = BAD[case]
    path = saved(tmp_path / "a.onnx", build())
    with pytest.raises(RescalerError, match=message) as caught:
        load_upscaler(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_damaged_files(tmp_path: Path) -> None:
    nodes, constants, _ = convolved(2)
    path = saved(tmp_path / "a.onnx", model(nodes, constants))
    data = path.read_bytes()
    for wrong in (b"\x08\x08\x12\xff", data[: len(data) // 2], data[:200] + bytes(50) + data[250:]):
        path.write_bytes(wrong)
        with pytest.raises(RescalerError, match=r"a\.onnx ") as caught:
            load_upscaler(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"some text, and no network")
    with pytest.raises(RescalerError, match="is no ONNX file, for all its name"):
        load_upscaler(path)
    path.write_bytes(data)
    with pytest.raises(RescalerError, match="is an ONNX file, which only --upscaler takes"):
        read_checkpoint(path)


def test_another_result_than_onnx_runtimes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, constants, _ = convolved(2)
    path = saved(tmp_path / "a.onnx", model(nodes, constants))
    right = operators.OPERATORS["LeakyRelu"]
    monkeypatch.setitem(operators.OPERATORS, "LeakyRelu", lambda *given: right(*given) + 0.01)  # type: ignore[operator]
    with pytest.raises(RescalerError, match=r"otherwise here than in ONNX Runtime, by up to \d+\.\d grey levels"):
        load_upscaler(path)


def test_there_and_back(tmp_path: Path, crop: Tensor) -> None:
    nodes, constants, _ = convolved(3)
    network, photo = saved(tmp_path / "network.onnx", model(nodes, constants)), tmp_path / "photo.png"
    write(photo, Photo(crop[..., :31, :47]))
    done = coscale("downscale", photo, "--upscaler", network, "--effort", "fast")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "photo.x3.png").size == (11, 16)
    assert coscale("upscale", tmp_path / "photo.x3.png", "--upscaler", network).returncode == 0
    assert read(tmp_path / "photo.restored.png").size == (31, 47)
    saved(network, strange(""))
    assert "not known here: Magic, Spell" in fails("upscale", tmp_path / "photo.x3.png", "--upscaler", network)


@needs("export")
@pytest.mark.parametrize("fixed", [False, True])
def test_rlfn_exported(tmp_path: Path, fixed: bool, butterfly: Photo) -> None:
    path = WEIGHTS / "rlfn" / "rlfn_x4.pth"
    if not path.is_file():
        pytest.skip(f"the weights are not at {path}")
    pair = load_upscaler(path)
    network = pair.rescaler.network  # type: ignore[attr-defined]
    axes = None if fixed else {"x": {2: "height", 3: "width"}}
    torch.onnx.export(
        *(network, (torch.zeros(1, 3, 48, 48),), tmp_path / "a.onnx"),
        dynamo=False,
        input_names=["x"],
        dynamic_axes=axes,
        opset_version=17,
    )
    again = load_upscaler(tmp_path / "a.onnx")
    dress = network_in(again).network.dress if fixed else network_in(again).dress
    assert dress == Dress(Range(0, 255), Range(0, 255))
    lr = quantize(pair.rescaler.downscale(butterfly.colour[..., :192, :192]))
    with torch.no_grad():
        assert (again.rescaler.upscale(lr) - pair.rescaler.upscale(lr)).abs().max() < 0.5 / 255


def test_dressed_gives_back_what_it_was_given(crop: Tensor) -> None:
    dress = Dress(Range(-1, 1), Range(-1, 1), takes_bgr=True, gives_bgr=True, channels_last=True)
    assert (
        Dressed(nn.Identity(), dress)(torch.cat((crop, crop.flip(2)))) - torch.cat((crop, crop.flip(2)))
    ).abs().max() < 1e-6
