"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coscale.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, which becomes ``path`` if the block ends well, and leaves no trace if not.

    Makes missing folders. Raises OutputError when the folder cannot be written to or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(_explain(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def check_writable(path: Path) -> None:
    """Raise OutputError when ``path`` could not be written, so that nobody finds out after minutes of work."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: {folder} is a file, not a folder; give another --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: {folder} is not writable; give another --out")
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; give another --out")


def _explain(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"{path} was not written: the disk is full; free some space or give another --out"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} was not written: its folder is not writable; give another --out"
    return f"{path} was not written: {error.strerror or error}; give another --out"
