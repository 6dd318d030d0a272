"""The command as tests call it: inside their process, where torch has been imported once for all of them.

What a process of its own shows (signals, exit codes, a terminal) is tested with ``subprocess`` where it matters.
"""

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from coscale import console
from coscale.cli import main


@contextlib.contextmanager
def as_it_was() -> Iterator[None]:
    """Undo what the command changes of a process that it takes for its own."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    logged = {name: list(logging.getLogger(name).handlers) for name in console._LOGGERS}
    # Threads and the memory that is kept are the test run's own.
    with warnings.catch_warnings(), mock.patch.dict(os.environ), mock.patch("coscale.machine.settle"):
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for name, kept in logged.items():
                logging.getLogger(name).handlers[:] = kept


def coscale(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command and say what a process of its own would have given: its status and what it wrote."""
    line = ["coscale", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    status: object = 0
    with (
        as_it_was(),
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.object(sys, "argv", line),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    assert isinstance(status, int)
    given = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(line, status, *given)


def fails(*arguments: object, status: int = 1) -> str:
    """The one line of a command that fails."""
    done = coscale(*arguments)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]
