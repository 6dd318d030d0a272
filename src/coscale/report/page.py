"""One HTML page that holds a whole report: tables, figures, and photos to compare; it needs no network."""

import base64
import math
import re
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from coscale.errors import OutputError
from coscale.files import replacing

Cell = str | float | int | None
LONG = 30  # rows; tables of more are folded and get a filter
FINDINGS, PHOTOS = "findings", "photos"  # ids of parts that are no Section
_TAKEN = ("content", "summary", FINDINGS, PHOTOS)
_WEBP_SIDE = 16383
_MISSING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Column:
    """The head of a column; ``digits`` after the point make it one of numbers, None one of text."""

    title: str
    digits: int | None = None
    signed: bool = False
    about: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under columns, in the order they are shown until somebody sorts them; None and NaN are missing."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing, as ``svg_of`` gives it; it becomes part of the page as it is, so it must come from us."""

    title: str
    svg: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of H x W x 3 bytes, kept without loss unless ``lossy_quality`` (0 to 100) is given."""

    title: str
    image: np.ndarray
    note: str = ""
    lossy_quality: int | None = None


@dataclass(frozen=True, eq=False)
class Version:
    """A photo as one method restored it, of H x W x 3 bytes; ``note`` says how well."""

    label: str
    note: str
    image: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Versions of one photo, all of one size, the original first."""

    name: str
    versions: tuple[Version, ...]

    def __post_init__(self) -> None:
        if len({version.image.shape for version in self.versions}) != 1:
            raise ValueError(f"the versions of {self.name} are not of one size, or there are none")


@dataclass(frozen=True)
class Finding:
    """A claim and what was measured of it; ``holds`` is None if it could not be measured."""

    claim: str
    holds: bool | None
    measured: str


@dataclass(frozen=True)
class Section:
    """A part of the page with its own entry in the contents; blank lines divide ``text`` into paragraphs."""

    id: str
    title: str
    text: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Report:
    """All of a page, from the top to the bottom; the photos to compare come between findings and sections."""

    title: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    sections: tuple[Section, ...]
    comparisons: tuple[Comparison, ...]

    def __post_init__(self) -> None:
        ids = [section.id for section in self.sections]
        for name, times in Counter(ids).items():
            if times > 1 or name in _TAKEN or not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", name):
                raise ValueError(f"a section cannot have the id {name!r}: it is taken, or not a plain word")


def write_page(report: Report, path: Path) -> int:
    """Write the page and give its size in bytes. Needs jinja2 (extra ``report``)."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise OutputError(f"{path} needs jinja2: pip install 'coscale[report]'") from error

    environment = Environment(
        loader=PackageLoader("coscale.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        zip=zip,
        long=LONG,
        missing=_MISSING,
        findings_id=FINDINGS,
        photos_id=PHOTOS,
        inlined=lambda name: Markup((files("coscale.report") / name).read_text("utf-8")),  # noqa: S704
        shown=_shown,
        sort_value=_sort_value,
        data_url=_data_url,
        paragraphs=_paragraphs,
    )
    template = environment.get_template("page.html.j2")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(template.generate(report=report))
    return path.stat().st_size


def _missing(cell: Cell) -> bool:
    return cell is None or (not isinstance(cell, str) and math.isnan(cell))


def _shown(cell: Cell, column: Column) -> str:
    """A cell as it is read: thousands set apart, a true minus sign, and no sign on what rounds to zero."""
    if cell is None or _missing(cell):
        return _MISSING
    if isinstance(cell, str) or column.digits is None:
        return str(cell)
    size = "\N{INFINITY}" if math.isinf(cell) else f"{abs(cell):,.{column.digits}f}"
    if not size.strip("0.,"):
        return size
    sign = _MINUS if cell < 0 else "+" if column.signed else ""
    return sign + size.replace(",", "\N{NARROW NO-BREAK SPACE}")


def _sort_value(cell: Cell) -> str | None:
    """A number as JavaScript reads it."""
    if cell is None or isinstance(cell, str) or _missing(cell):
        return None
    return repr(float(cell)).replace("inf", "Infinity")


def _data_url(image: np.ndarray, lossy_quality: int | None = None) -> str:
    kind = "WEBP" if max(image.shape[:2]) <= _WEBP_SIDE else "PNG"
    options = {"lossless": True} if lossy_quality is None else {"quality": lossy_quality}
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
