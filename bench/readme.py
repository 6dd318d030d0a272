"""Write the tables of README.md and of the pages under docs/ anew from the measurements under results/.

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; everything else is left as it is.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cache, partial
from itertools import product
from math import isfinite, isnan
from pathlib import Path
from statistics import fmean, median
from typing import Any

from coscale.collaborate import HCD, Coscale
from coscale.report.tables import markdown_table
from coscale.reproduce import paper
from coscale.weights.manifest import read_manifest

ROOT = Path(__file__).parents[1]
SETS = {"Set5": 5, "Set14": 14, "BSD100": 100}  # and how many images each has
ALL_SETS = SETS | {"Urban100_10": 10, "DIV2K_valid_4": 4, "DIV2K_crops": 4}
PAIRS = ("light-x2", "light-x4", "irn-x2-4b", "irn-x4-4b")
NOT_MEASURED = "not measured"
Row = dict[str, Any]


@cache
def rows(name: str) -> list[Row]:
    """The rows of results/NAME.jsonl."""
    return [json.loads(line) for line in (ROOT / "results" / f"{name}.jsonl").read_text().splitlines()]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, as a bench that goes on reads them; none of one that is not there yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# What a row of results/methods.jsonl was measured with: its method and its arguments.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "HCD": ("hcd", asdict(HCD()) | {"precision": "bfloat16"}),
    "coscale": ("coscale", asdict(Coscale()) | {"precision": "bfloat16"}),
    "W = 0": ("coscale", asdict(Coscale(luma=0)) | {"precision": "bfloat16"}),
    "instant": ("coscale", asdict(Coscale("instant")) | {"precision": "bfloat16"}),
    "fast": ("coscale", asdict(Coscale("fast")) | {"precision": "bfloat16"}),
    "best": ("coscale", asdict(Coscale("best")) | {"precision": "bfloat16"}),
}


def measured(rescaler: str, of: str, kind: str) -> dict[str, Row]:
    """The rows of one set by image; of a rescaler in the package, those of the weights that are there now."""
    method, arguments = KINDS[kind]
    entry = read_manifest().get(rescaler)
    if entry and entry.steps and method == "coscale":
        arguments = arguments | {"steps": entry.steps.sha256[:12]}
    return {
        row["image"]: row
        for row in rows("methods")
        if (row["set"], row["rescaler"], row["method"], row["arguments"]) == (of, rescaler, method, arguments)
        and (entry is None or row["weights_hash"] == entry.weights_hash)
    }


def complete(rescaler: str, of: str, *kinds: str) -> list[dict[str, Row]]:
    """The rows of each kind; none of a kind that is not measured on the whole set."""
    found = [measured(rescaler, of, kind) for kind in kinds]
    return [rows if len(rows) == ALL_SETS[of] else {} for rows in found]


def mean(rows: Iterable[Row], key: str) -> float:
    """Images where the value is infinite, or missing (a grey image has no Cb), are left out."""
    return fmean(row[key] for row in rows if row.get(key) is not None)


def gain(rows: Iterable[Row], key: str) -> float:
    """The mean gain over no method; images where either value is infinite or missing are left out."""
    pairs = [(row.get(key), row["before"].get(key)) for row in rows]
    return fmean([after - before for after, before in pairs if after is not None and before is not None])


def gain_cell(rows: dict[str, Row], key: str) -> str:
    """A gain as a cell of a table has it."""
    return f"{gain(rows.values(), key):+.2f}" if rows else NOT_MEASURED


def time_share(ours: dict[str, Row], theirs: dict[str, Row]) -> float:
    """Of the time that the other method took to encode, the median over the images."""
    return median(row["encode_seconds"] / theirs[image]["encode_seconds"] for image, row in ours.items())


def without_empty_columns(header: tuple[str, ...], table: list[list[str]]) -> str:
    """The table less the columns in which nothing is measured."""
    kept = [column for column in range(len(header)) if any(cells[column] not in ("", NOT_MEASURED) for cells in table)]
    return markdown_table([header[column] for column in kept], [[cells[column] for column in kept] for cells in table])


def methods(
    rescalers: tuple[str, ...],
    header: tuple[str, ...],
    cells: Callable[[dict[str, Row], dict[str, Row], dict[str, Row]], list[str]],
    whole: bool = False,
) -> str:
    """A row for each rescaler and set that is measured alone and with coscale; ``whole``: and with HCD.

    ``cells`` makes the row's numbers from the rows alone, with HCD (none where it is not measured) and with coscale.
    """
    table = []
    for rescaler in rescalers:
        for of in ALL_SETS:
            none, hcd, ours = complete(rescaler, of, "none", "HCD", "coscale")
            if none and ours and (hcd or not whole):
                table.append((f"`{rescaler}`", of, *cells(none, hcd, ours)))
    return markdown_table(("rescaler", "set", *header), table)


def methods_gain(key: str, rescalers: tuple[str, ...] = PAIRS, whole: bool = False) -> str:
    """A PSNR of the rescaler alone, and what HCD and coscale add to it."""
    return methods(
        rescalers,
        ("alone, dB", "HCD, gain in dB", "coscale, gain in dB"),
        lambda none, hcd, ours: [
            f"{mean(none.values(), key):.2f}",
            *(gain_cell(rows, key) for rows in (hcd, ours)),
        ],
        whole,
    )


def methods_value(key: str, digits: int, *header: str) -> str:
    """The mean of a value alone (where the header has a column for that), with HCD and with coscale."""
    return methods(
        PAIRS,
        header,
        lambda *kinds: [
            f"{mean(rows.values(), key):.{digits}f}" if rows else NOT_MEASURED for rows in kinds[-len(header) :]
        ],
    )


def methods_time() -> str:
    """Which part of HCD's encoding time coscale takes."""
    return methods(
        PAIRS, ("coscale's time, HCD's being 1",), lambda none, hcd, ours: [f"{time_share(ours, hcd):.2f}"], whole=True
    )


