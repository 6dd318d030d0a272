"""How an LR image becomes bytes and comes back: one format, one file, one line in the list."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from coscale.errors import LRFileError
from coscale.storage.avif import Avif
from coscale.storage.base import Lossless, Storage
from coscale.storage.jpeg import Jpeg
from coscale.storage.jxl import JpegXl
from coscale.storage.level import level_in
from coscale.storage.lossy import Lossy
from coscale.storage.png import Png
from coscale.storage.webp import LossyWebP, WebP

PNG = Png()  # what is taken when nobody asks
STORAGES: tuple[Storage, ...] = (PNG, WebP(), JpegXl())  # without loss
LOSSY: tuple[Lossy, ...] = (Jpeg(), LossyWebP(), Avif())
LOSSY_NAME = "webp"  # of the format that is taken when somebody asks for a size or a quality alone
LOSSLESS_SUFFIXES = tuple(storage.suffix for storage in STORAGES)
SUFFIXES = tuple(dict.fromkeys(storage.suffix for storage in (*STORAGES, *LOSSY)))
NAMES = tuple(dict.fromkeys(storage.name for storage in (*STORAGES, *LOSSY)))

__all__ = [
    "LOSSLESS_SUFFIXES",
    "LOSSY",
    "LOSSY_NAME",
    "NAMES",
    "PNG",
    "STORAGES",
    "SUFFIXES",
    "Avif",
    "Jpeg",
    "JpegXl",
    "Lossless",
    "Lossy",
    "LossyWebP",
    "Png",
    "Storage",
    "WebP",
    "find",
    "for_suffix",
    "level_in",
]


def find(name: str, small: bool = False, asked: Mapping[str, float] = MappingProxyType({})) -> Storage:
    """Give the storage of a name, as ``NAMES`` has them.

    Arguments:
        name: of the format; JPEG and AVIF are always lossy here.
        small: take more time for fewer bytes, where the format gains by it and loses nothing.
        asked: what a lossy one is asked for, ``quality``, ``size`` or ``psnr``, see ``Lossy``; with nothing of these
            a format that can be lossless is.

    Raises LRFileError for an unknown name and for a lossless format that is asked to lose something, and SettingsError
    for what makes no sense.
    """
    if name not in NAMES:
        raise LRFileError(f"no LR file has the format {name!r}; choose one of {', '.join(NAMES)}")
    without_loss = {storage.name: storage for storage in STORAGES}
    with_loss = {storage.name: storage for storage in LOSSY}
    if name in without_loss and not asked:
        return replace(without_loss[name], small=small)
    if name not in with_loss:
        raise LRFileError(f"an LR file as {name} loses nothing and has one size; take {', '.join(with_loss)}")
    return replace(with_loss[name], **asked)


def for_suffix(suffix: str, small: bool = False, asked: Mapping[str, float] = MappingProxyType({})) -> Storage:
    """Give the storage of files with a suffix such as ``.webp``, in small or capital letters; see ``find``.

    Raises LRFileError for a suffix that no LR file has, and as ``find`` does.
    """
    names = {storage.suffix: storage.name for storage in (*STORAGES, *LOSSY)}
    if suffix.lower() not in names:
        raise LRFileError(f"no LR file has the suffix {suffix!r}; name it {' or '.join(names)}")
    return find(names[suffix.lower()], small, asked)
