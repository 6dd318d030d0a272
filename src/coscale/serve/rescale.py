"""What one job computes: the photo through bicubic, through the rescaler alone, and through it with the method."""

import math
import time
from pathlib import Path
from typing import Any

from coscale.collaborate import Coscale, Method
from coscale.collaborate.method import PerImage
from coscale.decode import decode_photo
from coscale.encode import encode_photo
from coscale.image import Photo, read, to_bytes
from coscale.lrfile import lr_bytes, read_lr
from coscale.machine import give_back_freed_memory
from coscale.metrics import compare
from coscale.rescalers import RESCALERS, Named, fastest
from coscale.serve.work import Job
from coscale.weights.load import Loaded, imported, load

VERSIONS = ("bicubic", "none", "coscale")
UPLOAD = "upload"


def available() -> list[Named]:
    """The rescalers whose weights are here."""
    return [named for named in RESCALERS if named.checkpoint != "yours" or imported(named).is_file()]


class Rescale:
    """Does a job. Everything is measured on files that were written and read back, and kept for the page as PNGs."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._pairs: dict[str, Loaded] = {}

    def __call__(self, job: Job) -> dict[str, Any]:
        begun = time.perf_counter()
        method = Coscale(job.effort)
        job.change(stage="reading", passes=method.passes)
        upload = job.folder / UPLOAD
        photo, size = read(upload), upload.stat().st_size
        upload.unlink()
        pair = self._pair(job.rescaler)
        height, width = photo.size
        _keep(job.folder, "original", photo)
        versions = {
            "bicubic": self._version(job, "bicubic", photo, self._pair(f"bicubic-x{pair.scale}"), None),
            "none": self._version(job, "none", photo, pair, None),
            "coscale": self._version(job, "coscale", photo, pair, method),
        }
        give_back_freed_memory()
        seconds = round(time.perf_counter() - begun, 2)
        facts = {"width": width, "height": height, "scale": pair.scale, "upload_bytes": size, "seconds": seconds}
        return facts | {"rescaler": pair.name, "versions": versions}

    def _pair(self, name: str) -> Loaded:
        if name not in self._pairs:
            self._pairs[name] = load(name, device=self.device)
        return self._pairs[name]

    def _version(self, job: Job, name: str, photo: Photo, pair: Loaded, method: Method | None) -> dict[str, Any]:
        job.change(stage=name)

        def progress(done: int, total: int) -> None:
            job.change()  # which stops here when the job is cancelled

        first = [0.0]

        def watch(done: int, loss: PerImage) -> None:
            value = float(loss[0])
            if done == 1:  # perhaps anew, in smaller tiles
                first[0] = value
            job.change(curve=[*job.curve[: done - 1], _gain(first[0], value)])

        encoded = encode_photo(photo, pair, method, progress, fastest(pair.device), watch=watch)
        job.change(stage=f"{name} written")
        file = job.folder / f"{name}.lr.png"
        file.write_bytes(lr_bytes(encoded.lr, encoded.origin))
        lr, origin = read_lr(file)
        restored = decode_photo(lr, pair, origin)
        job.change()
        _keep(job.folder, name, restored)
        job.change()
        measured = compare(restored.colour, photo.colour, pair.scale, photo.alpha)
        scores = {key: _finite(float(value)) for key, value in measured.items()}
        gain = None
        if encoded.result:
            gain = _gain(float(encoded.result.before[0]), float(encoded.result.after[0]))
        lr_height, lr_width = lr.size
        return scores | {
            "lr_bytes": file.stat().st_size,
            "lr_width": lr_width,
            "lr_height": lr_height,
            "gain": gain,
        }


def _keep(folder: Path, name: str, photo: Photo) -> None:
    # Not by ``write``, which makes folders that are missing: those of a job that was cancelled are to stay away.
    (folder / f"{name}.png").write_bytes(to_bytes(photo, ".png"))


def _gain(before: float, after: float) -> float:
    """In dB, of a loss that fell; one below a thousandth of rounding's counts as that."""
    least = 1e-9
    return 10 * math.log10(max(before, least) / max(after, least))


def _finite(value: float) -> float | None:
    """The PSNR of equal images has no word in JSON, nor has the SSIM of tiny ones."""
    return value if math.isfinite(value) else None
