"""Which photos there are, and which file each becomes."""

import hashlib
import itertools
import os
import posixpath
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from fsspec.spec import AbstractFileSystem

from coscale.batch import store
from coscale.errors import CoscaleWarning, DataError, SettingsError
from coscale.folders import Found, Item, is_hidden
from coscale.outputs import folded, result_names
from coscale.storage import PNG, SUFFIXES

LIST = ".txt"  # how the name of a list of photos ends
_ASKERS = 16  # questions that are put to a store at a time


@dataclass(frozen=True)
class CollectedPhoto:
    """A photo: its path or URL, its place below OUT, size and stamp; or why it, or a folder of them, cannot be had.

    ``label`` is the path or URL without secrets, by default that of a URL whose secrets are where URLs have them.
    """

    source: str
    name: str
    size: int = 0
    stamp: str = ""
    error: str | None = None
    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or store.label(self.source))


@dataclass(frozen=True)
class Results:
    """OUT: its path or URL, its store and place there, the sizes of its files by path or URL, and those not whole."""

    root: str
    fs: AbstractFileSystem
    path: str
    sizes: dict[str, int]
    parts: list[str]

    def label(self, target: str) -> str:
        """Give the path or URL of a result without secrets."""
        return store.label_below(target, self.root)

    def tidy(self, mark: str) -> None:
        """Remove what a run of that mark, which is over, has left unfinished."""
        store.remove(self.fs, [path for path in self.parts if store.is_part(path, mark)])


def list_results(out: str) -> Results:
    """Give what is in OUT."""
    fs, root = store.reach(out)
    found = store.files_below(fs, root)
    sizes = {store.name_of(out, fs, item.path): info.get("size") or 0 for item, info in found}
    parts_end = tuple(f".part{suffix}" for suffix in SUFFIXES)
    parts = [item.path for item, _ in found if item.path.endswith(parts_end)]
    return Results(store.name_of(out, fs, root), fs, root, sizes, parts)


def list_photos(place: str, out: Results) -> list[CollectedPhoto]:
    """Give the photos of a folder and those below it, of a list of them, or the one that ``place`` is; sorted by name.

    Raises DataError when there are none, SettingsError when OUT is the folder itself.
    """
    fs, path = store.reach(place)
    place = store.name_of(place, fs, path)
    if fs == out.fs and path == out.path:
        raise SettingsError("OUT is the input folder itself; give another one")
    try:
        info = fs.info(path)
    except FileNotFoundError as error:
        raise DataError(f"{store.label(place)} does not exist; check the path") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{store.label(place)} cannot be read: {store.line_of(error, place)}") from error
    if info["type"] == "other":
        raise DataError(f"{store.label(place)} is no regular file and no folder; give one")
    if info["type"] != "directory" and place.split("::")[0].lower().endswith(LIST):
        entries = _listed(place, fs, path)
    elif info["type"] != "directory":
        entries = [_entry(place, posixpath.basename(store.plain_name(path)))]
    else:
        entries = _below(place, fs, path, out)
    if not entries:
        raise DataError(f"there are no images in {store.label(place)}; give a folder of images")
    return sorted(entries, key=lambda entry: entry.name)


def targets(
    entries: Iterable[CollectedPhoto], out: Results, scale: int, suffix: str = PNG.suffix
) -> list[tuple[CollectedPhoto, str]]:
    """Give each photo with its result's path or URL, named as ``coscale downscale`` names it.

    Raises SettingsError when two would become one file, or one would replace a photo. On a disk names may be the same
    that differ in case, or in how their accents are written.
    """
    entries = list(entries)
    local = store.is_local(out.fs)
    sources = {entry.source for entry in entries}
    names = result_names([PurePosixPath(entry.name) for entry in entries], itertools.repeat(f".x{scale}{suffix}"))
    seen: dict[str, str] = {}
    found = []
    for entry, name in zip(entries, map(str, names), strict=True):
        key = folded(name) if local else name
        source = entry.label
        if key in seen:
            raise SettingsError(f"{seen[key]} and {source} would both become {name}; rename one")
        seen[key] = source
        target = store.join(out.root, name)
        if not store.is_below(out.fs, posixpath.join(out.path, name), out.path):  # the letters of another system
            raise SettingsError(f"{source} would become a file outside of OUT; rename it")
        if target in sources:
            raise SettingsError(
                f"the result of {source} would replace the photo {store.label(target)}; give another OUT"
            )
        found.append((entry, target))
    return found


