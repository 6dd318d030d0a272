"""The study of rates: photos as LR files beside codecs at full size, with and without an artefact filter behind them.

Rows lie in one file, one for each file that was made of a photo, so that a study that was stopped goes on; tables and
the figure are made of rows alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from coscale.errors import CoscaleError, RescalerError
from coscale.evaluate import benchmark_photo
from coscale.files import growing, sha256
from coscale.image import Photo
from coscale.report.page import Cell, Column, Table
from coscale.reproduce.codecs import MOZJPEG, codecs_here, missing
from coscale.reproduce.contenders import FILTERED, IMPROVED, Contenders, Subject, lossy_here, lr_maker
from coscale.reproduce.curves import Compared, Point, compared
from coscale.reproduce.perceptual import GETTING, measures_here
from coscale.reproduce.pictures import Drawing
from coscale.reproduce.plan import StudyPlan
from coscale.reproduce.plots import Kind, Line, rate_curves
from coscale.reproduce.rated import Rated, line_of, read_rated
from coscale.rescalers import find
from coscale.storage import LOSSY
from coscale.weights.load import Loaded, own

RATED = "rates.jsonl"
LOSSY_PAIR, FILTER_PAIR = "coded-x2", "coded-x1"
WHEN = (
    "Lossy LR files are the right tool where the small image is itself wanted, in few bytes, and the large one from "
    "the same file. Where only the large photo is wanted, the codec at full size restores more above the break-even."
)
_PART, _QUICK_PART, _BLOCK = (384, 512), (160, 160), 16  # rows and columns of the middle of a photo, in whole blocks
# What the LR files of each format are compared with, at full size.
_RIVALS: Mapping[str, tuple[str, ...]] = {
    "jpg": ("JPEG", f"JPEG{FILTERED}", MOZJPEG, f"{MOZJPEG}{FILTERED}"),
    "webp": ("WebP", f"WebP{FILTERED}"),
    "avif": ("AVIF", "AVIF, slow", f"AVIF, slow{FILTERED}", "JPEG XL"),
}
_Score = Callable[[Rated], float | None]  # of which more is better
_SCORES: Mapping[str, _Score] = {
    "PSNR-Y": lambda row: row.psnr_y,
    "PSNR-RGB": lambda row: row.psnr_rgb,
    "SSIM": lambda row: row.ssim_y,
    "SSIMULACRA2": lambda row: row.ssimulacra2,
    "Butteraugli": lambda row: None if row.butteraugli is None else -row.butteraugli,
}
_MEETING = ("PSNR-Y", "SSIMULACRA2")  # the scores whose break-even is told, and which are drawn
_ALL = "all"
_MATCHES = tuple(
    (mine, rival)
    for form, rivals in _RIVALS.items()
    for mine in (lr_maker(form, ""), lr_maker(form, IMPROVED))
    for rival in rivals
)
PhotoName = tuple[str, str]  # its set and its file
_Matches = Mapping[tuple[str, str], Mapping[str, Compared]]  # of one photo, by the makers and by the score


@dataclass(frozen=True)
class Rates:
    """What rows say: the tables of sets and of photos, by name, and the curves."""

    tables: dict[str, Table]
    drawing: Drawing


def part_of(photo: Photo, most: tuple[int, int] = _PART) -> Photo:
    """Give the middle of a photo, in whole blocks of 16 pixels, at most so high and wide."""
    rows, columns = (
        slice((side - size) // 2, (side - size) // 2 + size)
        for side, limit in zip(photo.size, most, strict=True)
        for size in [min(side, limit) // _BLOCK * _BLOCK]
    )
    return Photo(photo.pixels[..., rows, columns].contiguous())


def contenders_of(plan: StudyPlan, load: Callable[[str], Loaded]) -> Contenders:
    """Give what is compared here, with the filter where there are weights of it and the measures that are installed.

    Raises RescalerError for weights that were asked for and cannot be used.
    """
    settings = plan.settings
    with_filter = settings.rates.filter is not None or _has_weights(FILTER_PAIR)
    return Contenders(
        codecs=tuple(codecs_here(settings.rates.mozjpeg)),
        lossy=load(LOSSY_PAIR),
        lossless=load(settings.main),
        filter=load(FILTER_PAIR) if with_filter else None,
        measures=measures_here(),
        quick=settings.quick,
    )


def _has_weights(name: str) -> bool:
    try:
        return own(find(name)).is_file()
    except RescalerError:
        return False


def measure(
    plan: StudyPlan,
    contenders: Contenders,
    path: Path,
    tell: Callable[[int, int], None],
    failed: Callable[[CoscaleError], None],
) -> list[Rated]:
    """Measure the photos of a plan, one after the other, and give their rows.

    Arguments:
        plan: which photos.
        contenders: what is made of each.
        path: the file of rows; those in it are not measured again, but where a measure is new.
        tell: called with the files that are measured and those there are so far.
        failed: told of each photo or file that cannot be measured, while the rest goes on.

    Raises DataError where the file does not hold such rows, and where there is no photo.
    """
    kept = read_rated(path) if path.exists() else {}
    photos, found = plan.rated(), []
    limits = _QUICK_PART if plan.settings.quick else _PART
    with growing(path, map(line_of, kept.values())) as write_line:
        for number, (name, image) in enumerate(photos):
            try:
                photo = part_of(benchmark_photo(image, _BLOCK), limits)
                subject = Subject(name, image.name, sha256(image), photo)
            except CoscaleError as error:
                failed(error)
                continue
            makings = list(contenders.of(photo))
            for done, making in enumerate(makings, 1):
                try:
                    row = kept.get(making.identity(subject))
                    if row is None or not row.has(contenders.measures) or row.size != photo.size:
                        row = contenders.rate(subject, making)
                        write_line(line_of(row))
                    found.append(row)
                except CoscaleError as error:
                    failed(error)
                tell(number * len(makings) + done, len(photos) * len(makings))
    return found


def missing_of(contenders: Contenders) -> str:
    """Give a sentence on what this machine lacks and the study could compare; nothing where it lacks nothing."""
    lacking = missing(contenders.codecs)
    lacking += [f"LR {storage.name}" for storage in LOSSY if storage not in lossy_here()]
    lacking += [] if contenders.filter else [f"codecs behind a filter, which needs weights of {FILTER_PAIR}"]
    lacking += [about for name, about in GETTING.items() if name not in contenders.measures]
    return f"Not measured, as they are not here: {'; '.join(lacking)}." if lacking else ""


def rates(rows: Iterable[Rated], lacking: str = "") -> Rates | None:
    """Give the tables and the curves of rows, of each photo and file the last; None without any."""
    photos: dict[PhotoName, list[Rated]] = defaultdict(list)
    for row in {(row.set, row.image, row.maker, row.quality): row for row in rows}.values():
        photos[row.set, row.image].append(row)
    if not photos:
        return None
    sets: dict[str, list[PhotoName]] = defaultdict(list)
    for photo in photos:
        sets[photo[0]].append(photo)
    groups = {**sets, **({_ALL: list(photos)} if len(sets) > 1 else {})}
    found = {photo: _matches(rows) for photo, rows in photos.items()}
    by_set = {group: [found[photo] for photo in of] for group, of in groups.items()}
    by_photo = {f"{of}/{name}": [found[of, name]] for of, name in photos}
    note = f"Medians over photos. {_HOW} {lacking}".strip()
    tables = {
        "rates": _table("Bits at equal scores", "set", by_set, note),
        "rates-photos": _table("Bits at equal scores, photo by photo", "photo", by_photo, _HOW),
    }
    whole = _whole(photos.values())
    about = f"Means over {len(whole)} photos. {lacking}".strip()
    return Rates(tables, Drawing("rates", "Rate and score", about, rate_curves(_panels(whole)), drawn=True))


_HOW = (
    "By how many percent the bytes of an LR file differ from the rival's at equal scores: Bjontegaard's delta of the "
    "rate with piecewise cubic interpolation, over the scores that both reach. Break-even: the bits a pixel of the "
    "rival from which on the LR file needs more; where the curves do not cross, the end of what was compared."
)


def _matches(rows: Sequence[Rated]) -> _Matches:
    """What the rows of a photo say of each match, by the scores that both makers reach."""

    def found(mine: str, rival: str) -> dict[str, Compared]:
        each = {score: compared(_curve(rows, mine, of), _curve(rows, rival, of)) for score, of in _SCORES.items()}
        return {score: one for score, one in each.items() if one is not None}

    return {(mine, rival): found(mine, rival) for mine, rival in _MATCHES}


def _table(title: str, what: str, groups: Mapping[str, Sequence[_Matches]], note: str) -> Table:
    columns = (
        Column(what),
        Column("LR file"),
        Column("against"),
        Column("photos", 0, about="in which both reach common scores of luma"),
        *(Column(name, 0, signed=True, about="difference of the bytes in percent") for name in _SCORES),
        *(Column(f"break-even, {name}", 2, about="bits a pixel of the rival") for name in _MEETING),
    )
    cells: list[tuple[Cell, ...]] = []
    for group, photos in groups.items():
        for match in _MATCHES:
            found = {score: [photo[match][score] for photo in photos if score in photo[match]] for score in _SCORES}
            if any(found.values()):
                deltas = (_median(each.rate for each in found[score]) for score in _SCORES)
                meets = (_median(each.meets for each in found[score]) for score in _MEETING)
                cells.append((group, *match, len(found["PSNR-Y"]), *deltas, *meets))
    return Table(title, columns, tuple(cells), note)


def _curve(rows: Iterable[Rated], maker: str, score: _Score) -> list[Point]:
    return [(row.bits, value) for row in rows if row.maker == maker and (value := score(row)) is not None]


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _whole(photos: Iterable[Sequence[Rated]]) -> list[Sequence[Rated]]:
    """The photos of which everything has been measured that was of any."""
    found = list(photos)
    most = max(map(len, found))
    return [rows for rows in found if len(rows) == most]


def _panels(photos: Sequence[Sequence[Rated]]) -> dict[str, dict[str, Line]]:
    """The mean curves of some scores: of a codec in several forms the one that is best for PSNR."""
    makers = {row.maker for row in photos[0]}
    panels: dict[str, dict[str, Line]] = {}
    for score in _MEETING:
        lines: dict[str, Line] = {}
        for family, form in enumerate(_RIVALS):
            rival = next((name for name in _DRAWN[form] if name in makers), None)
            kinds: tuple[tuple[str | None, Kind], ...] = (
                (rival, "plain"),
                (f"{rival}{FILTERED}", "dashed"),
                (lr_maker(form), "marked"),
            )
            for name, kind in kinds:
                if name in makers:
                    lines[name] = Line(_mean_curve(photos, name, _SCORES[score]), family, kind)
        for name in sorted(name for name in makers if name == "JPEG XL" or name.startswith("LR png")):
            lines[name] = Line(_mean_curve(photos, name, _SCORES[score]), len(_RIVALS), "plain")
        lines = {name: line for name, line in lines.items() if line.points}
        if lines:
            panels[score] = lines
    return panels


_DRAWN: Mapping[str, tuple[str, ...]] = {"jpg": (MOZJPEG, "JPEG"), "webp": ("WebP",), "avif": ("AVIF, slow", "AVIF")}


def _mean_curve(photos: Sequence[Sequence[Rated]], maker: str, score: _Score) -> list[Point]:
    """Bits of all photos a pixel, and the mean score, at each quality."""
    by_quality: dict[float, list[Rated]] = defaultdict(list)
    for rows in photos:
        for row in rows:
            if row.maker == maker:
                by_quality[row.quality].append(row)
    points = []
    for rows in by_quality.values():
        values = [value for row in rows if (value := score(row)) is not None]
        if len(values) == len(photos):
            area = sum(row.height * row.width for row in rows)
            points.append((8 * sum(row.bytes for row in rows) / area, fmean(values)))
    return sorted(points)
