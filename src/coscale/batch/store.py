"""Files wherever fsspec reaches: on this machine, in an object store, in an archive."""

import contextlib
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from coscale.errors import DataError, ImageError, OutputError, TransferError
from coscale.files import check_writable, is_temporary, temporary_name
from coscale.folders import Item, Kind, walk
from coscale.storage import SUFFIXES

# Stores where an upload appears whole or not at all, and a move would be a second copy.
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "CRC", "sha", "mtime", "LastModified", "last_modified", "updated", "modify"),
    *("last_write_time", "modificationTime", "modification_time", "modifiedTime", "created"),
)
# In the text of an error: a password, up to the @ before the host, and what follows a ? or # and has values.
_PASSWORD = re.compile(r"(://[^/@\s:]*):(?:[^/\s]*@|(?!\d{1,5}(?:[/\s]|$))\S*@)")
_VALUES = re.compile(r"(://[^\s?#]*)[?#]\S*=\S*")
_LEFT_OUT = "?***"


def reach(place: str) -> tuple[AbstractFileSystem, str]:
    """Give the filesystem that a path or URL is on, and where on it. Raises DataError when it cannot be reached."""
    try:
        return url_to_fs(place if _is_url(place) else os.path.realpath(place))
    except FileNotFoundError as error:
        raise DataError(f"{label(place)} does not exist; check the path") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{label(place)} cannot be reached: {line_of(error, place)}") from error


def name_of(place: str, fs: AbstractFileSystem, path: str) -> str:
    """Give the path or URL of ``path``, which is the file ``place`` or one below it, on the filesystem of ``place``."""
    if is_local(fs) or "://" in path:
        return path
    if "::" not in place:  # host and user, which the filesystem leaves out, are as in ``place``
        scheme, _, rest = place.partition("://")
        root = str(fs._strip_protocol(place))
        if path.rstrip("/") == root.rstrip("/"):
            return f"{scheme}://{rest.rstrip('/') or rest[:1]}"
        above = rest.rstrip("/") + "/" if rest else ""
        return f"{scheme}://{above}{path[len(root) :].lstrip('/')}"
    first, rest = place.split("::", 1)
    rest = rest if _is_url(rest) else os.path.realpath(rest)
    return f"{first.split('://')[0]}://{path}::{rest}"


def folder_of(place: str) -> str:
    """Give the path or URL of the folder that a file is in."""
    first, *rest = place.split("::", 1)
    scheme, separator, path = first.rpartition("://")
    return "::".join([scheme + separator + posixpath.dirname(path), *rest])


def label(place: str) -> str:
    """Give a path or URL as it may be shown and stored: without password, and without the values after a ? or #.

    A signature is such a value. A password may hold a / that should have been written as %2F; it is left out too.
    """
    return "::".join(_label(part) if "://" in part else part for part in place.split("::"))


def _label(url: str) -> str:
    scheme, _, rest = url.partition("://")
    values = re.search(r"[?#].*=.*", rest, re.DOTALL)
    rest = rest[: values.start()] if values else rest
    netloc = rest.partition("/")[0]
    user, colon, port = netloc.partition(":")
    is_port = "@" not in netloc and re.fullmatch(r"\d{0,5}", port)
    if colon and "@" in rest and not is_port:
        host = rest.rpartition("@")[2]
        if "@" in netloc and "/" not in host:  # that @ is one of a file's name
            host = rest[netloc.rindex("@") + 1 :]
        rest = f"{user}@{host}"
    elif colon and values and not is_port:  # it was a password that the values began in
        rest = user
    return f"{scheme}://{rest}{_LEFT_OUT if values else ''}"


def label_below(path: str, place: str) -> str:
    """Give the label of what is below ``place``, which a user gave: the names that a store lists have no secrets."""
    given = place.split("::", 1)[-1].rstrip("/")
    if path.startswith(("http://", "https://")):  # but for links on a page
        return label(path)
    return path.replace(given, label(given), 1) if "://" in given else path


