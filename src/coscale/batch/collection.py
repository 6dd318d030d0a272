"""Which photos there are, and which file each becomes."""

import itertools
import posixpath
import unicodedata
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
    """A photo: its path or URL, its place below OUT, size and stamp; or why it, or a folder of them, cannot be had."""

    source: str
    name: str
    size: int = 0
    stamp: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Results:
    """OUT: its path or URL, its store and place there, the sizes of its files by path or URL, and those not whole."""

    root: str
    fs: AbstractFileSystem
    path: str
    sizes: dict[str, int]
    parts: list[str]

    def tidy(self, mark: str) -> None:
        """Remove what a run of that mark, which is over, has left unfinished."""
        store.remove(self.fs, [path for path in self.parts if store.is_part(path, mark)])


def list_results(out: str) -> Results:
    """What is in OUT."""
    fs, root = store.reach(out)
    found = store.files_below(fs, root)
    sizes = {store.name_of(out, fs, path): info.get("size") or 0 for path, info in found.items()}
    parts = [path for path in found if path.endswith(".part.png")]
    return Results(store.name_of(out, fs, root), fs, root, sizes, parts)


def list_photos(place: str, out: Results) -> list[Entry]:
    """The photos of a folder and those below it, of a list of them, or the one that ``place`` is; sorted by name.

    Raises DataError when there are none, SettingsError when OUT is the folder itself.
    """
    fs, path = store.reach(place)
    place = store.name_of(place, fs, path)
    if fs == out.fs and path == out.path:
        raise SettingsError("OUT is the input folder itself; give another one")
    try:
        info = fs.info(path)
    except FileNotFoundError as error:
        raise DataError(f"{store.shown(place)} does not exist; check the path") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{store.shown(place)} cannot be read: {store.line_of(error)}") from error
    if info["type"] != "directory" and place.split("::")[0].lower().endswith(LIST):
        entries = _listed(place, fs, path)
    elif info["type"] != "directory":
        entries = [_entry(place, posixpath.basename(path))]
    else:
        entries = list(_below(place, fs, path, out))
    if not entries:
        raise DataError(f"there are no images in {store.shown(place)}; give a folder of images")
    return sorted(entries, key=lambda entry: entry.name)


def targets(entries: Iterable[Entry], out: Results, scale: int) -> list[tuple[Entry, str]]:
    """Each photo with its result's path or URL, named as ``coscale downscale`` names it.

    Raises SettingsError when two would become one file, or one would replace a photo. On a disk names may be the same
    that differ in case, or in how their accents are written.
    """
    entries = list(entries)
    local = store.is_local(out.fs)
    sources = {entry.source for entry in entries}
    names = result_names([PurePosixPath(entry.name) for entry in entries], itertools.repeat(f".x{scale}.png"))
    seen: dict[str, str] = {}
    found = []
    for entry, name in zip(entries, map(str, names), strict=True):
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()) if local else name
        source = store.shown(entry.source)
        if key in seen:
            raise SettingsError(f"{seen[key]} and {source} would both become {name}; rename one")
        seen[key] = source
        target = store.join(out.root, name)
        if not store.is_below(out.fs, posixpath.join(out.path, name), out.path):  # the letters of another system
            raise SettingsError(f"{source} would become a file outside of OUT; rename it")
        if target in sources:
            raise SettingsError(f"the result of {source} would replace the photo {target}; give another OUT")
        found.append((entry, target))
    return found


def _below(place: str, fs: AbstractFileSystem, root: str, out: Results) -> Iterator[Entry]:
    def name_of(path: str) -> str:
        return store.tame(posixpath.relpath(path, root) if root else path)

    unreadable: list[Entry] = []

    def failed(folder: str, error: Exception) -> None:
        source = store.name_of(place, fs, folder)
        reason = f"{source} cannot be listed: {store.line_of(error)}"
        unreadable.append(Entry(source, name_of(folder) + "/*", error=reason))

    has_results = fs == out.fs and store.is_below(fs, out.path, root)
    for path, info in store.files_below(fs, root, failed).items():
        source = store.name_of(place, fs, path)
        name = name_of(path)
        is_result = has_results and store.is_below(fs, path, out.path)
        if is_result or posixpath.splitext(path)[1].lower() not in SUFFIXES:
            continue
        if info.get("islink"):  # what is known of the link is not about the photo
            entry = _entry(source, name)
            if not entry.error:
                yield entry
        elif info["type"] == "file":
            yield Entry(source, name, info.get("size") or 0, store.stamp_of(info))
    yield from unreadable


def _listed(place: str, fs: AbstractFileSystem, path: str) -> list[Entry]:
    """The photos that a text names, one a line; a name is below the list's folder unless it is absolute or a URL."""
    try:
        text = str(fs.read_text(path))
    except Exception as error:
        raise DataError(f"{store.shown(place)} is no list of photos: {store.line_of(error)}") from error
    lines = (line.strip() for line in text.splitlines())
    folder = store.folder_of(place)
    asked: dict[str, str] = {}  # by what the photo is, however it is written
    for line in lines:
        if not line or line.startswith("#"):
            continue
        name = posixpath.normpath(line)
        if "://" in line or name.startswith(("/", "..")):
            source = line if "://" in line or name.startswith("/") else store.join(folder, line)
            inner = store.shown(source).split("::")[0].split("://")[-1]
            asked.setdefault(source, store.tame(inner))
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
