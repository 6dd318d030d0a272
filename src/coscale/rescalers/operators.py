"""The operators of ONNX that networks for images are made of, as functions of PyTorch, with gradients.

Each takes its inputs (None for one that was left out) and its ``Attributes``, and gives one tensor or several. Numbers
with a fraction are in float32 throughout, whatever the file keeps them as. Shapes and indices are tensors of integers.
Semantics are those of https://onnx.ai/onnx/operators from ``OLDEST`` on, as far as ``OPERATORS`` has a name.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

OLDEST = 7  # the oldest opset that ONNX Runtime runs
Inputs = Sequence[Tensor | None]
Outputs = Tensor | tuple[Tensor, ...]


class UnsupportedError(ValueError):
    """A way to use an operator that is not known here."""


@dataclass(frozen=True)
class Attributes:
    """What a node says beside its inputs: ``values`` by name, the ``opset`` it goes by, and how many ``outputs``."""

    values: Mapping[str, Any]
    opset: int
    outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:
        """Give a value, or ``default`` where the node does not say it."""
        return self.values.get(name, default)

    def refuse(self, **allowed: Sequence[Any]) -> None:
        """Raise UnsupportedError where a value is another than those allowed."""
        for name, values in allowed.items():
            if name in self.values and self.values[name] not in values:
                raise UnsupportedError(f"{name} {self.values[name]!r}")


Operator = Callable[[Inputs, Attributes], Outputs]


def _image(inputs: Inputs) -> Tensor:
    x = inputs[0]
    if x is None:
        raise UnsupportedError("no input")
    return x


def _at(inputs: Inputs, index: int) -> Tensor | None:
    return inputs[index] if index < len(inputs) else None


def _listed(inputs: Inputs, index: int, attributes: Attributes, name: str) -> list[Any] | None:
    """What older opsets have as an attribute, and newer ones as an input."""
    given = _at(inputs, index)
    if given is not None:
        return given.reshape(-1).tolist()
    found = attributes.get(name)
    return None if found is None else list(found)


def _number(inputs: Inputs, index: int, attributes: Attributes, name: str, default: float | None) -> float | None:
    given = _at(inputs, index)
    return attributes.get(name, default) if given is None else given.item()


def _simple(function: Callable[..., Tensor]) -> Operator:
    """An operator of its inputs alone."""
    return lambda inputs, _: function(*inputs)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """An operator of any number of inputs, two by two."""
    return lambda inputs, _: reduce(function, [x for x in inputs if x is not None])


def _div(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _mod(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, divisor = _image(inputs), inputs[1]
    assert divisor is not None
    return torch.fmod(x, divisor) if attributes.get("fmod", 0) else torch.remainder(x, divisor)


def _pow(base: Tensor, exponent: Tensor) -> Tensor:
    if exponent.numel() == 1 and float(exponent) == 2:  # whose gradient is finite at zero, and quicker
        return base.square()
    return torch.pow(base, exponent).to(base.dtype)


def _clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    low, high = (_number(inputs, index, attributes, name, None) for index, name in ((1, "min"), (2, "max")))
    return _image(inputs) if low is None and high is None else _image(inputs).clamp(low, high)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x >= 0, x, slope * x)


def _cast(x: Tensor, to: torch.dtype) -> Tensor:
    """``x`` as another type; a number with a fraction stays as precise as it is."""
    if to.is_floating_point:
        return x if x.is_floating_point() else x.float()
    return x.to(to)


def _softmax(function: Callable[..., Tensor], inputs: Inputs, attributes: Attributes) -> Tensor:
    x = _image(inputs)
    if attributes.opset >= 13:
        return function(x, dim=attributes.get("axis", -1))
    axis = attributes.get("axis", 1) % x.ndim  # all axes from that one on count as one
    return function(x.flatten(axis), dim=axis).reshape(x.shape)


def _reduced(function: Callable[..., Tensor], inputs: Inputs, attributes: Attributes) -> Tensor:
    x, axes = _image(inputs), _listed(inputs, 1, attributes, "axes")
    if not axes and attributes.get("noop_with_empty_axes", 0):
        return x
    return function(x, tuple(axes or range(x.ndim)), keepdim=bool(attributes.get("keepdims", 1)))


def _product(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def _length(order: int, x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.linalg.vector_norm(x, order, axes, keepdim)


def _chosen(function: Callable[..., Tensor], inputs: Inputs, attributes: Attributes) -> Tensor:
    attributes.refuse(select_last_index=(0,))
    return function(_image(inputs), attributes.get("axis", 0), keepdim=bool(attributes.get("keepdims", 1)))


def _matrix(inputs: Inputs, attributes: Attributes) -> Tensor:
    a, b, c = inputs[0], inputs[1], _at(inputs, 2)
    assert a is not None
    assert b is not None
    out = (
        attributes.get("alpha", 1.0)
        * (a.mT if attributes.get("transA") else a)
        @ (b.mT if attributes.get("transB") else b)
    )
    return out if c is None else out + attributes.get("beta", 1.0) * c


# Convolutions and pools


def _pads(x: Tensor, kernel: Sequence[int], attributes: Attributes) -> list[int]:
    """Rows before each axis, then those after each."""
    axes = len(kernel)
    way = attributes.get("auto_pad", "NOTSET")
    if way == "NOTSET":
        return list(attributes.get("pads", [0] * 2 * axes))
    if way == "VALID":
        return [0] * 2 * axes
    strides, dilations = (attributes.get(name, [1] * axes) for name in ("strides", "dilations"))
    totals = [
        max(0, (-(-size // stride) - 1) * stride + (side - 1) * dilation + 1 - size)
        for size, stride, side, dilation in zip(x.shape[2:], strides, kernel, dilations, strict=True)
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return less + more if way == "SAME_UPPER" else more + less


def _around(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """``x`` with so many rows of ``value``; the last axes are padded."""
    axes = len(pads) // 2
    ordered = [pads[axis + end * axes] for axis in reversed(range(axes)) for end in (0, 1)]
    return F.pad(x, ordered, value=value) if any(ordered) else x


def _even(pads: Sequence[int]) -> bool:
    return list(pads[: len(pads) // 2]) == list(pads[len(pads) // 2 :])


def _conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, weight, bias = _image(inputs), inputs[1], _at(inputs, 2)
    assert weight is not None
    axes = weight.ndim - 2
    pads = _pads(x, weight.shape[2:], attributes)
    strides, dilations = (attributes.get(name, [1] * axes) for name in ("strides", "dilations"))
    if not _even(pads):
        x, pads = _around(x, pads), [0] * 2 * axes
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return convolve(x, weight, bias, strides, pads[:axes], dilations, attributes.get("group", 1))


def _conv_transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, weight, bias = _image(inputs), inputs[1], _at(inputs, 2)
    assert weight is not None
    attributes.refuse(auto_pad=("NOTSET", "VALID"))
    if attributes.get("output_shape"):
        raise UnsupportedError("output_shape")
    axes = weight.ndim - 2
    pads = attributes.get("pads", [0] * 2 * axes)
    strides, dilations = (attributes.get(name, [1] * axes) for name in ("strides", "dilations"))
    more = attributes.get("output_padding", [0] * axes)
    convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    groups = attributes.get("group", 1)
    if _even(pads):
        return convolve(x, weight, bias, strides, pads[:axes], more, groups, dilations)
    whole = convolve(x, weight, bias, strides, 0, more, groups, dilations)
    return _around(whole, [-pad for pad in pads])


def _max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, kernel = _image(inputs), attributes.get("kernel_shape")
    axes = len(kernel)
    strides, dilations = (attributes.get(name, [1] * axes) for name in ("strides", "dilations"))
    pads = _pads(x, kernel, attributes)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    return pool(
        _around(x, pads, -math.inf), kernel, strides, 0, dilations, ceil_mode=bool(attributes.get("ceil_mode", 0))
    )


def _average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, kernel = _image(inputs), attributes.get("kernel_shape")
    axes = len(kernel)
    attributes.refuse(dilations=([1] * axes,))
    strides, pads = attributes.get("strides", [1] * axes), _pads(x, kernel, attributes)
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    ceil, all_count = bool(attributes.get("ceil_mode", 0)), bool(attributes.get("count_include_pad", 0))
    if _even(pads):
        return pool(x, kernel, strides, pads[:axes], ceil, all_count)
    means = pool(_around(x, pads), kernel, strides, 0, ceil)
    return means if all_count else means / pool(_around(torch.ones_like(x), pads), kernel, strides, 0, ceil)


# Normalisations


def _batch_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    attributes.refuse(training_mode=(0,))
    x, weight, bias, mean, variance = inputs[:5]
    assert x is not None
    return F.batch_norm(x, mean, variance, weight, bias, eps=attributes.get("epsilon", 1e-5))


def _layer_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    x = _image(inputs)
    shape = x.shape[attributes.get("axis", -1) :]
    weight, bias = (None if each is None else each.expand(shape) for each in (_at(inputs, 1), _at(inputs, 2)))
    return F.layer_norm(x, shape, weight, bias, attributes.get("epsilon", 1e-5))


def _rms_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, axis = _image(inputs), attributes.get("axis", -1)
    means = x.square().mean(tuple(range(axis % x.ndim, x.ndim)), keepdim=True)
    return x * (means + attributes.get("epsilon", 1e-5)).rsqrt() * (1 if inputs[1] is None else inputs[1])


def _group_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, weight, bias = inputs[:3]
    assert x is not None
    assert weight is not None
    assert bias is not None
    groups = attributes.get("num_groups")
    if attributes.opset < 21:  # which has one for each group
        weight, bias = (each.repeat_interleave(x.shape[1] // groups) for each in (weight, bias))
    return F.group_norm(x, groups, weight, bias, attributes.get("epsilon", 1e-5))


def _instance_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, weight, bias = inputs[:3]
    assert x is not None
    return F.instance_norm(x, weight=weight, bias=bias, eps=attributes.get("epsilon", 1e-5))


def _lp_norm(inputs: Inputs, attributes: Attributes) -> Tensor:
    return F.normalize(_image(inputs), attributes.get("p", 2), attributes.get("axis", -1))


# Shapes and indices


def _shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.tensor(_image(inputs).shape[attributes.get("start", 0) : attributes.get("end")], dtype=torch.int64)


def _reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, wanted = _image(inputs), _listed(inputs, 1, attributes, "shape") or []
    if not attributes.get("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(inputs: Inputs, attributes: Attributes) -> Tensor:
    x = _image(inputs)
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    axes = _listed(inputs, 1, attributes, "axes")
    return _image(inputs).squeeze() if axes is None else _image(inputs).squeeze(tuple(axes))


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, axes = _image(inputs), _listed(inputs, 1, attributes, "axes") or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    x = _image(inputs)
    return x.permute(attributes.get("perm", list(range(x.ndim))[::-1]))


def _expand(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, shape = _image(inputs), _listed(inputs, 1, attributes, "shape") or []
    return x.expand(torch.broadcast_shapes(x.shape, shape))


def _tile(inputs: Inputs, attributes: Attributes) -> Tensor:
    return _image(inputs).repeat(_listed(inputs, 1, attributes, "repeats") or [])


def _concat(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.cat([x for x in inputs if x is not None], attributes.get("axis", 1))


def _split(inputs: Inputs, attributes: Attributes) -> tuple[Tensor, ...]:
    x, axis = _image(inputs), attributes.get("axis", 0)
    sizes = _listed(inputs, 1, attributes, "split")
    return x.split(sizes or -(-x.shape[axis] // attributes.outputs), axis)


def _slice(inputs: Inputs, attributes: Attributes) -> Tensor:
    x = _image(inputs)
    starts, ends, axes, steps = (
        _listed(inputs, index, attributes, name)
        for index, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps"))
    )
    starts, ends = starts or [], ends or []
    for start, end, axis, step in zip(
        starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
    ):
        index = range(x.shape[axis])[int(start) : int(end) : int(step)]
        if step == 1:
            x = x.narrow(axis, index.start, len(index))
        else:
            x = _taken(x, axis, torch.arange(index.start, index.start + step * len(index), step))
    return x


def _taken(x: Tensor, axis: int, index: Tensor) -> Tensor:
    return x.index_select(axis, index.to(x.device))


def _gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, index = _image(inputs), inputs[1]
    assert index is not None
    axis = attributes.get("axis", 0) % x.ndim
    index = torch.where(index < 0, index + x.shape[axis], index)
    taken = _taken(x, axis, index.reshape(-1))
    return taken.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _gather_elements(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, index = _image(inputs), inputs[1]
    assert index is not None
    axis = attributes.get("axis", 0) % x.ndim
    return x.gather(axis, torch.where(index < 0, index + x.shape[axis], index))


def _gather_nd(inputs: Inputs, attributes: Attributes) -> Tensor:
    attributes.refuse(batch_dims=(0,))
    x, index = _image(inputs), inputs[1]
    assert index is not None
    return x[tuple(index.unbind(-1))]


def _scatter_nd(inputs: Inputs, attributes: Attributes) -> Tensor:
    attributes.refuse(reduction=("none",))
    x, index, updates = inputs[:3]
    assert x is not None
    assert index is not None
    assert updates is not None
    return x.index_put(tuple(index.unbind(-1)), updates.to(x.dtype))


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> Tensor:
    value = attributes.get("value", torch.zeros(1))
    return value.reshape(()).expand(_image(inputs).tolist()).clone()


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype, device=start.device)


def _top_k(inputs: Inputs, attributes: Attributes) -> tuple[Tensor, ...]:
    count = _listed(inputs, 1, attributes, "k")
    assert count is not None
    return torch.topk(
        _image(inputs),
        int(count[0]),
        attributes.get("axis", -1),
        bool(attributes.get("largest", 1)),
        bool(attributes.get("sorted", 1)),
    )


def _triangle(inputs: Inputs, attributes: Attributes) -> Tensor:
    k = _number(inputs, 1, attributes, "k", 0)
    return (torch.triu if attributes.get("upper", 1) else torch.tril)(_image(inputs), int(k or 0))


def _cumulated(inputs: Inputs, attributes: Attributes) -> Tensor:
    attributes.refuse(exclusive=(0,), reverse=(0,))
    return _image(inputs).cumsum(int(_number(inputs, 1, attributes, "axis", 0) or 0))


# Sizes


def _depth_to_space(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, side = _image(inputs), attributes.get("blocksize")
    if attributes.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, side)
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, side, side, channels // side**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // side**2, height * side, width * side)


def _space_to_depth(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, side = _image(inputs), attributes.get("blocksize")
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, height // side, side, width // side, side)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * side**2, height // side, width // side)


def _pad(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, pads = _image(inputs), _listed(inputs, 1, attributes, "pads") or []
    axes = _listed(inputs, 3, attributes, "axes") or list(range(x.ndim))
    each = [(axis % x.ndim, pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)]
    mode = attributes.get("mode", "constant")
    if mode == "constant":
        whole = [0] * 2 * x.ndim
        for axis, before, after in each:
            whole[axis], whole[axis + x.ndim] = before, after
        return _around(x, whole, _number(inputs, 2, attributes, "value", 0.0) or 0.0)
    for axis, before, after in each:
        if before or after:
            size = x.shape[axis]
            x = _taken(x, axis, _continued(torch.arange(-before, size + after), size, mode))
    return x


def _continued(index: Tensor, size: int, mode: str) -> Tensor:
    """Where in an axis of ``size`` the pixel at each ``index``, which may lie outside, is taken from."""
    if mode == "edge":
        return index.clamp(0, size - 1)
    if mode == "wrap":
        return index % size
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        return (size - 1) - ((index % period) - (size - 1)).abs()
    raise UnsupportedError(f"mode {mode!r}")


def _upsample(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Upsample, and Resize of opset 10: coordinates are multiplied, and cut off for the nearest pixel."""
    x, scales = _image(inputs), _listed(inputs, 1, attributes, "scales") or []
    old = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    ways = Attributes({**attributes.values, **old}, attributes.opset)
    for axis, scale in enumerate(scales):
        x = _resized(x, axis, math.floor(x.shape[axis] * scale), scale, ways)
    return x


