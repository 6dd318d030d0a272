"""Write the tables of README.md and docs/method.md anew from the measurements under results/.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; everything else is left as it is.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

from coscale.collaborate import HCD, Coscale
from coscale.report.tables import markdown_table
from coscale.reproduce import paper
from coscale.weights.manifest import read_manifest

ROOT = Path(__file__).parents[1]
SETS = {"Set5": 5, "Set14": 14, "BSD100": 100}  # and how many images each has
LARGE = {"Urban100_10": 10, "DIV2K_valid_4": 4, "DIV2K_crops": 4}
Row = dict[str, Any]


@cache
def rows(name: str) -> list[Row]:
    """The rows of results/NAME.jsonl."""
    return [json.loads(line) for line in (ROOT / "results" / f"{name}.jsonl").read_text().splitlines()]


def scores(psnr: float, ssim: float) -> str:
    """As the field prints them."""
    return f"{psnr:.2f} / {ssim:.4f}"


# What a row of results/methods.jsonl was measured with: its method and its arguments.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "HCD": ("hcd", asdict(HCD()) | {"precision": "bfloat16"}),
    "coscale": ("coscale", asdict(Coscale()) | {"precision": "bfloat16"}),
    "W = 0": ("coscale", asdict(Coscale(luma=0)) | {"precision": "bfloat16"}),
    "fast": ("coscale", asdict(Coscale("fast")) | {"precision": "bfloat16"}),
    "best": ("coscale", asdict(Coscale("best")) | {"precision": "bfloat16"}),
}


def measured(rescaler: str, of: str, kind: str) -> dict[str, Row]:
    """The rows of one set by image; of a rescaler in the package, those of the weights that are there now."""
    method, arguments = KINDS[kind]
    entry = read_manifest().get(rescaler)
    return {
        row["image"]: row
        for row in rows("methods")
        if (row["set"], row["rescaler"], row["method"], row["arguments"]) == (of, rescaler, method, arguments)
        and (entry is None or row["weights_hash"] == entry.weights_hash)
    }


def gain(rows: Iterable[Row], key: str) -> float:
    """The mean gain over no method; images of which either side is infinite, or missing (grey has no Cb), are out."""
    pairs = [(row.get(key), row["before"].get(key)) for row in rows]
    return fmean([after - before for after, before in pairs if after is not None and before is not None])


def gains(rows: Iterable[Row], *keys: str) -> str:
    rows = list(rows)
    return " ".join(f"{gain(rows, key):+.2f}" for key in keys)


def time_share(ours: dict[str, Row], theirs: dict[str, Row]) -> float:
    """Of the time that the other method took to encode, the median over the images."""
    return median(row["encode_seconds"] / theirs[image]["encode_seconds"] for image, row in ours.items())


def against_paper(rescaler: str) -> str:
    """What HCD and coscale add to a rescaler on each set that is measured whole, and in which part of HCD's time."""
    table = []
    for of, count in (SETS | LARGE).items():
        none, hcd, ours = (measured(rescaler, of, kind) for kind in ("none", "HCD", "coscale"))
        if not len(none) == len(ours) == count:
            continue
        cells = [of, scores(*(fmean(row[key] for row in none.values()) for key in ("psnr_y", "ssim_y")))]
        both = [hcd, ours] if len(hcd) == count else [ours]
        found = [gains(rows.values(), "psnr_y", "psnr_rgb", "psnr_cb", "psnr_cr") for rows in both]
        cells += found if len(both) == 2 else ["not measured", *found]
        ratio = gain(ours.values(), "psnr_y") / gain(hcd.values(), "psnr_y") if len(both) == 2 else 0
        cells.append(f"{ratio:.1f}" if ratio else "")
        cells.append(" / ".join(f"{fmean(row['ssim_y'] for row in rows.values()):.4f}" for rows in both))
        cells.append(" / ".join(f"{fmean(row['lr_psnr_g'] for row in rows.values()):.1f}" for rows in both))
        cells.append(f"{time_share(ours, hcd):.2f}" if ratio else "")
        table.append(cells)
    header = (f"{rescaler} on", "alone", "HCD", "coscale", "Y, times", "SSIM-Y", "LR against g's", "time")
    return markdown_table(header, table)


def efforts() -> str:
    """The gain of each effort, and of a loss without luma, as far as it is measured."""
    table = []
    for rescaler in read_manifest():
        for of, count in SETS.items():
            found = {kind: measured(rescaler, of, kind) for kind in KINDS if kind != "none"}
            if len(found["HCD"]) != count or len(found["fast"]) != count:
                continue
            cells = [rescaler, of]
            for kind in ("fast", "coscale", "best", "W = 0"):
                group = found[kind]
                if len(group) != count:
                    cells.append("")
                    continue
                share = time_share(group, found["HCD"])
                cells.append(f"{gains(group.values(), 'psnr_y', 'psnr_rgb')} in {share:.2f}")
            table.append(cells)
    return markdown_table(("rescaler", "set", "fast", "balanced", "best", "balanced, W = 0"), table)


