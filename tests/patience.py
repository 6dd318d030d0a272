"""How tests wait: for what happens, and for as long as a machine takes that has much else to do."""

import time
from collections.abc import Callable

PATIENCE = 300.0  # seconds, after which something does not come at all


def until(fact: Callable[[], object], still: Callable[[], object] = lambda: True) -> None:
    """Wait for ``fact``, as long as ``still`` holds without which it would not come."""
    end = time.monotonic() + PATIENCE
    while not fact():
        assert still() or fact(), "what was to come of it has ended without it"
        assert time.monotonic() < end, f"it has not come in {PATIENCE:g} seconds"
        time.sleep(0.02)
