"""An image that is made and read tile by tile, and of which no more is kept than is still to be read."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from coscale.tiles import Window, at

_ROWS = 16  # of a strip; what is kept goes strip by strip


@dataclass(frozen=True)
class _Strip:
    """A part of the image, where it lies, and the number of the last read that needs it."""

    window: Window
    values: Tensor
    last: int


class Rolling:
    """An image that is written in parts, and read in the windows ``reads``, in this order.

    A window is read once all of it has been written; then what no later window has in it is dropped.
    """

    def __init__(self, reads: Sequence[Window]) -> None:
        self._reads = reads
        self._next = 0
        self._strips: list[_Strip] = []

    def write(self, window: Window, values: Tensor) -> None:
        """Keep what lies in ``window``."""
        rows, columns = window
        for top in range(rows.start, rows.stop, _ROWS):
            strip = slice(top, min(top + _ROWS, rows.stop)), columns
            readers = range(len(self._reads) - 1, self._next - 1, -1)
            last = next((number for number in readers if overlap(strip, self._reads[number])), None)
            if last is not None:
                part = values[..., top - rows.start : strip[0].stop - rows.start, :]
                self._strips.append(_Strip(strip, part.clone(), last))

    def read(self) -> Tensor:
        """Give the next window."""
        window = self._reads[self._next]
        within = [strip for strip in self._strips if overlap(strip.window, window)]
        shape = [side.stop - side.start for side in window]
        out = within[0].values.new_empty(*within[0].values.shape[:-2], *shape)
        for strip in within:
            both = _both(strip.window, window)
            out[at(_seen_from(both, window), 1)] = strip.values[at(_seen_from(both, strip.window), 1)]
        self.skip()
        return out

    def skip(self) -> None:
        """Go over the next window without giving it."""
        self._next += 1
        self._strips = [strip for strip in self._strips if strip.last >= self._next]


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