def efforts(cell: Callable[[dict[str, Row], dict[str, Row]], str]) -> str:
    """What ``cell`` says of each effort, and of an objective without luma, from their rows and HCD's."""
    table = []
    for rescaler in read_manifest():
        for of in SETS:
            hcd, *found = complete(rescaler, of, "HCD", "instant", "fast", "coscale", "best", "W = 0")
            if hcd and found[0]:
                table.append([f"`{rescaler}`", of, *(cell(rows, hcd) if rows else NOT_MEASURED for rows in found)])
    return without_empty_columns(
        ("rescaler", "set", "instant", "fast", "balanced", "best", "balanced, `--luma 0`"), table
    )


def luma() -> str:
    """What the weight of Y's error does to the colours."""
    by_weight: dict[float, list[Row]] = {}
    for row in rows("luma"):
        by_weight.setdefault(row["arguments"]["luma"], []).append(row)
    table = [
        (f"{weight:g}", *(f"{gain(found, key):+.2f}" for key in ("psnr_y", "psnr_rgb", "psnr_cb", "psnr_cr")))
        for weight, found in sorted(by_weight.items())
    ]
    return markdown_table(("W", "Y, dB", "RGB, dB", "Cb, dB", "Cr, dB"), table)


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
    return markdown_table(("variant", "passes", "Y", "Cb", "Cr", "RGB", "Y, not rounded", "LR"), table)


def page_scores() -> str:
    """How drawn pages come back by each method."""
    table = [
        (
            *(row[key] for key in ("page", "rescaler", "method")),
            f"{row['psnr_y']:.2f}",
            f"{row['psnr_rgb']:.2f}",
            f"{row['ssim_y']:.4f}",
        )
        for row in rows("pages")
    ]
    return markdown_table(("page", "rescaler", "method", "PSNR-Y, dB", "PSNR-RGB, dB", "SSIM-Y"), table)


def page_moves() -> str:
    """By how much the methods move the LR of drawn pages."""
    table = [
        (
            *(row[key] for key in ("page", "rescaler", "method")),
            *(
                "no flat area" if isnan(row["flat_rms"]) else cell
                for cell in (f"{row['flat_rms']:.2f}", str(row["flat_most"]))
            ),
            f"{row['all_rms']:.2f}",
            str(row["all_most"]),
        )
        for row in rows("pages")
        if row["method"] != "none"
    ]
    header = ("page", "rescaler", "method", "flat areas, RMS", "flat areas, most", "all, RMS", "all, most")
    return markdown_table(header, table)


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


# What papers report of other rescalers, and their millions of parameters.
PUBLISHED = {2: paper.AT_X2, 4: paper.TABLE_1}
MILLIONS = {(paper.IRN, 2): 1.66, (paper.CAR, 2): 51.1, (paper.IRN, 4): 4.35, (paper.CAR, 4): 52.8}


