"""Files that appear whole or not at all."""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from coscale.errors import DataError, OutputError

T = TypeVar("T")

StrPath = str | os.PathLike[str]
STREAM = Path("-")  # stands for stdin among inputs, and for stdout as output; a file of that name is ./-
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class IrregularFileError(OSError):
    """What has no end, or is no file: a folder, a device, a FIFO, a socket."""


def check_regular(path: Path) -> None:
    """Raise IrregularFileError, which says what it is, unless ``path`` leads to a regular file; OSError if nowhere.

    To open a FIFO or a device may wait for ever, so this comes before whatever reads a file that a user names.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "something else")
        raise IrregularFileError(errno.EINVAL, f"it is {what}, no regular file", str(path))


def read_regular(path: Path) -> bytes:
    """Give the bytes of a regular file. Raises as ``check_regular`` does."""
    check_regular(path)
    return path.read_bytes()


def called(path: Path, stream: str) -> str:
    """Give what messages call a path, which is ``stream`` for STREAM."""
    return stream if path == STREAM else str(path)


def digest(data: bytes) -> str:
    """Give the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256(path: Path) -> str:
    """Give the SHA-256 of a regular file's bytes, in hexadecimal. Raises as ``check_regular`` does."""
    return digest(read_regular(path))


@contextmanager
def replacing(path: Path, mark: str = "") -> Iterator[Path]:
    """Give a temporary path beside ``path`` with the same suffix, which becomes ``path`` if the block ends well.

    ``mark``: as for ``temporary_name``. Makes missing folders; if the block ends in any other way, no trace is left of
    file and folders. A link is followed. Raises OutputError as ``check_writable`` does, and when the disk is full.
    """
    check_writable(path)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(temporary_name(path.suffix, mark))
    made = [folder for folder in target.parents if not folder.exists()]  # the deepest first
    done = False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
        done = True
    except OSError as error:
        raise OutputError(_explain(path, error)) from error
    finally:
        if not done:
            _remove(temporary, made)


def temporary_name(suffix: str, mark: str = "") -> str:
    """Give a name to a file that is not whole yet; also where several machines write to one folder, no other has it.

    ``mark`` begins the name, so that its owner knows what it has left behind.
    """
    return f".{mark}{secrets.token_hex(8)}.part{suffix}"


def is_temporary(name: str, suffix: str, mark: str) -> bool:
    """Say whether ``temporary_name`` gives such names, with that mark."""
    return re.fullmatch(rf"\.{re.escape(mark)}[0-9a-f]{{16}}\.part{re.escape(suffix)}", name) is not None


def _remove(temporary: Path, folders: list[Path]) -> None:
    if temporary.parent.exists():
        temporary.unlink(missing_ok=True)
    for folder in folders:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


def check_writable(path: Path) -> None:
    """Raise OutputError when ``path`` could not be written, so that nobody finds out after minutes of work."""
    folder = Path(os.path.realpath(path)).parent
    try:
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise OutputError(f"{path} cannot be written: {folder} is a file, not a folder; give another --out")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{path} cannot be written: {folder} is not writable; give another --out")
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "no ordinary file"
            raise OutputError(f"{path} cannot be written: it is {kind}; give another --out")
    except OSError as error:  # a name too long, a link that leads to itself, a folder that may not be looked into
        raise OutputError(_explain(path, error)) from error


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} was not written: the disk is full; free some space or give another --out"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} was not written: its folder is not writable; give another --out"
    return f"{path} was not written: {error.strerror or error}; give another --out"


@contextmanager
def growing(path: Path, first: Iterable[str]) -> Iterator[Callable[[str], None]]:
    """Give what adds a line to a file that begins with the lines ``first``; a stop loses none that was added."""
    with replacing(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in first))

    def add(line: str) -> None:
        with path.open("a") as file:
            file.write(line + "\n")

    yield add


def rows_in(path: Path, parse: Callable[[object], T], what: str) -> Iterator[T]:
    """Give the rows of a file that grew line by line; a last line that was cut short is left out.

    Arguments:
        path: the file.
        parse: makes a row of what a line holds as JSON. Raises DataError, with the reason, for what is none.
        what: what messages call the rows.

    Raises DataError, with the line, for what is no row.
    """
    lines = read_regular(path).decode(errors="surrogateescape").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = parse(_parsed(line))
        except DataError as problem:
            raise DataError(
                f"{path} does not hold {what} (line {number}: {problem}); "
                "give another file, or --overwrite where there is that option"
            ) from problem
        yield row


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError("it is no JSON") from error


def jsonable(value: Any) -> Any:
    """Give ``value`` with null for what is not finite (the PSNR of equal images), for which JSON has no word."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
