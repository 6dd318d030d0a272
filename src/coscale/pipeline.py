"""What coscale does with one photo, from its pixels to the LR file, and from that to the restored photo and its scores.

    photo -> frame -> [ method proposes an LR -> storage keeps it -> rescaler restores -> objective judges ]* -> LR file
                                                                          LR file -> restored photo -> scores

Everything else here is called by this module or calls it.
"""

import contextlib
import functools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import UInt8
from torch import Tensor

from coscale import __version__, machine, resize, tiles
from coscale.areas import restore_areas
from coscale.cells import CellErrors
from coscale.choices import ObjectiveName
from coscale.collaborate import PLAIN, Method, Result, Watch
from coscale.errors import CoscaleWarning, RescalerError
from coscale.files import StrPath, replacing
from coscale.fitting import Levels, fitting_level
from coscale.framing import Frame, framed
from coscale.guard import Guarded, guard
from coscale.image import Photo
from coscale.lrfile import Making, Origin, lr_bytes, origin_in, same_weights, seen_in
from coscale.measurement import Course, Measurement, ObjectiveValue, arguments_of, lr_scores_of, scores_of
from coscale.objectives import gain_of
from coscale.quantize import Pixels, as_float, quantize, to_uint8
from coscale.quiet import listening
from coscale.rescalers import FROM_FILE, Bfloat16, Grey, Greyed, Precision, Rescaler
from coscale.rescalers.light import COLOURS
from coscale.rescalers.steps import LearnedSteps
from coscale.search import reached
from coscale.storage import PNG, Lossy, Storage, for_suffix
from coscale.storage.lossy import MOST_QUALITY
from coscale.tiles import ANY_ROOM, Passes, Room, TilePlan, Tiling
from coscale.weights.load import Loaded

T = TypeVar("T")


@dataclass(frozen=True)
class Encoded:
    """What comes of a photo.

    - ``lr``: the LR photo, already rounded to 8 bit: multiples of 1/255.
    - ``origin``: what an upscaler must know, which ``write_lr`` puts into the file.
    - ``result``: what the method did, before the guard.
    - ``guarded``: what the guard changed of that; None without it.
    - ``storage``: what the LR was made for; of a lossy one at the quality that was found, and with what it writes.
    - ``objective_name``: what the losses of ``result`` are; None for what has no name.
    """

    lr: Photo
    origin: Origin
    result: Result
    guarded: Guarded | None = None
    storage: Storage = PNG
    objective_name: ObjectiveName | None = "psnr"

    @property
    def corrected(self) -> float | None:
        """Give the share of the photo in which the guard changed the LR, as rows have it; None without it."""
        return round(self.guarded.corrected, 4) if self.guarded else None

    @property
    def bicubic(self) -> float | None:
        """Give the share of the photo that the guard left to bicubic, as rows have it; None without it."""
        return round(self.guarded.bicubic, 4) if self.guarded else None

    @property
    def gain(self) -> float | None:
        """Give what the method gained by its own objective, in dB.

        None without a method, where the guard changed the LR afterwards, which the losses do not know, for a lossy
        storage, whose losses have the bits in them, and for losses that are no squared errors: see ``objective``.
        """
        losses = self._losses if self.objective_name == "psnr" else None
        return None if losses is None else gain_of(*losses)

    @property
    def objective(self) -> ObjectiveValue | None:
        """Give an objective that is no squared error, before and after; None for others, and if it is unknown."""
        name, losses = self.objective_name, self._losses
        return None if name in (None, "psnr") or losses is None else ObjectiveValue(name, *losses)

    @property
    def _losses(self) -> tuple[float, float] | None:
        """The losses before and after, where they are those of the file."""
        before, after = float(self.result.before[0]), float(self.result.after[0])
        mended = self.guarded and (self.guarded.corrected or self.guarded.bicubic)
        unknown = mended or math.isnan(before) or not self.storage.lossless
        return None if unknown else (before, after)


@dataclass(frozen=True)
class Written:
    """An LR file as it was read back: the ``lr``, its note, and how many bytes it has."""

    lr: Photo
    origin: Origin
    bytes: int


