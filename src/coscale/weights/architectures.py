"""Super-resolution networks by the keys of their checkpoints: ours in order, then those of spandrel."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import torch
from torch import Tensor, nn

from coscale.errors import RescalerError, ran_out_of_memory, reason
from coscale.rescalers import rdn, rfanet, rlfn, safmn, srcnn
from coscale.rescalers.edsr import EDSR, scale_of, white_of
from coscale.rescalers.superres import SuperResolution
from coscale.weights.bounded import Bounded
from coscale.weights.tables import check_fit, check_sizes, nearest_table

if TYPE_CHECKING:
    from spandrel import SizeRequirements

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
    scale = scale_of(tensors, "tail.0", width)
    network = EDSR(scale, blocks, width, 1.0 if width == BASELINE_WIDTH else 0.1)
    return SuperResolution(network, scale, white=white_of(tensors)), dict(tensors)


class Described(Protocol):
    """What is asked of spandrel's ``ImageModelDescriptor``, which ComfyUI calls an UPSCALE_MODEL."""

    @property
    def model(self) -> nn.Module:
        """Give the network."""
        ...

    @property
    def size_requirements(self) -> "SizeRequirements":
        """Say what sides the network takes: ``minimum``, ``multiple_of``, ``square``."""
        ...

    scale: int
    input_channels: int
    output_channels: int


ARCHITECTURES = (
    Architecture("SRCNN", srcnn.recognise, srcnn.build, any_scale=True),
    Architecture("EDSR", _is_edsr, _edsr),
    Architecture("RDN", rdn.recognise, rdn.build),
    Architecture("RFANet", rfanet.recognise, rfanet.build),
    Architecture("RLFN", rlfn.recognise, rlfn.build),
    Architecture("SAFMN", safmn.recognise, safmn.build),
)


def network_of(tables: dict[str, dict[str, Tensor]], path: Path, scale: int | None) -> tuple[str, SuperResolution]:
    """Give the name of the network that one of the ``tables`` read from ``path`` is of, and it with these weights.

    ``scale`` is used where the tensors do not tell it. Raises RescalerError when no table is of a known network, when a
    tensor is missing or of another shape, and when nobody tells the scale.
    """
    for tensors in tables.values():
        for architecture in ARCHITECTURES:
            if architecture.recognise(tensors):
                return architecture.name, _ours(architecture, tensors, path, scale)
    return _spandrels(tables, path)


def _ours(architecture: Architecture, tensors: dict[str, Tensor], path: Path, scale: int | None) -> SuperResolution:
    if architecture.any_scale and scale is None:
        raise RescalerError(f"{path} is of {architecture.name}, which takes any scale; give its own with --scale")
    check_sizes(tensors, path)
    try:
        with torch.device("meta"):  # so that no shape makes anything that the file does not hold
            pair, renamed = architecture.build(tensors, scale)
    except Exception as error:  # shapes and names may be wrong in as many ways as there are
        _refuse_fit(path, architecture.name, error)
    check_fit(pair.network, renamed, path)
    pair.network.load_state_dict({name: value.float() for name, value in renamed.items()}, assign=True)
    # All are plain convolutions, which are faster with the channels last.
    pair.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return pair


def _spandrels(tables: dict[str, dict[str, Tensor]], path: Path) -> tuple[str, SuperResolution]:
    """The same for the networks that spandrel knows."""
    names = ", ".join([name[:80] for name in nearest_table(tables)][:3])
    try:
        from spandrel import MAIN_REGISTRY
    except (ImportError, RuntimeError) as error:  # the latter where torchvision is for another torch
        raise RescalerError(
            f"{path} is not of {_listed()} (its keys are like {names}); more networks come with spandrel: "
            f"pip install 'coscale[sr]' ({reason(error)})"
        ) from error
    known = [(tensors, support) for tensors in tables.values() for support in MAIN_REGISTRY.architectures("detection")]
    found = next(((support.architecture, tensors) for tensors, support in known if support.detect(tensors)), None)
    if found is None:
        raise RescalerError(
            f"{path} is of no network known here, neither of {_listed()} nor of the {len(MAIN_REGISTRY)} of spandrel: "
            f"its keys are like {names}; export the network with torch.export (--trust), or give it from Python"
        )
    architecture, tensors = found
    check_sizes(tensors, path)
    try:
        with warnings.catch_warnings(action="ignore"), _bounded(tensors):  # one line is enough
            described = architecture.load(dict(tensors))
    except Exception as error:  # a missing key shows in as many ways as there are architectures
        _refuse_fit(path, architecture.name, error)
    pair = pair_of(described, f"{path} is of {architecture.name}, which")
    return architecture.name, pair


def pair_of(described: Described, what: str) -> SuperResolution:
    """Give the pair of bicubic and a network that spandrel describes.

    Raises RescalerError, which begins with ``what``, for one that does not make RGB images larger.
    """
    channels = (described.input_channels, described.output_channels)
    if channels not in ((3, 3), (1, 1)) or described.scale < 2:
        raise RescalerError(
            f"{what} goes from {channels[0]} to {channels[1]} channels at x{described.scale}; "
            "give one that makes RGB images larger"
        )
    # The descriptor's own call blocks gradients and clips, so the network itself is called.
    needs = described.size_requirements
    return SuperResolution(
        described.model.eval(),
        described.scale,
        channels=channels[0],
        multiple=needs.multiple_of,
        minimum=max(1, needs.minimum),
        square=needs.square,
    )


def _bounded(tensors: Mapping[str, Tensor]) -> Bounded:
    """What ends the building of a network of which more is made than ``tensors`` can be for.

    spandrel builds before it compares shapes, and some of its networks cannot be built on the meta device.
    """
    return Bounded(
        "its shapes and names ask for a much larger network than its tensors are",
        total=4 * sum(value.nbytes for value in tensors.values()) + 2**26,
        results=50 * len(tensors) + 5000,
    )


def _refuse_fit(path: Path, name: str, error: Exception) -> NoReturn:
    if ran_out_of_memory(error):
        raise RescalerError(f"{path} is of {name}, and takes more memory than there is; give a smaller one") from error
    raise RescalerError(f"{path} is of {name}, but does not fit it: {reason(error)}; give another file") from error


def _listed() -> str:
    return ", ".join(architecture.name for architecture in ARCHITECTURES)
