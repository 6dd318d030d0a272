"""What a worker does: it loads the rescaler once, and then one photo after the other."""

import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coscale.batch import store
from coscale.collaborate import Method
from coscale.errors import (
    CoscaleError,
    CoscaleWarning,
    EngineError,
    MemoryNeededError,
    TransferError,
    ran_out_of_memory,
)
from coscale.evaluate import arguments_of, guard_argument, write_and_measure
from coscale.files import IrregularFileError
from coscale.image import read
from coscale.lrfile import Making, check_same_lr
from coscale.rescalers import Precision, fastest
from coscale.storage import STORAGES, Storage
from coscale.tiles import ANY_ROOM, Room
from coscale.weights.load import Loaded, load
from coscale.weights.manifest import sha256
from coscale.weights.upscaler import load_upscaler

Row = dict[str, Any]
# Errors of the system that stay what they are however often one tries.
_LASTING = (IrregularFileError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


@dataclass(frozen=True)
class Recipe:
    """What is done to each photo: by which pair, by which method, within what room, and in which format it is kept."""

    rescaler: str
    weights: Path | None = None
    upscaler: Path | None = None
    scale: int | None = None
    trust: bool = False  # a program as upscaler is run
    compiled: bool = False
    method: Method | None = None
    precision: Precision | Literal["auto"] = "auto"
    room: Room = ANY_ROOM
    max_pixels: int | None = None
    strict: bool = False
    overwrite: bool = False
    guarded: bool = True
    storage: Storage = STORAGES[0]

    def load(self, device: str, compiled: bool = False) -> Loaded:
        """The pair. Raises RescalerError as ``weights.load`` does."""
        if self.upscaler:
            return load_upscaler(self.upscaler, self.scale, device, compiled, self.trust)
        return load(self.rescaler, self.weights, device, compiled)

    def asked(self, pair: Loaded) -> Row:
        """What a result depends on besides its photo, as JSON gives it back."""
        return {
            "rescaler": pair.name,
            "weights_hash": pair.weights_hash,
            "method": self.method.name if self.method else "none",
            "arguments": arguments_of(self.method, self.precision) | guard_argument(self.guarded),
        }


@dataclass(frozen=True)
class Job:
    """A photo to be done, unless its bytes have the SHA-256 ``done``; ``mark`` begins the names of temporary files.

    ``check``: there is a file under the target's name that the manifest does not know. It is replaced only where its
    note says that it is this result, as one of a run does that was killed before it had a row.
    """

    source: str
    target: str
    done: str | None = None
    mark: str = ""
    check: bool = False


@dataclass(frozen=True)
class Ready:
    """The worker has loaded the pair."""


@dataclass(frozen=True)
class Unfit:
    """The worker cannot work, and neither could another one."""

    reason: str


@dataclass(frozen=True)
class Done:
    """What was measured, nothing for a photo that has not changed; and what the user should know."""

    facts: Row
    warnings: tuple[str, ...] = ()

    @property
    def unchanged(self) -> bool:
        return not self.facts


@dataclass(frozen=True)
class Failed:
    """Why a photo was not done, and whether that may pass."""

    reason: str
    passing: bool


@dataclass(frozen=True)
class Lost:
    """The worker is no more."""

    reason: str


Message = Ready | Unfit | Done | Failed | Lost


class Worker:
    """A loaded pair. Raises RescalerError as ``weights.load`` does, EngineError when it is not that of the driver."""

    def __init__(self, recipe: Recipe, device: str, weights_hash: str) -> None:
        self.recipe = recipe
        self.pair = recipe.load(device, recipe.compiled)
        if self.pair.weights_hash != weights_hash:
            raise EngineError(f"a worker has other weights of {self.pair.name}; give all machines the same files")
        self.precision: Precision = fastest(self.pair.device) if recipe.precision == "auto" else recipe.precision

    def attempt(self, job: Job) -> Done | Failed:
        """Do one photo. What can go wrong through no fault of the code is a result too."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CoscaleWarning)
            try:
                facts = self._do(job)
            except CoscaleError as error:
                return Failed(str(error), _may_pass(error, job.mark))
            except OSError as error:
                return Failed(
                    f"{job.source}: {store.line_of(error, job.source, job.target)}", _may_pass(error, job.mark)
                )
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                reason = f"{job.source}: not enough memory for a photo of this size; leave it out, or use fewer workers"
                return Failed(reason, passing=True)  # other workers may have taken it
        return Done(facts, tuple(str(w.message) for w in caught if issubclass(w.category, CoscaleWarning)))

    def _do(self, job: Job) -> Row:
        begun = time.perf_counter()
        with store.fetched(job.source) as path:
            digest = sha256(path)
            if digest == job.done:
                return {}
            asked = self.recipe.asked(self.pair)
            making = Making(digest, asked["method"], asked["arguments"])
            if job.check and not self.recipe.overwrite:
                with store.fetched(job.target) as there:
                    check_same_lr(there, self.pair.name, self.pair.weights_hash, making)
            photo = read(path, self.recipe.max_pixels, self.recipe.strict)
        with store.publishing(job.target, job.mark) as path:
            measured = write_and_measure(
                photo,
                self.pair,
                self.recipe.method,
                path,
                precision=self.precision,
                room=self.recipe.room,
                mark=job.mark,
                making=making,
                guarded=self.recipe.guarded,
                storage=self.recipe.storage,
            )
        before = measured["before"] or {}
        scores = {key: measured.get(key) for key in ("psnr_y", "psnr_rgb", "lr_psnr_g")}
        scores |= {f"{key}_before": before.get(key) for key in ("psnr_y", "psnr_rgb")}
        return {
            "input_hash": digest,
            "output_bytes": measured["lr_bytes"],
            "width": measured["width"],
            "height": measured["height"],
            **{key: value if value is not None and math.isfinite(value) else None for key, value in scores.items()},
            **{key: measured[key] for key in ("corrected", "bicubic")},
            "passes": measured["passes"],
            "device": self.pair.device.type,
            "seconds": round(time.perf_counter() - begun, 3),
        }


def _may_pass(error: BaseException | None, mark: str) -> bool:
    """Whether trying again may help: an error of a store or of the system, not one of the photo."""
    while error is not None:
        if isinstance(error, TransferError | MemoryNeededError):  # other workers may have taken the memory
            return True
        if isinstance(error, FileNotFoundError) and store.is_part(str(error.filename), mark):
            return True  # somebody has tidied up too eagerly
        if isinstance(error, OSError) and error.errno is not None:  # decoders raise OSError too, without a number
            return not isinstance(error, _LASTING)
        error = error.__cause__
    return False
