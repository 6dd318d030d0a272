"""One photo that was sent to the page, and what became of it."""

import contextlib
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from coscale.collaborate.coscale import Effort
from coscale.serve.apart import CancelledError

State = Literal["receiving", "waiting", "working", "finished", "failed", "cancelled"]
ENDED: frozenset[State] = frozenset({"finished", "failed", "cancelled"})


@dataclass(eq=False)
class Job:
    """One photo, its settings and what became of it.

    ``visitor`` is who sent it, as ``Visitors`` tells; ``curve`` the gain in dB over the first loss, one value a pass.
    """

    name: str
    rescaler: str
    effort: Effort
    folder: Path
    visitor: str = ""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "receiving"
    stage: str = ""
    passes: int = 0
    curve: tuple[float, ...] = ()
    result: dict[str, Any] | None = None
    message: str = ""
    ended: float = 0.0
    bytes: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def change(self, **values: Any) -> None:
        """Set attributes; raises CancelledError where the job is to end."""
        if self.stop.is_set():
            raise CancelledError
        self._set(**values)

    def end(self, state: State, message: str = "") -> None:
        """Make the last change, which nothing prevents; only of finished jobs the files are kept."""
        if state != "finished":
            shutil.rmtree(self.folder, ignore_errors=True)
        # The state comes last: who reads it without the lock takes the rest for what it will stay.
        self._set(message=message, ended=time.monotonic(), bytes=_size(self.folder), state=state)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, which may be gone."""
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0