def _resize(inputs: Inputs, attributes: Attributes) -> Tensor:
    if attributes.opset < 11:
        return _upsample(inputs, attributes)
    attributes.refuse(antialias=(0,), keep_aspect_ratio_policy=("stretch",))
    x, scales, sizes = _image(inputs), _at(inputs, 2), _at(inputs, 3)
    axes = attributes.get("axes") or range(x.ndim)
    if scales is not None and scales.numel():
        wanted = [
            (axis, math.floor(x.shape[axis] * scale), scale) for axis, scale in zip(axes, scales.tolist(), strict=True)
        ]
    else:
        assert sizes is not None
        wanted = [(axis, int(size), size / x.shape[axis]) for axis, size in zip(axes, sizes.tolist(), strict=True)]
    for axis, size, scale in wanted:
        x = _resized(x, axis, size, scale, attributes)
    return x


def _resized(x: Tensor, axis: int, size: int, scale: float, attributes: Attributes) -> Tensor:
    """One axis made ``size`` long: each pixel is the sum of its neighbours in the original, by their weights."""
    length = x.shape[axis]
    if scale == 1 and size == length:
        return x
    place = _places(size, length, scale, attributes)
    mode = attributes.get("mode", "nearest")
    if mode == "nearest":
        return _taken(
            x, axis, _nearest(place, attributes.get("nearest_mode", "round_prefer_floor")).clamp(0, length - 1)
        )
    first = place.floor()
    part = place - first
    if mode in ("linear", "bilinear"):
        offsets, weights = (0, 1), torch.stack((1 - part, part))
    elif mode in ("cubic", "bicubic"):
        offsets, weights = (-1, 0, 1, 2), _cubic(part, attributes.get("cubic_coeff_a", -0.75))
    else:
        raise UnsupportedError(f"mode {mode!r}")
    places = torch.stack([first.long() + offset for offset in offsets])
    if attributes.get("exclude_outside", 0):
        weights = weights * ((places >= 0) & (places < length))
        weights = weights / weights.sum(0)
    shape = [1] * x.ndim
    shape[axis] = size
    weights = weights.float().to(x.device)
    out: Tensor | float = 0.0
    for index, weight in zip(places.clamp(0, length - 1), weights, strict=True):
        out = out + _taken(x, axis, index) * weight.reshape(shape)
    assert isinstance(out, Tensor)
    return out


