"""The command on collections: batch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from coscale.choices import AskedPrecision, Device, EngineName, MethodName, Runtime
from coscale.cli.options import (
    asked_of,
    check_upscaler,
    choice,
    common,
    compile_option,
    device_of,
    format_options,
    given,
    guard_option,
    max_pixels_option,
    measure_option,
    method_options,
    methods_of,
    path_type,
    rescaler_for,
    rescaler_option,
    room_options,
    runtime_option,
    storage_of,
    strict_option,
    strip_option,
    upscaler_options,
    upscaler_pair,
    weights_option,
)
from coscale.console import Bar, dump, in_bytes, in_db, list_failures, say
from coscale.errors import CoscaleWarning

if TYPE_CHECKING:
    from coscale.batch.manifest import ManifestRow


@click.command()
@click.argument("photos", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option(
    "--manifest", type=path_type, help="A row for each photo: .jsonl or .parquet; OUT/manifest.jsonl by default."
)
@click.option("--overwrite", is_flag=True, help="Replace files in OUT that the manifest does not know.")
@choice("--engine", EngineName, "local", "Processes of this machine, or actors of a Ray cluster.")
@click.option("--address", help="Ray: of the cluster, host:port; by default the one that this machine is part of.")
@click.option(
    "--workers", type=click.IntRange(1), help="Photos at a time; by default one for each GPU, or for 4 cores without."
)
@click.option(
    "--gpus-per-worker",
    "gpus",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Several workers share a GPU: 0.25 lets four.",
)
@click.option(
    "--retries", type=click.IntRange(0), default=1, show_default=True, help="Of a photo whose error may pass."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="For a photo, whose worker is then ended; no limit by default.",
)
@format_options
@rescaler_option
@weights_option
@upscaler_options
@choice("--method", MethodName, "coscale")
@max_pixels_option
@strict_option
@strip_option
@room_options
@compile_option
@runtime_option
@guard_option
@measure_option
@method_options
@common
def batch(
    photos: str,
    out: str,
    manifest: Path | None,
    overwrite: bool,
    engine: str,
    address: str | None,
    workers: int | None,
    gpus: float,
    retries: int,
    timeout: float | None,
    form: str | None,
    small: bool,
    quality: float | None,
    size: float | None,
    psnr: float | None,
    rescaler: str | None,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    trust: bool,
    method: str,
    max_pixels: int | None,
    strict: bool,
    stripped: bool,
    tile: int | None,
    memory: float | None,
    compiled: bool,
    runtime: Runtime,
    guarded: bool,
    measured: bool,
    device: str,
    as_json: bool,
    precision: str,
    **settings: Any,
) -> None:
    """Downscale a collection of photos, and when run again only what is missing or has changed.

    IN is a folder, a list of photos (.txt, one a line) or a photo; OUT is a folder. Both may be URLs, such as
    s3://bucket/photos, of any store that fsspec has a package for.
    """
    from coscale.batch import BatchSettings, Crew, PhotoOutcome, Totals, run
    from coscale.tiles import Room

    if address and engine != "ray":
        raise click.UsageError("--address is a setting of --engine ray")
    (chosen,) = methods_of([method], settings)
    check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    cpu, storage = device_of("cpu"), storage_of(form, small, asked_of(quality, size, psnr), rescaler=rescaler)
    how = BatchSettings(
        rescaler or rescaler_for(storage),
        weights=weights and weights.resolve(),
        upscaler=upscaler and upscaler.resolve(),
        scale=scale,
        trust=trust,
        compiled=compiled,
        runtime=runtime,
        measured=measured,
        method=chosen,
        precision=cast("AskedPrecision", precision),
        room=Room(tile, memory),
        max_pixels=max_pixels,
        strict=strict,
        stripped=stripped,
        overwrite=overwrite,
        guarded=guarded,
        storage=storage,
    )
    if upscaler:
        pair = upscaler_pair(upscaler, scale, "cpu", precision=precision if chosen.changes else None, trust=trust)
    else:
        pair = how.load(cpu)
    shared = gpus if given("gpus") else None
    crew = Crew(cast("EngineName", engine), address, workers, cast("Device", device), shared, retries, timeout)
    with Bar("downscaling", 1) as bar:

        def tell(told: PhotoOutcome | None, totals: Totals) -> None:
            for text in told.warnings if told else ():
                warnings.warn(text, CoscaleWarning, stacklevel=2)
            if told and (as_json or told.done):
                bar.say(dump(told.row.to_json()) if as_json else _describe(told.row))
            bar.reach(totals.reached, totals.photos)

        totals = run(photos, out, how, crew, manifest, pair=pair, tell=tell)
    if as_json:
        counts = {"done": totals.done, "kept": totals.kept, "failed": totals.failed}
        say(dump(counts | {"manifest": str(totals.manifest)}))
    else:
        counts = f"{totals.done} done, {totals.kept} kept, {totals.failed} failed"
        say(f"{counts}; rows in {totals.manifest}")
    list_failures(totals.failures, totals.photos)


def _describe(row: ManifestRow) -> str:
    done = f"{row.input} -> {row.output}  {in_bytes(row.output_bytes or 0)}"
    if row.psnr_y is not None:
        y, rgb = in_db(row.psnr_y, row.psnr_y_before), in_db(row.psnr_rgb, row.psnr_rgb_before)
        done += f"; PSNR in dB: Y {y}, RGB {rgb}"
    return f"{done}; {row.seconds or 0:.1f} s"
