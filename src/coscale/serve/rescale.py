"""What is done with a photo apart from the server: a look whether it can be read, and what a job computes.

A job is the photo through bicubic, through the rescaler alone, and through it with the method.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coscale.collaborate import PLAIN, Coscale, Method
from coscale.collaborate.coscale import Effort
from coscale.collaborate.problem import PerImage
from coscale.image import Photo, read, to_bytes
from coscale.lrfile import lr_bytes, read_lr
from coscale.machine import give_back_freed_memory, settle
from coscale.metrics import compare
from coscale.objectives import gain_of
from coscale.pipeline import decode_photo, encode_photo
from coscale.rescalers import RESCALERS, Named, fastest
from coscale.serve.apart import Apart, Tell
from coscale.serve.job import Job
from coscale.storage import PNG, Storage
from coscale.weights.load import Loaded, imported, load

VERSIONS = ("bicubic", "none", "coscale")
UPLOAD = "upload"


def offered() -> list[Named]:
    """Give the rescalers whose weights are here."""
    return [named for named in RESCALERS if named.checkpoint != "yours" or imported(named).is_file()]


@dataclass(frozen=True)
class Upload:
    """A photo to be looked at, of ``pixels`` at most."""

    path: Path
    pixels: int


def look(upload: Upload, tell: Tell) -> None:
    """Read a photo whole. Raises ImageError when it cannot be read or is too large."""
    read(upload.path, upload.pixels)


def looking() -> Callable[[Upload, Tell], None]:
    """Give what a process does that looks at photos."""
    return look


@dataclass(frozen=True)
class Order:
    """What is to be computed of the photo in a folder."""

    folder: Path
    rescaler: str
    effort: Effort


@dataclass
class JobProgress:
    """How far a job is; ``curve`` is the gain in dB over the first loss, one value a pass."""

    stage: str
    passes: int
    curve: tuple[float, ...] = ()


def computed_by(apart: Apart) -> Callable[[Job], dict[str, Any]]:
    """Do jobs by a process that was made with ``Rescale``."""

    def compute(job: Job) -> dict[str, Any]:
        order = Order(job.folder, job.rescaler, job.effort)
        return apart.ask(order, lambda course: job.change(**vars(course)), job.stop.is_set)

    return compute


class Rescale:
    """Does jobs. Everything is measured on files that were written and read back, and photos are kept as PNGs."""

    def __init__(self, device: str, storage: Storage = PNG) -> None:
        settle()
        self.device = device
        self.storage = storage
        self._pairs: dict[str, Loaded] = {}

    def __call__(self, order: Order, tell: Tell) -> dict[str, Any]:
        begun = time.perf_counter()
        method = Coscale(order.effort)
        job = _Working(order, tell, JobProgress("reading", method.passes), self.storage)
        job.reach("reading")
        upload = order.folder / UPLOAD
        photo, size = read(upload), upload.stat().st_size
        upload.unlink()
        pair = self._pair(order.rescaler)
        height, width = photo.size
        _keep(order.folder, "original", photo)
        versions = {
            "bicubic": job.version("bicubic", photo, self._pair(f"bicubic-x{pair.scale}"), PLAIN),
            "none": job.version("none", photo, pair, PLAIN),
            "coscale": job.version("coscale", photo, pair, method),
        }
        give_back_freed_memory()
        seconds = round(time.perf_counter() - begun, 2)
        facts = {"width": width, "height": height, "scale": pair.scale, "upload_bytes": size, "seconds": seconds}
        return facts | {"rescaler": pair.name, "lr_suffix": self.storage.suffix, "versions": versions}

    def _pair(self, name: str) -> Loaded:
        if name not in self._pairs:
            self._pairs[name] = load(name, device=self.device, runtime="auto")
        return self._pairs[name]


class _Working:
    """One job; each step tells how far it is, and ends there when the job was cancelled."""

    def __init__(self, order: Order, tell: Tell, course: JobProgress, storage: Storage) -> None:
        self.order, self.tell, self.course, self.storage = order, tell, course, storage

    def reach(self, stage: str | None = None) -> None:
        self.course.stage = stage or self.course.stage
        self.tell(self.course)

    def version(self, name: str, photo: Photo, pair: Loaded, method: Method) -> dict[str, Any]:
        self.reach(name)
        first = [0.0]

        def watch(done: int, most: int, loss: PerImage) -> None:
            value, self.course.passes = float(loss[0]), most
            if done == 1:  # perhaps anew, in smaller tiles
                first[0] = value
            self.course.curve = (*self.course.curve[: done - 1], gain_of(first[0], value))
            self.reach()

        encoded = encode_photo(photo, pair, method, precision=fastest(pair.device), watch=watch)
        self.reach(f"{name} written")
        file = self.order.folder / f"{name}.lr{self.storage.suffix}"
        file.write_bytes(lr_bytes(encoded.lr, encoded.origin, self.storage))
        lr, origin = read_lr(file)
        restored = decode_photo(lr, pair, origin)
        self.reach()
        _keep(self.order.folder, name, restored)
        self.reach()
        measured = compare(restored.pixels, photo.pixels, pair.scale, photo.alpha)
        scores = {key: _finite(float(value)) for key, value in measured.items()}
        lr_height, lr_width = lr.size
        return scores | {
            "lr_bytes": file.stat().st_size,
            "lr_width": lr_width,
            "lr_height": lr_height,
            "gain": encoded.gain,
        }


def _keep(folder: Path, name: str, photo: Photo) -> None:
    # Not by ``write``, which makes folders that are missing: those of a job that was cancelled are to stay away.
    (folder / f"{name}.png").write_bytes(to_bytes(photo, ".png"))


def _finite(value: float) -> float | None:
    """The PSNR of equal images has no word in JSON, nor has the SSIM of tiny ones."""
    return value if math.isfinite(value) else None