def plain_name(url: str) -> str:
    """Give what a URL is called: its label without the scheme and what is left out, or a path as it is."""
    return label(url).removesuffix(_LEFT_OUT).split("://")[-1] if "://" in url else url


def has_values(url: str) -> bool:
    """Say whether the label of a URL leaves out what follows a ? or #."""
    return label(url).endswith(_LEFT_OUT)


def shown(text: str, *places: str) -> str:
    """Give the text of an error without secrets: those of ``places``, and what looks like some of other URLs."""
    for place in places:
        if label(place) != place:
            text = text.replace(place, label(place))
    return _VALUES.sub(rf"\1{_LEFT_OUT}", _PASSWORD.sub(r"\1@", text))


def tame(name: str) -> str:
    """Give a name that leads nowhere but below the folder that it is joined to: archives and stores may hold any."""
    return posixpath.normpath("/" + name).lstrip("/")


def is_below(fs: AbstractFileSystem, path: str, folder: str) -> bool:
    """Say whether a path leads below a folder, by its letters."""
    if is_local(fs):
        path, folder = os.path.abspath(path), os.path.abspath(folder)  # noqa: PTH100 - resolving would ask the disk
        return path.startswith(folder.rstrip(os.sep) + os.sep)
    folder = posixpath.normpath(folder) if folder.strip("/") else ""
    return posixpath.normpath(path).startswith(folder + "/") or not folder


def is_local(fs: AbstractFileSystem) -> bool:
    return type(fs) is LocalFileSystem


def join(folder: str, name: str) -> str:
    """Give a file below a folder, either of which may be a URL."""
    first, *rest = folder.split("::", 1)
    return "::".join([posixpath.join(first, name), *rest])


def stamp_of(info: Mapping[str, Any]) -> str:
    """Give what tells without reading it whether a file may have changed: its size and its version or time.

    Nothing where the store tells neither version nor time in a way that is known here.
    """
    version = next((info[key] for key in _VERSIONS if info.get(key) is not None), None)
    return "" if version is None else f"{info.get('size')} {version}"


@contextlib.contextmanager
def fetched(source: str) -> Iterator[Path]:
    """Give the file as one of this machine.

    Raises DataError when it cannot be had, TransferError when it may be later.
    """
    fs, path = reach(source)
    if is_local(fs):
        yield Path(path)
        return
    with TemporaryDirectory(prefix="coscale-") as folder:
        copy = Path(folder) / f"photo{posixpath.splitext(path)[1]}"
        try:
            fs.get_file(path, str(copy))
        except FileNotFoundError as error:
            raise DataError(f"{label(source)} does not exist; check the path") from error
        except PermissionError as error:
            raise DataError(f"{label(source)} may not be read; check its permissions") from error
        except Exception as error:  # each store has errors of its own
            raise TransferError(f"{label(source)} could not be fetched: {line_of(error, source)}") from error
        try:
            yield copy
        except (ImageError, OutputError) as error:
            raise type(error)(str(error).replace(str(copy), label(source))) from error


@contextlib.contextmanager
def publishing(target: str, mark: str = "") -> Iterator[Path]:
    """Give a path of this machine, whose file appears at ``target``, whole or not at all, if the block ends well.

    ``mark`` begins the names of temporary files. Raises OutputError or TransferError when it cannot be written.
    """
    fs, path = reach(target)
    if is_local(fs):
        check_writable(Path(path))
        yield Path(path)  # for those who replace it by a whole one
        return
    with TemporaryDirectory(prefix="coscale-") as folder:
        copy = Path(folder) / f"result{posixpath.splitext(path)[1]}"
        yield copy
        try:
            _put(fs, copy, path, mark)
        except Exception as error:
            raise TransferError(f"{label(target)} could not be written: {line_of(error, target)}") from error


