"""A stand-in for ComfyUI, by its documentation for makers of nodes: it finds a pack's nodes, checks what they are given
by what they ask for, and runs them in inference mode, as the host does.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class InterruptError(Exception):
    """What the host raises where its user has stopped it."""


class Bar:
    """The host's progress bar."""

    made: list["Bar"]

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.made.append(self)

    def update_absolute(self, value: int, total: int | None = None) -> None:
        self.done, self.total = value, total or self.total


class Host:
    """ComfyUI with the pack of nodes in a folder; ``enter`` puts its modules where the pack imports them from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stopped = False
        self.bars: list[Bar] = []

    def enter(self, modules: dict[str, ModuleType]) -> None:
        comfy, management, utils = (ModuleType(name) for name in ("comfy", "comfy.model_management", "comfy.utils"))
        management.__dict__.update(
            get_torch_device=lambda: torch.device("cpu"), throw_exception_if_processing_interrupted=self._check
        )
        utils.__dict__["ProgressBar"] = type("ProgressBar", (Bar,), {"made": self.bars})
        comfy.__dict__.update(__path__=[], model_management=management, utils=utils)
        modules.update({module.__name__: module for module in (comfy, management, utils)})
        name = str(self.folder).replace(".", "_x_")  # as the host calls it, which is no name that could be imported
        spec = importlib.util.spec_from_file_location(name, self.folder / "__init__.py")
        assert spec
        assert spec.loader
        pack = modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pack)
        self.nodes: dict[str, Any] = pack.NODE_CLASS_MAPPINGS
        self.titles: dict[str, str] = pack.NODE_DISPLAY_NAME_MAPPINGS

    def run(self, name: str, **given: Any) -> Any:
        """What a node gives, of inputs that are checked and completed as the host does."""
        node = self.nodes[name]
        asked = node.INPUT_TYPES()
        assert asked.keys() <= {"required", "optional", "hidden"}
        inputs: dict[str, Any] = {}
        for group in ("required", "optional"):
            for key, (kind, *options) in asked.get(group, {}).items():
                default = (options[0] if options else {}).get("default")
                if key not in given and default is None:
                    assert group == "optional", f"{key} is missing"
                    continue
                value = inputs[key] = given.get(key, default)
                if isinstance(kind, list):
                    assert value in kind
                if kind == "INT":
                    assert options[0]["min"] <= value <= options[0]["max"]
        assert given.keys() <= inputs.keys()
        with torch.inference_mode():
            found = getattr(node(), node.FUNCTION)(**inputs)
        assert isinstance(found, tuple)
        assert len(found) == len(node.RETURN_TYPES)
        return found[0]

    def _check(self) -> None:
        if self.stopped:
            raise InterruptError


def saved(images: Tensor, folder: Path) -> list[Path]:
    """The files that the host's node for saving makes, which cuts fractions of levels off."""
    paths = []
    for number, image in enumerate(images):
        levels = np.clip(255.0 * image.cpu().numpy(), 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(path := folder / f"{number}.png")
        paths.append(path)
    return paths


def loaded(path: Path) -> Tensor:
    """The IMAGE that the host's node for loading makes of a file, in inference mode too."""
    with Image.open(path) as image, torch.inference_mode():
        return torch.from_numpy(np.array(image.convert("RGB")).astype(np.float32) / 255)[None]
