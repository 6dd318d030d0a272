"""The commands that measure: eval."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from coscale.choices import MethodName
from coscale.cli.options import (
    DEFAULT_RESCALER,
    FOR_LOSSY,
    asked_of,
    check_upscaler,
    common,
    compile_option,
    format_options,
    guard_option,
    max_pixels_option,
    method_options,
    methods_of,
    named_pair,
    path_type,
    precision_of,
    rescaler_for,
    room_options,
    scale_option,
    storage_of,
    strict_option,
    trust_option,
    upscaler_pair,
    weights_option,
)
from coscale.console import Bar, dump, escaped, list_failures, memory_explained, say
from coscale.errors import CoscaleError

if TYPE_CHECKING:
    from coscale.measurement import Measurement


@click.command("eval")
@click.argument("sets", nargs=-1, required=True, type=path_type, metavar="FOLDER...")
@click.option(
    "--rescaler",
    "rescalers",
    multiple=True,
    help=f"Repeatable; by default {DEFAULT_RESCALER}, or {FOR_LOSSY} where the LR files lose something.",
)
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
    type=click.Choice(get_args(MethodName)),
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
@format_options
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
    form: str | None,
    small: bool,
    quality: float | None,
    size: float | None,
    psnr: float | None,
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
    from coscale.evaluate import Settings, evaluate, find_sets, identity, read_rows
    from coscale.files import check_writable, growing
    from coscale.report.tables import summarise, text_table
    from coscale.tiles import Room
    from coscale.workers import Workers

    chosen = methods_of(methods, settings)
    storage = storage_of(form, small, asked_of(quality, size, psnr))
    for method in chosen:
        method.through(storage)  # one that is not for this storage is refused before anything is measured
    if out:
        check_writable(out)
    earlier = read_rows(out) if out and out.exists() and not overwrite else {}
    if not upscalers:
        rescalers = rescalers or (rescaler_for(storage),)
    check_upscaler(bool(upscalers), scale, *(() if rescalers else ("weights",)))
    tried = precision if any(method.changes for method in chosen) else None
    loads = [partial(named_pair, name, weights, device, compiled) for name in rescalers]
    loads += [partial(upscaler_pair, file, scale, device, compiled, tried, trust) for file in upscalers]
    pairs = [load() for load in loads]
    found = find_sets(sets)
    total = sum(map(len, found.values())) * len(pairs) * len(methods)
    rows: list[Measurement] = []
    failures: list[str] = []

    def failed(error: CoscaleError) -> None:
        failures.append(str(error))
        bar.reach(len(rows) + len(failures))

    too_large = "not enough memory for a photo of this size; leave it out"
    lines = growing(out, (dump(row.to_json()) for row in earlier.values())) if out else contextlib.nullcontext()
    with Bar("measuring", total) as bar, memory_explained(too_large), lines as write_line:
        for pair, load in zip(pairs, loads, strict=True):
            with Workers(load, workers) if workers > 1 else contextlib.nullcontext() as run:
                for method in chosen:
                    used = precision_of(precision, pair.device)
                    how = Settings(*(method, used, Room(tile, memory), guarded, max_pixels, strict), storage=storage)
                    for row in evaluate(found, pair, how, earlier=earlier, failed=failed, run=run):
                        rows.append(row)
                        bar.reach(len(rows) + len(failures))
                        if as_json:
                            bar.say(dump(row.to_json()))
                        if write_line and earlier.get(identity(row)) is not row:
                            write_line(dump(row.to_json()))
    if not as_json:
        header = (
            "set",
            "rescaler",
            "method",
            "images",
            *("PSNR-Y", "SSIM-Y", "RGB", "Cb", "Cr"),
            *("LR/bicubic", "LR/plain", "LR kB", "encode s", "decode s"),
        )
        table = [
            (
                *map(escaped, (each.set, each.rescaler, each.method, each.images)),
                f"{each.psnr_y:.2f}",
                f"{each.ssim_y:.4f}",
                *(f"{value:.2f}" for value in (each.psnr_rgb, each.psnr_cb, each.psnr_cr)),
                *(f"{value:.2f}" for value in (each.lr_psnr_bicubic, each.lr_psnr_g)),
                f"{each.lr_bytes / 1000:.1f}",
                *(f"{value:.2f}" for value in (each.encode_seconds, each.decode_seconds)),
            )
            for each in summarise(rows)
        ]
        say(*text_table(header, table).split("\n"))
    list_failures(failures, total)