def shipped_sizes() -> str:
    """How large the rescalers in the package are, and how long they were trained."""
    table = []
    for name, entry in read_manifest().items():
        likeness = entry.quality["Set5"].lr_psnr_bicubic
        table.append(
            (
                f"`{name}`",
                f"{entry.parameters / 1e6:.2f}",
                f"{entry.iterations:,}",
                f"{entry.seconds / 60:.0f}",
                f"{likeness:.1f}" if isfinite(likeness) else "the same",
            )
        )
    header = ("rescaler", "parameters, millions", "training steps", "training, minutes", "LR, dB")
    return markdown_table(header, table)


def shipped_quality(scale: int, key: str, digits: int) -> str:
    """The quality of the rescalers in the package at one scale, from the manifest, beside what papers report."""
    table = [
        (
            f"`{name}`",
            f"{entry.parameters / 1e6:.2f}",
            *(f"{getattr(entry.quality[of], key):.{digits}f}" for of in SETS),
        )
        for name, entry in read_manifest().items()
        if entry.scale == scale
    ]
    for system in (paper.IRN, paper.CAR):
        scores = [PUBLISHED[scale][system][of] for of in SETS]
        values = [each.psnr if key == "psnr_y" else each.ssim for each in scores]
        name, millions = f"{system} x{scale}, published", f"{MILLIONS[system, scale]:.2f}"
        table.append((name, millions, *(f"{value:.{digits}f}" for value in values)))
    return markdown_table(("rescaler", "parameters, millions", *SETS), table)


def decoding() -> str:
    """What decoding a megapixel takes."""
    table = [
        (row["rescaler"], *(f"{row[key]:.2f}" for key in ("median_seconds", "plain_seconds", "times_faster")))
        for row in rows("decode")
    ]
    return markdown_table(("rescaler", "coscale, seconds", "plain loop, seconds", "times faster"), table)


# The processors of results/runtimes.jsonl by what they have for bfloat16, and what the tables call them.
PROCESSORS = {"avx512_bf16": "AVX512", "avx512_bf16 and amx_bf16": "AMX"}