def luma() -> str:
    """What the weight of Y's error does to the colours."""
    by_weight: dict[float, list[Row]] = {}
    for row in rows("luma"):
        by_weight.setdefault(row["arguments"]["luma"], []).append(row)
    table = [
        (f"{weight:g}", *(gains(found, key) for key in ("psnr_y", "psnr_rgb", "psnr_cb", "psnr_cr")))
        for weight, found in sorted(by_weight.items())
    ]
    return markdown_table(("W", "Y", "RGB", "Cb", "Cr"), table)


def study(rescaler: str, group: str) -> str:
    table = [
        (
            row["variant"],
            str(row["passes"]),
            *(f"{row[key]:+.2f}" for key in ("y", "cb", "cr", "rgb", "y_not_rounded")),
            f"{row['lr_psnr_g']:.1f}",
        )
        for row in rows("study")
        if (row["rescaler"], row["group"]) == (rescaler, group)
    ]
    return markdown_table(("", "passes", "Y", "Cb", "Cr", "RGB", "Y, not rounded", "LR"), table)


def pages() -> str:
    """What the methods do to the flat areas of drawn pages."""
    table = [
        (
            row["page"],
            row["rescaler"],
            row["method"],
            f"{row['psnr_y']:.2f} / {row['ssim_y']:.4f}",
            f"{row['psnr_rgb']:.2f}",
            *(f"{row[f'{area}_rms']:.2f}, {row[f'{area}_most']}" for area in ("flat", "all")),
        )
        for row in rows("pages")
    ]
    return markdown_table(("page", "rescaler", "method", "Y", "RGB", "LR moved, flat areas", "LR moved, all"), table)


def graphics() -> str:
    """How the colours of drawn pages come back."""
    exact = {row["page"] for row in rows("graphics") if row["psnr"] is None}  # pages of one colour, by bicubic
    table = []
    for rescaler, way in dict.fromkeys((row["rescaler"], row["way"]) for row in rows("graphics")):
        found = [row for row in rows("graphics") if (row["rescaler"], row["way"]) == (rescaler, way)]
        mean, worst = (fmean(row[key] for row in found) for key in ("mean", "worst"))
        quality = fmean(row["psnr"] for row in found if row["page"] not in exact)
        shares = [f"{fmean(row[key] for row in found):.0%}" for key in ("corrected", "bicubic") if key in found[0]]
        most = max(row["worst"] for row in found)
        numbers = f"{mean:.2f}", f"{worst:.2f}", f"{most:.1f}", f"{quality:.2f}"
        table.append((rescaler, way, *numbers, *(shares or ["", ""])))
    header = ("rescaler", "way", "mean", "worst", "worst of all", "PSNR", "corrected", "left to bicubic")
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


def decoding() -> str:
    """What decoding a megapixel takes."""
    table = [
        (row["rescaler"], *(f"{row[key]:.2f}" for key in ("median_seconds", "plain_seconds", "times_faster")))
        for row in rows("decode")
    ]
    return markdown_table(("rescaler", "seconds", "plain", "times faster"), table)


def encoding() -> str:
    """What encoding takes, against the plain paper loop."""
    table = []
    for row in rows("encode"):
        seconds, gained = row["median_seconds"], row["gain_rgb"]
        cells = [f"{seconds[key]:.1f} s, {gained[key]:+.2f}" for key in ("HCD, plain", "HCD", "fast", "balanced")]
        ratio = f"{row['times_faster_to_the_papers_gain']:.1f}"
        table.append((row["rescaler"], *cells, ratio, f"{row['times_faster_step']:.1f}"))
    header = ("rescaler", "HCD, plain", "HCD", "fast", "balanced", "times faster to HCD's gain", "times faster, a step")
    return markdown_table(header, table)


def growth() -> str:
    """Seconds and peak memory of the command as photos grow."""
    table = [
        (
            row["rescaler"],
            f"{row['megapixels']:.2f}",
            f"{row['encode_seconds'] / row['megapixels']:.2f}",
            f"{row['encode_gib']:.2f}",
            f"{row['decode_seconds'] / row['megapixels']:.2f}",
            f"{row['decode_gib']:.2f}",
        )
        for row in sorted(rows("memory"), key=lambda row: (row["rescaler"], row["megapixels"]))
    ]
    header = ("rescaler", "megapixels", "encode, s / MP", "encode, GiB", "decode, s / MP", "decode, GiB")
    return markdown_table(header, table)


def seams() -> str:
    """What working in tiles changes."""
    table = [
        (
            row["rescaler"],
            f"{row['tile']}, {row['halo']}",
            f"{row['decode_share_of_values_apart']:.1e}, {row['decode_most_grey_levels_apart']}",
            f"{row['encode_psnr_tiled_less_whole']:+.3f}",
            f"{row['encode_error_at_borders']:.3f}",
        )
        for row in rows("seams")
    ]
    return markdown_table(("rescaler", "tile, halo", "decode: share, most", "encode: dB", "encode: borders"), table)