def encode_photo(
    photo: Photo,
    pair: Loaded,
    method: Method = PLAIN,
    *,
    precision: Precision = "float32",
    room: Room = ANY_ROOM,
    guarded: bool = True,
    noted: bool = True,
    storage: Storage = PNG,
    watch: Watch | None = None,
    what: str = "the photo",
) -> Encoded:
    """Downscale a photo of any size of at least 1 x 1.

    A size that is no multiple of the scale is padded by repeating the last row and column, so the LR's size is that
    of the photo over the scale, rounded up. Transparency is resampled by bicubic, not optimised; colours that it hides
    are filled from those that are seen, and the method counts errors as they are seen. A grey photo, of one channel or
    of three that are equal, has an LR in colour where that holds more, and comes back exactly grey.

    Arguments:
        photo: the photo.
        pair: the rescaler.
        method: what improves the LR.
        precision: of the method's gradients; what is kept is always measured in float32.
        room: the tiles that large photos are worked on in; smaller ones are taken, with a warning, when memory runs
            out.
        guarded: whether no neighbourhood's colours may come back worse than by bicubic by more than 4 levels. The LR is
            changed where they would, and what cannot be helped is left to bicubic, with a warning.
        noted: whether ``origin`` will go along with the LR. Without it a grey photo has a grey LR, and areas that
            cannot be helped are only warned of.
        storage: what the LR will be kept by; the method judges what that leaves of it. For a lossy one there is no
            guard: what a codec leaves of colours is as good as its quality.
        watch: called after each pass of the method.
        what: what warnings call the photo.

    Raises MemoryNeededError when the smallest tiles do not fit, and SettingsError for a method that is not for this
    storage, and for a size or a PSNR that cannot be reached.
    """
    method = method.through(storage)
    if storage.wanted:

        def encode(storage: Storage, method: Method) -> Encoded:
            kept: dict[str, Any] = {"precision": precision, "room": room, "noted": noted}
            return encode_photo(photo, pair, method, storage=storage, watch=watch, what=what, **kept)

        if photo.gain_map:  # whose bytes the picture would lack
            text = (
                f"{what}: left out: its gain map for HDR screens, since the LR file is to be small; or give --quality"
            )
            warnings.warn(text, CoscaleWarning, stacklevel=2)
            photo = replace(photo, gain_map=b"")
        return _reached(storage.wanted, method, encode, framed(photo, pair, noted), room)
    noted = noted and not pair.rescaler.shown_by  # what a viewer shows knows of no note
    frame = framed(photo, pair, noted)
    storage = _fitted(storage, frame)
    frame = replace(frame, pair=pair.told(storage.level))
    guarded = guarded and storage.lossless
    pair, shown = frame.pair, frame.shown_to(frame.pair.rescaler)
    rescaler = frame.shown_to(pair.by_runtime) if pair.by_runtime else shown
    for_gradients = Bfloat16 if precision == "bfloat16" else _as_it_is
    usual = for_gradients(shown)
    twin = for_gradients(frame.shown_to(pair.compiled)) if pair.compiled else usual

    def run(plan: TilePlan) -> tuple[Result, Tensor, Guarded | None]:
        gradients = usual.lean() if plan.lean else twin
        result = method(
            rescaler,
            frame.hr,
            alpha=frame.alpha,
            twin=None if gradients is rescaler else gradients,
            tiling=plan.tiling,
            storage=storage,
            steps=LearnedSteps(pair.steps, precision) if pair.steps else None,
            curvature=method.curvature(shown, pair.device) if frame.hr.shape[1] == COLOURS else None,
            by_cells=frame.original if guarded else None,
            watch=watch,
        )
        checked = _checked(frame, result.pixels, plan.tiling, guarded, noted, result.errors)
        return replace(result, errors=None), *checked

    planned = usual if method.changes else shown
    channels = frame.hr.shape[1]
    passes = Passes(
        *(planned, frame.lr_size, channels, pair.device, method.maps),
        gradients=method.changes,
        of_loss=method.bytes_of_loss(channels),
    )
    result, lr, checked = tiles.within_room(run, passes, room)
    for warning in checked.warnings(pair.name, what) if checked else ():
        warnings.warn(warning, CoscaleWarning, stacklevel=2)
    small, origin = frame.lr_photo(lr, checked.areas if checked else None)
    if result.code is not None:
        storage = storage.holding(result.code)
    return Encoded(small, replace(origin, level=storage.level), result, checked, storage, method.objective_name)


def _fitted(storage: Storage, frame: Frame) -> Storage:
    """The storage with what an upscaler is told of it, which for some has to be found out."""
    return storage.fitted(lambda: _level_of(storage, frame))


def _level_of(storage: Storage, frame: Frame, near: int | None = None) -> int:
    return fitting_level(storage, frame.shown_to(frame.pair.rescaler), frame.hr, near)


