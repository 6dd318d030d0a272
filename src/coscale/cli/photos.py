"""The commands on photos: downscale, upscale, info."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coscale.choices import MethodName, Runtime
from coscale.cli.options import (
    DEFAULT_RESCALER,
    check_upscaler,
    choice,
    common,
    compile_option,
    device_of,
    format_options,
    guard_option,
    max_pixels_option,
    measure_option,
    method_options,
    methods_of,
    named_pair,
    output_options,
    path_type,
    precision_of,
    room_options,
    runtime_option,
    seed_type,
    storage_of,
    strict_option,
    strip_option,
    upscaler_options,
    upscaler_pair,
    weights_option,
)
from coscale.cli.outcomes import Downscaled, Upscaled
from coscale.console import dump, in_bytes, run_each, say, warn
from coscale.errors import CoscaleError, SettingsError

if TYPE_CHECKING:
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
    stripped: bool,
    tile: int | None,
    memory: float | None,
    compiled: bool,
    runtime: Runtime,
    guarded: bool,
    device: str,
    as_json: bool,
    precision: str,
    measured: bool,
    **settings: Any,
) -> None:
    """Write each photo as a small image that `coscale upscale` restores: photo.jpg becomes photo.x2.png.

    Each file is read back before it gets its name; with --measure it is also upscaled and compared with the photo.
    """
    from coscale.image import digest, read
    from coscale.lrfile import Making, check_same_lr
    from coscale.measurement import arguments_of
    from coscale.outputs import plan_outputs
    from coscale.pipeline import encode_photo, write_and_measure, write_encoded
    from coscale.storage import SUFFIXES
    from coscale.tiles import Room

    (chosen,), room = methods_of([method], settings), Room(tile, memory)
    storage = storage_of(form, small, out)
    check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    if upscaler:
        pair = upscaler_pair(upscaler, scale, device, compiled, precision if chosen.changes else None, trust)
    else:
        pair = named_pair(rescaler, weights, device, compiled, runtime)
    suffix = f".x{pair.scale}{storage.suffix}"
    failures: list[str] = []
    allowed = (storage.suffix,) if form else SUFFIXES
    paths = plan_outputs(inputs, out, beside=suffix, inside=suffix, allowed=allowed, failed=failures.append)

    def prepare(source: Path, target: Path) -> tuple[Photo, Making, int] | None:
        arguments = arguments_of(chosen, precision, guarded, pair.steps, stripped)
        making = Making(digest(source), chosen.name, arguments)
        if target.exists() and not overwrite:
            check_same_lr(target, pair.name, pair.weights_hash, making)
            return None
        photo = read(source, max_pixels, strict)
        return photo.stripped if stripped else photo, making, source.stat().st_size

    def one(found: tuple[Photo, Making, int], target: Path, reach: Callable[[int], None]) -> Downscaled:
        photo, making, size = found
        begun = time.perf_counter()
        options: dict[str, Any] = {"precision": precision_of(precision, pair), "room": room, "guarded": guarded}
        options |= {"watch": lambda done, most, loss: reach(done), "what": target.name}
        if measured:
            row = write_and_measure(photo, pair, chosen, target, making=making, storage=storage, **options)
            return Downscaled.of(row, size)
        encoded = encode_photo(photo, pair, chosen, **options)
        written = write_encoded(encoded, target, making, storage=storage)
        return Downscaled.unmeasured(pair, chosen, encoded, written, time.perf_counter() - begun, size)

    # The last step is writing the file.
    run_each("downscaling", paths, prepare, one, chosen.passes + 1, as_json, failures)


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
@strip_option
@room_options
@runtime_option
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
    stripped: bool,
    tile: int | None,
    memory: float | None,
    runtime: Runtime,
    device: str,
    as_json: bool,
) -> None:
    """Bring photos back from their LR files: photo.x2.png becomes photo.restored.png.

    An LR file says itself which rescaler made it. Any other image is upscaled by --rescaler, to scale times its size.
    """
    device = device_of(device)
    from coscale.image import WRITTEN, digest, write
    from coscale.lrfile import RESTORED, Restoring, check_same_restored, read_lr
    from coscale.outputs import plan_outputs
    from coscale.pipeline import decode_photo
    from coscale.rescalers import find
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
            pairs[name] = load(name, weights, device, runtime=runtime)
            draws = seed is not None and pairs[name].rescaler.draws
            if draws and weights is None and find(name).checkpoint == "bundled":
                warn(f"{name} was trained to restore from z = 0; a drawn latent gives noise")
        return pairs[name]

    def prepare(source: Path, target: Path) -> tuple[Photo, Origin | None, Restoring] | None:
        input_hash = digest(source)
        lr, origin = read_lr(source, max_pixels, strict)
        lr = lr.stripped if stripped else lr
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
        restoring = Restoring(input_hash, name, weights_hash, seed, stripped)
        if target.exists() and not overwrite:
            pixels = origin.height * origin.width if origin else math.prod(lr.size) * pair_of(name).scale ** 2
            check_same_restored(target, restoring, pixels)
            return None
        pair_of(name)  # in the one thread that prepares
        return lr, origin, restoring

    def one(found: tuple[Photo, Origin | None, Restoring], target: Path, _: Callable[[int], None]) -> Upscaled:
        lr, origin, restoring = found
        begun = time.perf_counter()
        photo = decode_photo(lr, pairs[restoring.rescaler], origin, seed, Room(tile, memory))
        seconds = time.perf_counter() - begun
        write(target, photo, {RESTORED: restoring.to_text()})
        height, width = photo.size
        return Upscaled(width, height, restoring.rescaler, round(seconds, 3))

    failures: list[str] = []
    paths = plan_outputs(inputs, out, beside=".restored.png", inside=".png", allowed=WRITTEN, failed=failures.append)
    run_each("upscaling", paths, prepare, one, 1, as_json, failures)


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


def _ways(origin: Origin, lr: Photo) -> Iterator[str]:
    """What an LR file says of how to restore it, besides by which rescaler."""
    if origin.grey:
        yield f"restores to grey, stored as {origin.grey}"
    if origin.bicubic:
        share = float(origin.bicubic.cells(lr.size).float().mean())
        yield f"left to bicubic in {share:.1%} of it, whose colours the rescaler would not restore"


def _facts(file: Path, photo: Photo, origin: Origin | None, load: Callable[[str], Loaded]) -> dict[str, Any]:
    height, width = photo.size
    row = {
        "file": str(file),
        "width": width,
        "height": height,
        "channels": photo.channels,
        "alpha": photo.alpha is not None,
        "icc": photo.icc is not None,
        "bytes": file.stat().st_size,
        "origin": None,
        "restores": None,
    }
    if origin:
        from coscale.pipeline import check_pair

        row["origin"] = json.loads(origin.to_text())
        try:
            check_pair(origin, load(origin.rescaler))
            row["restores"] = "yes"
        except CoscaleError as error:
            row["restores"] = f"no, {error}"
    return row
