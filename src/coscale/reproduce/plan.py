"""What each table and figure needs measured: which images, by which rescaler, with which method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import get_args

from PIL import Image

from coscale.choices import Target
from coscale.collaborate import HCD, PLAIN, Coscale, Method
from coscale.errors import DataError, SettingsError
from coscale.folders import photos_in

TARGETS = get_args(Target)

ALPHAS = (0.01, 0.04, 0.06, HCD.alpha, 0.2)
RADII = (0.05, 0.15, HCD.eps, 0.6, 1.2)
STEPS = (1, 5, 10, 15, 20)
QUICK_ALPHAS, QUICK_RADII, QUICK_STEPS = (0.01, HCD.alpha, 0.2), (0.05, HCD.eps, 1.2), (1, 5, 15)
QUICK_IMAGES, QUICK_PIXELS = 2, 300_000  # a set, and in an image
_OF_CID22 = 24
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's names

BOTH, LR_ONLY, HR_ONLY = HCD(), HCD(hr_steps=0), HCD(lr_steps=0)
ADVERSARIAL = HCD(hr_steps=0, direction="ascent")
OURS = Coscale()
LABELS: dict[Method, str] = {PLAIN: "", BOTH: " + HCD", OURS: " + coscale"}  # what a rescaler's name is given


@dataclass(frozen=True)
class RatesSettings:
    """What the study of rates takes besides the benchmark sets.

    - ``cid22``: a folder of photos, CID22 for example, of which 24 are measured; ``mozjpeg``: the folder of the npm
      package @jsquash/jpeg; ``filter``: a checkpoint of the artefact filter. None goes without, but for a filter whose
      weights are there.
    """

    cid22: Path | None = None
    filter: Path | None = None
    mozjpeg: Path | None = None


@dataclass(frozen=True)
class StudySettings:
    """What is measured.

    ``x2``: the rescaler of tables 2 and 3 and of figures 2, 6 and 7, which the paper has of IRN x2 on Set5. ``x4``: the
    systems of table 1. ``main``: the one of them that pictures are of. ``sets``: those of table 1, or all there are.
    ``quick``: two small images a set, fewer points. ``rates``: for the study of rates. Raises SettingsError when
    ``main`` is none of the systems.
    """

    x2: str = "irn-x2-4b"
    x4: tuple[str, ...] = ("bicubic-x4", "srcnn-x4", "irn-x4-4b", "light-x4")
    main: str = "light-x4"
    sets: tuple[str, ...] = ()
    quick: bool = False
    rates: RatesSettings = RatesSettings()

    def __post_init__(self) -> None:
        if self.main not in self.x4:
            raise SettingsError(f"pictures are of a system of table 1: {self.main} is none of {', '.join(self.x4)}")


QUICK = StudySettings(x2="light-x2", x4=("bicubic-x4", "srcnn-x4", "light-x4"), quick=True)


@dataclass(frozen=True)
class Series:
    """Images of a set to be measured by one rescaler and method."""

    of: str
    images: tuple[Path, ...]
    rescaler: str
    method: Method


@dataclass(frozen=True)
class StudyPlan:
    """The sets that are measured, and the runs of each target."""

    settings: StudySettings
    sets: dict[str, tuple[Path, ...]]

    @property
    def first(self) -> str:
        """Set5, on which the paper has its ablations, or else the first set there is."""
        return next((name for name in self.sets if name.split("-")[0] == "Set5"), next(iter(self.sets)))

    @property
    def chosen(self) -> dict[str, tuple[Path, ...]]:
        """Give the sets of table 1."""
        return {of: images for of, images in self.sets.items() if not self.settings.sets or of in self.settings.sets}

    @property
    def shown(self) -> str:
        """Give the set of table 1 whose photos can be compared."""
        return self.first if self.first in self.chosen else next(iter(self.chosen))

    @property
    def second(self) -> str:
        """Give the set of figure 5: Set14, or else the last set of small images that there is."""
        small = [name for name in self.sets if name.split("-")[0] in ("Set14", "BSD100")]
        return small[0] if small else self.first

    @property
    def large(self) -> tuple[str, tuple[Path, ...]] | None:
        """Give a 2K photo, and the name of its set."""
        name = next((name for name in self.sets if name.startswith("DIV2K")), None)
        return (name, self.sets[name][:1]) if name else None

    @property
    def alphas(self) -> Sequence[float]:
        return QUICK_ALPHAS if self.settings.quick else ALPHAS

    @property
    def radii(self) -> Sequence[float]:
        return QUICK_RADII if self.settings.quick else RADII

    @property
    def steps(self) -> Sequence[int]:
        return QUICK_STEPS if self.settings.quick else STEPS

    def per_pixel(self) -> HCD | None:
        """HCD with step and ball widened so that a pixel of the 2K photo may move as far as one of the first set's."""
        if self.large is None:
            return None
        usual = sum(_pixels(path) for path in self.sets[self.first]) / len(self.sets[self.first])
        factor = round((_pixels(self.large[1][0]) / usual) ** 0.5, 2)
        return HCD(alpha=HCD.alpha * factor, eps=HCD.eps * factor)

    def runs(self, target: Target) -> list[Series]:
        """Give what a target needs, without repetition."""
        s, first = self.settings, self.first
        small = self.sets[first]

        def ablation(*methods: Method) -> list[Series]:
            return [Series(first, small, s.x2, method) for method in methods]

        if target == "table1":
            return [
                Series(of, images, name, method)
                for name in s.x4
                for of, images in self.chosen.items()
                for method in (PLAIN, BOTH, OURS)
            ]
        if target == "table2":
            return ablation(PLAIN, LR_ONLY, HR_ONLY, BOTH)
        if target == "table3":
            return ablation(PLAIN, *(HCD(hr_steps=n, lr_steps=n) for n in self.steps))
        if target == "fig2":
            return [Series(first, self.portrait(first), s.x2, method) for method in (PLAIN, ADVERSARIAL, LR_ONLY)]
        if target == "fig6":
            return ablation(PLAIN, *(HCD(alpha=alpha) for alpha in self.alphas))
        if target == "fig7":
            runs = ablation(PLAIN, *(HCD(eps=eps) for eps in self.radii))
            wide = self.per_pixel()
            if self.large and wide:
                runs += [Series(*self.large, s.main, method) for method in (PLAIN, BOTH, wide, OURS)]
            return runs
        if target == "rates":
            return []  # its rows are of another kind: see ``rated``
        of = self.second if target == "fig5" else first
        images = self.detailed() if target == "fig5" else self.portrait(first) if target == "fig1" else small[:3]
        names = s.x4 if target in ("fig1", "fig5") else (s.main,)
        runs = [Series(of, images, name, PLAIN) for name in names]
        return runs + [Series(of, images, s.main, method) for method in (BOTH, OURS)]

    def rated(self) -> list[tuple[str, Path]]:
        """Give the photos of the study of rates and their sets, one of each set after the other.

        They are those in colour of Set14, DIV2K's and CID22, or else of the first set there is. Raises DataError when
        the folder of CID22 cannot be listed or has none.
        """
        sets = {name: images for name, images in self.sets.items() if name.startswith(("Set14", "DIV2K"))}
        chosen = {name: _in_colour(images) for name, images in sets.items()}
        folder = self.settings.rates.cid22
        if folder is not None:
            photos = _in_colour(photos_in(folder))
            if not photos:
                raise DataError(f"{folder} has no photo in colour; give the folder of CID22's originals")
            most = QUICK_IMAGES if self.settings.quick else _OF_CID22
            count = min(most, len(photos))
            chosen["CID22"] = tuple(photos[len(photos) * number // count] for number in range(count))
        if not any(chosen.values()):
            chosen = {self.first: _in_colour(self.sets[self.first])}
        turns = zip_longest(*([(name, path) for path in images] for name, images in chosen.items()))
        return [photo for turn in turns for photo in turn if photo]

    def portrait(self, of: str) -> tuple[Path, ...]:
        """Give one image with fine detail: the smallest of a set, which in Set5 is the butterfly."""
        return (min(self.sets[of], key=_pixels),)

    def detailed(self) -> tuple[Path, ...]:
        """Three images of the set of figure 5: the last ones, in Set14 the pepper, the slide and the zebra."""
        return self.sets[self.second][-3:]


def plan(settings: StudySettings, found: dict[str, list[Path]]) -> StudyPlan:
    """Give the plan for these sets. A quick one takes the two smallest images of each, and no large ones, under names
    that say so ("Set5-2").

    Raises SettingsError for a set that is not there, or of which nothing is left.
    """
    sets = {name: tuple(paths) for name, paths in found.items()}
    asked = settings.sets
    if unknown := set(asked) - set(sets):
        raise SettingsError(f"there is no {', '.join(sorted(unknown))} here; there are {', '.join(sets)}")
    if settings.quick:
        small = {name: tuple(path for path in paths if _pixels(path) <= QUICK_PIXELS) for name, paths in sets.items()}
        if missing := [name for name in (asked or sets) if asked and not small[name]] or not any(small.values()):
            lost = ", ".join(missing) if isinstance(missing, list) else "what is here"
            raise SettingsError(f"{lost} has no image of {QUICK_PIXELS / 1e6:g} megapixels or less; leave out --quick")
        names = {name: f"{name.split('-')[0]}-{QUICK_IMAGES}" for name in small if len(sets[name]) > QUICK_IMAGES}
        asked = tuple(names.get(name, name) for name in asked)
        sets = {
            names.get(name, name): tuple(sorted(sorted(paths, key=_pixels)[:QUICK_IMAGES]))
            for name, paths in small.items()
            if paths
        }
    return StudyPlan(replace(settings, sets=asked), sets)


def _in_colour(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Those that are in colour, as far as their headers say; of what cannot be opened one is told when it is read."""

    def has_colour(path: Path) -> bool:
        try:
            with Image.open(path) as image:
                return image.mode not in _GREY
        except OSError:
            return True

    return tuple(path for path in paths if has_colour(path))


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height