def _reached(
    lossy: Lossy,
    method: Method,
    encode: Callable[[Storage, Method], Encoded],
    frame: Frame,
    room: Room,
) -> Encoded:
    """The LR by a method at the quality that has the size or the PSNR which a storage was asked for."""

    def size_of(encoded: Encoded) -> float:
        # Whatever the note will say of the photo's file and of what decoders see, it is as long as this.
        origin = replace(encoded.origin, making=Making("", method.name), seen=seen_in(encoded.lr)).brief
        return math.log(len(lr_bytes(encoded.lr, origin, encoded.storage)))

    def psnr_of(encoded: Encoded) -> float:
        lr = encoded.storage.decode(encoded.storage.encode(encoded.lr))
        restored = decode_photo(lr, frame.pair, encoded.origin, room=room)
        return scores_of(restored, frame.photo, frame.pair.scale).psnr_y

    value = psnr_of if lossy.size is None else size_of
    # To find out a level takes several times as long as to encode and to restore without a method.
    levels = Levels(lambda quality, near: _level_of(lossy.at(quality), frame, near))

    @functools.cache
    def improved(storage: Lossy) -> tuple[Encoded, float]:
        encoded = encode(storage.fitted(lambda: levels.at(storage.quality)), method)
        return encoded, value(encoded)

    @functools.cache
    def plain() -> Encoded:  # whose pixels are the same at all qualities, and whose level makes no difference
        return encode(lossy.at(MOST_QUALITY).fitted(lambda: 0), PLAIN)

    @functools.cache
    def cheap(storage: Lossy) -> float:
        if lossy.size is None:
            return psnr_of(encode(storage.fitted(lambda: levels.about(storage.quality)), PLAIN))
        return size_of(replace(plain(), storage=storage))

    # Qualities between two that a format has are the same storage, which is tried once.
    return reached(lossy, lambda quality: cheap(lossy.at(quality)), lambda quality: improved(lossy.at(quality)))


def _plain_of(photo: Photo, pair: Loaded, encoded: Encoded, room: Room) -> tuple[Photo, Origin]:
    """The LR and the note that no method would have given, of what ``encode_photo`` has found on the way.

    It is the LR as decoders see it.
    """
    noted = not pair.rescaler.shown_by
    frame, level, plain = framed(photo, pair, noted), encoded.origin.level, encoded.result.plain_pixels
    if encoded.result.code is None and not encoded.storage.lossless:  # else the method has looked at what is kept
        plain = encoded.storage.project(as_float(plain))

    def run(plan: TilePlan) -> tuple[Tensor, Guarded | None]:
        return _checked(frame, plain, plan.tiling, encoded.guarded is not None, noted)

    rescaler = frame.shown_to(pair.rescaler)
    passes = Passes(rescaler, frame.lr_size, frame.hr.shape[1], pair.device, gradients=False)
    lr, checked = tiles.within_room(run, passes, room)
    small, origin = frame.lr_photo(lr, checked.areas if checked else None)
    return small, replace(origin, level=level)


def _as_it_is(rescaler: Rescaler) -> Rescaler:
    return rescaler


def _checked(
    frame: Frame,
    lr: Pixels,
    tiling: Tiling,
    guarded: bool,
    noted: bool,
    errors: Sequence[CellErrors] | None = None,
) -> tuple[UInt8[Tensor, "1 c h w"], Guarded | None]:
    """The LR as a file holds it, as grey levels, after the guard where there is one."""
    lr = to_uint8(lr)
    if not guarded:
        return lr, None
    rescaler = frame.shown_to(frame.pair.quick)
    checked = guard(rescaler, lr, frame.original, tiling, noted, errors)
    return checked.lr, checked


def write_encoded(
    encoded: Encoded, path: StrPath, making: Making | None = None, mark: str = "", storage: Storage | None = None
) -> Written:
    """Write the LR file, which gets its name once it has been read back.

    Arguments:
        encoded: the LR and its note.
        path: the file.
        making: what the note says of the photo's file and the settings.
        mark: what begins the name that the file has until it is whole.
        storage: the format of the file; by default that of its suffix.

    Raises LRFileError for a note that could not be read back, and OutputError when ``path`` cannot be written.
    """
    with _writing(encoded, Path(path), making, mark, storage) as written:
        return written