def _places(size: int, length: int, scale: float, attributes: Attributes) -> Tensor:
    """Where in the original each pixel lies."""
    place = torch.arange(size, dtype=torch.float64)
    match attributes.get("coordinate_transformation_mode", "half_pixel"):
        case "half_pixel":
            return (place + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (place + 0.5) / scale - 0.5 if size > 1 else 0 * place
        case "half_pixel_symmetric":
            middle = length / 2 * (1 - size / (scale * length))
            return middle + (place + 0.5) / scale - 0.5
        case "asymmetric":
            return place / scale
        case "align_corners":
            return place * (length - 1) / (size - 1) if size > 1 else 0 * place
        case other:
            raise UnsupportedError(f"coordinate_transformation_mode {other!r}")


def _nearest(place: Tensor, mode: str) -> Tensor:
    place = (place * 2**20).round() / 2**20  # so that what is meant as a half or a whole is one
    match mode:
        case "round_prefer_floor":
            return (place - 0.5).ceil().long()
        case "round_prefer_ceil":
            return (place + 0.5).floor().long()
        case "floor":
            return place.floor().long()
        case "ceil":
            return place.ceil().long()
    raise UnsupportedError(f"nearest_mode {mode!r}")


def _cubic(part: Tensor, a: float) -> Tensor:
    """Keys' weights of the four neighbours, from where between the middle two a pixel lies."""

    def near(t: Tensor) -> Tensor:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Tensor) -> Tensor:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    return torch.stack((far(part + 1), near(part), near(1 - part), far(2 - part)))