def runtimes() -> str:
    """What else than PyTorch restores a photo, how fast on each processor, and how far from it."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows("runtimes"):
        key = tuple(row[name] for name in ("rescaler", "runtime", "precision"))
        found.setdefault(key, {})[row["machine"].split(", ")[-1]] = row

    def cells(by: dict[str, Row], key: str) -> list[str]:
        return [f"{by[name][key]:.2f}" if key in by.get(name, {}) else "" for name in PROCESSORS]

    def most(by: dict[str, Row], key: str, digits: int) -> str:  # which is much the same on each
        return f"{max(row[key] for row in by.values() if key in row):.{digits}f}"

    table = [
        [
            *(*key, *cells(by, "times_faster"), *cells(by, "share_of_peak")),
            *(most(by, "most_levels", 2), most(by, "mean_levels", 3)),
        ]
        for key, by in found.items()
    ]
    names = list(PROCESSORS.values())
    header = ["rescaler", "runtime", "precision", *(f"times faster, {name}" for name in names)]
    header += [*(f"share of peak, {name}" for name in names), "levels off, most", "on average"]
    return markdown_table(header, table)


ENCODERS = {
    "HCD, plain": "HCD, plain loop",
    "HCD": "HCD, this package",
    "fast": "coscale, fast",
    "balanced": "coscale, balanced",
}


def encoding(key: str, form: str) -> str:
    """A value of each way to encode."""
    table = [(row["rescaler"], *(format(row[key][way], form) for way in ENCODERS)) for row in rows("encode")]
    return markdown_table(("rescaler", *ENCODERS.values()), table)


def encoding_speed() -> str:
    """How many times faster coscale encodes than the plain paper loop."""
    table = [
        (row["rescaler"], *(f"{row[key]:.1f}" for key in ("times_faster_to_the_papers_gain", "times_faster_step")))
        for row in rows("encode")
    ]
    return markdown_table(("rescaler", "until HCD's gain is reached", "in one step"), table)


def beside_photo(row: Row, what: str) -> float:
    """The peak of a row of results/memory.jsonl, in GiB, without the photo itself in 8 bit."""
    return row[f"{what}_gib"] - 3 * row["side"] ** 2 / 2**30


def grown(found: Iterable[Row]) -> Iterator[tuple[str, str, float]]:
    """For each rescaler, and each of encoding and decoding, how many times more memory 48 megapixels take than 24.

    The photo itself in 8 bit is left out of both.
    """
    by_size = {(row["rescaler"], round(row["megapixels"])): row for row in found}
    for name in dict.fromkeys(name for name, _ in by_size):
        if {(name, 24), (name, 48)} <= by_size.keys():
            for what in ("encode", "decode"):
                small, large = (beside_photo(by_size[name, size], what) for size in (24, 48))
                yield name, what, large / small


def growth_ratio() -> str:
    """How memory grows from 24 to 48 megapixels."""
    table = [(name, what, f"{ratio:.2f}") for name, what, ratio in grown(rows("memory"))]
    return markdown_table(("rescaler", "command", "times, from 24 to 48 megapixels"), table)


def growth() -> str:
    """Seconds and peak memory of the command as photos grow."""
    table = [
        (
            row["rescaler"],
            f"{row['megapixels']:.2f}",
            f"{row['encode_seconds'] / row['megapixels']:.2f}",
            f"{row['encode_gib']:.2f}",
            f"{beside_photo(row, 'encode'):.2f}",
            f"{row['decode_seconds'] / row['megapixels']:.2f}",
            f"{row['decode_gib']:.2f}",
            f"{beside_photo(row, 'decode'):.2f}",
        )
        for row in sorted(rows("memory"), key=lambda row: (row["rescaler"], row["megapixels"]))
    ]
    header = ["rescaler", "megapixels"]
    header += [f"{what}, {unit}" for what in ("encode", "decode") for unit in ("s / MP", "GiB", "beside the photo")]
    return markdown_table(header, table)


def seams() -> str:
    """What working in tiles changes."""
    table = [
        (
            row["rescaler"],
            str(row["tile"]),
            str(row["halo"]),
            f"{row['decode_share_of_values_apart']:.2g}",
            str(row["decode_most_grey_levels_apart"]),
            f"{row['encode_psnr_tiled_less_whole']:+.3f}",
            f"{row['encode_error_at_borders']:.3f}",
        )
        for row in rows("seams")
    ]
    header = ("rescaler", "tile", "halo", "decode: share", "decode: most", "encode: dB", "encode: borders")
    return markdown_table(header, table)


def precision() -> str:
    """The gain by gradients in bfloat16 against that by gradients in float32."""
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows("precision"):
        groups.setdefault((row["rescaler"], row["set"]), {}).setdefault(row["arguments"]["precision"], []).append(row)
    columns = [(key, kind) for key in ("psnr_y", "psnr_rgb") for kind in ("float32", "bfloat16")]
    table = [
        (name, of, *(f"{gain(found[kind], key):+.2f}" for key, kind in columns)) for (name, of), found in groups.items()
    ]
    header = ("rescaler", "set", "Y, float32", "Y, bfloat16", "RGB, float32", "RGB, bfloat16")
    return markdown_table(header, table)


# What was measured here in the place of each system of the paper's Table 1, and whose weights that has.
STANDS_FOR = {
    paper.BICUBIC: ("bicubic-x4", ""),
    "Bicubic & SRCNN": ("srcnn-x4", "our weights"),
    "Bicubic & CRAFT, not in the paper": ("bicubic+CRAFT", "the authors' weights"),
    paper.IRN: ("irn-x4-4b", "our weights"),
    "light, not in the paper": ("light-x4", "our weights"),
}


def systems() -> Iterator[tuple[str, str, list[dict[str, Row]]]]:
    """Each system of the paper's Table 1 and of ours, each set, and the rows alone, with HCD and with coscale."""
    for system in dict.fromkeys((*paper.TABLE_1, *STANDS_FOR)):
        name, _ = STANDS_FOR.get(system, (None, ""))
        for of in ("Set5", "Set14"):
            yield system, of, complete(name, of, "none", "HCD", "coscale") if name else [{}, {}, {}]


def table_1(key: str, digits: int) -> str:
    """PSNR-Y or SSIM-Y of the systems of the paper's Table 1 at x4: its figures and ours."""
    table = []
    for system, of, (alone, *_) in systems():
        score, with_hcd = (scores.get(system, {}).get(of) for scores in (paper.TABLE_1, paper.TABLE_1_HCD))
        published = [getattr(found, key) if found else None for found in (score, with_hcd)]
        here = f"{mean(alone.values(), f'{key}_y'):.{digits}f}" if alone else "no weights here"
        name, origin = STANDS_FOR.get(system, ("", ""))
        by = f"`{name}`" + (f", {origin}" if origin else "") if name else ""
        table.append((system, of, *(f"{value:.{digits}f}" if value else "" for value in published), here, by))
    return markdown_table(("system", "set", "paper", "paper + HCD", "here", "measured with"), table)


