"""An ONNX file read as data: its nodes, constants, and what it says of the image that it takes.

Nothing in it is run here, and a file beside it is read only where it lies in the same folder.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from coscale.errors import NetworkError, RescalerError, reason
from coscale.files import check_regular
from coscale.rescalers.graph import Graph, Node, needed
from coscale.rescalers.operators import OLDEST, OPERATORS, Attributes
from coscale.weights.bounded import Bounded

if TYPE_CHECKING:
    import onnx

TOO_MUCH = "it asks for more memory than images of that size need"
LARGEST = 2**31 - 1  # bytes that ONNX keeps in one message
_OWN = ("", "ai.onnx")  # the domains whose operators are ONNX's
_SHARES, _ROOM = 64, 2**24  # what one constant that is computed may have: times the bytes of the file, and beyond
_MOST_NODES = 100_000  # of a file: the largest known networks have twenty thousand


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file holds.

    - ``graph``: the network.
    - ``shape``: of the image that it takes, None where that is free.
    - ``dtype``: of the image.
    - ``model``: the file's content for other runtimes, with all constants in it and only what the result needs.
    - ``weights_hash``: SHA-256 of the file, and of the files that its constants lie in.
    """

    graph: Graph
    shape: tuple[int | None, int | None, int | None, int | None]
    dtype: torch.dtype
    model: bytes
    weights_hash: str


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file.

    Raises RescalerError when onnx is not installed, when the file is damaged, has operators that are not known, an
    opset that is too old, constants in a file that is missing, or other inputs than one image.
    """
    try:
        import onnx
    except ImportError as error:
        raise RescalerError(
            f"{path} is an ONNX file, and reading it needs onnx ({error}): pip install 'coscale[onnx]'"
        ) from error
    check_regular(path)
    if path.stat().st_size > LARGEST:
        raise RescalerError(f"{path} is larger than the 2 GB of an ONNX file; give a smaller network")
    data = path.read_bytes()
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's own, of several kinds
        raise RescalerError(f"{path} is a damaged ONNX file, or none; get it anew") from error
    opset = _opset(model, path)
    digest = hashlib.sha256(data)
    for beside in _beside(model, path):
        digest.update(beside.read_bytes())
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        model = _inlined(model)
        nodes = [_node(node, opset) for node in model.graph.node if not _is_constant(node)]
    except Exception as error:  # what is damaged fails in many ways
        raise RescalerError(f"{path} is a damaged ONNX file ({reason(error)}); get it anew") from error
    if not model.graph.output or not nodes:
        raise RescalerError(f"{path} is an ONNX file without a network; give another file")
    result = model.graph.output[0].name
    used = needed(nodes, result)
    _check_operators(used, path)
    constants = _constants(model, path)
    entry = _entry(model, constants, path)
    shape, dtype = _image_of(entry, path)
    content = _pruned(model, used)
    try:
        with torch.no_grad(), Bounded(TOO_MUCH, each=_SHARES * len(content) + _ROOM):
            graph = Graph(used, constants, entry.name, result)
    except NetworkError as error:
        raise RescalerError(f"{path} cannot be used: {error}; export it anew") from error
    return OnnxFile(graph, shape, dtype, content, digest.hexdigest())


def _opset(model: "onnx.ModelProto", path: Path) -> int:
    opset = max((each.version for each in model.opset_import if each.domain in _OWN), default=1)
    if opset < OLDEST:
        raise RescalerError(
            f"{path} is of ONNX opset {opset}, which is too old: {OLDEST} is the least that is read; export it anew, "
            "or convert it by onnx.version_converter"
        )
    return opset


def _tensors(model: "onnx.ModelProto") -> Iterator["onnx.TensorProto"]:
    yield from model.graph.initializer
    for node in model.graph.node:
        yield from (each.t for each in node.attribute if each.HasField("t"))


def _beside(model: "onnx.ModelProto", path: Path) -> list[Path]:
    """The files that constants lie in, each once. Raises RescalerError when one is missing or lies elsewhere."""
    names = {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == tensor.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    folder, found, total = path.parent.resolve(), [], 0
    for name in sorted(names):
        beside = folder / name
        if beside.is_symlink() or not beside.resolve().is_relative_to(folder):
            raise RescalerError(
                f"{path} asks for weights in {name[:80]}, outside of its folder; get it anew, in one file"
            )
        if not beside.is_file():
            raise RescalerError(f"{path} has its weights in {name[:80]}, which is not beside it; put that there too")
        total += beside.stat().st_size
        found.append(beside)
    if total > LARGEST:
        raise RescalerError(f"{path} has more than 2 GB of weights; give a smaller network")
    return found


def _inlined(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model with its own functions in the place of their calls."""
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _node(node: "onnx.NodeProto", opset: int) -> Node:
    operator = node.op_type if node.domain in _OWN else f"{node.domain}.{node.op_type}"
    values = {each.name: _value(each) for each in node.attribute}
    return Node(operator, tuple(node.input), tuple(node.output), Attributes(values, opset, len(node.output)))


