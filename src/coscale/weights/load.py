"""From a name to a rescaler that is ready to run."""

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from platformdirs import user_data_path
from safetensors.torch import save
from torch import Tensor, nn

from coscale.choices import Runtime
from coscale.errors import RescalerError
from coscale.files import StrPath, replacing
from coscale.rescalers import RESCALERS, Named, Rescaler, find
from coscale.rescalers.steps import Steps
from coscale.weights.hub import ON_HUB, fetched
from coscale.weights.runtimes import quick_of
from coscale.weights.steps import steps_beside
from coscale.weights.tables import Tensors, check_fit, nearest_table, tables_of

CPU = torch.device("cpu")
FOLDER = Path(__file__).parent
PARTS = ("kgn", "usn")  # CAR's authors save the two networks in a file each


@dataclass(frozen=True)
class Loaded:
    """A rescaler that is ready to run.

    - ``name``: what LR files call it.
    - ``rescaler``: the pair of maps on tensors, see ``Rescaler``.
    - ``weights_hash``: SHA-256 of its weights; empty for one that has none.
    - ``device``: where its weights are.
    - ``compiled``: the same, faster after the first pass of each shape; for gradients. None where not asked for.
    - ``by_runtime``: the same by another runtime, without gradients; None where PyTorch runs it.
    - ``steps``: learned steps of the method, for these weights; None where there are none.
    """

    name: str
    rescaler: Rescaler
    weights_hash: str = ""
    device: torch.device = CPU
    compiled: Rescaler | None = None
    steps: Steps | None = None
    by_runtime: Rescaler | None = None

    @property
    def quick(self) -> Rescaler:
        """Give what is fastest where no gradient is needed."""
        return self.by_runtime or self.rescaler

    @property
    def scale(self) -> int:
        """Give HR size over LR size."""
        return self.rescaler.scale

    def told(self, level: int | None) -> "Loaded":
        """Give it for LR images that a codec of this level keeps; None for those that nothing was lost of."""
        if level is None or (rescaler := self.rescaler.told(level)) is self.rescaler:
            return self
        compiled = self.compiled.told(level) if self.compiled else None
        return replace(self, rescaler=rescaler, compiled=compiled, by_runtime=None)


def load(
    name: str,
    weights: StrPath | None = None,
    device: torch.device | str = "cpu",
    compiled: bool = False,
    runtime: Runtime = "torch",
) -> Loaded:
    """Give the rescaler ``name`` with its bundled weights, or with those of a checkpoint (.safetensors or an official
    .pth), or with those of a repository of the Hugging Face hub, as ``hf:owner/name``.

    Nothing in a checkpoint is run. ``compiled``: also compile it for gradients, which pays for large photos and for
    many of one size. Raises RescalerError for an unknown name and for a checkpoint that is missing, damaged or of
    another network.
    """
    fetched_hash = None
    if name.startswith(ON_HUB):
        if weights is not None:
            raise RescalerError(f"{name} brings its weights; leave out --weights")
        found = fetched(name)
        name, weights, fetched_hash = found.name, found.weights, found.entry.weights_hash
    named = find(name)
    network = named.build()
    if weights is not None and named.checkpoint == "none":
        raise RescalerError(f"{name} has no weights; leave out --weights")
    path = None
    if named.checkpoint != "none":
        path = Path(weights) if weights else own(named)
        fill(network, read_checkpoint(path, network.state_dict().keys()), path)
    # Nothing here trains a loaded rescaler: without weight gradients the optimiser does a third less work.
    network.requires_grad_(False).eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = torch.device(device)
    fast = compiled_of(network, device) if compiled else None
    weights_hash = fingerprint(network)
    if fetched_hash not in (None, weights_hash):
        raise RescalerError(f"{weights} has other values than its manifest is of; ask the owner of the repository")
    network.identity = f"{name} {weights_hash}"
    steps = None if path is None else steps_beside(path, named.scale, weights_hash)
    if steps:
        steps.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Loaded(name, network, weights_hash, device, fast, steps, quick_of(network, name, runtime, device))


