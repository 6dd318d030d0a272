"""What the commands share at the terminal: progress, rows, failures, stops."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import re
import signal
import sys
import threading
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import click

from coscale.errors import CoscaleError, MemoryNeededError, ran_out_of_memory

Image = TypeVar("Image")  # in memory, with what else the file holds


class Outcome(Protocol):
    """What is told of a job that was done: as JSON, and as text by ``str``."""

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        ...


STOPPED = "interrupted; what was finished is kept, and nothing half-written is left"
_JOINERS = "\u200c\u200d"  # formatting characters that scripts and emoji need, and that move nothing
_MAY_BE_UNSAFE = re.compile(r"[^\x20-\x7e\xa1-\xac\xae-\u05ff]")
_LOGGERS = ("asyncio", "coscale", "uvicorn")


def escaped(text: object) -> str:
    """Give a text on one line as it can be shown: what moves the cursor, ends the line or turns it around is written
    out.

    Names of files and what a file says may hold such characters, and so forge other lines. They are written as JSON
    writes them, so that a line of JSON stays one, and says the same.
    """

    def safe(match: re.Match[str]) -> str:
        character = match[0]
        kind = unicodedata.category(character)
        if kind not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in _JOINERS:
            return character
        code = ord(character)
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}" if code > 0xFFFF else f"\\u{code:04x}"

    return _MAY_BE_UNSAFE.sub(safe, str(text))


def say(*lines: object) -> None:
    """Print lines on stdout, each as ``escaped`` shows it."""
    for line in lines:
        click.echo(escaped(line))


def warn(text: object) -> None:
    """Print a line on stderr, as ``escaped`` shows it, behind the command's name."""
    click.echo(f"coscale: {escaped(text)}", err=True)


class _Lines(logging.Formatter):
    """Log lines as ``escaped`` shows them; those that follow the first of a record are indented, so none is forged."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n  ".join(map(escaped, super().format(record).split("\n")))


def log_escaped() -> None:
    """Have what coscale and the server log printed on stderr as ``escaped`` shows it."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)


def on_stop(handler: Callable[..., Any]) -> None:
    """Set what Ctrl-C and a plain kill do. A shell starts background jobs with Ctrl-C ignored: that stays so."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def fail(message: str, status: int = 1) -> NoReturn:
    warn(message)
    sys.exit(status)


class Bar:
    """A progress bar that appears once the work has taken a second, and only on a terminal."""

    def __init__(self, label: str, total: int, quiet: bool = False) -> None:
        self._bar = click.progressbar(length=total, label=label, file=sys.stderr or io.StringIO())
        self._lock = threading.Lock()
        self._shown = False
        self._done = 0
        self._timer = threading.Timer(1.0, self._show)
        self._timer.daemon = True
        if not quiet and sys.stderr is not None and sys.stderr.isatty():
            self._timer.start()

    def _show(self) -> None:
        with self._lock:
            self._bar.__enter__()
            self._bar.update(self._done)
            self._shown = True

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._shown:
                self._bar.__exit__(None, None, None)

    def reach(self, done: int, total: int | None = None) -> None:
        """Say that ``done`` of the total, which may have changed, is done."""
        with self._lock:
            if total is not None:
                self._bar.length = total
            if self._shown:
                self._bar.update(done - self._done)
            self._done = done

    def say(self, text: str, err: bool = False) -> None:
        """Print a result, in the bar's place; the bar comes back below it. With ``err`` not on stdout, but stderr."""
        with self._lock:
            if self._shown:
                click.echo("\r\033[K", err=True, nl=False)
            if err:
                click.echo(escaped(text), err=True)
            else:
                say(text)


def run_each(
    label: str,
    paths: Sequence[tuple[Path, Path]],
    prepare: Callable[[Path, Path], Image | None],
    one: Callable[[Image, Path, Callable[[int], None]], Outcome],
    passes: int,
    as_json: bool,
    failures: Sequence[str] = (),
) -> None:
    """Make each output from its input, in ``passes`` steps; a failure does not stop the rest, and is listed at the end.

    Arguments:
        label: what the bar says.
        paths: inputs with their outputs.
        prepare: makes something of an input and its output, in a thread while the one before is made; None says that
            the output is there already, as it would be made.
        one: makes that into the output, says on the way how many steps are done, and gives what is to be told.
        passes: the steps of each.
        as_json: whether that is told as JSON.
        failures: what failed already.
    """
    from coscale.files import STREAM, called, check_writable
    from coscale.machine import give_back_freed_memory

    failures = list(failures)
    total = len(paths) + len(failures)
    with Bar(label, len(paths) * passes) as bar, ThreadPoolExecutor(1, "reader") as reader:
        waiting = deque(paths)
        coming: deque[Future[Image | None]] = deque()

        def prepared(source: Path, target: Path) -> Image | None:
            if target != STREAM:
                check_writable(target)
            return prepare(source, target)

        def read_ahead() -> None:
            if waiting:
                coming.append(reader.submit(prepared, *waiting.popleft()))

        def done_by(source: Path, target: Path, before: int) -> Outcome | None:
            image = coming.popleft()
            read_ahead()
            with memory_explained(
                f"{called(source, 'stdin')}: not enough memory for a photo of this size; take a smaller one"
            ):
                loaded = image.result()
                if loaded is None:
                    return None
                give_back_freed_memory()
                return one(loaded, target, lambda step: bar.reach(before + step))

        read_ahead()
        for number, (source, target) in enumerate(paths):
            try:
                outcome = done_by(source, target, number * passes)
            except (CoscaleError, OSError) as error:
                if total == 1:
                    raise
                failures.append(_about(source, error))
                facts, line = {"error": failures[-1]}, None
            else:
                if outcome is None:
                    facts, line = {"skipped": True}, f"{target} is there already (--overwrite makes it anew)"
                else:
                    names = called(source, "stdin"), called(target, "stdout")
                    facts, line = outcome.to_json(), f"{' -> '.join(names)}  {outcome}"
            # What is printed here fails for reasons that no photo is to blame for.
            text = dump({"input": str(source), "output": str(target)} | facts) if as_json else line
            if text:
                bar.say(text, err=target == STREAM)  # on stdout there is the image
            bar.reach((number + 1) * passes)
    list_failures(failures, total)


def _about(source: Path, error: CoscaleError | OSError) -> str:
    """What went wrong with a photo, which the sentence names."""
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    return text if str(source) in text else f"{source}: {text}"


def list_failures(failures: Sequence[str], total: int) -> None:
    """End with the failures, if there were any."""
    for failure in failures:
        warn(failure)
    if failures:
        fail(f"{len(failures)} of {total} failed")


@contextlib.contextmanager
def memory_explained(what: str) -> Iterator[None]:
    """Turn running out of memory, which comes in several kinds, into one line that begins with ``what``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if ran_out_of_memory(error):
            raise MemoryNeededError(what) from error
        raise


def in_db(value: float | None, before: float | None) -> str:
    """Give a PSNR and what was gained over the one ``before``, where there is one; infinite is the PSNR of equal
    images.

    None is what JSON says for infinite in ``value``, and that there is nothing to compare with in ``before``.
    """
    if value is None or math.isinf(value):
        return "exact"
    if before is None:
        return f"{value:.2f}"
    return f"{value:.2f} ({value - before:+.2f})" if math.isfinite(before) else f"{value:.2f} (exact before)"


def in_bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def dump(value: Any) -> str:
    """JSON; what is not finite (the PSNR of equal images) becomes null, for which JSON has a word."""
    from coscale.files import jsonable

    return json.dumps(jsonable(value))
