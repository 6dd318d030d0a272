"""The commands on photos: downscale, upscale, info."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
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
    guard_option,
    max_pixels_option,
    method_options,
    methods_of,
    named_pair,
    output_options,
    path_type,
    precision_of,
    room_options,
    seed_type,
    storage_of,
    strict_option,
    upscaler_options,
    upscaler_pair,
    weights_option,
)
from coscale.console import dump, in_bytes, in_db, run_jobs, say, warn
from coscale.errors import CoscaleError, SettingsError

if TYPE_CHECKING:
    from coscale.collaborate import Progress
    from coscale.image import Photo
    from coscale.lrfile import Origin
    from coscale.weights.load import Loaded


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=path_type, metavar="PHOTO|FOLDER...")
@output_options
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
def downscale(
    inputs: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
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
    """Write each photo as a small image that `coscale upscale` restores: photo.jpg becomes photo.x2.png.

    Each file is read back and upscaled, and the PSNR is what that really gives.
    """
    from coscale.evaluate import arguments_of, guard_argument, write_and_measure
    from coscale.image import digest, read
    from coscale.jobs import plan
    from coscale.lrfile import Making, check_same_lr
    from coscale.storage import SUFFIXES
    from coscale.tiles import Room

    (chosen,), room = methods_of([method], settings), Room(tile, memory)
    storage = storage_of(form, small, out)
    check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    if upscaler:
        pair = upscaler_pair(upscaler, scale, device, compiled, precision if chosen else None, trust)
    else:
        pair = named_pair(rescaler, weights, device, compiled)
    suffix = f".x{pair.scale}{storage.suffix}"
    failures: list[str] = []
    allowed = (storage.suffix,) if form else SUFFIXES
    jobs = plan(inputs, out, beside=suffix, inside=suffix, allowed=allowed, failed=failures.append)

    def prepare(source: Path, target: Path) -> tuple[Photo, Making, int] | None:
        arguments = arguments_of(chosen, precision) | guard_argument(guarded)
        making = Making(digest(source), chosen.name if chosen else "none", arguments)
        if target.exists() and not overwrite:
            check_same_lr(target, pair.name, pair.weights_hash, making)
            return None
        return read(source, max_pixels, strict), making, source.stat().st_size

    def one(found: tuple[Photo, Making, int], target: Path, progress: Progress) -> dict[str, Any]:
        photo, making, size = found
        used = precision_of(precision, pair)
        options = {"making": making, "guarded": guarded, "what": target.name, "storage": storage}
        return write_and_measure(photo, pair, chosen, target, progress, used, room, **options) | {"photo_bytes": size}

    # The last pass is the file's way back.
    passes = (chosen.passes if chosen else 0) + 1
    run_jobs("downscaling", jobs, prepare, one, passes, _describe_downscaled, as_json, failures)


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=path_type, metavar="LR|FOLDER...")
@output_options
@click.option("--rescaler", help="For images that coscale did not write; see: coscale models.")
@weights_option
@upscaler_options
@click.option(
    "--sample", "seed", type=seed_type, metavar="SEED", help="Draw the latent instead of taking 0 (IRN, HCFlow)."
)
@max_pixels_option
@strict_option
@room_options
@common
def upscale(
    inputs: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
    rescaler: str | None,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    trust: bool,
    seed: int | None,
    max_pixels: int | None,
    strict: bool,
    tile: int | None,
    memory: float | None,
    device: str,
    as_json: bool,
) -> None:
    """Bring photos back from their LR files: photo.x2.png becomes photo.restored.png.

    An LR file says itself which rescaler made it. Any other image is upscaled by --rescaler, to scale times its size.
    """
    device = device_of(device)
    from coscale.decode import decode_photo
    from coscale.image import WRITTEN, digest, write
    from coscale.jobs import plan
    from coscale.lrfile import RESTORED, Restoring, check_same_restored, read_lr
    from coscale.rescalers import Sampler, find
    from coscale.tiles import Room
    from coscale.weights.load import load

    pairs: dict[str, Loaded] = {}
    option = "--upscaler" if upscaler else "--rescaler"
    check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    if upscaler:
        pair = upscaler_pair(upscaler, scale, device, trust=trust)
        pairs, rescaler = {pair.name: pair}, pair.name

    def pair_of(name: str) -> Loaded:
        if name not in pairs:
            pairs[name] = load(name, weights, device)
            draws = seed is not None and isinstance(pairs[name].rescaler, Sampler)
            if draws and weights is None and find(name).checkpoint == "bundled":
                warn(f"{name} was trained to restore from z = 0; a drawn latent gives noise")
        return pairs[name]

    def prepare(source: Path, target: Path) -> tuple[Photo, Origin | None, Restoring] | None:
        input_hash = digest(source)
        lr, origin = read_lr(source, max_pixels, strict)
        name = origin.rescaler if origin else rescaler
        if name is None:
            raise SettingsError(
                f"{source} does not say which rescaler made it; give --rescaler NAME or --upscaler FILE"
            )
        if rescaler not in (None, name):
            raise SettingsError(
                f"{source} was made by {name}, not by {rescaler}; leave out {option}, or give the right one"
            )
        weights_hash = origin.weights_hash if origin else pair_of(name).weights_hash
        restoring = Restoring(input_hash, name, weights_hash, seed)
        if target.exists() and not overwrite:
            pixels = origin.height * origin.width if origin else math.prod(lr.size) * pair_of(name).scale ** 2
            check_same_restored(target, restoring, pixels)
            return None
        pair_of(name)  # in the one thread that prepares
        return lr, origin, restoring

    def one(found: tuple[Photo, Origin | None, Restoring], target: Path, _: Progress) -> dict[str, Any]:
        lr, origin, restoring = found
        begun = time.perf_counter()
        photo = decode_photo(lr, pairs[restoring.rescaler], origin, seed, Room(tile, memory))
        seconds = time.perf_counter() - begun
        write(target, photo, {RESTORED: restoring.to_text()})
        height, width = photo.size
        return {"width": width, "height": height, "rescaler": restoring.rescaler, "seconds": round(seconds, 3)}

    failures: list[str] = []
    jobs = plan(inputs, out, beside=".restored.png", inside=".png", allowed=WRITTEN, failed=failures.append)
    run_jobs("upscaling", jobs, prepare, one, 1, _describe_upscaled, as_json, failures)


@click.command()
@click.argument("file", type=path_type)
@weights_option
@upscaler_options
@max_pixels_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(
    file: Path,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    trust: bool,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Say what an image is, and what an LR file restores to."""
    from coscale.lrfile import read_lr

    photo, origin = read_lr(file, max_pixels)
    check_upscaler(bool(upscaler), scale, "weights")

    def load(name: str) -> Loaded:
        if upscaler:
            return upscaler_pair(upscaler, scale, "cpu", trust=trust)
        return named_pair(name, weights, "cpu")

    row = _facts(file, photo, origin, load)
    if as_json:
        say(dump(row))
        return
    kind = "grey" if row["channels"] == 1 else "RGB"
    extras = [name for name in ("alpha", "icc") if row[name]]
    say(f"{file}: {row['width']} x {row['height']} {' + '.join([kind, *extras])}, {in_bytes(row['bytes'])}")
    if origin:
        say(
            f"LR file of a {origin.width} x {origin.height} photo, by {origin.rescaler}, coscale {origin.version}",
            *_ways(origin, photo),
            f"restores here: {row['restores']}",
        )
    else:
        say("not an LR file of coscale; to upscale it, give --rescaler")


