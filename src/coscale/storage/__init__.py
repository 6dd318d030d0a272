"""How an LR image becomes bytes and comes back: one format, one file, one line in the list."""

from dataclasses import replace

from coscale.errors import LRFileError
from coscale.storage.base import Lossless, Storage
from coscale.storage.jxl import JpegXl
from coscale.storage.png import Png
from coscale.storage.webp import WebP

PNG = Png()  # what is taken when nobody asks
STORAGES: tuple[Storage, ...] = (PNG, WebP(), JpegXl())
SUFFIXES = tuple(storage.suffix for storage in STORAGES)

__all__ = ["PNG", "STORAGES", "SUFFIXES", "JpegXl", "Lossless", "Png", "Storage", "WebP", "find", "for_suffix"]


def find(name: str, small: bool = False) -> Storage:
    """Give the storage of a name, which with ``small`` takes more time for fewer bytes.

    Raises LRFileError for an unknown name.
    """
    names = {storage.name: storage for storage in STORAGES}
    if name not in names:
        raise LRFileError(f"no LR file has the format {name!r}; choose one of {', '.join(names)}")
    return replace(names[name], small=small)


def for_suffix(suffix: str, small: bool = False) -> Storage:
    """Give the storage of files with a suffix such as ``.webp``, in small or capital letters.

    Raises LRFileError for a suffix that no LR file has.
    """
    if suffix.lower() not in SUFFIXES:
        raise LRFileError(f"no LR file has the suffix {suffix!r}; name it {' or '.join(SUFFIXES)}")
    return replace(STORAGES[SUFFIXES.index(suffix.lower())], small=small)
