"""Means over a set, and tables for the terminal and for Markdown."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
MEANS = (
    *("psnr_y", "ssim_y", "psnr_rgb", "psnr_cb", "psnr_cr"),
    *("lr_psnr_bicubic", "lr_psnr_g", "lr_bytes", "encode_seconds", "decode_seconds"),
)


def summarise(rows: Iterable[Row]) -> list[Row]:
    """One row for each set, rescaler and method, in the order they come: the number of images and the means.

    Infinite PSNRs (equal images) stay infinite in the mean; images too small for an SSIM make it NaN. Rows without a
    value are left out of its mean, as grey images are of chroma's; NaN without any.
    """
    groups: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["set"], row["rescaler"], row["method"]].append(row)
    return [
        {"set": name, "rescaler": rescaler, "method": method, "images": len(group)}
        | {key: _mean([_number(row, key) for row in group if key in row]) for key in MEANS}
        for (name, rescaler, method), group in groups.items()
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _number(row: Row, key: str) -> float:
    """The value; what null stands for in a row that was read from JSON, which cannot say infinite."""
    value = row[key]
    if value is None:
        return math.inf if "psnr" in key else math.nan
    return value


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by spaces, the first to the left and numbers to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True))
        return "  ".join(parts).rstrip()

    return "\n".join(map(line, cells))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; columns of numbers are aligned to the right."""
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    lines = [list(header), ["---:" if r else "---" for r in right], *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _is_number(text: str) -> bool:
    return text == "" or text.lstrip("+-")[:1].isdigit() or text in ("inf", "nan")
