"""The commands on photos: downscale, upscale, info."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from coscale.choices import AskedPrecision, MethodName, Runtime
from coscale.cli.options import (
    AUTO_SCALE,
    asked_of,
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
    rescaler_for,
    rescaler_option,
    room_options,
    runtime_option,
    saving_options,
    seed_type,
    storage_of,
    strict_option,
    strip_option,
    upscaler_options,
    upscaler_or_auto_options,
    upscaler_pair,
    weights_option,
)
from coscale.cli.outcomes import Downscaled, Upscaled
from coscale.cli.streams import check_streams, destination, taken
from coscale.console import dump, in_bytes, run_each, say, warn
from coscale.errors import CoscaleError, SettingsError
from coscale.files import STREAM, called, digest

if TYPE_CHECKING:
    from coscale.image import Photo
    from coscale.lrfile import Origin, Restoring
    from coscale.weights.load import Loaded

    # An image to restore, its note, what it will be said of it, and the level of its codec where it has no note.
    _Small = tuple[Photo, Origin | None, Restoring, int | None]


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=path_type, metavar="PHOTO|FOLDER...")
@output_options
@format_options
@rescaler_option
@weights_option
@upscaler_or_auto_options
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
    quality: float | None,
    size: float | None,
    psnr: float | None,
    rescaler: str | None,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | str | None,
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
    """Write each photo as a small image that `coscale upscale` restores: photo.jpg becomes photo.x2.png,
    or photo.x2.jxl by jxl-x2, which any viewer of JPEG XL shows restored.

    With --size and --scale auto it may be the photo itself, as photo.small.webp: whichever restores it better in so
    many bytes. Each file is read back before it gets its name; with --measure it is also upscaled and compared with the
    photo. PHOTO may be - for stdin, with --out.
    """
    from coscale.image import from_bytes
    from coscale.lrfile import Making, check_same_lr
    from coscale.measurement import arguments_of
    from coscale.outputs import plan_outputs
    from coscale.pipeline import Encoded, encode_photo, write_and_measure, write_encoded
    from coscale.rescalers import find
    from coscale.scales import AUTO, best_of
    from coscale.storage import SUFFIXES
    from coscale.tiles import Room

    (chosen,), room = methods_of([method], settings), Room(tile, memory)
    storage = storage_of(form, small, asked_of(quality, size, psnr), out, rescaler)
    check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    auto = scale == AUTO_SCALE
    if auto and (size is None or rescaler or upscaler):
        raise click.UsageError("--scale auto needs --size, and chooses the rescaler itself")
    if auto:
        given = {name: weights if find(name).checkpoint != "none" else None for name in AUTO}
        pairs = [named_pair(name, path, device, compiled, runtime) for name, path in given.items()]
    elif upscaler:
        of = cast("int | None", scale)
        pairs = [upscaler_pair(upscaler, of, device, compiled, precision if chosen.changes else None, trust)]
    else:
        pairs = [named_pair(rescaler or rescaler_for(storage), weights, device, compiled, runtime)]
    pair, suffix = pairs[0], f".small{storage.suffix}" if auto else f".x{pairs[0].scale}{storage.suffix}"
    failures: list[str] = []
    allowed = (storage.suffix,) if form else SUFFIXES
    paths = plan_outputs(inputs, out, beside=suffix, inside=suffix, allowed=allowed, failed=failures.append)
    check_streams(paths)

    def prepare(source: Path, target: Path) -> tuple[Photo, Making, int] | None:
        arguments = arguments_of(chosen, precision, guarded, pair.steps, stripped, storage)
        data = taken(source)
        making = Making(digest(data), chosen.name, arguments | ({"scale": scale} if auto else {}))
        if target != STREAM and target.exists() and not overwrite:
            check_same_lr(target, [(one.name, one.weights_hash) for one in pairs], making)
            return None
        photo = from_bytes(data, called(source, "stdin"), max_pixels, strict)
        return photo.stripped if stripped else photo, making, len(data)

    def one(found: tuple[Photo, Making, int], target: Path, reach: Callable[[int], None]) -> Downscaled:
        photo, making, photo_bytes = found
        begun = time.perf_counter()
        options: dict[str, Any] = {"precision": precision_of(precision, pair.device), "room": room, "guarded": guarded}
        options |= {"watch": lambda done, most, loss: reach(done), "what": called(Path(target.name), "stdout")}

        def encode(pair: Loaded) -> Encoded:
            return encode_photo(photo, pair, chosen, storage=storage, **options)

        best = best_of(photo, pairs, encode, room, settings["luma"]) if auto else None
        by = best.pair if best else pair
        with destination(target, storage.suffix) as path:
            if measured:
                row = write_and_measure(photo, by, chosen, path, making=making, storage=storage, **options)
                done = Downscaled.of(row, photo_bytes)
            else:
                encoded = best.encoded if best else encode(pair)
                written = write_encoded(encoded, path, making, storage=storage)
                seconds = time.perf_counter() - begun
                done = Downscaled.unmeasured(by, chosen, encoded, written, seconds, photo_bytes)
        return replace(done, choice=best and best.said)

    # The last step is writing the file.
    run_each("downscaling", paths, prepare, one, chosen.passes + 1, as_json, failures)


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=path_type, metavar="LR|FOLDER...")
@output_options
@saving_options
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
@choice(
    "--precision",
    AskedPrecision,
    "float32",
    "Of the network: bfloat16 is faster where the hardware has it, and off by a grey level here and there.",
)
@common
def upscale(
    inputs: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
    form: str | None,
    quality: int | None,
    depth: int,
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
    precision: str,
    device: str,
    as_json: bool,
) -> None:
    """Bring photos back from their LR files: photo.x2.png becomes photo.restored.png.

    An LR file says itself which rescaler made it. Any other image is upscaled by --rescaler, to scale times its size.
    LR may be - for stdin, with --out.
    """
    device = device_of(device)
    import torch

    from coscale.image import write
    from coscale.lrfile import RESTORED, Restoring, check_same_restored, lr_from_bytes
    from coscale.outputs import plan_outputs
    from coscale.pipeline import decode_photo
    from coscale.rescalers import find
    from coscale.saving import WRITTEN, Saving
    from coscale.storage import level_in
    from coscale.tiles import Room
    from coscale.weights.hub import ON_HUB
    from coscale.weights.load import load

    saving, suffix = Saving(quality, depth), f".{form or 'png'}"
    used = precision_of(precision, torch.device(device))
    pairs: dict[str, Loaded] = {}
    option = "--upscaler" if upscaler else "--rescaler"
    check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    if upscaler:
        pair = upscaler_pair(upscaler, scale, device, trust=trust)
        pairs, rescaler = {pair.name: pair}, pair.name
    elif rescaler and rescaler.startswith(ON_HUB):  # an LR file has the name of the rescaler there
        pair = load(rescaler, weights, device, runtime=runtime)
        pairs, rescaler = {pair.name: pair}, pair.name

    def pair_of(name: str) -> Loaded:
        if name not in pairs:
            pairs[name] = load(name, weights, device, runtime=runtime)
            draws = seed is not None and pairs[name].rescaler.draws
            if draws and weights is None and find(name).checkpoint == "bundled":
                warn(f"{name} was trained to restore from z = 0; a drawn latent gives noise")
        return pairs[name]

    def prepare(source: Path, target: Path) -> _Small | None:
        data, named = taken(source), called(source, "stdin")
        lr, origin = lr_from_bytes(data, named, max_pixels, strict)
        lr = lr.stripped if stripped else lr
        name = origin.rescaler if origin else rescaler
        if name is None:
            raise SettingsError(f"{named} does not say which rescaler made it; give --rescaler NAME or --upscaler FILE")
        if rescaler not in (None, name):
            raise SettingsError(
                f"{named} was made by {name}, not by {rescaler}; leave out {option}, or give the right one"
            )
        weights_hash = origin.weights_hash if origin else pair_of(name).weights_hash
        restoring = Restoring(digest(data), name, weights_hash, seed, stripped, depth, used)
        if target != STREAM and target.exists() and not overwrite:
            pixels = origin.height * origin.width if origin else math.prod(lr.size) * pair_of(name).scale ** 2
            check_same_restored(target, restoring, pixels)
            return None
        pair_of(name)  # in the one thread that prepares
        return lr, origin, restoring, None if origin else level_in(data)

    def one(
        found: tuple[Photo, Origin | None, Restoring, int | None], target: Path, _: Callable[[int], None]
    ) -> Upscaled:
        lr, origin, restoring, level = found
        begun = time.perf_counter()
        photo = decode_photo(lr, pairs[restoring.rescaler], origin, seed, Room(tile, memory), depth, level, used)
        seconds = time.perf_counter() - begun
        with destination(target, suffix) as path:
            write(path, photo, {RESTORED: restoring.to_text()}, saving)
        height, width = photo.size
        return Upscaled(width, height, restoring.rescaler, round(seconds, 3))

    failures: list[str] = []
    allowed = (suffix,) if form else WRITTEN
    beside = f".restored{suffix}"
    paths = plan_outputs(inputs, out, beside=beside, inside=suffix, allowed=allowed, failed=failures.append)
    check_streams(paths)
    for end in {suffix if target == STREAM else target.suffix for _, target in paths}:
        saving.check(end)
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
