"""Several processes that measure images at once."""

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self

from coscale import machine
from coscale.errors import CoscaleError, CoscaleWarning, EngineError
from coscale.evaluate import Asked, measure
from coscale.measurement import Measurement
from coscale.processes import end_with_parent
from coscale.weights.load import Loaded

_pair: Loaded | None = None  # of a worker, which has but one


class Workers:
    """``count`` processes, each with its own copy of what ``load`` gives; the cores are divided among them.

    A context manager: leaving it ends them, whatever they do.
    """

    def __init__(self, load: Callable[[], Loaded], count: int) -> None:
        # A fork would copy the locks of torch's threads, and could not use a GPU.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(count, context, _begin, (load, count))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()

    def __call__(self, asked: Iterable[Asked]) -> Iterator[Measurement | CoscaleError]:
        """Give the row of each image, in their order, or why there is none. Raises EngineError when a worker dies."""
        try:
            for found, said in self._pool.map(_attempt, asked):
                for text in said:  # a worker's own stderr is not where the command shows them
                    warnings.warn(text, CoscaleWarning, stacklevel=2)
                yield found
        except BrokenProcessPool as error:
            raise EngineError(
                "a worker died, ended by the system if memory ran out; rows so far are kept, take fewer --workers"
            ) from error


def _begin(load: Callable[[], Loaded], count: int) -> None:
    global _pair
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the first ends the rest
    machine.settle(count)
    _pair = load()


def _attempt(asked: Asked) -> tuple[Measurement | CoscaleError, list[str]]:
    """The row or the error, and what was warned of."""
    assert _pair is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CoscaleWarning)
        try:
            found: Measurement | CoscaleError = measure(asked, _pair)
        except CoscaleError as error:
            found = error
    return found, [str(each.message) for each in caught if issubclass(each.category, CoscaleWarning)]