def precision() -> str:
    """The gain by gradients in bfloat16 against that by gradients in float32."""
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows("precision"):
        groups.setdefault((row["rescaler"], row["set"]), {}).setdefault(row["arguments"]["precision"], []).append(row)
    table = [
        (name, of, *(gains(found[kind], "psnr_y", "psnr_rgb") for kind in ("float32", "bfloat16")))
        for (name, of), found in groups.items()
    ]
    return markdown_table(("rescaler", "set", "float32: Y RGB", "bfloat16: Y RGB"), table)


# What was measured here in the place of each system of the paper's Table 1, and whose weights that has.
STANDS_FOR = {
    paper.BICUBIC: ("bicubic-x4", ""),
    "Bicubic & SRCNN": ("srcnn-x4", "our weights"),
    "Bicubic & CRAFT, not in the paper": ("bicubic+CRAFT", "the authors' weights"),
    paper.IRN: ("irn-x4-4b", "our weights"),
    "light, not in the paper": ("light-x4", "our weights"),
}


def table_1() -> str:
    """The systems of the paper's Table 1 at x4: its figures, and ours without a method, with HCD and with coscale."""

    def published(scores_of: dict[str, dict[str, paper.Score]], system: str, of: str) -> str:
        score = scores_of.get(system, {}).get(of)
        return f"{score.psnr:.2f} / {f'{score.ssim:.4f}' if score.ssim else '-'}" if score else ""

    table = []
    for system in dict.fromkeys((*paper.TABLE_1, *STANDS_FOR)):
        name, origin = STANDS_FOR.get(system, (None, ""))
        for of in ("Set5", "Set14"):
            cells = [system, of, published(paper.TABLE_1, system, of), published(paper.TABLE_1_HCD, system, of)]
            found = {kind: measured(name, of, kind) for kind in ("none", "HCD", "coscale")} if name else {}
            if not found or len(found["none"]) != SETS[of]:
                missing = "not measured" if name else "no weights here"
                table.append([*cells, missing, "", "", ""])
                continue
            alone = scores(*(fmean(row[key] for row in found["none"].values()) for key in ("psnr_y", "ssim_y")))
            gained = [
                gains(found[kind].values(), "psnr_y", "psnr_rgb") if len(found[kind]) == SETS[of] else ""
                for kind in ("HCD", "coscale")
            ]
            table.append([*cells, alone, *gained, f"`{name}`" + (f", {origin}" if origin else "")])
    header = ("system", "set", "paper", "paper + HCD", "here", "HCD: Y RGB", "coscale: Y RGB", "measured")
    return markdown_table(header, table)


def leaks() -> str:
    """Memory after 20 and after 200 photos; of each way and code the last row."""
    last = {(row["way"], row["code"]): row for row in rows("leaks")}
    table = [
        (way, code, f"{row['mb_at_20']:.0f}", f"{row['mb_at_200']:.0f}") for (way, code), row in sorted(last.items())
    ]
    return markdown_table(("way", "code", "MB after 20", "MB after 200"), table)


def batch() -> str:
    """What `coscale batch` does an hour, by each engine and number of workers."""
    table = [
        (row["engine"], str(row["workers"]), f"{row['photos_an_hour']:,}", f"{row['first_seconds']:.1f}")
        for row in rows("batch")
    ]
    return markdown_table(("engine", "workers", "photos an hour", "seconds until each worker has done one"), table)


def findings() -> str:
    """What the last run of `coscale reproduce all` says of the paper's findings."""
    return (ROOT / "results" / "paper" / "findings.md").read_text().rstrip()


TABLES: dict[str, Callable[[], str]] = {
    "findings": findings,
    "batch": batch,
    "shipped-x2": lambda: shipped(2),
    "shipped-x4": lambda: shipped(4),
    "table-1": table_1,
    "decoding": decoding,
    "encoding": encoding,
    "growth": growth,
    "leaks": leaks,
    "seams": seams,
    "precision": precision,
    "efforts": efforts,
    "luma": luma,
    "pages": pages,
    "graphics": graphics,
    **{f"paper-{name}": partial(against_paper, name) for name in ("light-x2", "light-x4", "irn-x2-4b", "irn-x4-4b")},
    **{
        f"study-{name}-{group}": partial(study, name, group)
        for name in ("light-x2", "light-x4")
        for group in ("step", "rounding", "start", "effort")
    },
}
PAGES = ("README.md", "docs/collections.md", "docs/method.md", "docs/reproduce.md", "docs/speed.md", "docs/systems.md")


def render(text: str) -> str:
    """A page with its tables renewed."""
    pattern = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(render(path.read_text()))
