"""The commands that measure: eval."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coscale.cli.options import (
    DEFAULT_RESCALER,
    METHOD_NAMES,
    check_upscaler,
    common,
    compile_option,
    given,
    guard_option,
    max_pixels_option,
    method_options,
    methods_of,
    named_pair,
    path_type,
    precision_of,
    room_options,
    scale_option,
    strict_option,
    trust_option,
    upscaler_pair,
    weights_option,
)
from coscale.console import Bar, dump, escaped, growing_file, list_failures, memory_explained, say
from coscale.errors import CoscaleError

if TYPE_CHECKING:
    pass


@click.command("eval")
@click.argument("sets", nargs=-1, required=True, type=path_type, metavar="FOLDER...")
@click.option("--rescaler", "rescalers", multiple=True, default=[DEFAULT_RESCALER], show_default=True)
@weights_option
@click.option(
    "--upscaler",
    "upscalers",
    type=path_type,
    metavar="FILE",
    multiple=True,
    help="A super-resolution network, with bicubic as its downscaler.",
)
@scale_option
@trust_option
@click.option(
    "--method",
    "methods",
    type=click.Choice(METHOD_NAMES),
    multiple=True,
    default=["none", "coscale"],
    help="Repeatable.",
)
@click.option(
    "-o",
    "--out",
    type=path_type,
    help="Also keep the rows, one JSON object a line, in this file; those there are not redone.",
)
@click.option("--overwrite", is_flag=True, help="Begin that file anew.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that share the cores: pays for small photos on many of them; seconds then count for less.",
)
@max_pixels_option
@strict_option
@room_options
@compile_option
@guard_option
@method_options
@common
def evaluate_(
    sets: tuple[Path, ...],
    rescalers: tuple[str, ...],
    weights: Path | None,
    upscalers: tuple[Path, ...],
    scale: int | None,
    trust: bool,
    methods: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    workers: int,
    max_pixels: int | None,
    strict: bool,
    tile: int | None,
    memory: float | None,
    compiled: bool,
    guarded: bool,
    device: str,
    as_json: bool,
    precision: str,
    **settings: Any,
) -> None:
    """Measure rescalers and methods on folders of photos, by the protocol of the field, on the files themselves."""
    from coscale.evaluate import evaluate, find_sets, identity, read_rows
    from coscale.files import check_writable
    from coscale.report.tables import summarise, text_table
    from coscale.tiles import Room
    from coscale.workers import Workers

    chosen = methods_of(methods, settings)
    if out:
        check_writable(out)
    earlier = read_rows(out) if out and out.exists() and not overwrite else {}
    if upscalers and not given("rescalers"):
        rescalers = ()  # the default is for those who name nothing
    check_upscaler(bool(upscalers), scale, *(() if rescalers else ("weights",)))
    used = precision if any(chosen) else None
    loads = [partial(named_pair, name, weights, device, compiled) for name in rescalers]
    loads += [partial(upscaler_pair, file, scale, device, compiled, used, trust) for file in upscalers]
    pairs = [load() for load in loads]
    found = find_sets(sets)
    total = sum(map(len, found.values())) * len(pairs) * len(methods)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []

    def failed(error: CoscaleError) -> None:
        failures.append(str(error))
        bar.reach(len(rows) + len(failures))

    too_large = "not enough memory for a photo of this size; leave it out"
    lines = growing_file(out, earlier.values())
    with Bar("measuring", total) as bar, memory_explained(too_large), lines as write_line:
        for pair, load in zip(pairs, loads, strict=True):
            with Workers(load, workers) if workers > 1 else contextlib.nullcontext() as run:
                options = {"room": Room(tile, memory), "max_pixels": max_pixels, "guarded": guarded, "strict": strict}
                options |= {"earlier": earlier, "failed": failed}
                for method in chosen:
                    for row in evaluate(found, pair, method, precision_of(precision, pair), **options, run=run):
                        rows.append(row)
                        bar.reach(len(rows) + len(failures))
                        if as_json:
                            bar.say(dump(row))
                        if identity(row) not in earlier:
                            write_line(dump(row))
    if not as_json:
        header = (
            "set",
            "rescaler",
            "method",
            "images",
            *("PSNR-Y", "SSIM-Y", "RGB", "Cb", "Cr"),
            *("LR/bicubic", "LR/plain", "encode s", "decode s"),
        )
        table = [
            (
                *(escaped(r[key]) for key in ("set", "rescaler", "method", "images")),
                f"{r['psnr_y']:.2f}",
                f"{r['ssim_y']:.4f}",
                *(f"{r[key]:.2f}" for key in ("psnr_rgb", "psnr_cb", "psnr_cr", "lr_psnr_bicubic", "lr_psnr_g")),
                *(f"{r[key]:.2f}" for key in ("encode_seconds", "decode_seconds")),
            )
            for r in summarise(rows)
        ]
        say(*text_table(header, table).split("\n"))
    list_failures(failures, total)
