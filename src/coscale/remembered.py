"""What takes seconds to find out and never changes, kept from one run to the next.

It lies in the user's cache folder, or in the folder that COSCALE_CACHE names.
"""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from coscale.errors import OutputError
from coscale.files import replacing

_MOST = 1000  # entries; the oldest go
_MOST_BYTES = 2**20


def remembered(key: str, find: Callable[[], list[int]], count: int = 1) -> list[int]:
    """Give the ``count`` whole numbers that ``find`` gives, from the cache where they are there.

    A cache that is damaged or cannot be written is done without; nothing is kept under an empty key.
    """
    if not key:
        return find()
    path = Path(os.environ.get("COSCALE_CACHE") or user_cache_path("coscale")) / "numbers.json"
    known = _read(path)
    if len(known.get(key, ())) == count:
        return known[key]
    found = find()
    kept = dict([*known.items(), (key, found)][-_MOST:])
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(kept))
    return found


def _read(path: Path) -> dict[str, list[int]]:
    """The numbers of a file; none of what is no such file."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        if path.is_file() and path.stat().st_size < _MOST_BYTES:
            return {name: value for name, value in json.loads(path.read_text()).items() if _is_numbers(value)}
    return {}


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(number) is int for number in value)