def _below(place: str, fs: AbstractFileSystem, root: str, out: Results) -> list[CollectedPhoto]:
    found = Found()
    results = out.path if fs == out.fs and store.is_below(fs, out.path, root) else None

    def name_of(path: str) -> str:
        return store.tame(posixpath.relpath(path, root) if root else path)

    def enter(item: Item) -> bool:
        if is_hidden(posixpath.basename(item.path)):
            found.hidden += 1
            return False
        # A link may lead into OUT from anywhere.
        return not (store.is_local(fs) and fs == out.fs and _leads_into(item.path, out.path, root))

    def entry_of(path: str, **known: Any) -> CollectedPhoto:
        source = store.name_of(place, fs, path)
        return CollectedPhoto(source, name_of(path), **known, label=store.label_below(source, place))

    infos: dict[str, dict[str, Any]] = {}
    for item, info in store.files_below(fs, root, enter, found.unlisted.__setitem__, found.links.append):
        if results is not None and store.is_below(fs, item.path, results):
            continue
        if any(map(is_hidden, name_of(item.path).split("/")[:-1])):  # of a store that lists no folders
            found.hidden += 1
            continue
        infos[item.path] = info if item.kind == "file" else {}
        found.add(item)
    entries = []
    for path in found.photos:
        info = infos[path]
        if info:
            entries.append(entry_of(path, size=info.get("size") or 0, stamp=store.stamp_of(info)))
        else:
            entry = _entry(store.name_of(place, fs, path), name_of(path))
            entries.append(entry_of(path, size=entry.size, stamp=entry.stamp, error=entry.error))
    for folder, error in found.unlisted.items():
        entry = entry_of(folder)
        reason = f"{entry.label} cannot be listed: {store.line_of(error, place)}"
        entries.append(replace(entry, name=entry.name + "/*", error=reason))
    if note := found.note(store.label(place)):
        warnings.warn(note, CoscaleWarning, stacklevel=3)
    return entries


def _leads_into(path: str, out: str, root: str) -> bool:
    """Whether a folder of this machine is OUT or one below it, and the photos are not."""
    place, out = os.path.realpath(path), os.path.realpath(out)
    return not f"{root}/".startswith(f"{out}/") and f"{place}/".startswith(f"{out}/")


def _listed(place: str, fs: AbstractFileSystem, path: str) -> list[CollectedPhoto]:
    """The photos that a text names, one a line; a name is below the list's folder unless it is absolute or a URL."""
    try:
        text = str(fs.read_text(path))
    except Exception as error:
        raise DataError(f"{store.label(place)} is no list of photos: {store.line_of(error, place)}") from error
    lines = (line.strip() for line in text.splitlines())
    folder = store.folder_of(place)
    asked: dict[str, str] = {}  # by what the photo is, however it is written
    for line in lines:
        if not line or line.startswith("#"):
            continue
        name = posixpath.normpath(line)
        if "://" in line or name.startswith(("/", "..")):
            source = line if "://" in line or name.startswith("/") else store.join(folder, line)
            asked.setdefault(source, store.tame(store.plain_name(source.split("::")[0])))
        else:
            asked.setdefault(store.join(folder, name), name)
    counts = Counter(asked.values())
    names = [
        _told_apart(name, source) if counts[name] > 1 and store.has_values(source) else name
        for source, name in asked.items()
    ]
    with ThreadPoolExecutor(_ASKERS) as pool:
        entries = pool.map(_entry, asked.keys(), names)
        return [replace(entry, label=_label_of(entry.source, place)) for entry in entries]


def _label_of(source: str, place: str) -> str:
    """The label of what a list names: a URL of its own, or a name below the list's folder."""
    folder = store.folder_of(place)
    return store.label_below(source, folder) if source.startswith(folder) else store.label(source)


def _told_apart(name: str, source: str) -> str:
    """A name that several URLs share, which differ in their values alone, with a mark of those."""
    stem, suffix = posixpath.splitext(name)
    return f"{stem}-{hashlib.sha256(source.encode(errors='surrogateescape')).hexdigest()[:8]}{suffix}"


def _entry(source: str, name: str) -> CollectedPhoto:
    label = store.label(source)
    try:
        fs, path = store.reach(source)
        info = fs.info(path)
    except FileNotFoundError:
        return CollectedPhoto(source, name, error=f"{label} does not exist; check the path")
    except DataError as error:
        return CollectedPhoto(source, name, error=str(error))
    except Exception as error:  # each store has errors of its own
        return CollectedPhoto(source, name, error=f"{label} cannot be read: {store.line_of(error, source)}")
    if info["type"] == "directory":
        return CollectedPhoto(source, name, error=f"{label} is a folder; give an image file")
    if info["type"] == "other":
        return CollectedPhoto(source, name, error=f"{label} is a FIFO, a socket or a device; give an image file")
    return CollectedPhoto(source, name, info.get("size") or 0, store.stamp_of(info))