def table_1_gains() -> str:
    """What HCD and coscale add to the systems of the paper's Table 1 that have weights here."""
    table = [
        (system, of, *(gain_cell(rows, key) for key in ("psnr_y", "psnr_rgb") for rows in (hcd, ours)))
        for system, of, (alone, hcd, ours) in systems()
        if alone
    ]
    return markdown_table(("system", "set", "HCD, Y", "coscale, Y", "HCD, RGB", "coscale, RGB"), table)


def rates(ending: str = "") -> str:
    """What the study of rates says of all its photos; ``ending``: of the LR files that are listed."""
    with (ROOT / "results" / "rates" / "rates.csv").open() as file:
        found = [row for row in csv.DictReader(file) if row["set"] == "all" and row["LR file"].endswith(ending)]
    deltas = ("PSNR-Y", "PSNR-RGB", "SSIM", "SSIMULACRA2", "Butteraugli")
    meets = ("PSNR-Y", "SSIMULACRA2")

    def delta(text: str) -> str:
        return f"{round(float(text)):+d}" if text else ""

    table = [
        (
            *(row["LR file"].removeprefix("LR "), row["against"], row["photos"]),
            *(delta(row[key]) for key in deltas),
            *(f"{float(text):.2f}" if (text := row[f"break-even, {key}"]) else "" for key in meets),
        )
        for row in found
    ]
    heads = ("LR file", "against, at full size", "photos", *deltas, *(f"break-even, {key}" for key in meets))
    return markdown_table(heads, table)


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


def element() -> str:
    """What a page of images costs: files, and time where somebody looks closer and at a second visit."""
    (row,) = rows("element")

    def size(name: str) -> tuple[str, str]:
        return f"{row[f'{name}_bytes'] / 1e3:,.0f}", f"{row[f'{name}_gzip_bytes'] / 1e3:,.0f}"

    kinds = (("this package", "js"), ("the upscaler", "model"), ("onnxruntime-web, WebAssembly", "wasm"))
    return markdown_table(("file", "kB", "kB, gzip"), [(title, *size(name)) for title, name in kinds])


def element_visits() -> str:
    """What is restored at each visit of that page."""
    (row,) = rows("element")
    visits = [
        ("first", str(row["first_restored"]), f"{row['ms_per_megapixel']:,}"),
        ("second", str(row["second_restored"]), ""),
    ]
    return markdown_table(("visit", f"of {row['images']} restored anew", "ms a megapixel, in the worker"), visits)


def findings() -> str:
    """What the last run of `coscale reproduce all` says of the paper's findings."""
    return (ROOT / "results" / "paper" / "findings.md").read_text().rstrip()


def upscalers(*columns: tuple[str, str, int]) -> str:
    from bench.upscalers import table  # which imports this module

    return table(*columns)


def jxl() -> str:
    """What viewers of JPEG XL show of LR files, beside what libjxl makes of the photos."""
    ways = {
        "plain": "the LR, no method",
        "coscale": "the LR, coscale",
        "libjxl": "libjxl's resampling",
        "lossy": "the photo, lossy",
    }
    table = []
    for scale, (way, said) in product((2, 4), ways.items()):
        measured = [row for row in rows("jxl") if row["scale"] == scale]
        psnr, size = (fmean(row[key] for row in measured) for key in (way, f"{way}_bytes"))
        table.append((f"jxl-x{scale}", said, f"{psnr:.2f}", f"{size / 1000:.0f}"))
    return markdown_table(("rescaler", "what is stored", "Y, dB", "kB"), table)


def descent() -> str:
    """What so many passes of descent come to."""
    found: dict[tuple[str, bool], dict[int, float]] = {}
    for row in rows("passes"):
        if row["what"] == "descent":
            found.setdefault((row["rescaler"], row["curvature"]), {})[row["passes"]] = row["loss_db"]
    counts = sorted({count for by_count in found.values() for count in by_count})
    table = [
        (name, "*H* and passes" if known else "passes", *(f"{by_count[count]:.2f}" for count in counts))
        for (name, known), by_count in found.items()
    ]
    return markdown_table(("rescaler", "curvature from", *(f"after {count}" for count in counts)), table)


