"""Images in strips of rows, for what is done row by row and should take little memory by the way."""

from collections.abc import Iterator

_PIXELS = 2**18


def strips(height: int, width: int, pixels: int = _PIXELS, least: int = 1) -> Iterator[slice]:
    """Give the rows of an image, one strip after the other.

    Arguments:
        height, width: of the image, in pixels.
        pixels: about how many a strip has.
        least: the fewest rows of a strip, but for the last one.
    """
    rows = max(least, pixels // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
