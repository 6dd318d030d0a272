"""Which file becomes which, for one image, for several, and for folders."""

import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path, PurePath
from typing import TypeVar

from coscale.errors import CoscaleWarning, DataError, SettingsError
from coscale.files import STREAM
from coscale.folders import photos_below
from coscale.storage import SUFFIXES

AnyPath = TypeVar("AnyPath", bound=PurePath)


def plan_outputs(
    inputs: Sequence[Path],
    out: Path | None,
    *,
    beside: str,
    inside: str,
    allowed: Collection[str],
    failed: Callable[[str], object] | None = None,
) -> list[tuple[Path, Path]]:
    """Give (input, output) for each image, without repeating an input.

    ``out`` is a file with one of the ``allowed`` suffixes for a single image, else a folder, where subfolders are kept;
    without it results lie beside their inputs. ``beside`` and ``inside`` (a folder) replace the input's suffix, and for
    an LR file also the scale before it. Inputs that would get the same name keep their own suffix in it, and several
    folders their names. A warning says what was left out of a folder; ``failed`` is told of each folder below it that
    cannot be listed, which without it raises DataError. STREAM is given back as it is. Raises SettingsError when
    ``out`` is needed or unfit, when two inputs would still become one file, or one would replace an input; DataError
    when a folder has no images.
    """
    inputs = list(dict.fromkeys(inputs))
    if STREAM in inputs or out == STREAM:
        return [_streamed(inputs, out, allowed)]
    if out is not None and len(inputs) == 1 and not _is_folder(inputs[0]) and not _is_folder(out) and out.suffix:
        _check_suffix(out, allowed)
        return _checked([(inputs[0], out)])
    folders = [source for source in inputs if _is_folder(source)]
    pairs: list[tuple[Path, Path]] = []
    for source in inputs:
        if not _is_folder(source):
            pairs.append((source, out / source.name if out else source))
        elif out is None:
            raise SettingsError(f"{source} is a folder; give the folder for the results with --out")
        elif _place(out) == _place(source):
            raise SettingsError("--out is the input folder itself; give another one")
        else:
            into = out / Path(_place(source)).name if len(folders) > 1 else out
            pairs += [(path, into / path.relative_to(source)) for path in _images(source, out, failed)]
    # In the input's own folder the name must say what it is: photo.png would be taken for the original.
    suffixes = [beside if _place(target.parent) == _place(source.parent) else inside for source, target in pairs]
    targets = result_names([target for _, target in pairs], suffixes)
    return _checked([(source, target) for (source, _), target in zip(pairs, targets, strict=True)])


def _check_suffix(out: Path, allowed: Collection[str]) -> None:
    if out.suffix.lower() not in allowed:
        raise SettingsError(f"--out {out.name} must end in {' or '.join(sorted(allowed))}")


def _streamed(inputs: Sequence[Path], out: Path | None, allowed: Collection[str]) -> tuple[Path, Path]:
    """The one image that stdin or stdout is for."""
    if len(inputs) > 1 or _is_folder(inputs[0]):
        raise SettingsError("- stands for stdin or stdout, which have one image; give no folder and no other image")
    if out is None:
        raise SettingsError("an image from stdin lies in no folder; give --out with a file, or with - for stdout")
    if out != STREAM:
        if _is_folder(out):
            raise SettingsError(f"--out {out} is a folder, and an image from stdin has no name; give a file")
        _check_suffix(out, allowed)
    return inputs[0], out


def folded(name: str) -> str:
    """Give what names have in common that a disk may take for one: they differ in case, or in how accents are put."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def result_names(paths: Sequence[AnyPath], suffixes: Iterable[str]) -> list[AnyPath]:
    """Give each path with a result's suffix in place of its own, which those keep that would get the same name.

    Names are the same here as on a disk that does not tell cases apart, so that results can be taken to any.
    """
    stems = [path.with_name(_stem(path)) for path in paths]
    keys = [folded(str(stem)) for stem in stems]
    counts = Counter(keys)
    return [
        stem.with_name((stem.name if counts[key] == 1 else path.name) + suffix)
        for path, stem, key, suffix in zip(paths, stems, keys, suffixes, strict=False)
    ]


def _checked(jobs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    seen: dict[str, Path] = {}
    sources = {folded(_place(source)): source for source, _ in jobs}
    for source, target in jobs:
        place = folded(_place(target))
        if place == folded(_place(source)):
            raise SettingsError(f"{source} would be replaced by its own result; give another --out")
        if place in sources:
            raise SettingsError(f"the result of {source} would replace {sources[place]}; give another --out")
        if place in seen:
            raise SettingsError(
                f"{seen[place]} and {source} would both become {target}, at least on some disks; rename one"
            )
        seen[place] = source
    return jobs


def _place(path: Path) -> str:
    """Where a path leads, which need not exist."""
    return os.path.realpath(path)


def _is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; unlike Path's own, this raises nothing for a name that is too long."""
    return os.path.isdir(path)  # noqa: PTH112


def _images(folder: Path, out: Path, failed: Callable[[str], object] | None) -> list[Path]:
    """All images below ``folder``, but for those of earlier results if ``out`` lies inside."""
    found = photos_below(folder, out)
    if note := found.note(folder):
        warnings.warn(note, CoscaleWarning, stacklevel=3)
    for path, error in found.unlisted.items():
        reason = f"{path} cannot be listed: {getattr(error, 'strerror', None) or error}"
        if failed is None:
            raise DataError(f"{reason}; check its permissions")
        failed(reason)
    if not found.photos and not found.unlisted:
        raise DataError(f"there are no images in {folder}; give a folder of images")
    return [Path(photo) for photo in found.photos]


def _stem(path: PurePath) -> str:
    """The name without its suffix and, for an LR file, without the scale: ``photo`` of photo.x2.webp."""
    return re.sub(r"\.(x\d{1,2}|small)$", "", path.stem) if path.suffix.lower() in SUFFIXES else path.stem