@contextlib.contextmanager
def _writing(
    encoded: Encoded, path: Path, making: Making | None, mark: str, storage: Storage | None
) -> Iterator[Written]:
    """The LR file as it is read back; it gets its name if the block ends well."""
    storage = (storage or for_suffix(path.suffix)) if encoded.storage.lossless else encoded.storage
    with replacing(path, mark) as temporary:
        data = _file_of(encoded, making, storage)
        temporary.write_bytes(data)
        with listening():  # encoding has said already what there is to say
            lr = storage.decode(temporary.read_bytes())
        origin = origin_in(lr.text, path)
        assert origin is not None
        origin.check_size(lr)
        yield Written(lr, origin, len(data))


def _file_of(encoded: Encoded, making: Making | None, storage: Storage) -> bytes:
    """What the LR file holds."""
    origin = replace(encoded.origin, making=making)
    if not storage.lossless:
        seen = storage.decode(lr_bytes(encoded.lr, origin.brief, storage))
        origin = replace(origin.brief, seen=seen_in(seen))
    return lr_bytes(encoded.lr, origin, storage)


@torch.no_grad()
def decode_photo(
    lr: Photo,
    pair: Loaded,
    origin: Origin | None = None,
    seed: int | None = None,
    room: Room = ANY_ROOM,
    depth: int = 8,
    level: int | None = None,
    precision: Precision = "float32",
) -> Photo:
    """Restore a photo from its LR, rounded to 8 bit or to ``depth``.

    A photo that was grey comes back grey, and areas that the note leaves to bicubic are restored by it.

    Arguments:
        lr: the LR, or any other image.
        pair: the rescaler.
        origin: the LR file's note, which says the photo's size; without it the photo has ``scale`` times the LR's.
        seed: draws the latent from a normal distribution instead of 0, for the whole image at once.
        room: the tiles that large images are restored in; smaller ones are taken when memory runs out.
        depth: bits a channel that the file of it will have: with 16 what the rescaler gives is only clipped to [0, 1].
        level: what the rescaler is told of the codec that kept the LR, where no note says it.
        precision: of the network's convolutions; ``bfloat16`` takes less time where the hardware has it, and differs
            from what everybody else restores by a grey level here and there; by more for noise, and with ``seed``.

    Raises RescalerError when the rescaler has no latent to draw or is not the one that wrote ``origin``, LRFileError
    when ``lr`` has another size, and MemoryNeededError.
    """
    if origin:
        check_pair(origin, pair)
        origin.check_size(lr)
        level = origin.level
    pair = pair.told(level)
    if seed is not None and not pair.rescaler.draws:
        raise RescalerError(f"{pair.name} has no latent to draw; leave out --sample")
    grey = origin.grey if origin else None
    shown = Grey if lr.channels == 1 else Greyed if grey else _as_it_is
    low = Bfloat16(pair.rescaler) if precision == "bfloat16" else None
    rescaler, quick = shown(low or pair.rescaler), shown(low or pair.quick)
    # What an LR file hides was made to restore what is seen beside it; what another image hides can be anything.
    x = as_float(lr.pixels if origin else lr.shown).to(pair.device)
    channels = 1 if grey else x.shape[1]

    finish = to_uint8 if depth == 8 else _clipped

    def restore(part: Tensor) -> Tensor:  # rounded tile by tile, so that nothing but the result is of its size
        return finish(quick.upscale(part)[:, :channels])

    def run(plan: TilePlan) -> Tensor:
        return tiles.upscale(restore, x, pair.scale, plan.tiling)

    if seed is None:
        passes = Passes(rescaler, (x.shape[-2], x.shape[-1]), x.shape[1], pair.device, gradients=False)
        levels = tiles.within_room(run, passes, room)
    else:
        levels = finish(rescaler.sample(x, seed))[:, :channels]
    if origin and origin.bicubic:
        seen = x if x.shape[1] == channels else x.mean(1, keepdim=True)
        restore_areas(levels, seen, origin.bicubic, pair.scale)
    alpha = None if lr.alpha is None else _opacity(lr.alpha, pair.rescaler)
    alpha = alpha if alpha is None else quantize(alpha) if depth == 8 else _clipped(alpha)
    return _full_size(lr, levels, alpha, origin)


def _opacity(alpha: Tensor, rescaler: Rescaler) -> Tensor:
    """Upscale an LR's opacity as its viewers do: by bicubic, or as they do the colours where the decoder does both."""
    return rescaler.upscale(alpha.cpu()) if rescaler.shown_by else resize.upscale(alpha, rescaler.scale)


def _clipped(x: Tensor) -> Tensor:
    return x.clamp(0, 1)


