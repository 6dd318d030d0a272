"""An ONNX network as upscaler. What its file does not say is found by trying: layout, colours, range, scale and sizes.

file --nodes and constants--> a network of PyTorch --tried on a small photo--> the pair --compared--> ONNX Runtime
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coscale import resize
from coscale.colour import luma
from coscale.errors import RescalerError, reason
from coscale.quantize import quantize
from coscale.rescalers.dressed import PLAIN, RANGES, UNIT, Dress, Dressed, Range, Windows
from coscale.rescalers.superres import SuperResolution, image_in
from coscale.weights.bounded import Bounded
from coscale.weights.onnx_file import TOO_MUCH, OnnxFile, read_onnx
from coscale.weights.trying import SIDES, scale_of, tried
from coscale.weights.verify import small_photo

_AGREEMENT = 0.5  # of a grey level, from ONNX Runtime
_NEAR = 0.1  # mean difference from the LR, of what is restored and shrunk again: any upscaler stays well below
_OTHER_RANGE, _OTHER_ORDER, _MIXED = 1.25, 2.0, 1.02  # times less must the squared error be: 1, 3 and 0.1 dB
_LARGEST_SIDE = 2048  # of a network for images of one size
_EACH = 2**18  # bytes that one result may have for each LR pixel,
_MOST = 2**31  # and in all
_OUTSIDE = 1e-4  # the share of the gradient that may lie outside of a window's halo


@dataclass(frozen=True)
class _Way:
    """One reading of the shape of what a network takes: which axis has the colours, how many, and the fixed size."""

    channels_last: bool
    channels: int
    size: tuple[int, int] | None


def onnx_upscaler(path: Path, device: torch.device) -> tuple[SuperResolution, str]:
    """Give the pair of bicubic and the network in an ONNX file, and the hash of its weights.

    Raises RescalerError as ``read_onnx`` does, when the network is no upscaler, and when it restores otherwise here, by
    more than half a grey level, than in ONNX Runtime.
    """
    file = read_onnx(path)
    run = _runtime(file, path)
    graph = file.graph.to(device)
    way, pair = _shaped(file, graph, device, str(path))
    dressed = Dressed(graph, replace(PLAIN, channels_last=way.channels_last), file.dtype == torch.uint8)
    height, width = way.size or pair.taken(*SIDES)
    hr, lr = _photo((height, width), pair, device)
    dressed.dress = _dress(dressed, hr, lr, RANGES if file.dtype != torch.uint8 else (Range(0, 255),))
    for each in (lr,) if way.size else (lr, _photo((width, height), pair, device)[1]):
        _check_agreement(dressed, each, run, str(path))
    pair.network = dressed
    if way.size:
        pair.network = Windows(dressed, way.size, _halo(dressed, way.size, pair), pair.scale)
    return pair, file.weights_hash


def _ways(shape: Sequence[int | None]) -> Iterator[_Way]:
    """The readings that a shape allows, the usual ones first."""
    if shape[1] is None and shape[3] is None:
        layouts: tuple[bool, ...] = (False, True)
    else:
        layouts = (shape[3] in (1, 3) and shape[1] not in (1, 3),)
    for channels, channels_last in product((3, 1), layouts):
        colours, height, width = (shape[3], shape[1], shape[2]) if channels_last else shape[1:]
        if colours in (None, channels):
            sides = (height or width, width or height)
            yield _Way(channels_last, channels, None if None in sides else sides)  # type: ignore[arg-type]


def _shaped(file: OnnxFile, graph: nn.Module, device: torch.device, what: str) -> tuple[_Way, SuperResolution]:
    """The first reading by which the network makes images larger, and the pair of it."""
    first: RescalerError | None = None
    for way in _ways(file.shape):
        network = Dressed(graph, replace(PLAIN, channels_last=way.channels_last))
        height, width = way.size or SIDES
        if max(height, width) > _LARGEST_SIDE:
            raise RescalerError(f"{what} takes images of {height} x {width} alone; export it for any height and width")
        try:
            with Bounded(TOO_MUCH, each=min(_EACH * height * width, _MOST)):
                return way, _of_one_size(network, way, device, what) if way.size else tried(
                    network, device, what, way.channels
                )
        except RescalerError as error:
            first = first or error
    if first is None:
        raise RescalerError(
            f"{what} takes images of shape {_said(file.shape)}; give a network of RGB or of luma, of 3 channels or 1"
        )
    raise first


def _said(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape)


@torch.no_grad()
def _of_one_size(network: nn.Module, way: _Way, device: torch.device, what: str) -> SuperResolution:
    assert way.size
    lr = torch.rand(1, way.channels, *way.size, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        restored = image_in(network(lr), what)
    except RescalerError as error:
        raise RescalerError(f"{what} takes no image of the size that it declares, {way.size}: {error}") from error
    return SuperResolution(network, scale_of(restored, lr, what), channels=way.channels)


def _photo(size: tuple[int, int], pair: SuperResolution, device: torch.device) -> tuple[Tensor, Tensor]:
    """A small photo, side by side as often as it takes, and the LR of it in that size."""
    photo, (height, width) = small_photo(), (side * pair.scale for side in size)
    hr = photo.repeat(1, 1, -(-height // photo.shape[-2]), -(-width // photo.shape[-1]))[..., :height, :width]
    lr = quantize(resize.downscale(hr, pair.scale))
    return (hr.to(device), lr.to(device)) if pair.channels == 3 else (luma(hr).to(device), luma(lr).to(device))


@torch.no_grad()
def _dress(network: Dressed, hr: Tensor, lr: Tensor, ranges: Sequence[Range]) -> Dress:
    """How the network has to be given images so that it restores a photo best; as it is, where it never does."""
    orders = (False, True) if lr.shape[1] == 3 else (False,)
    found: list[tuple[float, float, Dress]] = []
    for takes_bgr, takes in product(orders, ranges):
        taken = replace(network.dress, takes=takes, takes_bgr=takes_bgr)
        raw = image_in(network.network(Dressed(network.network, taken, network.whole).dressed(lr)), "the network")
        for gives_bgr, gives in product(orders, RANGES):
            dress = replace(taken, gives=gives, gives_bgr=gives_bgr)
            restored = Dressed(network.network, dress).undressed(raw)
            off = (resize.downscale(restored, hr.shape[-1] // lr.shape[-1]) - lr).abs().mean()
            found.append((float((restored - hr).square().mean()), float(off), dress))
    # The usual way comes first, and stays where no way gives the photo back.
    near = [(error, dress) for i, (error, off, dress) in enumerate(found) if off < _NEAR or i == 0]
    return min(near, key=lambda one: one[0] * _handicap(one[1]))[1]


def _handicap(dress: Dress) -> float:
    """What the squared error of a way counts times, for not being the usual one: on one photo others win by chance."""
    unusual = _OTHER_RANGE if (dress.takes, dress.gives) != (UNIT, UNIT) else 1.0
    unusual *= _OTHER_ORDER if dress.takes_bgr or dress.gives_bgr else 1.0
    return unusual * (_MIXED if dress.takes != dress.gives else 1.0)


def _halo(network: nn.Module, size: tuple[int, int], pair: SuperResolution) -> int:
    """How far a pixel in the middle sees, up to a quarter of the size."""
    generator = torch.Generator().manual_seed(0)
    device = next((value.device for value in network.parameters()), torch.device("cpu"))
    lr = torch.rand(1, pair.channels, *size, generator=generator).to(device).requires_grad_()
    top, left = size[0] // 2, size[1] // 2
    scale = pair.scale
    try:
        with torch.enable_grad():
            middle = network(lr)[..., top * scale : (top + 1) * scale, left * scale : (left + 1) * scale]
            (slope,) = torch.autograd.grad(middle.square().sum(), lr, materialize_grads=True, allow_unused=True)
    except RuntimeError:  # there is no gradient, which is said elsewhere
        return min(size) // 4
    strength = slope[0].abs().sum(0)
    away = torch.maximum(
        (torch.arange(size[0], device=device) - top).abs()[:, None], (torch.arange(size[1], device=device) - left).abs()
    )
    most = min(size) // 4
    outside = (float(strength[away > halo].sum()) for halo in range(most))
    enough = _OUTSIDE * float(strength.sum())
    return next((halo for halo, value in enumerate(outside) if value <= enough), most)


@torch.no_grad()
def _check_agreement(network: Dressed, lr: Tensor, run: Callable[[Tensor], Tensor], what: str) -> None:
    ours = network(lr)
    raw = run(network.dressed(lr)).to(lr.device)
    theirs = network.undressed(raw)
    if ours.shape != theirs.shape:
        raise RescalerError(
            f"{what} makes another size here than in ONNX Runtime; export it anew, or give its checkpoint"
        )
    worst = 255 * float((ours - theirs).abs().nan_to_num(torch.inf).max())
    # Where values are cut off to whole ones, noise of floats makes one of them another.
    if worst > (_AGREEMENT if raw.is_floating_point() else 1 + _AGREEMENT) and bool(theirs.isfinite().all()):
        raise RescalerError(
            f"{what} restores otherwise here than in ONNX Runtime, by up to {worst:.1f} grey levels; "
            "give its checkpoint, or a program with --trust"
        )


def _runtime(file: OnnxFile, path: Path) -> Callable[[Tensor], Tensor]:
    """ONNX Runtime on the CPU, as the file is, without what it would compute before it is asked to."""
    try:
        import onnxruntime
    except ImportError as error:
        raise RescalerError(
            f"{path} is an ONNX file, and using it needs onnxruntime ({error}): pip install 'coscale[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def explained(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:  # ONNX Runtime has a kind of exception for each way to fail
            raise RescalerError(f"{path} cannot be run by ONNX Runtime: {reason(error)}; export it anew") from error

    session = explained(lambda: onnxruntime.InferenceSession(file.model, options, ["CPUExecutionProvider"]))

    def run(x: Tensor) -> Tensor:
        given = {file.graph.entry: x.to(file.dtype).cpu().contiguous().numpy()}
        return torch.from_numpy(explained(lambda: session.run([file.graph.exit], given))[0])

    return run