def _describe_downscaled(row: dict[str, Any]) -> str:
    def quality(title: str, key: str) -> str:
        return f"{title} {in_db(row[key], row['before'][key] if row['before'] else None)}"

    colours = [("Y", "psnr_y"), ("RGB", "psnr_rgb"), ("Cb", "psnr_cb"), ("Cr", "psnr_cr")]
    parts = ", ".join(quality(title, key) for title, key in colours if key in row)
    by = f" (gain by {row['method']})" if row["before"] else ""
    like = f", {row['lr_psnr_g']:.1f} dB to the plain LR" if row["before"] else ""
    mended = f", mended in {row['corrected']:.1%} of it" if row["corrected"] else ""
    larger = ", the LR is the larger" if row["lr_bytes"] > row["photo_bytes"] else ""
    of = f" of {in_bytes(row['photo_bytes'])}{larger}"
    return (
        f"{row['width']} x {row['height']}, LR {in_bytes(row['lr_bytes'])}{of}{like}{mended}; "
        f"PSNR in dB{by}: {parts}; {row['encode_seconds']:.1f} s"
    )


def _ways(origin: Origin, lr: Photo) -> Iterator[str]:
    """What an LR file says of how to restore it, besides by which rescaler."""
    if origin.grey:
        yield f"restores to grey, stored as {origin.grey}"
    if origin.bicubic:
        share = float(origin.bicubic.cells(lr.size).float().mean())
        yield f"left to bicubic in {share:.1%} of it, whose colours the rescaler would not restore"


def _describe_upscaled(row: dict[str, Any]) -> str:
    return f"{row['width']} x {row['height']} by {row['rescaler']}, {row['seconds']:.1f} s"


def _facts(file: Path, photo: Photo, origin: Origin | None, load: Callable[[str], Loaded]) -> dict[str, Any]:
    height, width = photo.size
    row = {
        "file": str(file),
        "width": width,
        "height": height,
        "channels": photo.colour.shape[1],
        "alpha": photo.alpha is not None,
        "icc": photo.icc is not None,
        "bytes": file.stat().st_size,
        "origin": None,
        "restores": None,
    }
    if origin:
        from coscale.decode import check

        row["origin"] = json.loads(origin.to_text())
        try:
            check(origin, load(origin.rescaler))
            row["restores"] = "yes"
        except CoscaleError as error:
            row["restores"] = f"no, {error}"
    return row
