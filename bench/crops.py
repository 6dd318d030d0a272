"""python -m bench.crops FROM TO: the middle 320 x 320 pixels of each photo of a folder, as PNG in another."""

import sys
from pathlib import Path

from coscale.image import SUFFIXES, Photo, read, write

SIDE = 320


def main(source: Path, target: Path) -> None:
    for path in sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES):
        colour = read(path).colour
        top, left = ((side - SIDE) // 2 for side in colour.shape[-2:])
        write(target / f"{path.stem}.png", Photo(colour[..., top : top + SIDE, left : left + SIDE].contiguous()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
