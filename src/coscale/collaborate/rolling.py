"""An image that is made and read tile by tile, and of which no more is kept than is still to be read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor

from coscale.tiles import Window, at

_ROWS = 16  # of a strip; what is kept goes strip by strip


@dataclass(frozen=True)
class _Strip:
    """A part of the image, where it lies, its place in memory, and the number of the last read that needs it."""

    window: Window
    place: int
    last: int


class Rolling:
    """An image that is written in the windows ``writes`` and read in the windows ``reads``, each in this order.

    A window is read once all of it has been written; then what no later window has in it is dropped. All memory is
    taken at once: what were taken as tiles are passed would lie amidst their activations, and leave holes between those
    of the next.

    Arguments:
        writes, reads: the windows.
        after: for each read the number of the write that it waits for.
        like: an image of any size with the batch, the channels and the type of this one.
    """

    def __init__(self, writes: Sequence[Window], reads: Sequence[Window], after: Sequence[int], like: Tensor) -> None:
        self._writes, self._reads = writes, reads
        self._written = self._next = 0
        self._strips: list[_Strip] = []
        width = max(columns.stop - columns.start for _, columns in writes)
        count = self._most_at_once(list(accumulate(after, max)))
        self._memory = like.new_empty(count, *like.shape[:-2], _ROWS, width)
        self._free = list(range(count))

    def _most_at_once(self, after: Sequence[int]) -> int:
        """How many strips are kept at a time, of reads that follow these writes."""
        ends = [0] * len(self._writes)  # how many strips are dropped after each write
        most = kept = 0
        for number, window in enumerate(self._writes):
            for _, last in self._to_keep(window):
                ends[max(number, after[last])] += 1
                kept += 1
            most = max(most, kept)
            kept -= ends[number]
        return most

    def _to_keep(self, window: Window) -> Iterator[tuple[Window, int]]:
        """The strips of a window that are still to be read, with their last reads."""
        rows, columns = window
        for top in range(rows.start, rows.stop, _ROWS):
            strip = slice(top, min(top + _ROWS, rows.stop)), columns
            readers = range(len(self._reads) - 1, self._next - 1, -1)
            last = next((number for number in readers if overlap(strip, self._reads[number])), None)
            if last is not None:
                yield strip, last

    def write(self, values: Tensor) -> None:
        """Keep what lies in the next window that is written."""
        window = self._writes[self._written]
        self._written += 1
        for strip, last in self._to_keep(window):
            place = self._free.pop()
            self._values(place, strip).copy_(values[at(_seen_from(strip, window), 1)])
            self._strips.append(_Strip(strip, place, last))

    def read(self) -> Tensor:
        """Give the next window that is read."""
        window = self._reads[self._next]
        shape = [side.stop - side.start for side in window]
        out = self._memory.new_empty(*self._memory.shape[1:-2], *shape)
        for strip in self._strips:
            if overlap(strip.window, window):
                both = _both(strip.window, window)
                values = self._values(strip.place, strip.window)
                out[at(_seen_from(both, window), 1)] = values[at(_seen_from(both, strip.window), 1)]
        self.skip()
        return out

    def skip(self) -> None:
        """Go over the next window that is read without giving it."""
        self._next += 1
        self._free.extend(strip.place for strip in self._strips if strip.last < self._next)
        self._strips = [strip for strip in self._strips if strip.last >= self._next]

    def _values(self, place: int, window: Window) -> Tensor:
        """The memory of a strip."""
        rows, columns = (side.stop - side.start for side in window)
        return self._memory[place, ..., :rows, :columns]


def overlap(a: Window, b: Window) -> bool:
    """Say whether two windows have pixels in common."""
    return all(one.start < other.stop and other.start < one.stop for one, other in zip(a, b, strict=True))


def inside(a: Window, b: Window) -> bool:
    """Say whether all of ``a`` lies in ``b``."""
    return all(other.start <= one.start and one.stop <= other.stop for one, other in zip(a, b, strict=True))


def _both(a: Window, b: Window) -> Window:
    rows, columns = (
        slice(max(one.start, other.start), min(one.stop, other.stop)) for one, other in zip(a, b, strict=True)
    )
    return rows, columns


def _seen_from(window: Window, corner: Window) -> Window:
    rows, columns = (
        slice(side.start - first.start, side.stop - first.start) for side, first in zip(window, corner, strict=True)
    )
    return rows, columns
