"""Files wherever fsspec reaches: on this machine, in an object store, in an archive."""

import contextlib
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from coscale.errors import DataError, ImageError, TransferError
from coscale.files import is_temporary, temporary_name

# Stores where an upload appears whole or not at all, and a move would be a second copy.
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "CRC", "sha", "mtime", "LastModified", "last_modified", "updated", "modify"),
    *("last_write_time", "modificationTime", "modification_time", "modifiedTime", "created"),
)
_PASSWORD = re.compile(r"(://[^/@\s:]*):[^/\s]*@")


def reach(place: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem that a path or URL is on, and where on it. Raises DataError when it cannot be reached."""
    try:
        return url_to_fs(place if _is_url(place) else os.path.realpath(place))
    except FileNotFoundError as error:
        raise DataError(f"{shown(place)} does not exist; check the path") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{shown(place)} cannot be reached: {line_of(error)}") from error


def name_of(place: str, fs: AbstractFileSystem, path: str) -> str:
    """The path or URL of ``path``, which is the file ``place`` or one below it, on the filesystem of ``place``."""
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
    """The path or URL of the folder that a file is in."""
    first, *rest = place.split("::", 1)
    scheme, separator, path = first.rpartition("://")
    return "::".join([scheme + separator + posixpath.dirname(path), *rest])


def shown(text: str) -> str:
    """A text without the passwords of its URLs."""
    return _PASSWORD.sub(r"\1@", text)


def tame(name: str) -> str:
    """A name that leads nowhere but below the folder that it is joined to: archives and stores may hold any."""
    return posixpath.normpath("/" + name).lstrip("/")


def is_below(fs: AbstractFileSystem, path: str, folder: str) -> bool:
    """Whether a path leads below a folder, by its letters."""
    if is_local(fs):
        path, folder = os.path.abspath(path), os.path.abspath(folder)  # noqa: PTH100 - resolving would ask the disk
        return path.startswith(folder.rstrip(os.sep) + os.sep)
    folder = posixpath.normpath(folder) if folder.strip("/") else ""
    return posixpath.normpath(path).startswith(folder + "/") or not folder


def is_local(fs: AbstractFileSystem) -> bool:
    return type(fs) is LocalFileSystem


def join(folder: str, name: str) -> str:
    """A file below a folder, either of which may be a URL."""
    first, *rest = folder.split("::", 1)
    return "::".join([posixpath.join(first, name), *rest])


def stamp_of(info: Mapping[str, Any]) -> str:
    """What tells without reading it whether a file may have changed: its size and its version or time.

    Nothing where the store tells neither version nor time in a way that is known here.
    """
    version = next((info[key] for key in _VERSIONS if info.get(key) is not None), None)
    return "" if version is None else f"{info.get('size')} {version}"


@contextlib.contextmanager
def fetched(source: str) -> Iterator[Path]:
    """The file as one of this machine. Raises DataError when it cannot be had, TransferError when it may be later."""
    fs, path = reach(source)
    if is_local(fs):
        yield Path(path)
        return
    with TemporaryDirectory(prefix="coscale-") as folder:
        copy = Path(folder) / f"photo{posixpath.splitext(path)[1]}"
        try:
            fs.get_file(path, str(copy))
        except FileNotFoundError as error:
            raise DataError(f"{shown(source)} does not exist; check the path") from error
        except PermissionError as error:
            raise DataError(f"{shown(source)} may not be read; check its permissions") from error
        except Exception as error:  # each store has errors of its own
            raise TransferError(f"{shown(source)} could not be fetched: {line_of(error)}") from error
        try:
            yield copy
        except ImageError as error:
            raise ImageError(str(error).replace(str(copy), shown(source))) from error


@contextlib.contextmanager
def publishing(target: str, mark: str = "") -> Iterator[Path]:
    """A path of this machine, whose file appears at ``target``, whole or not at all, if the block ends well.

    ``mark`` begins the names of temporary files. Raises OutputError or TransferError when it cannot be written.
    """
    fs, path = reach(target)
    if is_local(fs):
        yield Path(path)  # for those who replace it by a whole one
        return
    with TemporaryDirectory(prefix="coscale-") as folder:
        copy = Path(folder) / "result.png"
        yield copy
        try:
            _put(fs, copy, path, mark)
        except Exception as error:
            raise TransferError(f"{shown(target)} could not be written: {line_of(error)}") from error


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
    fs: AbstractFileSystem, path: str, unreadable: Callable[[str, Exception], None] | None = None
) -> dict[str, dict[str, Any]]:
    """What is known of each file below a folder, by its path; none where there is no such folder.

    ``unreadable`` is told each folder below it that cannot be listed, and why. Raises DataError when the folder itself
    cannot.
    """
    fs.invalidate_cache()
    try:
        found = _walk(fs, path, unreadable) if _has_folders(fs) else fs.find(path, detail=True)
    except FileNotFoundError:
        return {}
    except Exception as error:
        raise DataError(f"{path} cannot be listed: {line_of(error)}") from error
    return {name: info for name, info in found.items() if name != path}  # type: ignore[union-attr]


def _has_folders(fs: AbstractFileSystem) -> bool:
    """Whether a store is listed folder by folder, each of which may be unreadable; others have one list of all."""
    kind: Any = type(fs)
    if isinstance(fs, AsyncFileSystem):
        return kind._find is AsyncFileSystem._find
    return kind.find is AbstractFileSystem.find


def _walk(
    fs: AbstractFileSystem, root: str, unreadable: Callable[[str, Exception], None] | None
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            infos = fs.ls(folder, detail=True)
        except Exception as error:
            if folder == root:
                raise
            if unreadable and not isinstance(error, FileNotFoundError):  # one may have been removed meanwhile
                unreadable(folder, error)
            continue
        for info in infos:
            path = info["name"].rstrip("/")
            if info["type"] != "directory":
                found[path] = info
            elif path != folder.rstrip("/"):
                folders.append(path)
    return found


def is_part(path: str, mark: str) -> bool:
    """Whether a file is what a worker that was given ``mark`` has left unfinished."""
    return is_temporary(posixpath.basename(path), ".png", mark)


def remove(fs: AbstractFileSystem, paths: Iterable[str]) -> None:
    """Remove files where that is possible."""
    for path in paths:
        with contextlib.suppress(Exception):
            fs.rm_file(path)


def _is_url(place: str) -> bool:
    return "://" in place or "::" in place


def line_of(error: Exception) -> str:
    """What an error says, on one line."""
    return shown(" ".join(str(getattr(error, "strerror", None) or error).split())) or type(error).__name__