def learning(scale: int) -> str:
    """What each change of a recipe came to in as many minutes, the best first."""
    measured = sorted((row for row in rows("learning") if row["scale"] == scale), key=lambda row: -row["psnr_y"])
    base = next(row["psnr_y"] for row in measured if row["variant"] == "the base recipe")
    table = [
        (
            row["variant"],
            f"{row['steps']:,}",
            f"{row['parameters_g'] / 1e6:.2f}",
            f"{row['parameters_f'] / 1e6:.2f}",
            f"{row['psnr_y']:.2f}",
            f"{row['psnr_y'] - base:+.2f}",
            f"{row['lr_psnr']:.1f}",
        )
        for row in measured
    ]
    return markdown_table(
        ("variant", "steps", "*g*, millions", "*f*, millions", "Y, dB", "against the base", "LR, dB"), table
    )


def goals(name: str, *of: str) -> str:
    from bench import goals  # which imports this module

    return {"table": goals.table, "photos": goals.each_photo, "cost": goals.cost}[name](*of)


def forms(scale: int) -> str:
    from bench.forms import table  # which imports this module

    return table(scale)


TABLES: dict[str, Callable[[], str]] = {
    "descent": descent,
    "learning-x2": partial(learning, 2),
    "forms-x2": partial(forms, 2),
    "jxl": jxl,
    "findings": findings,
    "element": element,
    "element-visits": element_visits,
    "rates": rates,
    "rates-coscale": partial(rates, " + coscale"),
    "batch": batch,
    "shipped": shipped_sizes,
    **{f"shipped-x{scale}-psnr": partial(shipped_quality, scale, "psnr_y", 2) for scale in PUBLISHED},
    **{f"shipped-x{scale}-ssim": partial(shipped_quality, scale, "ssim_y", 4) for scale in PUBLISHED},
    "table-1-psnr": partial(table_1, "psnr", 2),
    "table-1-ssim": partial(table_1, "ssim", 4),
    "table-1-gains": table_1_gains,
    "decoding": decoding,
    "runtimes": runtimes,
    "encoding-seconds": partial(encoding, "median_seconds", ".1f"),
    "encoding-gains": partial(encoding, "gain_rgb", "+.2f"),
    "encoding-speed": encoding_speed,
    "growth": growth,
    "growth-ratio": growth_ratio,
    "leaks": leaks,
    "seams": seams,
    "precision": precision,
    "upscalers-psnr": partial(upscalers, ("psnr_y", "Y", 2), ("psnr_rgb", "RGB", 2)),
    "upscalers-seen": partial(
        upscalers, ("ssim_y", "SSIM", 4), ("ssimulacra2", "SSIMULACRA2", 1), ("lr_psnr_bicubic", "LR", 1)
    ),
    "goals": partial(goals, "table"),
    "goals-light-x2": partial(goals, "photos", "light-x2"),
    "goals-rlfn-x4": partial(goals, "photos", "RLFN x4"),
    "goals-cost": partial(goals, "cost"),
    "light": partial(methods_gain, "psnr_y", ("light-x2", "light-x4"), whole=True),
    **{f"craft-{of}": partial(methods_gain, f"psnr_{of}", ("bicubic+CRAFT",)) for of in ("y", "rgb", "cb", "cr")},
    **{f"methods-{of}": partial(methods_gain, f"psnr_{of}") for of in ("y", "rgb", "cb", "cr")},
    "methods-ssim": partial(methods_value, "ssim_y", 4, "alone", "HCD", "coscale"),
    "methods-lr": partial(methods_value, "lr_psnr_g", 1, "HCD, dB", "coscale, dB"),
    "methods-time": methods_time,
    "efforts-y": partial(efforts, lambda rows, _: gain_cell(rows, "psnr_y")),
    "efforts-rgb": partial(efforts, lambda rows, _: gain_cell(rows, "psnr_rgb")),
    "efforts-time": partial(efforts, lambda rows, hcd: f"{time_share(rows, hcd):.2f}"),
    "luma": luma,
    "page-scores": page_scores,
    "page-moves": page_moves,
    "graphics": graphics,
    **{
        f"study-{name}-{group}": partial(study, name, group)
        for name in ("light-x2", "light-x4")
        for group in ("step", "rounding", "start", "effort")
    },
}
PAGES = ("README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")))


def render(text: str) -> str:
    """A page with its tables renewed."""
    pattern = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(render(path.read_text()))
