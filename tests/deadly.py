"""What the tests of the server have done in another process; it imports no torch, so that this begins soon."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from coscale.serve.apart import Tell


def deed() -> Callable[[Any, Tell], Any]:
    """Do what the first word of a file says, with the number of things that this process has done before."""
    done = 0

    def do(what: Any, tell: Tell) -> Any:
        nonlocal done
        word, before, done = getattr(what, "path", what).read_text(), done, done + 1
        tell(what)
        if word == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "crash":
            ctypes.string_at(0)
        elif word == "exit":
            os._exit(3)
        elif word == "code":
            raise ValueError("of the code")
        elif word == "memory":
            raise MemoryError
        elif word == "disk":
            raise OSError(28, "No space left on device")
        elif word == "deaf":
            time.sleep(600)
        elif word == "wait":
            while True:
                tell(what)
                time.sleep(0.01)
        return {"before": before}

    return do


def broken() -> Any:
    """End before anything is done."""
    os._exit(7)
