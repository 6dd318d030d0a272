"""What the server has done in a process of its own: a crash there, or a lack of memory, ends one photo's work alone.

server  -- what is asked, stop -->  process
server  <-- begun, news, answer --  process     or the end of the pipe, which is that of the process
"""

import contextlib
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

from coscale.errors import CoscaleError, CoscaleWarning, EngineError, ran_out_of_memory
from coscale.processes import Process

_LOOK = 0.1  # seconds between looks at whether to stop
_PATIENCE = 10.0  # seconds for a process to stop by itself, after which it is ended
_STARTS = 3  # processes that may end before they have begun

Tell = Callable[[Any], None]
Do = Callable[[Any, Tell], Any]


class CancelledError(Exception):
    """The work was cancelled. Not a RuntimeError, which might be taken for one that smaller tiles can mend."""


@dataclass(frozen=True)
class _Stop:
    pass


@dataclass(frozen=True)
class _Begun:
    pass


@dataclass(frozen=True)
class _News:
    news: Any


@dataclass(frozen=True)
class _Answer:
    """What came out: ``error`` where something went wrong; and what the user should know."""

    value: Any = None
    error: Exception | None = None
    warnings: tuple[str, ...] = ()


class _EndedError(Exception):
    """The process has ended, in the manner that the text says."""


class Apart:
    """A process that does what it is asked, one thing after the other; one that ends is replaced.

    ``make`` is called in the process and gives what is done there, with what is asked and a function to tell news by,
    which raises CancelledError where the work is to stop. Both ways goes what can be pickled. ``seconds``: what one
    thing may take. A context manager: leaving it ends the process, whatever it does.
    """

    def __init__(self, make: Callable[[], Do], seconds: float | None = None) -> None:
        self._make, self._seconds = make, seconds
        self._free = threading.Lock()
        self._closed = self._begun = False
        self._process = Process(_serve, make)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True  # which ``ask`` looks for
        with self._free:
            self._process.end()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def ask(
        self, what: Any, heard: Callable[[Any], None] = lambda news: None, stopped: Callable[[], bool] = lambda: False
    ) -> Any:
        """Give what the process makes of ``what``; ``heard`` is told the news meanwhile.

        Raises CoscaleError, MemoryError and OSError as the process does, RuntimeError for an error in its code,
        CancelledError when ``stopped`` says so or this was left, and EngineError when the process ends or takes too
        long.
        """
        manner = None
        with self._free:
            for _ in range(_STARTS):
                self._begun = False
                try:
                    answer = self._exchange(what, heard, stopped)
                except _EndedError as ended:
                    if self._begun:
                        raise EngineError(
                            f"the process that worked on the photo {ended}; take another photo or a smaller one"
                        ) from None
                    manner = ended
                else:
                    for text in answer.warnings:
                        warnings.warn(text, CoscaleWarning, stacklevel=2)
                    if answer.error:
                        raise answer.error
                    return answer.value
            raise EngineError(f"no process can be had to work on photos: it {manner}")

    def _exchange(self, what: Any, heard: Callable[[Any], None], stopped: Callable[[], bool]) -> _Answer:
        ends: float | None = None
        patience: float | None = None
        try:
            self._send(what)
            while True:
                if self._closed or (patience and time.monotonic() > patience):
                    raise CancelledError
                if ends and time.monotonic() > ends:
                    raise EngineError(f"the photo took longer than {self._seconds:g} seconds; take another one")
                if patience is None and stopped():
                    patience = _in(_PATIENCE)
                    self._send(_Stop())
                message = self._receive()
                if isinstance(message, _Begun):
                    self._begun, ends = True, _in(self._seconds)
                elif isinstance(message, _News):
                    with contextlib.suppress(CancelledError):  # the next look finds that
                        heard(message.news)
                elif isinstance(message, _Answer):
                    return message
        except BaseException:  # what the process still says would be taken for an answer to what is asked next
            self._process.end()
            if not self._closed:
                self._process = Process(_serve, self._make)
            raise

    def _send(self, what: Any) -> None:
        with contextlib.suppress(OSError):  # that it has ended is found as nothing comes
            self._process.connection.send(what)

    def _receive(self) -> Any:
        """What comes within a look, else None."""
        try:
            return self._process.connection.recv() if self._process.connection.poll(_LOOK) else None
        except (EOFError, OSError):
            raise _EndedError(self._process.manner()) from None


def _in(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _serve(connection: Connection, make: Callable[[], Do]) -> None:
    """The process: what is asked in, news and answers out, until the server is gone."""
    do = make()

    def tell(news: Any) -> None:
        while connection.poll():
            if isinstance(connection.recv(), _Stop):
                raise CancelledError
        connection.send(_News(news))

    with contextlib.suppress(EOFError, OSError):
        while True:
            what = connection.recv()
            if isinstance(what, _Stop):  # it came as the work was done
                continue
            connection.send(_Begun())
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", CoscaleWarning)
                value, error, broken = None, None, False
                try:
                    value = do(what, tell)
                except Exception as problem:
                    error, broken = _carried(problem)
            said = tuple(str(w.message) for w in caught if issubclass(w.category, CoscaleWarning))
            connection.send(_Answer(value, error, said))
            if broken:  # a process in an unknown state, of a GPU for one, should do no more photos
                return


def _carried(error: Exception) -> tuple[Exception, bool]:
    """An error as it can be sent, and whether it is one of the code."""
    if isinstance(error, CoscaleError | CancelledError):
        return error, False
    if ran_out_of_memory(error):
        return MemoryError(), False
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror), False
    return RuntimeError("\n" + "".join(traceback.format_exception(error))), True
