"""What decoders have to say about a file is heard here, and does not reach the terminal.

Pillow's decoders warn by Python's ``warnings``, whose state belongs to the whole process: ``catch_warnings`` in one
thread undoes what another has set meanwhile. So one filter is put before the others, for good; it asks whether this
very thread listens, and lets everything else pass. libtiff writes to stderr itself, from C, unless it is told not to.
"""

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, cast

from PIL import Image


class _Ear(threading.local):
    """What this thread hears; stands where a filter has the regular expression for a warning's text."""

    heard: list[str] | None = None

    def match(self, text: str) -> bool:
        """Say whether the filter is about the warning ``text``."""
        if self.heard is None:
            return False
        self.heard.append(" ".join(text.split()))
        return True


_ear = _Ear()
_filter = ("ignore", _ear, UserWarning, None, 0)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Give a list that the warnings of decoders in this thread go to, instead of anywhere else."""
    filters = cast("list[Any]", warnings.filters)
    if not filters or filters[0] is not _filter:
        with suppress(ValueError):
            filters.remove(_filter)
        filters.insert(0, _filter)
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).addHandler(_nowhere)  # else logging prints what no other handler takes
    _hush_libtiff()
    heard: list[str] = []
    before, _ear.heard = _ear.heard, heard
    try:
        yield heard
    finally:
        _ear.heard = before


_nowhere = logging.NullHandler()  # one object: a logger takes it once


@cache
def _hush_libtiff() -> None:
    """Take its printer of errors from the libtiff that Pillow is linked with; they are raised all the same."""
    with suppress(AttributeError, OSError, TypeError):  # it may be linked in a way that hides its names
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
