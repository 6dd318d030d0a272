"""Measure a rescaler, with or without a method, on benchmark photos: one row an image, from the files themselves."""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch

from coscale import __version__, machine, resize, tiles
from coscale.collaborate import Method, Progress, Result
from coscale.colour import luma
from coscale.decode import decode_photo
from coscale.encode import encode_photo, pad, said_before
from coscale.errors import CoscaleError, DataError
from coscale.files import read_regular, replacing
from coscale.folders import is_hidden, photos_in
from coscale.image import Photo, read
from coscale.lrfile import Making, lr_bytes, read_lr
from coscale.metrics import compare, psnr, ssim
from coscale.quantize import quantize
from coscale.rescalers import Precision
from coscale.storage import Storage, for_suffix
from coscale.tiles import ANY_ROOM, Room, Tiling
from coscale.weights.load import Loaded
from coscale.weights.manifest import sha256

Row = dict[str, Any]
Found = TypeVar("Found")
_PSNRS = {"psnr_y", "psnr_rgb", "psnr_cb", "psnr_cr", "lr_psnr_bicubic", "lr_psnr_g"}
_Check = tuple[str, Callable[[Any], bool]]  # what a value must be, in a word, and whether it is
_TEXT: _Check = "text", lambda value: isinstance(value, str)
_COUNT: _Check = "number above 0", lambda value: type(value) is int and value > 0
_NUMBER: _Check = "number", lambda value: value is None or type(value) in (int, float)
_TABLE: _Check = "object", lambda value: isinstance(value, dict)
_SCORES: _Check = (
    "object of numbers",
    lambda value: value is None or (isinstance(value, dict) and all(map(_NUMBER[1], value.values()))),
)
_CHECKS = {
    **dict.fromkeys(("set", "image", "rescaler", "weights_hash", "method", "device", "coscale", "torch"), _TEXT),
    **dict.fromkeys(("height", "width", "lr_bytes"), _COUNT),
    **dict.fromkeys(("psnr_y", "ssim_y", "psnr_rgb", "lr_psnr_bicubic", "lr_psnr_g"), _NUMBER),
    **dict.fromkeys(("encode_seconds", "decode_seconds"), _NUMBER),
    "arguments": _TABLE,
    "before": _SCORES,
}
_MAYBE = {  # what rows of older versions do not have
    **dict.fromkeys(("psnr_cb", "psnr_cr", "ssim_rgb", "lr_ssim_bicubic", "lr_ssim_g", "passes"), _NUMBER),
    **dict.fromkeys(("encode_peak_bytes", "decode_peak_bytes"), _NUMBER),
    "image_hash": _TEXT,
}
BICUBIC_TILES = Tiling(512, 3)  # an LR pixel sees less than 3 others on each side