def _put(fs: AbstractFileSystem, copy: Path, path: str, mark: str) -> None:
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if protocols & _WHOLE:
        fs.put_file(str(copy), path)
        return
    folder = posixpath.dirname(path)
    part = posixpath.join(folder, temporary_name(posixpath.splitext(path)[1], mark))
    fs.makedirs(folder, exist_ok=True)
    try:
        fs.put_file(str(copy), part)
        try:
            fs.mv(part, path)
        except Exception:  # some stores refuse to rename to a name that is taken
            fs.rm_file(path)
            fs.mv(part, path)
    except BaseException:
        remove(fs, [part])
        raise
    fs.invalidate_cache()
    arrived, sent = fs.size(path), copy.stat().st_size
    if arrived is not None and arrived != sent:  # to move may be to copy
        remove(fs, [path])
        raise OSError(f"{arrived} of {sent} bytes arrived")


def files_below(
    fs: AbstractFileSystem,
    path: str,
    enter: Callable[[Item], bool] = lambda _: True,
    unlisted: Callable[[str, Exception], object] = lambda *_: None,
    again: Callable[[str], object] = lambda _: None,
) -> list[tuple[Item, dict[str, Any]]]:
    """Give each file below a folder and what is known of it; none where there is no such folder.

    ``enter``, ``unlisted`` and ``again`` are those of ``folders.walk``; a store that has one list of all its files has
    no folders to ask about. Raises DataError when the folder itself cannot be listed.
    """
    fs.invalidate_cache()
    infos: dict[str, dict[str, Any]] = {}

    def listed(folder: str) -> Iterator[Item]:
        for info in fs.ls(folder, detail=True):
            if info["name"].rstrip("/") != folder.rstrip("/"):  # some stores list a folder in itself
                item, info = _item(fs, info)
                infos[item.path] = info
                yield item

    try:
        if _has_folders(fs):
            real = os.path.realpath if is_local(fs) else None
            return [(item, infos[item.path]) for item in walk(path, listed, enter, unlisted, again, real)]
        found: Any = fs.find(path, detail=True)
        return [_item(fs, info | {"name": name}) for name, info in found.items() if name != path]
    except FileNotFoundError:
        return []
    except Exception as error:
        raise DataError(f"{label(path)} cannot be listed: {line_of(error, path)}") from error


def _item(fs: AbstractFileSystem, info: dict[str, Any]) -> tuple[Item, dict[str, Any]]:
    """What a store says of a file, or of that which a link leads to."""
    path = info["name"].rstrip("/")
    link = bool(info.get("islink")) or info["type"] == "link"
    if link:
        try:
            info = fs.info(path)
        except Exception:  # each store has errors of its own
            return Item(path, "nothing", link), info
    kinds: dict[str, Kind] = {"directory": "folder", "other": "other"}
    return Item(path, kinds.get(info["type"], "file"), link), info


def _has_folders(fs: AbstractFileSystem) -> bool:
    """Whether a store is listed folder by folder, each of which may be unreadable; others have one list of all."""
    kind: Any = type(fs)
    if isinstance(fs, AsyncFileSystem):
        return kind._find is AsyncFileSystem._find
    return kind.find is AbstractFileSystem.find


def is_part(path: str, mark: str) -> bool:
    """Say whether a file is what a worker that was given ``mark`` has left unfinished."""
    return any(is_temporary(posixpath.basename(path), suffix, mark) for suffix in SUFFIXES)


def remove(fs: AbstractFileSystem, paths: Iterable[str]) -> None:
    """Remove files where that is possible."""
    for path in paths:
        with contextlib.suppress(Exception):
            fs.rm_file(path)


def _is_url(place: str) -> bool:
    return "://" in place or "::" in place


def line_of(error: Exception, *places: str) -> str:
    """Give what an error says, on one line, or what kind it is where it quotes a secret of ``places``."""
    text = shown(str(getattr(error, "strerror", None) or error), *places)
    if any(secret in text for place in places for secret in _secrets(place)):
        return f"{type(error).__name__} about user, password or values; a / or @ in them is written %2F or %40"
    return " ".join(text.split()) or type(error).__name__


def _secrets(place: str) -> set[str]:
    """The parts of a path or URL that its label leaves out, as an error may quote them."""
    left_out = [part for part in re.split(r"[/:@?#&=]", place) if part and part not in label(place)]
    return {*left_out, *map(unquote, left_out)}
