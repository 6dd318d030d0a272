"""Super-resolution networks by the keys of their checkpoints: ours in order, then those of spandrel."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from coscale.errors import RescalerError
from coscale.rescalers import rdn, rfanet, srcnn
from coscale.rescalers.edsr import EDSR
from coscale.rescalers.superres import SuperResolution
from coscale.weights.load import check_fit

Tensors = Mapping[str, Tensor]
BASELINE_WIDTH = 64  # EDSR of this width was trained with whole residuals, wider ones with a tenth


@dataclass(frozen=True)
class Architecture:
    """``recognise`` tells from its keys that a checkpoint is one; ``build`` makes its network, with all sizes from the
    shapes, for a scale where they do not tell that, and its tensors by the network's names.

    ``any_scale``: the weights fit every scale, so somebody must say which.
    """

    name: str
    recognise: Callable[[Tensors], bool]
    build: Callable[[Tensors, int | None], tuple[SuperResolution, dict[str, Tensor]]]
    any_scale: bool = False


def _is_edsr(tensors: Tensors) -> bool:
    return {"head.0.weight", "body.0.body.0.weight", "body.0.body.2.weight", "tail.0.0.weight"} <= set(tensors)


def _edsr(tensors: Tensors, _: int | None) -> tuple[SuperResolution, dict[str, Tensor]]:
    width = tensors["head.0.weight"].shape[0]
    blocks = sum(name.endswith(".body.0.weight") for name in tensors)
    scale = 4 if "tail.0.2.weight" in tensors else math.isqrt(tensors["tail.0.0.weight"].shape[0] // width)
    network = EDSR(scale, blocks, width, 1.0 if width == BASELINE_WIDTH else 0.1)
    return SuperResolution(network, scale, white=rfanet.white_of(tensors)), dict(tensors)


ARCHITECTURES = (
    Architecture("SRCNN", srcnn.recognise, srcnn.build, any_scale=True),
    Architecture("EDSR", _is_edsr, _edsr),
    Architecture("RDN", rdn.recognise, rdn.build),
    Architecture("RFANet", rfanet.recognise, rfanet.build),
)


def network_of(tensors: dict[str, Tensor], path: Path, scale: int | None) -> tuple[str, SuperResolution]:
    """The name of the network that the tensors read from ``path`` are of, and it with these weights.

    ``scale`` is used where the tensors do not tell it. Raises RescalerError when they are of no known network, when one
    is missing or of another shape, and when nobody tells the scale.
    """
    for architecture in ARCHITECTURES:
        if not architecture.recognise(tensors):
            continue
        if architecture.any_scale and scale is None:
            raise RescalerError(f"{path} is of {architecture.name}, which takes any scale; give its own with --scale")
        try:
            pair, renamed = architecture.build(tensors, scale)
        except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
            raise RescalerError(f"{path} is of {architecture.name}, but does not fit it: {reason(error)}") from error
        check_fit(pair.network, renamed, path)
        pair.network.load_state_dict(renamed)
        # All are plain convolutions, which are faster with the channels last.
        pair.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return architecture.name, pair
    return _spandrels(tensors, path)


def _spandrels(tensors: dict[str, Tensor], path: Path) -> tuple[str, SuperResolution]:
    """The same for the networks that spandrel knows."""
    try:
        from spandrel import MAIN_REGISTRY
    except (ImportError, RuntimeError) as error:  # the latter where torchvision is for another torch
        raise RescalerError(
            f"{path} is not of {_listed()}; more networks come with spandrel: pip install 'coscale[sr]' "
            f"({reason(error)})"
        ) from error
    known = MAIN_REGISTRY.architectures("detection")
    found = next((support.architecture for support in known if support.detect(tensors)), None)
    if found is None:
        raise RescalerError(
            f"{path} is of no network known here, neither of {_listed()} nor of the {len(known)} of spandrel: its keys "
            f"are like {', '.join(list(tensors)[:3])}; export the network with torch.export, or give it from Python"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # one line is enough
            described = found.load(dict(tensors))
    except Exception as error:  # a missing key shows in as many ways as there are architectures
        raise RescalerError(f"{path} is of {found.name}, but does not fit it: {reason(error)}") from error
    if (described.input_channels, described.output_channels) not in ((3, 3), (1, 1)) or described.scale < 2:
        raise RescalerError(
            f"{path} is of {found.name} from {described.input_channels} to {described.output_channels} channels at "
            f"x{described.scale}; give one that makes RGB images larger"
        )
    # The descriptor's own call blocks gradients and clips, so the network itself is called.
    network: nn.Module = described.model
    needs = described.size_requirements
    pair = SuperResolution(
        network.eval(),
        described.scale,
        channels=described.input_channels,
        multiple=needs.multiple_of,
        minimum=max(1, needs.minimum),
        square=needs.square,
    )
    return found.name, pair


def _listed() -> str:
    return ", ".join(architecture.name for architecture in ARCHITECTURES)


def reason(error: Exception) -> str:
    """What an error says, on one line of at most 200 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = " ".join((lines[-1] if "Traceback" in str(error) else " ".join(lines)).split())
    if isinstance(error, KeyError):
        text = f"it has no {text}"
    return text if len(text) <= 200 else f"{text[:200]}..."
