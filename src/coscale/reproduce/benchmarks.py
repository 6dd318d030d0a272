"""Finding the benchmark sets in a folder, whatever its folders are called: by the sizes and the number of images.

Downloads of the sets differ in their names, their nesting and whether sides are cropped to multiples of the scales; an
image may be named after what it shows, by a number, or with HR at its end beside its own LR images.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from coscale.errors import DataError
from coscale.files import check_regular
from coscale.folders import is_hidden, photos_in

_CROP = 12  # sides are compared as cropped to a multiple of all usual scales
Size = tuple[int, int]
# (width, height) as published, before cropping.
_SET5: tuple[Size, ...] = ((512, 512), (288, 288), (256, 256), (280, 280), (228, 344))
_SET14: tuple[Size, ...] = (
    *((500, 480), (720, 576), (512, 512), (352, 288), (250, 361), (276, 276), (500, 362)),
    *((352, 288), (512, 512), (512, 512), (768, 512), (512, 512), (529, 656), (586, 391)),
)
_BSD: tuple[Size, ...] = ((481, 321), (321, 481))
EXPECTED = (
    "the benchmark sets, one folder each, with the original (HR) images in it, for example DIR/Set5/*.png, "
    "DIR/Set14/*.png, DIR/BSD100/*.png, DIR/Urban100/*.png, DIR/DIV2K_valid_HR/0801.png"
)


@dataclass(frozen=True)
class Found:
    """The images of each set, by the name it is reported under, and sentences on what was left."""

    sets: dict[str, list[Path]]
    notes: tuple[str, ...]


def find_benchmarks(root: Path) -> Found:
    """Give the benchmark sets anywhere below ``root``.

    A set of which only some images are there is reported under a name of its own: "Urban100-10" has 10 of the 100.
    Raises DataError, with the layout that is expected, when there is none.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give one that holds {EXPECTED}")
    root = root.resolve()
    best: dict[str, tuple[int, Path, list[Path]]] = {}
    notes = []
    below = (path for path in root.rglob("*") if not any(map(is_hidden, path.relative_to(root).parts)))
    folders = sorted(path for path in (root, *below) if path.is_dir())
    for folder in folders:
        try:
            images = _originals(photos_in(folder))
        except DataError as error:
            notes.append(f"{error}; left out")
            continue
        sizes = _sizes(images)
        notes += [f"{path} is no image; left out" for path in images if path not in sizes]
        if not sizes:
            continue
        name = _recognise("/".join(folder.parts[-3:]), list(sizes), list(sizes.values()))
        if name is None:
            notes.append(
                f"{folder} is no benchmark set by its images, or holds LR images, which are made here; left out"
            )
            continue
        pixels = sum(width * height for width, height in sizes.values())
        if name in best:
            other = folder if best[name][0] >= pixels else best[name][1]
            notes.append(f"{other} is {name} once more; left out")
        if name not in best or best[name][0] < pixels:
            best[name] = pixels, folder, list(sizes)
    if not best:
        raise DataError(f"there is no benchmark set in {root}; give a folder that holds {EXPECTED}")
    return Found({name: paths for name, (_, _, paths) in sorted(best.items(), key=_in_the_papers_order)}, tuple(notes))


def _in_the_papers_order(item: tuple[str, object]) -> tuple[int, str]:
    names = ("Set5", "Set14", "BSD100", "Urban100", "DIV2K")
    return next(i for i, name in enumerate(names) if item[0].split("-")[0] == name), item[0]


def _originals(paths: Sequence[Path]) -> list[Path]:
    """Without the LR images that some downloads keep beside their HR images; then the names say which is which."""
    stems = {path.stem for path in paths}
    partners = {re.sub(r"LR$", mark, stem) for stem in stems if stem.endswith("LR") for mark in ("HR", "GT")}
    marked = [path for path in paths if path.stem in partners]
    return marked or list(paths)


def _sizes(paths: Sequence[Path]) -> dict[Path, Size]:
    """(width, height) of those that are images."""
    sizes = {}
    for path in paths:
        try:
            check_regular(path)
            with Image.open(path) as image:
                sizes[path] = image.size
        except (OSError, UnidentifiedImageError):
            continue
    return sizes


def _cropped(sizes: Sequence[Size]) -> Counter[Size]:
    return Counter((width - width % _CROP, height - height % _CROP) for width, height in sizes)


def _recognise(folder: str, paths: Sequence[Path], sizes: Sequence[Size]) -> str | None:
    """The name of the set that these images are, or a part of; of a part of one, the folder must say which."""
    cropped, count = _cropped(sizes), len(sizes)
    called = re.sub(r"[^a-z0-9/]", "", folder.lower())
    for name, known in (("Set5", _SET5), ("Set14", _SET14)):
        if cropped == _cropped(known):
            return name
        if name.lower() in called and cropped <= _cropped(known):
            return f"{name}-{count}"
    if set(cropped) <= set(_cropped(_BSD)) and (count == 100 or re.search("bsds?100|b100", called)):
        return _partly("BSD100", count, "BSD100")
    stems = [path.stem for path in paths]
    if all(re.fullmatch(r"0(8\d\d|900)(_?HR)?", stem) for stem in stems) and {max(size) for size in sizes} == {2040}:
        return _partly("DIV2K", count, "DIV2K-valid")
    numbered = all(re.match(r"img_?\d{3}", stem) for stem in stems)
    if numbered and (count == 100 or "urban100" in called) and all(1000 < max(size) <= 1280 for size in sizes):
        return _partly("Urban100", count, "Urban100")
    return None


def _partly(whole: str, count: int, part: str) -> str:
    return whole if count == 100 else f"{part}-{count}"
