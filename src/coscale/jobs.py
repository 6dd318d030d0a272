"""Which file becomes which, for one image, for several, and for folders."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from coscale.errors import DataError, SettingsError
from coscale.image import SUFFIXES


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
        elif out.resolve() == source.resolve():
            raise SettingsError("--out is the input folder itself; give another one")
        else:
            into = out / source.resolve().name if len(folders) > 1 else out
            pairs += [(path, into / path.relative_to(source)) for path in _images(source, out)]
    stems = [target.with_name(_stem(target)) for _, target in pairs]
    counts = Counter(stems)
    suffix = inside if out else beside
    return _checked(
        [
            (source, stem.with_name((stem.name if counts[stem] == 1 else target.name) + suffix))
            for (source, target), stem in zip(pairs, stems, strict=True)
        ]
    )


def _checked(jobs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    seen: dict[Path, Path] = {}
    for source, target in jobs:
        place = target.resolve()
        if place == source.resolve():
            raise SettingsError(f"{source} would be replaced by its own result; give another --out")
        if place in seen:
            raise SettingsError(f"{seen[place]} and {source} would both become {target}; do one after the other")
        seen[place] = source
    return jobs


def _images(folder: Path, out: Path) -> list[Path]:
    """All images below ``folder``, but for those of earlier results if ``out`` lies inside."""
    skip = out.resolve()
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and skip not in path.resolve().parents
    ]
    if not found:
        raise DataError(f"there are no images in {folder}; give a folder of images")
    return found


def _stem(path: Path) -> str:
    """The name without its suffix and, for an LR file, without the scale: ``photo`` of photo.x2.png."""
    return path.stem.removesuffix(".x2").removesuffix(".x4") if path.suffix.lower() == ".png" else path.stem
