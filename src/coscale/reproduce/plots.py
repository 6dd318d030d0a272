"""The figures, from images and numbers: crops side by side, sweeps, histograms, courses of the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coscale.report.svg import INK, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = np.ndarray  # H x W x 3, 8 bit
Kind = Literal["plain", "dashed", "marked"]  # of a line
FRAME = "#e62828"


@dataclass(frozen=True, eq=False)
class Panel:
    """An image with a title above and a line below."""

    image: Pixels
    title: str
    note: str = ""


@dataclass(frozen=True)
class Window:
    """A square part of an image, in pixels."""

    top: int
    left: int
    side: int

    def of(self, image: Pixels) -> Pixels:
        return image[self.top : self.top + self.side, self.left : self.left + self.side]


def most_lost(original: Pixels, restored: Pixels, side: int) -> Window:
    """Give the window of ``side`` pixels in which ``restored`` differs most from the original."""
    error = ((original.astype(np.float64) - restored) ** 2).sum(2)
    total = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return Window(int(top), int(left), side)


def crops(rows: Sequence[tuple[Pixels, Window, Sequence[Panel]]]) -> "Figure":
    """Draw each photo whole, with the window marked, and the window of each panel, enlarged without smoothing."""
    from matplotlib.patches import Rectangle

    columns = max(len(panels) for _, _, panels in rows)
    height = 2.1
    figure = _figure((height * 1.25 + columns * height * 0.86, len(rows) * (height + 0.45)))
    grid = figure.add_gridspec(len(rows), 1 + columns, width_ratios=[1.35, *[1] * columns])
    for i, (whole, window, panels) in enumerate(rows):
        axes = figure.add_subplot(grid[i, 0])
        _show(axes, whole)
        axes.add_patch(
            Rectangle((window.left, window.top), window.side, window.side, fill=False, edgecolor=FRAME, linewidth=1.5)
        )
        for j, panel in enumerate(panels):
            axes = figure.add_subplot(grid[i, j + 1])
            _show(axes, window.of(panel.image))
            axes.set_xlabel(f"{panel.title}\n{panel.note}", fontsize=8.5)
    return figure


def panels(rows: Sequence[Sequence[Panel]], side: float = 2.2) -> "Figure":
    """Images in a grid, titles above, notes below."""
    columns = max(map(len, rows))
    figure = _figure((columns * side, len(rows) * (side + 0.35)))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, line in zip(axes, rows, strict=True):
        for place in row[len(line) :]:
            place.set_visible(False)
        for place, panel in zip(row, line, strict=False):
            _show(place, panel.image)
            place.set_title(panel.title, fontsize=9)
            place.set_xlabel(panel.note, fontsize=8.5)
    return figure


def factor_for(after: Pixels, before: Pixels) -> int:
    """Give the whole factor that enlarges a difference so that 99.5% of it fits around mid-grey."""
    change = np.abs(after.astype(np.int16) - before)
    return max(1, int(110 // max(1.0, float(np.quantile(change, 0.995)))))


def amplified(after: Pixels, before: Pixels, factor: int) -> Pixels:
    """Give the difference, ``factor`` times enlarged, around mid-grey."""
    return np.clip(128 + factor * (after.astype(np.int16) - before), 0, 255).astype(np.uint8)


def on_contours(before: Pixels, after: Pixels) -> float:
    """Give what share of the squared change is on the fifth of the pixels with the steepest luma: 0.2 by chance."""
    down, across = np.gradient(before.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))
    steepest = np.hypot(down, across).ravel().argsort(kind="stable")[-(down.size // 5) :]
    change = ((after.astype(np.float64) - before) ** 2).sum(2)
    return float(change.ravel()[steepest].sum() / max(change.sum(), 1e-9))


def sweep(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    label: str,
    good: tuple[float, ...],
    levels: Mapping[str, float],
) -> "Figure":
    """Draw PSNR by a setting, on a logarithmic axis; ``good``: the paper's value or range; ``levels`` are dashed."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = _figure((6.4, 3.8))
    axes = figure.subplots()
    if len(good) == 2:
        axes.axvspan(*good, color=PALETTE[2], alpha=0.15, label="good in the paper", linewidth=0)
    else:
        axes.axvline(*good, color=PALETTE[2], linewidth=6, alpha=0.2, label="good in the paper")
    for (name, points), colour in zip(curves.items(), PALETTE, strict=False):
        axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=name)
    for (name, level), colour in zip(levels.items(), PALETTE[3:], strict=False):
        axes.axhline(level, color=colour, linestyle="--", linewidth=1, label=name)
    axes.set_xscale("log")
    ticks = sorted({x for points in curves.values() for x, _ in points})
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)
    axes.set_ylabel("PSNR-Y, dB")
    axes.legend()
    return figure


def courses(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> "Figure":
    """Give PSNR of what the LR restores to at each iteration: as it is in float, and (dashed) as a file."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure((6.4, 3.8))
    axes = figure.subplots()
    for (name, both), colour in zip(curves.items(), PALETTE, strict=False):
        for values, dash, said in zip(both, ("-", "--"), ("in float", "as a file"), strict=True):
            axes.plot(values, dash, color=colour, label=f"{name}, {said}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel("PSNR of RGB, dB")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


@dataclass(frozen=True)
class Line:
    """A curve of (bits a pixel, score): the ``family`` gives its colour, the ``kind`` how it is drawn.

    Plain ones are thin, dashed ones too, marked ones thick; a curve of one point is a marker.
    """

    points: Sequence[tuple[float, float]]
    family: int
    kind: Kind


def rate_curves(panels: Mapping[str, Mapping[str, Line]]) -> "Figure":
    """Draw the score that names each panel by the bits a pixel, a line a maker, with one legend for all panels."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = _figure((4.4 * len(panels), 5.6))
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    drawn: dict[str, Any] = {}
    for axes, (score, lines) in zip(row, panels.items(), strict=True):
        for name, line in lines.items():
            colour = INK if len(line.points) == 1 else PALETTE[line.family % len(PALETTE)]
            how = {"plain": ("-", 1.1, ""), "dashed": ("--", 1.1, ""), "marked": ("-", 2.4, "o")}[line.kind]
            mark = "s" if len(line.points) == 1 else how[2]
            (found,) = axes.plot(
                *zip(*line.points, strict=True),
                linestyle=how[0],
                linewidth=how[1],
                marker=mark,
                markersize=4,
                color=colour,
                label=name,
            )
            drawn.setdefault(name, found)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.5, 1, 2, 4]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("bits a pixel of the photo")
        axes.set_title(score + (", dB" if score.startswith("PSNR") else ""))
    figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=2 * len(panels))
    return figure


def histogram(groups: Mapping[str, Sequence[float]], x: str) -> "Figure":
    """Say how many images have which value, of each group, in common bins."""
    figure = _figure((6.4, 3.4))
    axes = figure.subplots()
    values = [value for group in groups.values() for value in group]
    bins = np.linspace(min(0.0, *values), max(values) + 1e-6, 18)
    axes.hist(list(groups.values()), bins=list(bins), label=list(groups), color=list(PALETTE[: len(groups)]))
    axes.set_xlabel(x)
    axes.set_ylabel("images")
    axes.legend()
    return figure


def _show(axes: "Axes", image: Pixels) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _figure(size: tuple[float, float]) -> "Figure":
    from matplotlib.figure import Figure  # drawn without a window, and without pyplot's memory of all figures

    return Figure(figsize=size, layout="constrained")