def _full_size(lr: Photo, levels: Tensor, alpha: Tensor | None, origin: Origin | None) -> Photo:
    """The restored photo: of the original's size and channels, with what went along with the LR."""
    height, width = (origin.height, origin.width) if origin else (levels.shape[-2], levels.shape[-1])
    levels = levels[..., :height, :width].cpu()
    alpha = None if alpha is None else alpha[..., :height, :width]
    if origin and origin.grey == "RGB":
        levels = levels.expand(-1, 3, -1, -1)
    icc = origin.profile if origin and origin.profile else lr.icc
    return replace(lr, pixels=levels, alpha=alpha, icc=icc, text={})


def check_pair(origin: Origin, pair: Loaded) -> None:
    """Raise RescalerError when ``pair`` is not what wrote the LR file, which it would then restore wrongly."""
    if origin.rescaler != pair.name:
        raise RescalerError(f"the LR file is by {origin.rescaler}, not by {pair.name}")
    if origin.scale != pair.scale:
        raise RescalerError(f"the LR file says scale {origin.scale}, but {pair.name} has scale {pair.scale}")
    if not same_weights(origin.weights_hash, pair.weights_hash):
        theirs, ours = origin.weights_hash[:12] or "none", pair.weights_hash[:12] or "none"
        option = "--upscaler" if origin.rescaler.startswith(FROM_FILE) else "--weights"
        raise RescalerError(
            f"the LR file was made by other weights of {origin.rescaler} ({theirs}) than these ({ours}) of coscale "
            f"{__version__}; give the right ones with {option}, or use the coscale that made it ({origin.version})"
        )


def write_and_measure(
    photo: Photo,
    pair: Loaded,
    method: Method,
    path: StrPath,
    *,
    precision: Precision = "float32",
    room: Room = ANY_ROOM,
    guarded: bool = True,
    watch: Watch | None = None,
    what: str = "the photo",
    making: Making | None = None,
    mark: str = "",
    storage: Storage | None = None,
    peaks: bool = False,
) -> Measurement:
    """Encode ``photo`` to the LR file ``path``, read that back, decode it, and compare; see ``Measurement``.

    Arguments:
        photo, pair, method, precision, room, guarded, watch, what: as in ``encode_photo``.
        path, making, mark, storage: as in ``write_encoded``.
        peaks: whether the peak of memory is measured; that takes time, since what was freed before is given back first.

    Raises as these two do. A file that cannot be restored does not get its name.
    """
    path, of = Path(path), pair.device if peaks else None
    storage = storage or for_suffix(path.suffix)
    encoded, encode_seconds, encode_peak = _cost(
        of,
        lambda: encode_photo(
            *(photo, pair, method),
            precision=precision,
            room=room,
            guarded=guarded,
            storage=storage,
            watch=watch,
            what=what,
        ),
    )
    plain = before = None
    with listening():  # of memory that is short, encoding has warned already
        with _writing(encoded, path, making, mark, storage) as written:
            restored, decode_seconds, decode_peak = _cost(
                of, lambda: decode_photo(written.lr, pair, written.origin, room=room)
            )
        scores = scores_of(restored, photo, pair.scale)
        del restored  # a large photo should not be in memory three times
        if method.changes:
            plain, origin = _plain_of(photo, pair, encoded, room)
            before = scores_of(decode_photo(plain, pair, origin, room=room), photo, pair.scale)
    height, width = photo.size
    return Measurement(
        image=path.name,
        height=height,
        width=width,
        rescaler=pair.name,
        weights_hash=pair.weights_hash,
        method=method.name,
        arguments=arguments_of(method, precision, guarded, pair.steps, storage=storage),
        scores=scores,
        before=before,
        lr=lr_scores_of(photo, written.lr, plain, pair.scale),
        corrected=encoded.corrected,
        bicubic=encoded.bicubic,
        objective=encoded.objective,
        lr_bytes=written.bytes,
        passes=encoded.result.gradients,
        stopped=encoded.result.stopped[0] if method.changes else None,
        course=Course.of(encoded.result) if method.changes else None,
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
        encode_peak_bytes=encode_peak,
        decode_peak_bytes=decode_peak,
        device=machine.name_of(pair.device),
        torch=torch.__version__,
        coscale=__version__,
    )


def _cost(device: torch.device | None, run: Callable[[], T]) -> tuple[T, float, int | None]:
    """What ``run`` gives, the seconds it took, and its peak of memory on ``device``, not measured without one."""
    if device:
        machine.reset_peak(device)
    begun = time.perf_counter()
    found = run()
    return found, round(time.perf_counter() - begun, 3), machine.peak(device) if device else None
