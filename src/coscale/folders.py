"""Which files below a folder are photos, and what of it is left out: one rule for all commands, disks and stores."""

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from coscale.errors import DataError
from coscale.image import SUFFIXES

# What systems put beside photos: thumbnails of a Synology, halves of files in archives made by macOS, waste bins.
_SYSTEM = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin"})
_SHOWN = 5  # names or suffixes that a note names
Kind = Literal["file", "folder", "other", "nothing"]
Lister = Callable[[str], Iterable["Item"]]


@dataclass(frozen=True)
class Item:
    """What a folder lists: its path, what it is or what it links to, and whether it is a link."""

    path: str
    kind: Kind
    link: bool = False


@dataclass
class Found:
    """What is below a folder.

    - ``photos``: what is named like a photo, sorted. One that is no regular file is among them, to fail by name.
    - ``unlisted``: the folders that cannot be listed, and why.
    - ``hidden``, ``others``, ``links``: how many names are hidden, how often which suffix is no photo's, and which
      links are not followed.
    """

    photos: list[str] = field(default_factory=list)
    unlisted: dict[str, Exception] = field(default_factory=dict)
    hidden: int = 0
    others: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Count an item that is no folder and lies in no hidden one."""
        name = posixpath.basename(item.path.replace(os.sep, "/"))
        if is_hidden(name):
            self.hidden += 1
        elif is_photo(name):
            self.photos.append(item.path)
        elif item.kind == "nothing":
            self.links.append(item.path)
        else:
            self.others[posixpath.splitext(name)[1].lower()] += 1

    def note(self, root: object) -> str | None:
        """Give what was left out of the folder ``root``, in one line; None when nothing was."""
        parts = []
        if self.others:
            suffixes = [suffix or "none" for suffix, _ in self.others.most_common()]
            parts.append(f"{_number(self.others.total(), 'file')} of no photo's suffix ({_some(suffixes)})")
        if self.hidden:
            parts.append(_number(self.hidden, "hidden name"))
        if self.links:
            parts.append(f"{_number(len(self.links), 'link')} to nothing or to what is done already")
            parts[-1] += f" ({_some(sorted(self.links))})"
        return f"left out of {root}: {', '.join(parts)}" if parts else None


def is_hidden(name: str) -> bool:
    """Say whether a file or folder of this name is nobody's photo: a dot begins it, or a system made it."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def is_photo(name: str) -> bool:
    """Say whether a file of this name is taken for a photo."""
    return not is_hidden(name) and posixpath.splitext(name)[1].lower() in SUFFIXES


def photos_below(folder: Path, results: Path | None = None) -> Found:
    """Give the photos of a folder of this machine and of those below it, but for those in the folder ``results``.

    Raises DataError when the folder itself cannot be listed.
    """
    root = os.path.realpath(folder)
    skipped = os.path.realpath(results) if results else None
    if skipped and _is_in(root, skipped):
        skipped = None  # the results lie above the photos
    found = Found()

    def enter(item: Item) -> bool:
        if is_hidden(os.path.basename(item.path)):  # noqa: PTH119 - paths are texts here, for stores' sake
            found.hidden += 1
            return False
        return skipped is None or not _is_in(os.path.realpath(item.path), skipped)

    try:
        for item in walk(str(folder), listed, enter, found.unlisted.__setitem__, found.links.append):
            found.add(item)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); check its permissions") from error
    found.photos.sort(key=Path)
    return found


def photos_in(folder: Path) -> list[Path]:
    """Give the photos of a folder of this machine alone. Raises DataError when it cannot be listed."""
    try:
        return sorted(Path(i.path) for i in listed(str(folder)) if i.kind != "folder" and is_photo(Path(i.path).name))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); check its permissions") from error


def walk(
    root: str,
    listed: Lister,
    enter: Callable[[Item], bool],
    unlisted: Callable[[str, Exception], object],
    again: Callable[[str], object],
    real: Callable[[str], str] | None = os.path.realpath,
) -> Iterator[Item]:
    """Give all that is below a folder and is no folder.

    ``enter`` says which folders are looked into, ``unlisted`` is told which cannot be listed, and why. A link to a
    folder is followed once, after the folders that are no links; ``again`` is told of one that leads to a folder that
    was looked into already, or to one above ``root``. ``real`` says where a path leads; without it no link to a folder
    is followed. Raises what ``listed`` does of ``root``.
    """
    top = real(root) if real else root
    seen = {top}
    folders, links = [root], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        if folder != root and real:
            place = real(folder)
            if place in seen or _is_in(top, place):
                again(folder)
                continue
            seen.add(place)
        try:
            items = sorted(listed(folder), key=lambda item: item.path)
        except Exception as error:  # each store has errors of its own
            if folder == root:
                raise
            if not isinstance(error, FileNotFoundError):  # one may have been removed meanwhile
                unlisted(folder, error)
            continue
        for item in items:
            if item.kind != "folder":
                yield item
            elif not enter(item):
                continue
            elif not item.link:
                folders.append(item.path)
            elif real:
                links.append(item.path)
            else:
                again(item.path)


def listed(folder: str) -> Iterator[Item]:
    """Give what a folder of this machine lists. Raises OSError when it cannot be listed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Item(entry.path, kind_of(entry.path), entry.is_symlink())


def kind_of(path: str) -> Kind:
    """Give what a path of this machine leads to. Nothing is opened: a FIFO would not come back."""
    if os.path.isdir(path):  # noqa: PTH112 - unlike Path's, these raise nothing
        return "folder"
    if os.path.isfile(path):  # noqa: PTH113
        return "file"
    return "other" if os.path.exists(path) else "nothing"  # noqa: PTH110


def _is_in(path: str, folder: str) -> bool:
    """Whether a path is a folder or one below it, by their letters."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
