"""Images from stdin and to stdout: what - stands for."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from coscale.errors import ImageError, OutputError, SettingsError
from coscale.files import STREAM

_MOST = 2**31  # bytes; a file of that size is no photo, and stdin may have no end
_PIECE = 2**20


def check_streams(paths: Sequence[tuple[Path, Path]]) -> None:
    """Raise SettingsError where an image would be read from a terminal, or shown on one."""
    for source, target in paths:
        if source == STREAM and sys.stdin is not None and sys.stdin.isatty():
            raise SettingsError("stdin is a terminal; pipe an image into it, or name a file")
        if target == STREAM and sys.stdout is not None and sys.stdout.isatty():
            raise SettingsError("stdout is a terminal; send it to a file or a program, or give --out with a file")


def taken(source: Path) -> bytes:
    """Give the bytes of an image, from stdin for STREAM. Raises ImageError when they cannot be read."""
    from coscale.image import bytes_of

    if source != STREAM:
        return bytes_of(source)
    data = bytearray()
    while sys.stdin is not None and (piece := sys.stdin.buffer.read(_PIECE)):
        data += piece
        if len(data) > _MOST:
            raise ImageError(f"stdin has more than {_MOST >> 30} GiB; give the file itself")
    if not data:
        raise ImageError("stdin is empty; pipe an image into it")
    return bytes(data)


@contextlib.contextmanager
def destination(target: Path, suffix: str) -> Iterator[Path]:
    """Give the file to write; for STREAM one whose bytes go to stdout if the block ends well."""
    if target != STREAM:
        yield target
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"stdout{suffix}"
        yield place
        data = place.read_bytes()
    if sys.stdout is None:
        raise OutputError("stdout is closed; give --out with a file")
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
