"""What the weights in the package are: network, training, data, and what they reach.

``manifest.json`` is written by the script that ships weights, and read here.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coscale.errors import RescalerError

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"


@dataclass(frozen=True)
class Source:
    """Photos that weights were trained on."""

    name: str
    images: int
    licence: str


@dataclass(frozen=True)
class Quality:
    """Means over the images of one test set, through 8-bit files, without optimisation."""

    psnr_y: float
    ssim_y: float
    lr_psnr_bicubic: float


@dataclass(frozen=True)
class ManifestEntry:
    """One file of weights.

    ``sizes`` are the network's arguments; ``iterations`` and ``seconds`` of training on ``device``. ``sha256`` is the
    file's, ``weights_hash`` that of the values, which an LR file names. ``steps`` are the learned steps that lie beside
    it, whose ``weights_hash`` is that of what they are for.
    """

    architecture: str
    sizes: dict[str, Any]
    scale: int
    parameters: int
    recipe: dict[str, Any]
    iterations: int
    seconds: int
    device: str
    data: list[Source]
    date: str
    sha256: str
    weights_hash: str
    note: str = ""
    quality: dict[str, Quality] = field(default_factory=dict)
    steps: "ManifestEntry | None" = None


def read_manifest(path: Path = MANIFEST) -> dict[str, ManifestEntry]:
    """Give the entries by the name of their rescaler. Raises RescalerError for what is no such list."""

    def entry(values: dict[str, Any]) -> ManifestEntry:
        data = [Source(**source) for source in values["data"]]
        quality = {name: Quality(**measured) for name, measured in values["quality"].items()}
        steps = values.get("steps")
        return ManifestEntry(**values | {"data": data, "quality": quality, "steps": steps and entry(steps)})

    try:
        return {name: entry(values) for name, values in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RescalerError(f"{path} is not the list of weights that was shipped; install coscale anew") from error


def entry_of(name: str) -> ManifestEntry:
    """Give the package's entry of a rescaler. Raises RescalerError for one whose weights are not in the package."""
    entries = read_manifest()
    if name not in entries:
        raise RescalerError(f"{name} has no weights in the package; choose one of {', '.join(entries)}")
    return entries[name]


def write_manifest(entries: dict[str, ManifestEntry], path: Path = MANIFEST) -> None:
    """Replace the manifest."""
    path.write_text(json.dumps({name: asdict(entries[name]) for name in sorted(entries)}, indent=2) + "\n")
