"""Which photos there are, and which file each becomes."""

import itertools
import posixpath
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from fsspec.spec import AbstractFileSystem

from coscale.batch import store
from coscale.errors import DataError, SettingsError
from coscale.image import SUFFIXES
from coscale.jobs import result_names

LIST = ".txt"  # how the name of a list of photos ends
_ASKERS = 16  # questions that are put to a store at a time


@dataclass(frozen=True)
class Entry:
    """A photo: its path or URL, its place below OUT, size and stamp; or why it cannot be had."""

    source: str
    name: str
    size: int = 0
    stamp: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Results:
    """OUT: the path or URL, the files that are there, by theirs, with their sizes, and what workers left unfinished."""

    root: str
    fs: AbstractFileSystem
    sizes: dict[str, int]
    parts: list[str]

    def tidy(self) -> None:
        """Remove what was left unfinished. Nobody else may be at work in OUT."""
        store.remove(self.fs, self.parts)


def list_results(out: str) -> Results:
    """What is in OUT."""
    fs, root = store.reach(out)
    found = store.files_below(fs, root)
    sizes = {store.name_of(out, fs, path): info.get("size") or 0 for path, info in found.items()}
    return Results(store.name_of(out, fs, root), fs, sizes, store.parts(found))


def list_photos(place: str, out: Results) -> list[Entry]:
    """The photos of a folder and those below it, of a list of them, or the one that ``place`` is; sorted by name.

    Raises DataError when there are none, SettingsError when OUT is the folder itself.
    """
    fs, path = store.reach(place)
    place = store.name_of(place, fs, path)
    if place == out.root:
        raise SettingsError("OUT is the input folder itself; give another one")
    try:
        info = fs.info(path)
    except FileNotFoundError as error:
        raise DataError(f"{place} does not exist; check the path") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{place} cannot be read: {store.line_of(error)}") from error
    if info["type"] != "directory" and place.split("::")[0].lower().endswith(LIST):
        entries = _listed(place, fs, path)
    elif info["type"] != "directory":
        entries = [_entry(place, posixpath.basename(path))]
    else:
        entries = list(_below(place, fs, path, out))
    if not entries:
        raise DataError(f"there are no images in {place}; give a folder of images")
    return sorted(entries, key=lambda entry: entry.name)


def targets(entries: Iterable[Entry], out: Results, scale: int) -> list[tuple[Entry, str]]:
    """Each photo with its result's path or URL, named as ``coscale downscale`` names it.

    Raises SettingsError when two would become one file.
    """
    entries = list(entries)
    names = result_names([PurePosixPath(entry.name) for entry in entries], itertools.repeat(f".x{scale}.png"))
    seen: dict[PurePosixPath, str] = {}
    for entry, name in zip(entries, names, strict=True):
        if name in seen:
            raise SettingsError(f"{seen[name]} and {entry.source} would both become {name}; rename one")
        seen[name] = entry.source
    return [(entry, store.join(out.root, str(name))) for entry, name in zip(entries, names, strict=True)]


def _below(place: str, fs: AbstractFileSystem, root: str, out: Results) -> Iterator[Entry]:
    for path, info in store.files_below(fs, root).items():
        source = store.name_of(place, fs, path)
        name = posixpath.relpath(path, root) if root else path
        is_result = source.startswith(out.root.rstrip("/") + "/")
        if is_result or posixpath.splitext(path)[1].lower() not in SUFFIXES:
            continue
        if info.get("islink"):  # what is known of the link is not about the photo
            entry = _entry(source, name)
            if not entry.error:
                yield entry
        elif info["type"] == "file":
            yield Entry(source, name, info.get("size") or 0, store.stamp_of(info))


def _listed(place: str, fs: AbstractFileSystem, path: str) -> list[Entry]:
    """The photos that a text names, one a line; a name is below the list's folder unless it is absolute or a URL."""
    try:
        text = str(fs.read_text(path))
    except Exception as error:
        raise DataError(f"{place} is no list of photos: {store.line_of(error)}") from error
    lines = (line.strip() for line in text.splitlines())
    folder = store.name_of(place, fs, posixpath.dirname(path))
    asked: dict[str, str] = {}  # by what the photo is, however it is written
    for line in lines:
        if not line or line.startswith("#"):
            continue
        name = posixpath.normpath(line)
        if "://" in line or name.startswith(("/", "..")):
            source = line if "://" in line or name.startswith("/") else store.join(folder, line)
            inner = source.split("::")[0].split("://")[-1]
            asked.setdefault(source, posixpath.normpath("/" + inner).lstrip("/"))
        else:
            asked.setdefault(store.join(folder, name), name)
    with ThreadPoolExecutor(_ASKERS) as pool:
        return list(pool.map(_entry, asked.keys(), asked.values()))


def _entry(source: str, name: str) -> Entry:
    try:
        fs, path = store.reach(source)
        info = fs.info(path)
    except FileNotFoundError:
        return Entry(source, name, error=f"{source} does not exist; check the path")
    except DataError as error:
        return Entry(source, name, error=str(error))
    except Exception as error:  # each store has errors of its own
        return Entry(source, name, error=f"{source} cannot be read: {store.line_of(error)}")
    if info["type"] == "directory":
        return Entry(source, name, error=f"{source} is a folder; give an image file")
    return Entry(source, name, info.get("size") or 0, store.stamp_of(info))
