"""Measure a rescaler, with or without a method, on benchmark photos: one row an image, from the files themselves."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from coscale.collaborate import Method
from coscale.errors import CoscaleError, DataError
from coscale.files import rows_in, sha256
from coscale.folders import is_hidden, photos_in
from coscale.image import Photo, read
from coscale.measurement import Measurement, Setting, arguments_of
from coscale.pipeline import write_and_measure
from coscale.rescalers import Precision
from coscale.resize import cut
from coscale.storage import PNG, Storage
from coscale.tiles import ANY_ROOM, Room
from coscale.weights.load import Loaded


def find_sets(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Give the images of each set: a folder of images is a set, and so is each such folder in a folder of folders.

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
    """Give a test image by the field's protocol: as RGB even if it is grey, cropped to a multiple of the scale.

    Of one with transparency that is kept, since figures count what is seen; the field's sets have none.

    Arguments:
        path: the image.
        scale: the scale that it is measured at.
        max_pixels, strict: as in ``image.read``.

    Raises ImageError as ``image.read`` does, and DataError when nothing is left.
    """
    photo = read(path, max_pixels, strict)
    if min(photo.size) < scale:
        raise DataError(f"{path} is smaller than the scale {scale}; take it out of the set")
    pixels, alpha = cut(photo.pixels, scale).expand(-1, 3, -1, -1).contiguous(), None
    if photo.alpha is not None and bool((photo.alpha < 1).any()):
        alpha = cut(photo.alpha, scale).contiguous()
    return Photo(pixels, alpha)


def identity(row: Measurement) -> str:
    """Say what a row was measured on and with: rows of one identity hold the same measurement."""
    return _identity(row.set, row.image, row.rescaler, row.weights_hash, row.method, row.arguments)


def _identity(*parts: str | Mapping[str, Setting]) -> str:
    """The set, the image, the rescaler, the hash of its weights, the method and its arguments, as one text."""
    return json.dumps([dict(part) if isinstance(part, Mapping) else part for part in parts])


def read_rows(path: Path) -> dict[str, Measurement]:
    """Read the rows of a file by their identity; a last line that was cut short is left out.

    Raises DataError, with the line, for what is no row or has a value of another type.
    """
    return {identity(row): row for row in rows_in(path, Measurement.from_json, "rows of an evaluation")}


@dataclass(frozen=True)
class Settings:
    """How images are measured.

    - ``method``, ``precision``, ``room``, ``guarded``: as in ``encode_photo``.
    - ``max_pixels``, ``strict``: how they are read, see ``image.read``.
    - ``keep``: the folder of their LR files, by ``Asked.lr_name``; without one these are deleted.
    - ``storage``: the format of these files.
    """

    method: Method
    precision: Precision = "float32"
    room: Room = ANY_ROOM
    guarded: bool = True
    max_pixels: int | None = None
    strict: bool = False
    keep: Path | None = None
    storage: Storage = PNG


@dataclass(frozen=True)
class Asked:
    """An image that is to be measured: its set, its file, and how."""

    set: str
    path: Path
    settings: Settings

    def arguments(self, pair: Loaded) -> dict[str, Setting]:
        """Give what its row says of the settings: those of ``arguments_of``, and a lossless format other than PNG."""
        s = self.settings
        found = arguments_of(s.method, s.precision, s.guarded, pair.steps, storage=s.storage)
        if s.storage.lossless and s.storage.name != PNG.name:
            found["format"] = s.storage.name
        return found | ({"small": True} if s.storage.small else {})

    def identity(self, pair: Loaded) -> str:
        """Give the identity of its row."""
        name = self.settings.method.name
        return _identity(self.set, self.path.name, pair.name, pair.weights_hash, name, self.arguments(pair))

    def lr_name(self, pair: Loaded) -> str:
        """Give the file name of its LR, in a folder where those are kept."""
        return hashlib.sha256(self.identity(pair).encode()).hexdigest()[:20] + self.settings.storage.suffix


def measure(asked: Asked, pair: Loaded) -> Measurement:
    """Measure one image. Raises CoscaleError when it cannot be read or is too large."""
    settings = asked.settings
    photo = benchmark_photo(asked.path, pair.scale, settings.max_pixels, settings.strict)
    with contextlib.nullcontext(settings.keep) if settings.keep else TemporaryDirectory(prefix="coscale-") as folder:
        measured = write_and_measure(
            *(photo, pair, settings.method, Path(folder) / asked.lr_name(pair)),
            precision=settings.precision,
            room=settings.room,
            guarded=settings.guarded,
            storage=settings.storage,
            peaks=True,
        )
    here = {"set": asked.set, "image": asked.path.name, "image_hash": sha256(asked.path)}
    return replace(measured, **here, arguments=asked.arguments(pair))


def one_by_one(asked: Iterable[Asked], pair: Loaded) -> Iterator[Measurement | CoscaleError]:
    """Measure images one after the other; give the row of each, or why there is none."""
    for each in asked:
        try:
            yield measure(each, pair)
        except CoscaleError as error:
            yield error


def evaluate(
    sets: Mapping[str, Sequence[Path]],
    pair: Loaded,
    settings: Settings,
    *,
    earlier: Mapping[str, Measurement] | None = None,
    failed: Callable[[CoscaleError], None] | None = None,
    run: Callable[[Iterable[Asked]], Iterable[Measurement | CoscaleError]] | None = None,
) -> Iterator[Measurement]:
    """Give one row for each image, as soon as it is measured.

    Arguments:
        sets: the images of each set.
        pair: the rescaler.
        settings: how they are measured.
        earlier: rows by their identity. They are given first, as they are, unless their image has changed since.
        failed: told of each image that cannot be measured, while the rest goes on; without it, that raises.
        run: measures in the place of this process, ``Workers`` for example.
    """
    images = [Asked(name, path, settings) for name, paths in sets.items() for path in paths]
    known = [(earlier or {}).get(each.identity(pair)) for each in images]
    known = [row if row and _is_of(row, each.path) else None for row, each in zip(known, images, strict=True)]
    yield from filter(None, known)
    left = [each for row, each in zip(known, images, strict=True) if row is None]
    for found in run(left) if run else one_by_one(left, pair):
        if not isinstance(found, CoscaleError):
            yield found
        elif failed is None:
            raise found
        else:
            failed(found)


def _is_of(row: Measurement, path: Path) -> bool:
    """Whether a row is of this very file, as far as it says; what cannot be read is left to those who measure."""
    try:
        return row.image_hash is None or row.image_hash == sha256(path)
    except OSError:
        return False