def _is_constant(node: "onnx.NodeProto") -> bool:
    return node.op_type == "Constant" and node.domain in _OWN


def _value(attribute: "onnx.AttributeProto") -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    if attribute.name == "to" and isinstance(value, int):
        return _dtype(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _dtype(kind: int) -> torch.dtype:
    """The type that numbers of one of ONNX's are kept as here."""
    import onnx

    known = {"BOOL": torch.bool, "UINT8": torch.uint8, "INT8": torch.int8, "INT16": torch.int16, "INT32": torch.int32}
    name = onnx.TensorProto.DataType.Name(kind)
    if name in ("STRING", "COMPLEX64", "COMPLEX128"):
        raise ValueError(f"values of type {name.lower()}")
    return known.get(name, torch.int64 if "INT" in name else torch.float32)


def _tensor(proto: "onnx.TensorProto") -> Tensor:
    from onnx import numpy_helper

    dtype = _dtype(proto.data_type)
    return torch.from_numpy(numpy_helper.to_array(proto).astype(str(dtype).removeprefix("torch."), copy=True))


def _check_operators(nodes: Sequence[Node], path: Path) -> None:
    if len(nodes) > _MOST_NODES:
        raise RescalerError(f"{path} has more than {_MOST_NODES} operators; give a smaller network")
    unknown = sorted({node.operator for node in nodes} - set(OPERATORS))
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise RescalerError(
            f"{path} uses operators that are not known here: {', '.join(unknown[:8])}{more}; export it without "
            "them, or give its checkpoint, or a program with --trust"
        )


def _constants(model: "onnx.ModelProto", path: Path) -> dict[str, Tensor]:
    if model.graph.sparse_initializer:
        raise RescalerError(f"{path} has sparse weights, which are not read here; export it with ordinary ones")
    try:
        found = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if _is_constant(node):
                found[node.output[0]] = _constant(_value(node.attribute[0]))
    except Exception as error:  # what is damaged fails in many ways
        raise RescalerError(f"{path} is a damaged ONNX file ({reason(error)}); get it anew") from error
    return found


def _constant(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value)


def _entry(model: "onnx.ModelProto", constants: dict[str, Tensor], path: Path) -> "onnx.ValueInfoProto":
    entries = [each for each in model.graph.input if each.name not in constants]
    if len(entries) != 1:
        names = ", ".join(each.name[:40] for each in entries[:8])
        raise RescalerError(
            f"{path} takes {len(entries)} inputs ({names}); give a network that takes one image and nothing else"
            if entries
            else f"{path} takes no input; give a network that takes an image"
        )
    return entries[0]


def _image_of(
    entry: "onnx.ValueInfoProto", path: Path
) -> tuple[tuple[int | None, int | None, int | None, int | None], torch.dtype]:
    import onnx

    kind = entry.type.tensor_type
    types: dict[int, torch.dtype] = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}
    if kind.elem_type not in types | {onnx.TensorProto.UINT8: torch.uint8}:
        _refuse(path, f"values of type {onnx.TensorProto.DataType.Name(kind.elem_type).lower()}")
    dims = [each.dim_value if each.dim_value > 0 else None for each in kind.shape.dim]
    if not kind.HasField("shape"):
        dims = [None] * 4
    if len(dims) != 4:
        _refuse(path, f"values of {len(dims)} dimensions")
    if dims[0] not in (None, 1):
        _refuse(path, f"{dims[0]} images at once")
    batch, first, second, third = dims
    return (batch, first, second, third), types.get(kind.elem_type, torch.uint8)


def _refuse(path: Path, what: str) -> NoReturn:
    raise RescalerError(f"{path} takes {what}; give a network that takes one image, with its height, width and colours")


def _pruned(model: "onnx.ModelProto", used: Sequence[Node]) -> bytes:
    """The model without the nodes and results that the first result does not need."""
    named = {name for node in used for name in (*node.inputs, *node.outputs) if name}
    kept = [node for node in model.graph.node if set(node.output) & named]
    del model.graph.node[:], model.graph.output[1:]
    model.graph.node.extend(kept)
    return model.SerializeToString()
