"""Write the tables of README.md anew from the measurements under results/.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; everything else is left as it is.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coscale.report.tables import markdown_table, summarise

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    """The rows of results/NAME.jsonl."""
    return [json.loads(line) for line in (ROOT / "results" / f"{name}.jsonl").read_text().splitlines()]


def hcd_x2() -> str:
    """The default rescaler at x2 on the benchmark sets, without and with the paper's method.

    The images that have all three rows count; a set of which some have not says so.
    """
    by_kind: dict[tuple[str, str], dict[tuple[str, str], Row]] = {}
    for row in [*rows("bicubic-x2"), *rows("hcd-x2")]:
        by_kind.setdefault((row["rescaler"], row["method"]), {})[row["set"], row["image"]] = row
    kinds = [by_kind["bicubic-x2", "none"], by_kind["irn-x2-4b", "none"], by_kind["irn-x2-4b", "hcd"]]
    table = []
    for name in dict.fromkeys(key[0] for key in kinds[0]):
        images = [key for key in kinds[0] if key[0] == name]
        measured = [key for key in images if all(key in kind for kind in kinds)]
        if not measured:
            continue
        bicubic, none, hcd = (summarise(kind[key] for key in measured)[0] for kind in kinds)
        table.append(
            (
                name if measured == images else f"{name} ({len(measured)} of {len(images)})",
                *(f"{m['psnr_y']:.2f} / {m['ssim_y']:.4f}" for m in (bicubic, none, hcd)),
                f"{hcd['psnr_y'] - none['psnr_y']:+.2f}",
                f"{hcd['psnr_rgb'] - none['psnr_rgb']:+.2f}",
                f"{none['lr_psnr_bicubic']:.1f}",
                f"{hcd['lr_psnr_bicubic']:.1f}",
            )
        )
    header = ("set", "bicubic", "irn-x2-4b", "irn-x2-4b + HCD", "gain Y", "gain RGB", "LR", "LR + HCD")
    return markdown_table(header, table)


TABLES: dict[str, Callable[[], str]] = {"hcd-x2": hcd_x2}


def render(text: str) -> str:
    """README's text with its tables renewed."""
    pattern = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(render(readme.read_text()))
