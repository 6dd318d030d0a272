"""How long a photo may take."""

import time

from coscale.batch.worker import Lost


class Timeouts:
    """When the photo of each slot must be done, ``timeout`` seconds after it was begun; never without one."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._ends: dict[int, float] = {}

    @property
    def lost(self) -> Lost:
        return Lost(f"was ended, since it took longer than {self._timeout:g} seconds")

    def begin(self, slot: int) -> None:
        if self._timeout is not None:
            self._ends[slot] = time.monotonic() + self._timeout

    def end(self, slot: int) -> None:
        self._ends.pop(slot, None)

    def remaining(self) -> float | None:
        """Seconds until the first photo must be done; None when there is no end to wait for."""
        return max(0.0, min(self._ends.values()) - time.monotonic()) if self._ends else None

    def passed(self) -> list[int]:
        """Slots whose time is over."""
        return [slot for slot, end in self._ends.items() if end <= time.monotonic()]