def _grid_sample(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, grid = _image(inputs), inputs[1]
    assert grid is not None
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    mode: str = attributes.get("mode", "linear")
    return F.grid_sample(
        *(x, grid, modes.get(mode) or mode, attributes.get("padding_mode", "zeros")),
        align_corners=bool(attributes.get("align_corners", 0)),
    )


def _global_pool(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    return function(x, tuple(range(2, x.ndim)), keepdim=True)


OPERATORS: dict[str, Operator] = {
    "Abs": _simple(torch.abs),
    "Add": _simple(torch.add),
    "And": _simple(torch.logical_and),
    "ArgMax": partial(_chosen, torch.argmax),
    "ArgMin": partial(_chosen, torch.argmin),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": lambda inputs, attributes: _cast(_image(inputs), attributes.get("to")),
    "CastLike": _simple(lambda x, like: _cast(x, like.dtype)),
    "Ceil": _simple(torch.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _simple(torch.cos),
    "CumSum": _cumulated,
    "DepthToSpace": _depth_to_space,
    "Div": _simple(_div),
    "Dropout": lambda inputs, _: _image(inputs),
    "Einsum": lambda inputs, attributes: torch.einsum(attributes.get("equation"), *inputs),
    "Elu": lambda inputs, attributes: F.elu(_image(inputs), attributes.get("alpha", 1.0)),
    "Equal": _simple(torch.eq),
    "Erf": _simple(torch.erf),
    "Exp": _simple(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _simple(torch.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gelu": lambda inputs, attributes: F.gelu(_image(inputs), approximate=attributes.get("approximate", "none")),
    "Gemm": _matrix,
    "GlobalAveragePool": _simple(partial(_global_pool, torch.mean)),
    "GlobalMaxPool": _simple(partial(_global_pool, torch.amax)),
    "Greater": _simple(torch.gt),
    "GreaterOrEqual": _simple(torch.ge),
    "GridSample": _grid_sample,
    "GroupNormalization": _group_norm,
    "HardSigmoid": lambda inputs, attributes: (
        attributes.get("alpha", 0.2) * _image(inputs) + attributes.get("beta", 0.5)
    ).clamp(0, 1),
    "HardSwish": _simple(F.hardswish),
    "Identity": _simple(lambda x: x),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda inputs, attributes: F.leaky_relu(_image(inputs), attributes.get("alpha", 0.01)),
    "Less": _simple(torch.lt),
    "LessOrEqual": _simple(torch.le),
    "Log": _simple(torch.log),
    "LogSoftmax": partial(_softmax, F.log_softmax),
    "LpNormalization": _lp_norm,
    "MatMul": _simple(torch.matmul),
    "Max": _folded(torch.maximum),
    "MaxPool": _max_pool,
    "Mean": lambda inputs, attributes: _folded(torch.add)(inputs, attributes) / len(inputs),  # type: ignore[operator]
    "Min": _folded(torch.minimum),
    "Mish": _simple(F.mish),
    "Mod": _mod,
    "Mul": _simple(torch.mul),
    "Neg": _simple(torch.neg),
    "Not": _simple(torch.logical_not),
    "Or": _simple(torch.logical_or),
    "PRelu": _simple(_prelu),
    "Pad": _pad,
    "Pow": _simple(_pow),
    "RMSNormalization": _rms_norm,
    "Range": _simple(_range),
    "Reciprocal": _simple(torch.reciprocal),
    "ReduceL1": partial(_reduced, partial(_length, 1)),
    "ReduceL2": partial(_reduced, partial(_length, 2)),
    "ReduceLogSumExp": partial(_reduced, torch.logsumexp),
    "ReduceMax": partial(_reduced, torch.amax),
    "ReduceMean": partial(_reduced, torch.mean),
    "ReduceMin": partial(_reduced, torch.amin),
    "ReduceProd": partial(_reduced, _product),
    "ReduceSum": partial(_reduced, torch.sum),
    "ReduceSumSquare": partial(_reduced, lambda x, axes, keepdim: x.square().sum(axes, keepdim=keepdim)),
    "Relu": _simple(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _simple(torch.round),
    "ScatterND": _scatter_nd,
    "Selu": lambda inputs, attributes: (
        attributes.get("gamma", 1.0507009873554805) * F.elu(_image(inputs), attributes.get("alpha", 1.6732632423543772))
    ),
    "Shape": _shape,
    "Sigmoid": _simple(torch.sigmoid),
    "Sign": _simple(torch.sign),
    "Sin": _simple(torch.sin),
    "Size": _simple(lambda x: torch.tensor(x.numel())),
    "Slice": _slice,
    "Softmax": partial(_softmax, F.softmax),
    "Softplus": _simple(F.softplus),
    "Softsign": _simple(F.softsign),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Sqrt": _simple(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _simple(torch.sub),
    "Sum": _folded(torch.add),
    "Swish": lambda inputs, attributes: _image(inputs) * torch.sigmoid(attributes.get("alpha", 1.0) * _image(inputs)),
    "Tanh": _simple(torch.tanh),
    "ThresholdedRelu": lambda inputs, attributes: F.threshold(_image(inputs), attributes.get("alpha", 1.0), 0.0),
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
    "Upsample": _upsample,
    "Where": _simple(torch.where),
    "Xor": _simple(torch.logical_xor),
}
