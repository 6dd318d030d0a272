"""Figures of matplotlib as SVG that is part of a page: its font, its ink, dark or light."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from coscale.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each has a contrast of 3 or more against both the light and the dark paper of the page, and any two are told apart
# with each kind of colour blindness.
PALETTE = ("#3d52e4", "#c9803a", "#119e7b", "#b3297a", "#9583c7", "#6e6614")
INK, SOFT, FAINT = "#000000", "#555555", "#d4d4d4"  # become currentColor and mixes of it with the paper
_SETTINGS: dict[Any, Any] = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.figsize": (7.2, 4.0),
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans"],  # comes with matplotlib; the page's own font is no wider
    "font.size": 10,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "patch.linewidth": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "coscale"}
_NAMESPACE = re.compile(r"\{[^}]*\}")
_FONT = re.compile(r"\bfont: (?P<rest>.*?)(?P<size>[\d.]+px) [^;]*")
_FAMILY = re.compile(r"\bfont-family: [^;]*;? ?")  # matplotlib writes this or the one above, by its version
_COLOUR = re.compile(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})\b")
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")


@contextmanager
def style() -> Iterator[None]:
    """Give the look of all figures, for those drawn inside the block. Needs matplotlib (extra ``report``)."""
    try:
        from cycler import cycler
        from matplotlib import rc_context
    except ImportError as error:
        raise OutputError("figures need matplotlib: pip install 'coscale[report]'") from error
    with rc_context({**_SETTINGS, "axes.prop_cycle": cycler(color=PALETTE)}):
        yield


def svg_of(figure: "Figure", title: str) -> str:
    """Give an ``<svg>`` to put into a page; the same figure and title give the same text.

    Black, white and grey follow the page's ``color`` and ``--paper``, text its font; ``title`` is read out for it.
    Ids carry a hash of the content, so that several drawings on one page do not take each other's.
    """
    from matplotlib import rc_context

    buffer = BytesIO()
    with rc_context(_SVG):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314, it is our own
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", key): value for key, value in element.attrib.items()}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style"):  # matplotlib's style would apply to the whole page
                parent.remove(child)
    _name_ids_apart(root, hashlib.sha256(title.encode() + buffer.getvalue()).hexdigest()[:8])
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", _themed(element.attrib["style"]))
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{float(width) * 4 / 3:.0f}",
        "height": f"{float(height) * 4 / 3:.0f}",
        "role": "img",
        "fill": "currentColor",  # of what names no colour
        "stroke-linejoin": "round",
    }
    name = ElementTree.Element("title")
    name.text = title
    root.insert(0, name)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _name_ids_apart(root: ElementTree.Element, prefix: str) -> None:
    """Put ``prefix`` before the ids that something refers to, and drop the others."""
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {match[1] or match[2] for value in values for match in _REFERENCE.finditer(value)}

    def renamed(match: re.Match[str]) -> str:
        return f"url(#{prefix}-{match[1]})" if match[1] else f"#{prefix}-{match[2]}"

    for element in root.iter():
        name = element.attrib.pop("id", None)
        for key, value in element.attrib.items():
            element.set(key, _REFERENCE.sub(renamed, value))
        if name in used:
            element.set("id", f"{prefix}-{name}")


def _themed(css: str) -> str:
    return _COLOUR.sub(_ink, _FAMILY.sub("", _FONT.sub(_page_font, css)))


def _page_font(match: re.Match[str]) -> str:
    """Size, and weight or slant if there is one, without the family, which is then the page's."""
    words = match["rest"].split()
    parts = [f"font-size: {match['size']}"]
    parts += [f"font-style: {word}" for word in words if word in ("italic", "oblique")]
    parts += [f"font-weight: {word}" for word in words if word.isdigit() or word == "bold"]
    return "; ".join(parts)


def _ink(match: re.Match[str]) -> str:
    red, green, blue = (int(part, 16) for part in match.groups())
    if max(red, green, blue) - min(red, green, blue) > 8:
        return match[0]
    share = round(100 * (1 - green / 255))
    if share in (0, 100):
        return "currentColor" if share else "var(--paper)"
    return f"color-mix(in srgb, currentColor {share}%, var(--paper))"