def find_sets(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The images of each set: a folder of images is a set, and so is each such folder in a folder of folders.

    Raises DataError when a path is no folder, when two sets have one name, or when no images are found.
    """
    sets: dict[str, list[Path]] = {}
    seen: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            raise DataError(f"{path} is not a folder; give a folder of images, or one of such folders")
        for folder in (path, *sorted(p for p in path.iterdir() if p.is_dir() and not is_hidden(p.name))):
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            images = photos_in(folder)
            name = folder.resolve().name
            if images and name in sets:
                raise DataError(f"two folders of images are called {name}; rename one, or measure them one by one")
            if images:
                sets[name] = images
    if not sets:
        raise DataError(f"there are no images in {', '.join(map(str, paths))}; give a folder of images")
    return sets


def benchmark_photo(path: Path, scale: int, max_pixels: int | None = None, strict: bool = False) -> Photo:
    """A test image by the field's protocol: as RGB even if it is grey, cropped to a multiple of the scale.

    Of one with transparency that is kept, since figures count what is seen; the field's sets have none.

    Raises ImageError as ``image.read`` does, and DataError when nothing is left.
    """
    photo = read(path, max_pixels, strict)
    height, width = (side - side % scale for side in photo.size)
    if not height or not width:
        raise DataError(f"{path} is smaller than the scale {scale}; take it out of the set")
    colour, alpha = photo.colour[..., :height, :width].expand(-1, 3, -1, -1).contiguous(), None
    if photo.alpha is not None and bool((photo.alpha < 1).any()):
        alpha = photo.alpha[..., :height, :width].contiguous()
    return Photo(colour, alpha)


def write_and_measure(
    photo: Photo,
    pair: Loaded,
    method: Method | None,
    path: Path,
    progress: Progress | None = None,
    precision: Precision = "float32",
    room: Room = ANY_ROOM,
    mark: str = "",
    peaks: bool = False,
    making: Making | None = None,
    guarded: bool = True,
    what: str = "the photo",
    storage: Storage | None = None,
) -> Row:
    """Encode ``photo`` to the LR file ``path``, read that back, decode it, and compare.

    Figures count what is seen, see ``metrics``:
    PSNR in dB and SSIM of the restored photo (``before``: the same without the method), PSNR (of RGB) and SSIM (of Y)
    of the LR against g's and against bicubic, LR size in bytes, gradients taken and why no more, the losses on the way,
    seconds, and with ``peaks`` the peak of memory in bytes where the system tells; that takes time, since what was
    freed before is given back first. ``corrected`` and ``bicubic`` are the shares of the photo in which the guard
    changed the LR, and which it left to bicubic; ``guarded`` as in ``encode_photo``. ``mark`` begins the name that the
    file has until it is whole; ``making`` goes into its note; ``what`` is what warnings call the photo; ``storage``
    is the format, by default that of the suffix. Raises OutputError when ``path`` cannot be written.
    """
    of = pair.device if peaks else None
    encoded, encode_seconds, encode_peak = _cost(
        of, lambda: encode_photo(photo, pair, method, progress, precision, room, guarded=guarded, what=what)
    )
    # What cannot be read back and restored never gets its name.
    with replacing(path, mark) as temporary, said_before():
        storage = storage or for_suffix(path.suffix)
        temporary.write_bytes(lr_bytes(encoded.lr, replace(encoded.origin, making=making), storage))
        lr, origin = read_lr(temporary)
        restored, decode_seconds, decode_peak = _cost(of, lambda: decode_photo(lr, pair, origin, room=room))
    scores = _scores(restored, photo, pair.scale)
    del restored  # a large photo should not be in memory three times
    plain = before = None
    if method:
        with said_before():
            plain = encode_photo(photo, pair, None, room=room, guarded=guarded)
            before = _scores(decode_photo(plain.lr, pair, plain.origin, room=room), photo, pair.scale)
    bicubic = quantize(
        tiles.downscale(
            lambda hr: resize.downscale(hr, pair.scale), pad(photo.shown, pair.scale), pair.scale, BICUBIC_TILES
        )
    )
    # An LR may be grey where another of the same photo is in colour.
    small, bicubic = _in_colour(lr.colour), _in_colour(bicubic)
    plain_small = _in_colour(plain.lr.colour) if plain else None
    height, width = photo.size
    seen = None if photo.alpha is None else lr.alpha
    return {
        "height": height,
        "width": width,
        "rescaler": pair.name,
        "weights_hash": pair.weights_hash,
        "method": method.name if method else "none",
        **scores,
        "before": before,
        "corrected": round(encoded.guarded.corrected, 4) if encoded.guarded else None,
        "bicubic": round(encoded.guarded.bicubic, 4) if encoded.guarded else None,
        "lr_psnr_bicubic": float(psnr(small, bicubic, alpha=seen)),
        "lr_ssim_bicubic": float(ssim(small, bicubic, luma, seen)),
        "lr_psnr_g": float(psnr(small, plain_small, alpha=seen)) if plain_small is not None else None,
        "lr_ssim_g": float(ssim(small, plain_small, luma, seen)) if plain_small is not None else None,
        "lr_bytes": path.stat().st_size,
        "passes": encoded.result.gradients if encoded.result else 0,
        "stopped": encoded.result.stopped[0] if encoded.result else None,
        "course": _course(encoded.result) if encoded.result else None,
        "encode_seconds": encode_seconds,
        "decode_seconds": decode_seconds,
        "encode_peak_bytes": encode_peak,
        "decode_peak_bytes": decode_peak,
    }


def _in_colour(image: torch.Tensor) -> torch.Tensor:
    return image.expand(-1, 3, -1, -1)


def _cost(device: torch.device | None, run: Callable[[], Found]) -> tuple[Found, float, int | None]:
    """What ``run`` gives, the seconds it took, and its peak of memory on ``device``, not measured without one."""
    if device:
        machine.reset_peak(device)
    begun = time.perf_counter()
    found = run()
    return found, round(time.perf_counter() - begun, 3), machine.peak(device) if device else None


def _course(result: Result) -> dict[str, dict[str, list[float]]]:
    """The loss at each iteration of each stage: as it is descended, and of the files (NaN where not measured)."""
    stages = {"hr": result.hr_stage, "lr": result.lr_stage}
    return {
        name: {key: [float(f"{loss:.5g}") for loss in getattr(stage, key)[:, 0]] for key in ("loss", "rounded")}
        for name, stage in stages.items()
        if stage
    }


def _scores(restored: Photo, original: Photo, border: int) -> dict[str, float]:
    scores = compare(restored.colour, original.colour, border, original.alpha)
    return {name: float(value) for name, value in scores.items()}


def identity(row: Row) -> str:
    """What a row was measured on and with: rows of one identity hold the same measurement."""
    return json.dumps([row[key] for key in ("set", "image", "rescaler", "weights_hash", "method", "arguments")])


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a file by their identity; a last line that was cut short is left out.

    Raises DataError, with the line, for what is no row or has a value of another type.
    """
    rows: dict[str, Row] = {}
    lines = read_regular(path).decode(errors="surrogateescape").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
            problem = _problem(row)
        except (ValueError, RecursionError):
            row, problem = {}, "it is no JSON"
        if problem:
            raise DataError(
                f"{path} does not hold rows of an evaluation (line {number}: {problem}); "
                "give another file, or --overwrite where there is that option"
            )
        rows[identity(_with_infinities(row))] = row
    return rows


def _problem(row: object) -> str | None:
    """What is wrong with a row of JSON, if anything is: something that is missing, or is of another type."""
    if not isinstance(row, dict):
        return "it is no object"
    checks = {**_CHECKS, **{key: check for key, check in _MAYBE.items() if key in row}}
    for key, (what, is_right) in checks.items():
        if key not in row:
            return f"it has no {key}"
        if not is_right(row[key]):
            return f"{key} is {json.dumps(row[key])[:40]}, which is no {what}"
    if row["before"] is not None and not {"psnr_y", "ssim_y", "psnr_rgb"} <= row["before"].keys():
        return "before lacks psnr_y, ssim_y or psnr_rgb"
    return None


def _with_infinities(row: Row) -> Row:
    """JSON has no word for the PSNR of equal images; without a method there is no LR to compare with g's."""
    for scores in filter(None, (row, row.get("before"))):
        for key in scores.keys() & _PSNRS:
            if scores[key] is None and (key != "lr_psnr_g" or row["method"] != "none"):
                scores[key] = math.inf
    return row


def asked(of: str, image: str, pair: Loaded, method: Method | None, precision: Precision, guarded: bool = True) -> Row:
    """What tells a row from others, see ``identity``: the set, the image's file name, the rescaler and the method."""
    return {
        "set": of,
        "image": image,
        "rescaler": pair.name,
        "weights_hash": pair.weights_hash,
        "method": method.name if method else "none",
        "arguments": arguments_of(method, precision) | guard_argument(guarded),
    }


def guard_argument(guarded: bool) -> Row:
    """What the arguments of a measurement say of the guard: nothing where it is as usual."""
    return {} if guarded else {"guarded": False}


def lr_name(row: Row) -> str:
    """The file name of the LR that belongs to a row, in a folder where those are kept."""
    return hashlib.sha256(identity(row).encode()).hexdigest()[:20] + ".png"


@dataclass(frozen=True)
class Task:
    """An image to be measured: ``row`` is what was asked, ``keep`` the folder of its LR file, deleted if None;
    one that is damaged is refused where that is ``strict``."""

    row: Row
    path: Path
    method: Method | None
    precision: Precision
    room: Room
    max_pixels: int | None
    keep: Path | None
    strict: bool = False
    guarded: bool = True


def measure(task: Task, pair: Loaded) -> Row:
    """The row of one image. Raises CoscaleError when it cannot be read or is too large."""
    photo = benchmark_photo(task.path, pair.scale, task.max_pixels, task.strict)
    folder = contextlib.nullcontext(task.keep) if task.keep else TemporaryDirectory(prefix="coscale-")
    with folder as kept:
        lr = Path(kept) / lr_name(task.row)
        measured = write_and_measure(
            photo, pair, task.method, lr, None, task.precision, task.room, peaks=True, guarded=task.guarded
        )
    versions = {"coscale": __version__, "torch": torch.__version__}
    facts = {"image_hash": sha256(task.path), "device": machine.name_of(pair.device)}
    return task.row | measured | facts | versions


def one_by_one(tasks: Iterable[Task], pair: Loaded) -> Iterator[Row | CoscaleError]:
    """The row of each task, or why there is none."""
    for task in tasks:
        try:
            yield measure(task, pair)
        except CoscaleError as error:
            yield error


def evaluate(
    sets: Mapping[str, Sequence[Path]],
    pair: Loaded,
    method: Method | None,
    precision: Precision = "float32",
    *,
    room: Room = ANY_ROOM,
    max_pixels: int | None = None,
    guarded: bool = True,
    earlier: Mapping[str, Row] | None = None,
    failed: Callable[[CoscaleError], None] | None = None,
    keep: Path | None = None,
    run: Callable[[Iterable[Task]], Iterable[Row | CoscaleError]] | None = None,
    strict: bool = False,
) -> Iterator[Row]:
    """One row for each image of each set, as soon as it is measured.

    A row that ``earlier`` has under its identity is given first, as it is, not measured again, unless its image has
    changed since. An image that cannot be
    measured is handed to ``failed`` as its error, and the rest goes on; without it, it raises. LR files go to the
    folder ``keep``, by ``lr_name``, or else are deleted. ``run`` measures in the place of this process, ``Workers``
    for example. ``strict`` refuses photos that are damaged.
    """
    tasks = [
        Task(
            asked(name, path.name, pair, method, precision, guarded),
            *(path, method, precision, room, max_pixels, keep, strict, guarded),
        )
        for name, paths in sets.items()
        for path in paths
    ]
    known = [(earlier or {}).get(identity(task.row)) for task in tasks]
    known = [row if row and _is_of(row, task.path) else None for row, task in zip(known, tasks, strict=True)]
    yield from filter(None, known)
    left = [task for row, task in zip(known, tasks, strict=True) if row is None]
    for found in run(left) if run else one_by_one(left, pair):
        if not isinstance(found, CoscaleError):
            yield found
        elif failed is None:
            raise found
        else:
            failed(found)


def _is_of(row: Row, path: Path) -> bool:
    """Whether a row is of this very file, as far as it says; what cannot be read is left to those who measure."""
    try:
        return "image_hash" not in row or row["image_hash"] == sha256(path)
    except OSError:
        return False


def arguments_of(method: Method | None, precision: str) -> Row:
    """A method's settings, functions by their name, with the precision of its gradients; nothing without a method."""
    if method is None:
        return {}
    assert is_dataclass(method)
    values = asdict(method)  # type: ignore[arg-type]
    named = {key: getattr(value, "__name__", str(value)) for key, value in values.items() if callable(value)}
    return values | named | {"precision": precision}
