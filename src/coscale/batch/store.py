"""Files wherever fsspec reaches: on this machine, in an object store, in an archive."""

import contextlib
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from coscale.errors import DataError, ImageError, TransferError
from coscale.files import temporary_name

_PART = ".part.png"  # how the name of an LR file ends that is not whole yet; it begins with a dot
# Stores where an upload appears whole or not at all, and a move would be a second copy.
_WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
_VERSIONS = ("ETag", "etag", "md5Hash", "CRC", "mtime", "LastModified", "last_modified", "updated", "created")


def reach(place: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem that a path or URL is on, and where on it. Raises DataError when it cannot be reached."""
    try:
        return url_to_fs(place if _is_url(place) else os.path.realpath(place))
    except FileNotFoundError as error:
        raise DataError(f"{place} does not exist; check the path") from error
    except Exception as error:  # each store has errors of its own
        raise DataError(f"{place} cannot be reached: {line_of(error)}") from error


def name_of(place: str, fs: AbstractFileSystem, path: str) -> str:
    """The path or URL of another file ``path`` on the filesystem of ``place``."""
    if is_local(fs):
        return path
    if "::" not in place:
        return str(fs.unstrip_protocol(path))
    first, rest = place.split("::", 1)
    rest = rest if _is_url(rest) else os.path.realpath(rest)
    return f"{first.split('://')[0]}://{path}::{rest}"


def is_local(fs: AbstractFileSystem) -> bool:
    return type(fs) is LocalFileSystem


def join(folder: str, name: str) -> str:
    """A file below a folder, either of which may be a URL."""
    first, *rest = folder.split("::", 1)
    return "::".join([posixpath.join(first, name), *rest])


def stamp_of(info: Mapping[str, Any]) -> str:
    """What tells without reading it whether a file may have changed: its size and its version or time."""
    version = next((info[key] for key in _VERSIONS if info.get(key) is not None), "")
    return f"{info.get('size')} {version}"


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
            raise DataError(f"{source} does not exist; check the path") from error
        except PermissionError as error:
            raise DataError(f"{source} may not be read; check its permissions") from error
        except Exception as error:  # each store has errors of its own
            raise TransferError(f"{source} could not be fetched: {line_of(error)}") from error
        try:
            yield copy
        except ImageError as error:
            raise ImageError(str(error).replace(str(copy), source)) from error


@contextlib.contextmanager
def publishing(target: str) -> Iterator[Path]:
    """A path of this machine, whose file appears at ``target``, whole or not at all, if the block ends well.

    Raises OutputError or TransferError when it cannot be written.
    """
    fs, path = reach(target)
    if is_local(fs):
        yield Path(path)  # for those who replace it by a whole one
        return
    with TemporaryDirectory(prefix="coscale-") as folder:
        copy = Path(folder) / "result.png"
        yield copy
        try:
            _put(fs, copy, path)
        except Exception as error:
            raise TransferError(f"{target} could not be written: {line_of(error)}") from error


def _put(fs: AbstractFileSystem, copy: Path, path: str) -> None:
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if protocols & _WHOLE:
        fs.put_file(str(copy), path)
        return
    folder = posixpath.dirname(path)
    part = posixpath.join(folder, temporary_name(posixpath.splitext(path)[1]))
    fs.makedirs(folder, exist_ok=True)
    try:
        fs.put_file(str(copy), part)
        fs.mv(part, path)
    except BaseException:
        with contextlib.suppress(Exception):
            fs.rm_file(part)
        raise


def files_below(fs: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    """What is known of each file below a folder, by its path; none where there is no such folder."""
    fs.invalidate_cache()
    try:
        options: dict[str, Any] = {"on_error": "raise"} if is_local(fs) else {}
        found = fs.find(path, detail=True, **options)
    except FileNotFoundError:
        return {}
    except Exception as error:
        raise DataError(f"{path} cannot be listed: {line_of(error)}") from error
    return {name: info for name, info in found.items() if name != path}  # type: ignore[union-attr]


def parts(paths: Iterable[str]) -> list[str]:
    """Those of the files that a worker left unfinished."""
    names = ((path, posixpath.basename(path)) for path in paths)
    return [path for path, name in names if name.startswith(".") and name.endswith(_PART)]


def remove(fs: AbstractFileSystem, paths: Iterable[str]) -> None:
    """Remove files where that is possible."""
    for path in paths:
        with contextlib.suppress(Exception):
            fs.rm_file(path)


def _is_url(place: str) -> bool:
    return "://" in place or "::" in place


def line_of(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
