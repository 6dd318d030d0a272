"""All that a training run is at one step; what a checkpoint holds."""

import copy
import io
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from coscale.errors import RescalerError, SettingsError
from coscale.files import replacing
from coscale.train.muon import Muon
from coscale.train.recipes import TrainingRecipe
from coscale.weights.reading import read
from coscale.weights.tables import check_fit

# What the optimizers keep for each parameter.
MOMENTS = {Muon: {"momentum"}, torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"}}


@dataclass
class Course:
    """Numbers that change as a run goes on."""

    steps: int  # the schedule's length; a time budget changes it as the run goes on
    step: int = 0
    batches: int = 0  # taken so far; unlike ``step`` it never goes back, so that what is done again sees other crops
    seconds: float = 0.0
    caution: float = 1.0  # factor on the learning rate; halved by each step back
    setbacks: int = 0  # steps back since a window last ended well


class State:
    """Network, moving average, optimisers and course, to be saved and restored together.

    ``data`` is the fingerprint of the photos.
    """

    def __init__(self, recipe: TrainingRecipe, network: nn.Module, data: str = "") -> None:
        self.recipe, self.network, self.data = recipe, network, data
        self.average = copy.deepcopy(network)
        # What is 1 x c x 1 x 1 shifts or scales channels, and is no kernel.
        kernels = [p for p in network.parameters() if p.ndim == 4 and len(p) > 1 and recipe.muon]
        others = [p for p in network.parameters() if p.ndim != 4 or len(p) == 1 or not recipe.muon]
        self.optimizers: list[torch.optim.Optimizer] = [Muon(kernels, recipe.lr)] if kernels else []
        self.optimizers.append(torch.optim.Adam(others, recipe.lr, betas=(0.9, 0.99)))
        self.course = Course(recipe.steps)
        self.errors: list[float] = []  # mean error of each window that ended well, the latest last

    def snapshot(self) -> dict[str, Any]:
        """Everything as it is now, on the CPU and out of reach of what comes."""
        values = {
            "recipe": asdict(self.recipe),
            "data": self.data,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "course": asdict(self.course),
            "errors": list(self.errors),
        }
        return tree_map_only(Tensor, lambda x: x.detach().to("cpu", copy=True), values)

    def restore(self, values: dict[str, Any]) -> None:
        """Become what ``values`` holds."""
        self.network.load_state_dict(values["network"])
        self.average.load_state_dict(values["average"])
        for optimizer, saved in zip(self.optimizers, values["optimizers"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(saved))
        self.course = Course(**values["course"])
        self.errors = list(values["errors"])

    def step(self, factor: float) -> Tensor:
        """Apply the gradients, clipped, at ``factor`` times the learning rate; return their norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.lr * factor
            optimizer.step()
            optimizer.zero_grad()
        self.course.step += 1
        self.course.batches += 1
        count = self.course.step
        decay = min(self.recipe.ema, count / (count + 9))  # early averages are short
        with torch.no_grad():
            means, values = list(self.average.parameters()), list(self.network.parameters())
            torch._foreach_lerp_(means, values, 1 - decay)  # type: ignore[attr-defined]
        return norm


def save(values: dict[str, Any], path: Path) -> None:
    """Replace the checkpoint at ``path``; if that fails, the one before stays. Raises OutputError."""
    buffer = io.BytesIO()  # torch's own writing to a full disk ends in other errors than the disk's
    torch.save(values, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def hand_over(source: Path, recipe: TrainingRecipe, target: Path) -> None:
    """Write to ``target`` the checkpoint at ``source`` as one of ``recipe``, which goes on from there."""
    values = torch.load(source, "cpu", weights_only=True)
    values["recipe"] = asdict(recipe)
    values["course"]["steps"] = recipe.steps
    save(values, target)


def resume(state: State, path: Path) -> None:
    """Go on from the checkpoint at ``path``.

    Raises RescalerError when it is damaged, or of another network: the first parameter that differs is named; and
    SettingsError when the run was begun with another recipe or other photos.
    """
    damaged = RescalerError(f"{path} is no checkpoint of a training run or is damaged; give another --out")
    try:
        values = read(path)
    except RescalerError as error:
        raise damaged from error
    if not _has_all(values):
        raise damaged
    recipe, data = values["recipe"], values["data"]
    check_fit(state.network, values["network"], path)
    check_fit(state.average, values["average"], path)
    # A setting that there was not yet when the run was begun was what is its default now.
    begun = {each.name: each.default for each in fields(TrainingRecipe) if each.default is not MISSING} | recipe
    for name, value in asdict(state.recipe).items():
        if begun.get(name) != value:
            raise SettingsError(
                f"the run in {path.parent} was begun with {name} = {begun.get(name)}, not {value}; "
                "give it again as it was, or another --out"
            )
    if data != state.data:
        raise SettingsError(f"the run in {path.parent} was begun with other photos; give those, or another --out")
    # The optimizers' settings are those of the recipe, so only the moments are the file's.
    if len(values["optimizers"]) != len(state.optimizers):
        raise damaged
    moments = [
        _moments(saved, optimizer, MOMENTS[type(optimizer)])
        for saved, optimizer in zip(values["optimizers"], state.optimizers, strict=True)
    ]
    if None in moments:
        raise damaged
    settings = [optimizer.state_dict()["param_groups"] for optimizer in state.optimizers]
    own = [{"state": one, "param_groups": groups} for one, groups in zip(moments, settings, strict=True)]
    try:
        state.restore(values | {"optimizers": own})
    except Exception as error:
        raise damaged from error


def _has_all(values: Any) -> bool:
    """Whether what was read has all parts of a checkpoint, of their types."""
    kinds = {"recipe": dict, "data": str, "course": dict, "errors": list}
    kinds |= {"network": dict, "average": dict, "optimizers": list}
    if not isinstance(values, dict) or not all(isinstance(values.get(name), kind) for name, kind in kinds.items()):
        return False
    if not all(isinstance(value, Tensor) for part in ("network", "average") for value in values[part].values()):
        return False
    course, names = values["course"], {field.name for field in fields(Course)}
    numbers = all(type(number) in (int, float) for number in (*course.values(), *values["errors"]))
    return numbers and course.keys() == names


def _moments(saved: Any, optimizer: torch.optim.Optimizer, names: set[str]) -> dict[int, Any] | None:
    """What an optimizer keeps for each parameter, by its index; None where that is not of the parameters' shapes."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = saved.get("state") if isinstance(saved, dict) else None
    fit = isinstance(kept, dict) and all(
        index in range(len(parameters))
        and isinstance(moments, dict)
        and moments.keys() == names
        and all(isinstance(x, Tensor) and x.shape in (parameters[index].shape, ()) for x in moments.values())
        for index, moments in kept.items()
    )
    return kept if fit else None
