"""Means over a set, and tables for the terminal and for Markdown."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coscale.measurement import Measurement


@dataclass(frozen=True)
class Summary:
    """The number of images, and means over them.

    Infinite PSNRs (equal images) stay infinite in the mean; images too small for an SSIM make it NaN. Rows without a
    value are left out of its mean, as grey images are of chroma's; NaN without any.
    """

    set: str
    rescaler: str
    method: str
    images: int
    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    psnr_cb: float
    psnr_cr: float
    lr_psnr_bicubic: float
    lr_psnr_g: float
    lr_bytes: float
    encode_seconds: float
    decode_seconds: float


def summarise(rows: Iterable[Measurement]) -> list[Summary]:
    """Give one summary for each set, rescaler and method, in the order they come."""
    groups: defaultdict[tuple[str, str, str], list[Measurement]] = defaultdict(list)
    for row in rows:
        groups[row.set, row.rescaler, row.method].append(row)
    return [
        Summary(
            *key,
            len(group),
            psnr_y=_mean(row.scores.psnr_y for row in group),
            ssim_y=_mean(row.scores.ssim_y for row in group),
            psnr_rgb=_mean(row.scores.psnr_rgb for row in group),
            psnr_cb=_mean(row.scores.psnr_cb for row in group),
            psnr_cr=_mean(row.scores.psnr_cr for row in group),
            lr_psnr_bicubic=_mean(row.lr.psnr_bicubic for row in group),
            # Without a method the LR is g's own.
            lr_psnr_g=_mean(math.inf if row.before is None else row.lr.psnr_g for row in group),
            lr_bytes=_mean(row.lr_bytes for row in group),
            encode_seconds=_mean(row.encode_seconds for row in group),
            decode_seconds=_mean(row.decode_seconds for row in group),
        )
        for key, group in groups.items()
    ]


def _mean(values: Iterable[float | None]) -> float:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else math.nan


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give columns aligned by spaces, the first to the left and numbers to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    numeric = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True))
        return "  ".join(parts).rstrip()

    return "\n".join(map(line, cells))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a GitHub table; columns of numbers are aligned to the right."""
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    lines = [list(header), ["---:" if r else "---" for r in right], *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _is_number(text: str) -> bool:
    return text == "" or text.lstrip("+-")[:1].isdigit() or text in ("inf", "nan")
