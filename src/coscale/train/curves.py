"""A picture of how a run goes."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coscale.files import replacing

PANELS = (
    ("error", "mean absolute error, training", "log"),
    ("psnr_y", "PSNR-Y in dB, validation", "linear"),
    ("lr_psnr", "LR against bicubic in dB, validation", "linear"),
    ("learning_rate", "learning rate", "linear"),
)


def can_draw() -> bool:
    """Say whether matplotlib (extra ``report``) is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot the rows of a log over their steps into a PNG. Needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    steps = [row["step"] for row in rows]
    for axes, (key, title, kind) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        axes.plot(
            steps, [row[key] for row in rows], color="#1f6feb", linewidth=1.5, marker="." if len(rows) < 30 else ""
        )
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_yscale(kind)
        axes.grid(alpha=0.3, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(left=0)
    figure.supxlabel("step", fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
