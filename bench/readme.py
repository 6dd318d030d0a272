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
    """The rows of results/NAME.jsonl; null stands for what was not finite."""
    lines = (ROOT / "results" / f"{name}.jsonl").read_text().splitlines()
    infinite = {"lr_psnr_bicubic": float("inf")}
    return [{key: infinite.get(key) if value is None else value for key, value in json.loads(x).items()} for x in lines]


def hcd_x2() -> str:
    """The default rescaler at x2 on the benchmark sets, without and with the paper's method."""
    means = {(m["set"], m["rescaler"], m["method"]): m for m in summarise([*rows("bicubic-x2"), *rows("hcd-x2")])}
    table = []
    for name in dict.fromkeys(key[0] for key in means if key[2] == "hcd"):
        bicubic = means[name, "bicubic-x2", "none"]
        none, hcd = means[name, "irn-x2-4b", "none"], means[name, "irn-x2-4b", "hcd"]
        table.append(
            (
                name,
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
