"""The command on collections: batch."""

from __future__ import annotations

import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coscale.cli.options import (
    DEFAULT_RESCALER,
    METHOD_NAMES,
    check_upscaler,
    choice,
    common,
    compile_option,
    device_of,
    format_options,
    given,
    guard_option,
    max_pixels_option,
    method_options,
    methods_of,
    path_type,
    room_options,
    storage_of,
    strict_option,
    upscaler_options,
    upscaler_pair,
    weights_option,
)
from coscale.console import Bar, dump, in_db, list_failures, on_stop, say
from coscale.errors import CoscaleWarning, SettingsError

if TYPE_CHECKING:
    from coscale.batch.driver import Engine
    from coscale.batch.worker import Recipe


@click.command()
@click.argument("photos", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option(
    "--manifest", type=path_type, help="A row for each photo: .jsonl or .parquet; OUT/manifest.jsonl by default."
)
@click.option("--overwrite", is_flag=True, help="Replace files in OUT that the manifest does not know.")
@choice("--engine", ("local", "ray"), "local", "Processes of this machine, or actors of a Ray cluster.")
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
@click.option("--rescaler", default=DEFAULT_RESCALER, show_default=True, help="See: coscale models.")
@weights_option
@upscaler_options
@choice("--method", METHOD_NAMES, "coscale")
@max_pixels_option
@strict_option
@room_options
@compile_option
@guard_option
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
    rescaler: str,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    trust: bool,
    method: str,
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
    """Downscale a collection of photos, and when run again only what is missing or has changed.

    IN is a folder, a list of photos (.txt, one a line) or a photo; OUT is a folder. Both may be URLs, such as
    s3://bucket/photos, of any store that fsspec has a package for.
    """
    from coscale.batch import collection, driver
    from coscale.batch.manifest import Manifest, check_extra
    from coscale.batch.store import is_local, shown
    from coscale.batch.worker import Done, Failed, Recipe
    from coscale.tiles import Room

    if address and engine != "ray":
        raise click.UsageError("--address is a setting of --engine ray")
    (chosen,) = methods_of([method], settings)
    check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    files = {key: path and path.resolve() for key, path in (("weights", weights), ("upscaler", upscaler))}
    recipe = Recipe(rescaler, **files, scale=scale, compiled=compiled, method=chosen, precision=precision)  # type: ignore[arg-type]
    recipe = replace(recipe, room=Room(tile, memory), max_pixels=max_pixels, trust=trust, strict=strict)
    recipe = replace(recipe, overwrite=overwrite, guarded=guarded, storage=storage_of(form, small))
    if upscaler:
        pair = upscaler_pair(upscaler, scale, "cpu", precision=precision if chosen else None, trust=trust)
    else:
        pair = recipe.load(device_of("cpu"))
    asked = recipe.asked(pair)
    results = collection.list_results(out)
    if manifest is None and not is_local(results.fs):
        raise SettingsError("OUT is not on this machine; give --manifest FILE, which must be")
    manifest = manifest or Path(results.root) / "manifest.jsonl"
    check_extra(manifest)
    found = collection.targets(collection.list_photos(photos, results), results, pair.scale, recipe.storage.suffix)
    failures: list[str] = []
    counts = dict.fromkeys(("done", "kept", "failed"), 0)
    with Manifest(manifest) as kept, Bar("downscaling", len(found)) as bar:
        tasks = {task.target: task for task in driver.tasks(found, results, kept.rows)}
        results.tidy(kept.mark)  # what is at work in OUT with another manifest has other names
        jobs = {}

        def finished(key: str, outcome: Done | Failed, tries: int) -> None:
            row = driver.row_of(tasks[key], asked, outcome, tries)
            kept.add(row)
            if isinstance(outcome, Failed):
                counts["failed"] += 1
                failures.append(row["error"])
            else:
                counts["kept" if outcome.unchanged else "done"] += 1
                for text in outcome.warnings:
                    said = shown(text.replace(tasks[key].entry.source, row["input"]))
                    named = said if row["input"] in said else f"{row['input']}: {said}"
                    warnings.warn(named, CoscaleWarning, stacklevel=2)
            if as_json or (isinstance(outcome, Done) and not outcome.unchanged):
                bar.say(dump(row) if as_json else _describe(row))
            bar.reach(sum(counts.values()))

        for key, task in tasks.items():
            if task.entry.error:
                finished(key, Failed(task.entry.error, passing=False), 1)
            elif job := task.job(asked, results, kept.mark):
                jobs[key] = job
            else:
                counts["kept"] += 1
        bar.reach(sum(counts.values()))
        if jobs:
            crew = _engine(engine, recipe, pair.weights_hash, workers, device, gpus, address, timeout)
            driver.work(crew, jobs, retries, finished)
    if as_json:
        say(dump(counts | {"manifest": str(manifest)}))
    else:
        say(f"{counts['done']} done, {counts['kept']} kept, {counts['failed']} failed; rows in {manifest}")
    list_failures(failures, len(found))


def _engine(
    engine: str,
    recipe: Recipe,
    weights_hash: str,
    workers: int | None,
    device: str,
    gpus: float,
    address: str | None,
    timeout: float | None,
) -> Engine:
    if engine == "ray":
        from coscale.batch.on_ray import OnRay

        found = OnRay(recipe, weights_hash, workers, device, gpus, address, timeout)
        on_stop(signal.default_int_handler)  # Ray has put its own in place
        return found
    import torch

    from coscale.batch.local import Local
    from coscale.machine import cores

    if device_of(device) == "cuda":
        devices = [f"cuda:{card}" for card in range(torch.cuda.device_count())] * int(1 / gpus)
        return Local(recipe, weights_hash, workers or len(devices), devices, timeout)
    if given("gpus"):
        raise SettingsError("there is no CUDA device here; leave out --gpus-per-worker")
    return Local(recipe, weights_hash, workers or max(1, cores() // 4), ["cpu"], timeout)


def _describe(row: dict[str, Any]) -> str:
    pairs = (("Y", "psnr_y"), ("RGB", "psnr_rgb"))
    parts = [f"{title} {in_db(row[key], row[f'{key}_before'])}" for title, key in pairs]
    return f"{row['input']} -> {row['output']}  PSNR in dB: {', '.join(parts)}; {row['seconds']:.1f} s"
