"""Write the tables of README.md anew from the measurements under results/.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; everything else is left as it is.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coscale.report.tables import markdown_table, summarise
from coscale.weights.manifest import read_manifest

ROOT = Path(__file__).parents[1]
SETS = {"Set5": 5, "Set14": 14, "BSD100": 100}  # and how many images each has
Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    """The rows of results/NAME.jsonl."""
    return [json.loads(line) for line in (ROOT / "results" / f"{name}.jsonl").read_text().splitlines()]


def scores(psnr: float, ssim: float) -> str:
    """As the field prints them."""
    return f"{psnr:.2f} / {ssim:.4f}"


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
                *(scores(m["psnr_y"], m["ssim_y"]) for m in (bicubic, none, hcd)),
                f"{hcd['psnr_y'] - none['psnr_y']:+.2f}",
                f"{hcd['psnr_rgb'] - none['psnr_rgb']:+.2f}",
                f"{none['lr_psnr_bicubic']:.1f}",
                f"{hcd['lr_psnr_bicubic']:.1f}",
            )
        )
    header = ("set", "bicubic", "irn-x2-4b", "irn-x2-4b + HCD", "gain Y", "gain RGB", "LR", "LR + HCD")
    return markdown_table(header, table)


# PSNR-Y and SSIM-Y of IRN and of CAR & EDSR, as the table in IRN's paper (ECCV 2020) has them; parameters in millions.
PUBLISHED = {
    2: (
        ("IRN x2, published", 1.66, ("43.99 / 0.9871", "40.79 / 0.9778", "41.32 / 0.9876")),
        ("CAR & EDSR x2, published", 51.1, ("38.94 / 0.9658", "35.61 / 0.9404", "33.83 / 0.9262")),
    ),
    4: (
        ("IRN x4, published", 4.35, ("36.19 / 0.9451", "32.67 / 0.9015", "31.64 / 0.8826")),
        ("CAR & EDSR x4, published", 52.8, ("33.88 / 0.9174", "30.31 / 0.8382", "29.15 / 0.8001")),
    ),
}


def shipped(scale: int) -> str:
    """The rescalers in the package at one scale, from the manifest, beside what papers report."""
    table = []
    for name, entry in read_manifest().items():
        if entry.scale == scale:
            quality = [entry.quality[key] for key in SETS]
            means = (scores(q.psnr_y, q.ssim_y) for q in quality)
            training = f"{entry.iterations:,} steps, {entry.seconds / 60:.0f} min"
            likeness = f"{quality[0].lr_psnr_bicubic:.1f}"
            table.append((f"`{name}`", f"{entry.parameters / 1e6:.2f} M", *means, likeness, training))
    table += [(name, f"{millions:.2f} M", *figures, "", "") for name, millions, figures in PUBLISHED[scale]]
    return markdown_table(("rescaler", "parameters", *SETS, "LR, Set5", "trained"), table)


def cell(mean: Row | None, count: int) -> str:
    """PSNR and SSIM of a set; the mean over a part of its ``count`` images is no match for that of all."""
    if mean is None or mean["images"] != count:
        return "not yet measured"
    return scores(mean["psnr_y"], mean["ssim_y"])


def light() -> str:
    """Light pairs with the paper's method beside IRN without it, and what decoding a megapixel takes."""
    hashes = {name: entry.weights_hash for name, entry in read_manifest().items()}
    decoded = {row["rescaler"]: row["median_seconds"] for row in rows("decode")}
    table = []
    for scale in (2, 4):
        for name, method in ((f"light-x{scale}", "none"), (f"light-x{scale}", "hcd"), (f"irn-x{scale}-4b", "none")):
            means = {
                m["set"]: m
                for m in summarise(
                    row
                    for file in ("hcd-x2", "shipped")
                    for row in rows(file)
                    if (row["rescaler"], row["method"], row["weights_hash"]) == (name, method, hashes[name])
                )
            }
            table.append(
                (
                    f"`{name}`" + (" + HCD" if method == "hcd" else ""),
                    *(cell(means.get(key), count) for key, count in SETS.items()),
                    f"{decoded[name]:.2f}",
                )
            )
    return markdown_table(("pair", *SETS, "decode, s"), table)


TABLES: dict[str, Callable[[], str]] = {
    "hcd-x2": hcd_x2,
    "shipped-x2": lambda: shipped(2),
    "shipped-x4": lambda: shipped(4),
    "light": light,
}


def render(text: str) -> str:
    """README's text with its tables renewed."""
    pattern = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(render(readme.read_text()))
