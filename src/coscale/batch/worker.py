"""What a worker does: it loads the rescaler once, and then one photo after the other."""

import math
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from coscale.batch import store
from coscale.batch.manifest import Facts, LRFacts, Provenance
from coscale.choices import AskedPrecision, Runtime
from coscale.collaborate import PLAIN, Method
from coscale.errors import (
    CoscaleError,
    CoscaleWarning,
    EngineError,
    MemoryNeededError,
    TransferError,
    ran_out_of_memory,
)
from coscale.files import IrregularFileError, sha256
from coscale.image import Photo, read
from coscale.lrfile import Making, check_same_lr
from coscale.measurement import arguments_of
from coscale.pipeline import encode_photo, write_and_measure, write_encoded
from coscale.rescalers import Precision, fastest
from coscale.storage import PNG, Storage
from coscale.tiles import ANY_ROOM, Room
from coscale.weights.load import Loaded, load
from coscale.weights.upscaler import load_upscaler

# Errors of the system that stay what they are however often one tries.
_LASTING = (IrregularFileError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


@dataclass(frozen=True)
class BatchSettings:
    """What is done to each photo: by which pair, by which method, within what room; see ``encode_photo``.
    It is kept in the format of ``storage``.

    ``trust``: a program as ``upscaler`` is run. ``overwrite``: files that the manifest does not know are replaced.
    ``measured``: each LR file is also restored and compared with its photo, which takes some time more.
    """

    rescaler: str
    weights: Path | None = None
    upscaler: Path | None = None
    scale: int | None = None
    trust: bool = False
    compiled: bool = False
    method: Method = PLAIN
    precision: AskedPrecision = "auto"
    room: Room = ANY_ROOM
    max_pixels: int | None = None
    strict: bool = False
    stripped: bool = False
    overwrite: bool = False
    guarded: bool = True
    storage: Storage = PNG
    runtime: Runtime = "auto"
    measured: bool = False

    def load(self, device: str, compiled: bool = False) -> Loaded:
        """Give the pair. Raises RescalerError as ``weights.load`` does."""
        if self.upscaler:
            return load_upscaler(self.upscaler, self.scale, device, compiled, self.trust)
        return load(self.rescaler, self.weights, device, compiled, self.runtime)

    def provenance(self, pair: Loaded) -> Provenance:
        """Give what a result depends on besides its photo."""
        arguments = arguments_of(self.method, self.precision, self.guarded, pair.steps, self.stripped, self.storage)
        return Provenance(pair.name, pair.weights_hash, self.method.name, arguments)


@dataclass(frozen=True)
class Assignment:
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
    """What was found, None for a photo that has not changed; and what the user should know."""

    facts: Facts | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """Why a photo was not done, whether that may pass, and what the user should know besides."""

    reason: str
    passing: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lost:
    """The worker is no more."""

    reason: str


Message = Ready | Unfit | Done | Failed | Lost


class Worker:
    """A loaded pair. Raises RescalerError as ``weights.load`` does, EngineError when it is not that of the driver."""

    def __init__(self, settings: BatchSettings, device: str, weights_hash: str) -> None:
        self.settings = settings
        self.pair = settings.load(device, settings.compiled)
        if self.pair.weights_hash != weights_hash:
            raise EngineError(f"a worker has other weights of {self.pair.name}; give all machines the same files")
        self.precision: Precision = fastest(self.pair.device) if settings.precision == "auto" else settings.precision

    def attempt(self, job: Assignment) -> Done | Failed:
        """Do one photo. What can go wrong through no fault of the code is a result too."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CoscaleWarning)
            outcome = self._outcome(job)
        return replace(
            outcome, warnings=tuple(str(w.message) for w in caught if issubclass(w.category, CoscaleWarning))
        )

    def _outcome(self, job: Assignment) -> Done | Failed:
        try:
            return Done(self._do(job))
        except CoscaleError as error:
            return Failed(str(error), _may_pass(error, job.mark))
        except OSError as error:
            said = store.line_of(error, job.source, job.target)
            return Failed(f"{job.source}: {said}", _may_pass(error, job.mark))
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            reason = f"{job.source}: not enough memory for a photo of this size; leave it out, or use fewer workers"
            return Failed(reason, passing=True)  # other workers may have taken it

    def _do(self, job: Assignment) -> Facts | None:
        begun = time.perf_counter()
        with store.fetched(job.source) as path:
            digest = sha256(path)
            if digest == job.done:
                return None
            provenance = self.settings.provenance(self.pair)
            making = Making(digest, provenance.method, provenance.arguments)
            if job.check and not self.settings.overwrite:
                with store.fetched(job.target) as there:
                    check_same_lr(there, [(self.pair.name, self.pair.weights_hash)], making)
            photo = read(path, self.settings.max_pixels, self.settings.strict)
            photo = photo.stripped if self.settings.stripped else photo
        with store.publishing(job.target, job.mark) as path:
            made = self._made(photo, path, making, job.mark)
        height, width = photo.size
        seconds = round(time.perf_counter() - begun, 3)
        return Facts(
            input_hash=digest, width=width, height=height, device=self.pair.device.type, seconds=seconds, **vars(made)
        )

    def _made(self, photo: Photo, path: Path, making: Making, mark: str) -> LRFacts:
        """Write the LR file of a photo."""
        settings = self.settings
        if settings.measured:
            row = write_and_measure(
                *(photo, self.pair, settings.method, path),
                precision=self.precision,
                room=settings.room,
                mark=mark,
                making=making,
                guarded=settings.guarded,
                storage=settings.storage,
            )
            before = row.before
            return LRFacts(
                output_bytes=row.lr_bytes,
                psnr_y_before=_finite(before.psnr_y if before else None),
                psnr_rgb_before=_finite(before.psnr_rgb if before else None),
                psnr_y=_finite(row.scores.psnr_y),
                psnr_rgb=_finite(row.scores.psnr_rgb),
                lr_psnr_g=_finite(row.lr.psnr_g),
                corrected=row.corrected,
                bicubic=row.bicubic,
                passes=row.passes or 0,
            )
        encoded = encode_photo(
            *(photo, self.pair, settings.method),
            precision=self.precision,
            room=settings.room,
            guarded=settings.guarded,
            storage=settings.storage,
        )
        written = write_encoded(encoded, path, making, mark, settings.storage)
        return LRFacts(
            output_bytes=written.bytes,
            corrected=encoded.corrected,
            bicubic=encoded.bicubic,
            passes=encoded.result.gradients,
        )


def _finite(value: float | None) -> float | None:
    """JSON and Parquet have no word for the PSNR of equal images."""
    return value if value is not None and math.isfinite(value) else None


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