def compiled_of(rescaler: Rescaler, device: torch.device) -> Rescaler:
    """Give the same rescaler, compiled; the compiler is imported only here, since that takes a second."""
    from coscale.rescalers.compiled import Compiled

    return Compiled(rescaler, device)


def bundled(named: Named) -> Path:
    """Give the file of weights that the package carries for a rescaler."""
    return FOLDER / f"{named.name}.safetensors"


def imported(named: Named) -> Path:
    """Say where imported weights of a rescaler lie: in the folder COSCALE_WEIGHTS, or below the user's data folder."""
    folder = os.environ.get("COSCALE_WEIGHTS")
    return (Path(folder) if folder else user_data_path("coscale") / "weights") / f"{named.name}.safetensors"


def own(named: Named) -> Path:
    """Give the file that a rescaler takes its weights from when no other is given.

    Raises RescalerError if there is none.
    """
    if named.checkpoint == "bundled":
        return bundled(named)
    if not imported(named).is_file():
        raise RescalerError(
            f"{named.name} comes without weights; give a checkpoint with --weights FILE, "
            "or once and for all by: coscale weights import FILE"
        )
    return imported(named)


def import_checkpoint(path: Path, overwrite: bool = False) -> tuple[Named, Path]:
    """Keep a checkpoint as the weights of the rescaler that it is of, which its names and shapes tell.

    Returns the rescaler and the file written. Raises RescalerError when it is of none, or of one that is bundled.
    """
    tables = [read_checkpoint(path)] if path.is_dir() else list(tables_of(path).values())
    named, tensors = nearest(tables)
    check_fit(named.build(), tensors, path)
    if named.checkpoint == "bundled":
        raise RescalerError(f"{path} is of {named.name}, whose weights are bundled; use it with --weights")
    target = imported(named)
    if target.exists() and not overwrite:
        raise RescalerError(f"{target} is there already; give --overwrite to replace it")
    with replacing(target) as temporary:
        temporary.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}))
    return named, target


def nearest(tables: list[Tensors]) -> tuple[Named, Tensors]:
    """Give the rescaler whose tensors differ least from those of a table in name and shape, and that table."""

    def shapes(values: Mapping[str, Tensor]) -> set[tuple[str, torch.Size]]:
        return {(name, value.shape) for name, value in values.items()}

    there = [(shapes(table), table) for table in tables]
    learned = [(named, shapes(named.build().state_dict())) for named in RESCALERS if named.checkpoint != "none"]
    _, named, table = min(
        ((len(own ^ found), named, table) for named, own in learned for found, table in there), key=lambda one: one[0]
    )
    return named, table


def read_checkpoint(path: Path, wanted: Collection[str] = ()) -> Tensors:
    """Give the tensors of a checkpoint by name, out of what they were saved in: that of its tables, or of the tables in
    these, which has most of the names ``wanted``.

    A folder stands for the ``kgn.pth`` and ``usn.pth`` in it, with ``kgn.`` and ``usn.`` before their names. Nothing in
    a file is run. Raises RescalerError when one is missing, a program, damaged, declares more than it holds or has no
    tensors.
    """
    if not path.is_dir():
        return nearest_table(tables_of(path), wanted)
    for part in PARTS:
        if not (path / f"{part}.pth").is_file():
            raise RescalerError(f"the folder {path} has no {part}.pth; give a file, or CAR's folder of both parts")
    return {
        f"{part}.{name}": value
        for part in PARTS
        for name, value in read_checkpoint(
            path / f"{part}.pth", [name.removeprefix(f"{part}.") for name in wanted if name.startswith(f"{part}.")]
        ).items()
    }


def fingerprint(network: nn.Module) -> str:
    """Give SHA-256 of the trained values, the same whatever file they came from; empty for a network without any."""
    return fingerprint_of(dict(network.named_parameters()))


def fingerprint_of(tensors: Mapping[str, Tensor]) -> str:
    """Give SHA-256 of the values by their names; empty for none."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest() if tensors else ""


def fill(network: nn.Module, tensors: Tensors, path: Path) -> None:
    """Give ``network`` the values of the checkpoint read from ``path``. Raises RescalerError if it is of another."""
    check_fit(network, tensors, path)
    network.load_state_dict(tensors)
