"""Which file becomes which, for one image, for several, and for folders."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePath
from typing import TypeVar

from coscale.errors import DataError, SettingsError
from coscale.image import SUFFIXES

AnyPath = TypeVar("AnyPath", bound=PurePath)


def plan(
    inputs: Sequence[Path], out: Path | None, *, beside: str, inside: str, allowed: Collection[str]
) -> list[tuple[Path, Path]]:
    """(input, output) for each image, without repeating an input.

    ``out`` is a file with one of the ``allowed`` suffixes for a single image, else a folder, where subfolders are kept;
    without it results lie beside their inputs. ``beside`` and ``inside`` (a folder) replace the input's suffix, and for
    an LR file also the scale before it. Inputs that would get the same name keep their own suffix in it, and several
    folders their names. Raises SettingsError when ``out`` is needed or unfit, when two inputs would still become one
    file, or one would become itself; DataError when a folder has no images.
    """
    inputs = list(dict.fromkeys(inputs))
    if out is not None and len(inputs) == 1 and not inputs[0].is_dir() and not out.is_dir() and out.suffix:
        if out.suffix.lower() not in allowed:
            raise SettingsError(f"--out {out.name} must end in {' or '.join(sorted(allowed))}")
        return _checked([(inputs[0], out)])
    folders = [source for source in inputs if source.is_dir()]
    pairs: list[tuple[Path, Path]] = []
    for source in inputs:
        if not source.is_dir():
            pairs.append((source, out / source.name if out else source))
        elif out is None:
            raise SettingsError(f"{source} is a folder; give the folder for the results with --out")
        elif _place(out) == _place(source):
            raise SettingsError("--out is the input folder itself; give another one")
        else:
            into = out / Path(_place(source)).name if len(folders) > 1 else out
            pairs += [(path, into / path.relative_to(source)) for path in _images(source, out)]
    # In the input's own folder the name must say what it is: photo.png would be taken for the original.
    suffixes = [beside if _place(target.parent) == _place(source.parent) else inside for source, target in pairs]
    targets = result_names([target for _, target in pairs], suffixes)
    return _checked([(source, target) for (source, _), target in zip(pairs, targets, strict=True)])


def result_names(paths: Sequence[AnyPath], suffixes: Iterable[str]) -> list[AnyPath]:
    """Each path with a result's suffix in place of its own, which those keep that would get the same name."""
    stems = [path.with_name(_stem(path)) for path in paths]
    counts = Counter(stems)
    return [
        stem.with_name((stem.name if counts[stem] == 1 else path.name) + suffix)
        for path, stem, suffix in zip(paths, stems, suffixes, strict=False)
    ]


def _checked(jobs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    seen: dict[str, Path] = {}
    for source, target in jobs:
        place = _place(target)
        if place == _place(source):
            raise SettingsError(f"{source} would be replaced by its own result; give another --out")
        if place in seen:
            raise SettingsError(f"{seen[place]} and {source} would both become {target}; give them different --out")
        seen[place] = source
    return jobs


def _place(path: Path) -> str:
    """Where a path leads, which need not exist."""
    return os.path.realpath(path)


def _images(folder: Path, out: Path) -> list[Path]:
    """All images below ``folder``, but for those of earlier results if ``out`` lies inside."""
    skip = Path(_place(out))
    inside = skip.is_relative_to(_place(folder))
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and not (inside and skip in Path(_place(path)).parents)
    ]
    if not found:
        raise DataError(f"there are no images in {folder}; give a folder of images")
    return found


def _stem(path: PurePath) -> str:
    """The name without its suffix and, for an LR file, without the scale: ``photo`` of photo.x2.png."""
    return re.sub(r"\.x\d$", "", path.stem) if path.suffix.lower() == ".png" else path.stem
