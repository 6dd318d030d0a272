"""What the commands share at the terminal: progress, rows, failures, stops."""

from __future__ import annotations

import contextlib
import io
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from coscale.errors import CoscaleError, MemoryNeededError, ran_out_of_memory

if TYPE_CHECKING:
    from coscale.collaborate.hcd import Progress

Image = TypeVar("Image")  # in memory, with what else the file holds

STOPPED = "interrupted; what was finished is kept, and nothing half-written is left"


def on_stop(handler: Callable[..., Any]) -> None:
    """What Ctrl-C and a plain kill do. A shell starts background jobs with Ctrl-C ignored: that stays so."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def fail(message: str, status: int = 1) -> NoReturn:
    click.echo(f"coscale: {message}", err=True)
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

    def say(self, text: str) -> None:
        """Print a result on stdout, in the bar's place; the bar comes back below it."""
        with self._lock:
            if self._shown:
                click.echo("\r\033[K", err=True, nl=False)
            click.echo(text)


def run_jobs(
    label: str,
    jobs: Sequence[tuple[Path, Path]],
    read: Callable[[Path], Image],
    one: Callable[[Image, Path, Progress], dict[str, Any]],
    passes: int,
    describe: Callable[[dict[str, Any]], str],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Do the jobs one by one, of ``passes`` steps each; a failure does not stop the rest, and is listed at the end.

    What ``read`` makes of an input, ``one`` makes into the output. The next input is read meanwhile.
    """
    from coscale.files import check_writable
    from coscale.machine import give_back_freed_memory

    failures = []
    with Bar(label, len(jobs) * passes) as bar, ThreadPoolExecutor(1, "reader") as reader:
        wanted = (job for job in jobs if overwrite or not job[1].exists())
        coming: dict[tuple[Path, Path], Future[Image]] = {}

        def read_ahead() -> None:
            job = next(wanted, None)
            if job:
                coming[job] = reader.submit(read, job[0])

        read_ahead()
        for done, job in enumerate(jobs):
            source, target = job
            row: dict[str, Any] = {"input": str(source), "output": str(target)}
            try:
                if job not in coming:
                    row["skipped"] = True
                    bar.say(dump(row) if as_json else f"{target} is there already (--overwrite replaces it)")
                else:
                    image = coming.pop(job)
                    read_ahead()
                    check_writable(target)
                    with memory_explained(f"{source}: not enough memory for a photo of this size; take a smaller one"):
                        loaded = image.result()
                        give_back_freed_memory()
                        row |= one(loaded, target, lambda step, _, before=done * passes: bar.reach(before + step))
                    bar.say(dump(row) if as_json else f"{source} -> {target}  {describe(row)}")
            except (CoscaleError, OSError) as error:
                if len(jobs) == 1:
                    raise
                failure = str(error) if str(source) in str(error) else f"{source}: {error}"
                failures.append(failure)
                if as_json:
                    bar.say(dump(row | {"error": failure}))
            bar.reach((done + 1) * passes)
    list_failures(failures, len(jobs))


@contextlib.contextmanager
def growing_file(path: Path | None, first: Iterable[dict[str, Any]]) -> Iterator[Callable[[str], None]]:
    """A file that begins with the rows ``first`` and grows by whole lines, so that a stop loses none of them."""
    from coscale.files import replacing

    if path is None:
        yield lambda _: None
        return
    with replacing(path) as temporary:
        temporary.write_text("".join(dump(row) + "\n" for row in first))

    def add(line: str) -> None:
        with path.open("a") as file:
            file.write(line + "\n")

    yield add


def list_failures(failures: Sequence[str], total: int) -> None:
    """End with the failures, if there were any."""
    for failure in failures:
        click.echo(f"coscale: {failure}", err=True)
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


def in_bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def dump(value: Any) -> str:
    """JSON; what is not finite (the PSNR of equal images) becomes null, for which JSON has a word."""

    def clean(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: clean(item) for key, item in x.items()}
        if isinstance(x, list):
            return [clean(item) for item in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    return json.dumps(clean(value))
