"""The command: parses, calls, shows progress. What takes long to import is imported by the command that needs it."""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from coscale import __version__
from coscale.console import (
    STOPPED,
    Bar,
    dump,
    fail,
    growing_file,
    in_bytes,
    list_failures,
    memory_explained,
    on_stop,
    run_jobs,
)
from coscale.errors import CoscaleError, CoscaleWarning, SettingsError

if TYPE_CHECKING:
    from coscale.collaborate import Method, Progress
    from coscale.image import Photo
    from coscale.lrfile import Origin
    from coscale.rescalers import Precision
    from coscale.weights.load import Loaded

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_RESCALER = "light-x2"  # best and fastest of those in the package at x2

_path = click.Path(path_type=Path)
_seed = click.IntRange(0, 2**63 - 1)


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


def _choice(name: str, options: Sequence[str], default: str, about: str | None = None) -> Callable[[Any], Any]:
    return click.option(name, type=click.Choice(options), default=default, show_default=True, help=about)


def _on_device(default: str) -> Callable[[Any], Any]:
    return _choice("--device", ("auto", "cpu", "cuda"), default)


_common = _options(
    _on_device("auto"),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object a result instead of text."),
)
_max_pixels = click.option(
    "--max-pixels", type=click.IntRange(1), help="Refuse images that declare more, unread; 250 million by default."
)


def _bytes(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """1GiB, 800MB or a plain number as bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])(i?))?B?", text.strip())
    if not match:
        raise click.BadParameter(f"{text!r} is no amount of memory; write 800MB or 1.5GiB, for example")
    number, unit, binary = match.groups()
    return float(number) * (1024 if binary else 1000) ** (" kMGT".index(unit) if unit else 0)


_room = _options(
    click.option("--tile", type=click.IntRange(1), help="Work in tiles of so many LR pixels a side."),
    click.option(
        "--memory", callback=_bytes, metavar="SIZE", help="Work in tiles that take no more than this, 1GiB for example."
    ),
)
_weights = click.option(
    "--weights", type=_path, help="A checkpoint (.safetensors, or an official .pth) instead of the bundled weights."
)
_scale = click.option(
    "--scale", type=click.IntRange(2), help="Of --upscaler: needed where its file does not tell, checked where it does."
)
_upscaler = _options(
    click.option(
        "--upscaler", type=_path, metavar="FILE", help="A super-resolution network, with bicubic as its downscaler."
    ),
    _scale,
)
_output = _options(
    click.option("-o", "--out", type=_path, help="Output file, or folder for several inputs or a folder."),
    click.option("--overwrite", is_flag=True, help="Replace results that exist; without it they are skipped."),
)
_compile = click.option(
    "--compile", "compiled", is_flag=True, help="Compile the gradient: pays for large photos after a minute or so."
)
_METHODS = ("none", "hcd", "coscale")
_method_options = _options(
    _choice(
        "--precision",
        ("auto", "float32", "bfloat16"),
        "auto",
        "Of the method's gradients: auto is bfloat16 where the hardware has it.",
    ),
    _choice("--effort", ("fast", "balanced", "best"), "balanced", "coscale: 8, 20 or 60 passes."),
    click.option(
        "--luma",
        type=click.FloatRange(0),
        default=0.5,
        show_default=True,
        help="coscale: weight of Y beside RGB; 0 is RGB alone.",
    ),
    click.option(
        "--fidelity",
        type=float,
        default=40.0,
        show_default=True,
        help="coscale: least PSNR of the LR against the plain one, in dB.",
    ),
    click.option("--hr-steps", type=click.IntRange(0), default=15, show_default=True, help="HCD: N_y."),
    click.option("--lr-steps", type=click.IntRange(0), default=15, show_default=True, help="HCD: N_x."),
    click.option("--alpha", type=click.FloatRange(0), default=20 / 255, show_default="20/255", help="HCD: step."),
    click.option("--eps", type=click.FloatRange(0), default=0.3, show_default=True, help="HCD: radius of the ball."),
    _choice("--norm", ("l2", "linf"), "l2", "HCD: its norm."),
    _choice("--loss", ("mse", "l1", "y-mse"), "mse", "HCD."),
    _choice("--start", ("random", "zero"), "random", "HCD."),
    click.option("--seed", type=_seed, default=0, show_default=True, help="HCD: seed of the random start."),
    _choice("--lr-target", ("original", "collaborative"), "original", "HCD: what the LR stage restores."),
    _choice("--direction", ("descent", "ascent"), "descent", "HCD: ascent makes an adversarial LR."),
    _choice("--keep", ("best", "last"), "best", "HCD: which iterate."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="coscale")
def cli() -> None:
    """Make small 8-bit images of photos that anyone can look at, and bring the photos back at full size."""


@cli.command()
@click.argument("inputs", nargs=-1, required=True, type=_path, metavar="PHOTO|FOLDER...")
@_output
@click.option("--rescaler", default=DEFAULT_RESCALER, show_default=True, help="See: coscale models.")
@_weights
@_upscaler
@_choice("--method", _METHODS, "coscale")
@_max_pixels
@_room
@_compile
@_method_options
@_common
def downscale(
    inputs: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
    rescaler: str,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    method: str,
    max_pixels: int | None,
    tile: int | None,
    memory: float | None,
    compiled: bool,
    device: str,
    as_json: bool,
    precision: str,
    **settings: Any,
) -> None:
    """Write each photo as a small PNG that `coscale upscale` restores: photo.jpg becomes photo.x2.png.

    Each file is read back and upscaled, and the PSNR is what that really gives.
    """
    from coscale.evaluate import write_and_measure
    from coscale.image import read
    from coscale.jobs import plan
    from coscale.tiles import Room

    (chosen,), room = _methods([method], settings), Room(tile, memory)
    _check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    if upscaler:
        pair = _load_upscaler(upscaler, scale, device, compiled, precision if chosen else None)
    else:
        pair = _load(rescaler, weights, device, compiled)
    jobs = plan(inputs, out, beside=f".x{pair.scale}.png", inside=f".x{pair.scale}.png", allowed=(".png",))

    def one(photo: Photo, target: Path, progress: Progress) -> dict[str, Any]:
        return write_and_measure(photo, pair, chosen, target, progress, _precision(precision, pair), room)

    # The last pass is the file's way back.
    passes = (chosen.passes if chosen else 0) + 1
    run_jobs(
        "downscaling", jobs, lambda path: read(path, max_pixels), one, passes, _describe_downscaled, overwrite, as_json
    )


@cli.command()
@click.argument("inputs", nargs=-1, required=True, type=_path, metavar="LR|FOLDER...")
@_output
@click.option("--rescaler", help="For images that coscale did not write; see: coscale models.")
@_weights
@_upscaler
@click.option("--sample", "seed", type=_seed, metavar="SEED", help="Draw the latent instead of taking 0 (IRN, HCFlow).")
@_max_pixels
@_room
@_common
def upscale(
    inputs: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
    rescaler: str | None,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    seed: int | None,
    max_pixels: int | None,
    tile: int | None,
    memory: float | None,
    device: str,
    as_json: bool,
) -> None:
    """Bring photos back from their LR files: photo.x2.png becomes photo.restored.png.

    An LR file says itself which rescaler made it. Any other image is upscaled by --rescaler, to scale times its size.
    """
    from coscale.decode import decode_photo
    from coscale.image import SUFFIXES, write
    from coscale.jobs import plan
    from coscale.lrfile import read_lr
    from coscale.rescalers import Sampler, find
    from coscale.tiles import Room

    pairs: dict[str, Loaded] = {}
    option = "--upscaler" if upscaler else "--rescaler"
    _check_upscaler(bool(upscaler), scale, "rescaler", "weights")
    if upscaler:
        pair = _load_upscaler(upscaler, scale, device)
        pairs, rescaler = {pair.name: pair}, pair.name

    def one(file: tuple[Path, Photo, Origin | None], target: Path, _: Progress) -> dict[str, Any]:
        source, lr, origin = file
        name = origin.rescaler if origin else rescaler
        if name is None:
            raise SettingsError(
                f"{source} does not say which rescaler made it; give --rescaler NAME or --upscaler FILE"
            )
        if rescaler not in (None, name):
            raise SettingsError(
                f"{source} was made by {name}, not by {rescaler}; leave out {option}, or give the right one"
            )
        if name not in pairs:
            pairs[name] = _load(name, weights, device)
            draws = seed is not None and isinstance(pairs[name].rescaler, Sampler)
            if draws and weights is None and find(name).checkpoint == "bundled":
                click.echo(f"coscale: {name} was trained to restore from z = 0; a drawn latent gives noise", err=True)
        begun = time.perf_counter()
        photo = decode_photo(lr, pairs[name], origin, seed, Room(tile, memory))
        seconds = time.perf_counter() - begun
        write(target, photo)
        height, width = photo.size
        return {"width": width, "height": height, "rescaler": name, "seconds": round(seconds, 3)}

    jobs = plan(inputs, out, beside=".restored.png", inside=".png", allowed=SUFFIXES)
    run_jobs(
        "upscaling",
        jobs,
        lambda path: (path, *read_lr(path, max_pixels)),
        one,
        1,
        _describe_upscaled,
        overwrite,
        as_json,
    )


@cli.command("eval")
@click.argument("sets", nargs=-1, required=True, type=_path, metavar="FOLDER...")
@click.option("--rescaler", "rescalers", multiple=True, default=[DEFAULT_RESCALER], show_default=True)
@_weights
@click.option(
    "--upscaler",
    "upscalers",
    type=_path,
    metavar="FILE",
    multiple=True,
    help="A super-resolution network, with bicubic as its downscaler.",
)
@_scale
@click.option(
    "--method",
    "methods",
    type=click.Choice(_METHODS),
    multiple=True,
    default=["none", "coscale"],
    help="Repeatable.",
)
@click.option(
    "-o",
    "--out",
    type=_path,
    help="Also keep the rows, one JSON object a line, in this file; those there are not redone.",
)
@click.option("--overwrite", is_flag=True, help="Begin that file anew.")
@_max_pixels
@_room
@_compile
@_method_options
@_common
def evaluate_(
    sets: tuple[Path, ...],
    rescalers: tuple[str, ...],
    weights: Path | None,
    upscalers: tuple[Path, ...],
    scale: int | None,
    methods: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    max_pixels: int | None,
    tile: int | None,
    memory: float | None,
    compiled: bool,
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

    chosen = _methods(methods, settings)
    if out:
        check_writable(out)
    earlier = read_rows(out) if out and out.exists() and not overwrite else {}
    if upscalers and not _given("rescalers"):
        rescalers = ()  # the default is for those who name nothing
    _check_upscaler(bool(upscalers), scale, *(() if rescalers else ("weights",)))
    used = precision if any(chosen) else None
    pairs = [_load(name, weights, device, compiled) for name in rescalers]
    pairs += [_load_upscaler(file, scale, device, compiled, used) for file in upscalers]
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
        for pair, method in itertools.product(pairs, chosen):
            options = {"room": Room(tile, memory), "max_pixels": max_pixels, "earlier": earlier, "failed": failed}
            for row in evaluate(found, pair, method, _precision(precision, pair), **options):
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
                *(str(r[key]) for key in ("set", "rescaler", "method", "images")),
                f"{r['psnr_y']:.2f}",
                f"{r['ssim_y']:.4f}",
                *(f"{r[key]:.2f}" for key in ("psnr_rgb", "psnr_cb", "psnr_cr", "lr_psnr_bicubic", "lr_psnr_g")),
                *(f"{r[key]:.2f}" for key in ("encode_seconds", "decode_seconds")),
            )
            for r in summarise(rows)
        ]
        click.echo(text_table(header, table))
    list_failures(failures, total)


@cli.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--data", type=_path, multiple=True, required=True, help="A folder of photos. Repeatable.")
@click.option("-o", "--out", type=_path, required=True, help="Folder for weights, checkpoint, log and curves.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Fit the schedule into so much time.")
@click.option("--start", help="A bundled rescaler, or a file of weights, to begin with where names and shapes agree.")
@click.option("--steps", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--batch", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--patch", type=click.IntRange(8), help="Side of a crop in HR pixels, instead of the recipe's.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate instead of the recipe's.")
@click.option("--seed", type=_seed, help="Instead of the recipe's.")
@_on_device("auto")
@_choice(
    "--precision", ("float32", "bfloat16"), "bfloat16", "Of convolutions; bfloat16 is faster where the hardware has it."
)
@click.option("--compile/--eager", "compiled", default=True, help="Compiled steps are faster after a minute or so.")
def train(
    recipe: str,
    data: tuple[Path, ...],
    out: Path,
    minutes: float | None,
    device: str,
    precision: Precision,
    compiled: bool,
    **changes: Any,
) -> None:
    """Train a rescaler on photos; the recipes are called like the rescalers.

    The same command goes on with a run that was stopped. On several GPUs:
    torchrun --nproc-per-node N -m coscale train ...
    """
    device = _device(device)
    from coscale.train.loop import train
    from coscale.train.recipes import find, prepared

    settings = find(recipe, **{key: value for key, value in changes.items() if value is not None})
    if minutes is not None and changes["steps"] is not None:
        raise click.UsageError("--minutes finds the number of steps itself; give it or --steps")
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts
    too_much = "not enough memory for a batch of this size; give a smaller --batch or --patch"
    with Bar("training", settings.steps, quiet=not first) as bar, memory_explained(too_much):
        train(
            settings,
            prepared(settings),
            data,
            out,
            device=device,
            minutes=minutes,
            say=bar.say,
            progress=bar.reach,
            compiled=compiled,
            precision=precision,
        )


@cli.group()
def weights() -> None:
    """Bring in official checkpoints, and check the weights that came with the package."""


@weights.command("import")
@click.argument("file", type=_path)
@click.option("--overwrite", is_flag=True, help="Replace weights imported before.")
def import_(file: Path, overwrite: bool) -> None:
    """Make an official checkpoint (IRN_x2.pth, say) the weights of the rescaler that it is of."""
    from coscale.weights.load import import_checkpoint

    named, path = import_checkpoint(file, overwrite)
    click.echo(f"{file} -> {path}\nit is {named.name}: coscale downscale photo.jpg --rescaler {named.name}")


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@_on_device("cpu")
def verify(names: tuple[str, ...], device: str) -> None:
    """Check the bundled weights: the files by their hash, what they give by test vectors."""
    device = _device(device)
    from coscale.weights.manifest import read_manifest
    from coscale.weights.verify import verify

    wrong, chosen = [], names or tuple(read_manifest())
    for name in chosen:
        try:
            share = verify(name, device)
            click.echo(f"{name}: as shipped; {share:.2%} of 8-bit values differ by one grey level on {device}")
        except CoscaleError as error:
            wrong.append(str(error))
    list_failures(wrong, len(chosen))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a rescaler.")
def models(as_json: bool) -> None:
    """List the rescalers that have a name."""
    from coscale.report.tables import text_table
    from coscale.rescalers import RESCALERS

    rows = []
    for named in RESCALERS:
        parameters = sum(p.numel() for p in named.build().parameters())
        rows.append(
            {
                "name": named.name,
                "scale": named.scale,
                "parameters": parameters,
                "weights": named.checkpoint,
                "about": named.about,
            }
        )
    if as_json:
        for row in rows:
            click.echo(dump(row))
    else:
        table = [
            (r["name"], f"x{r['scale']}", f"{r['parameters'] / 1e6:.2f} M", r["weights"], r["about"]) for r in rows
        ]
        click.echo(text_table(("name", "scale", "parameters", "weights", ""), table))


@cli.command()
@click.argument("file", type=_path)
@_weights
@_upscaler
@_max_pixels
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(
    file: Path,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Say what an image is, and what an LR file restores to."""
    from coscale.lrfile import read_lr

    photo, origin = read_lr(file, max_pixels)
    _check_upscaler(bool(upscaler), scale, "weights")

    def load(name: str) -> Loaded:
        return _load_upscaler(upscaler, scale, "cpu") if upscaler else _load(name, weights, "cpu")

    row = _facts(file, photo, origin, load)
    if as_json:
        click.echo(dump(row))
        return
    kind = "grey" if row["channels"] == 1 else "RGB"
    extras = [name for name in ("alpha", "icc") if row[name]]
    click.echo(f"{file}: {row['width']} x {row['height']} {' + '.join([kind, *extras])}, {in_bytes(row['bytes'])}")
    if origin:
        click.echo(
            f"LR file of a {origin.width} x {origin.height} photo, by {origin.rescaler}, coscale {origin.version}"
        )
        click.echo(f"restores here: {row['restores']}")
    else:
        click.echo("not an LR file of coscale; to upscale it, give --rescaler")


def main() -> None:
    """The entry point: one line on stderr for whatever a user can cause, and no traceback."""
    # torch loses an interrupt that comes while it is imported. Until there is something to clean up, just leave.
    on_stop(lambda *_: (os.write(2, f"coscale: {STOPPED}\n".encode()), os._exit(1)))
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", CoscaleWarning)  # Python shows a text once only
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its warnings are not for those who use a command
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # file names may be no text
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        fail(f"{error.format_message()} (coscale --help says more)", status=2)
    except click.ClickException as error:
        fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        fail(STOPPED)
    except SettingsError as error:
        fail(str(error), status=2)
    except CoscaleError as error:
        fail(str(error))
    except BrokenPipeError:  # whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python tries once more as it ends
        sys.exit(1)
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or 'standard output'}")


def _precision(asked: str, pair: Loaded) -> Precision:
    from coscale.rescalers import fastest

    return fastest(pair.device) if asked == "auto" else cast("Precision", asked)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Ours as one line; those of others as Python shows them."""
    if issubclass(category, CoscaleWarning):
        click.echo(f"coscale: {message}", err=True)
    else:
        _python_shows(message, category, *place, **more)


_python_shows = warnings.showwarning


def _methods(names: Sequence[str], settings: dict[str, Any]) -> list[Method | None]:
    """The methods by these names, each with those of the settings that are its own. A setting of none is refused."""
    from dataclasses import fields

    from coscale.collaborate import METHODS

    own = {name: {field.name for field in fields(kind)} for name, kind in METHODS.items()}
    for key in settings:
        if _given(key) and not any(key in own.get(name, ()) for name in names):
            owner = next(name for name, keys in own.items() if key in keys)
            raise click.UsageError(f"--{key.replace('_', '-')} is a setting of --method {owner}")

    def build(name: str) -> Method | None:
        return METHODS[name](**{key: settings[key] for key in settings if key in own[name]}) if name in own else None

    return [build(name) for name in names]


def _given(key: str) -> bool:
    """Whether an option was given, and is not its default."""
    return click.get_current_context().get_parameter_source(key) is ParameterSource.COMMANDLINE


def _load_upscaler(
    file: Path, scale: int | None, device: str, compiled: bool = False, precision: str | None = None
) -> Loaded:
    """The network in ``file``, tried on a small image; its gradient too where a method uses that, in ``precision``."""
    device = _device(device)
    from coscale.diagnose import diagnose
    from coscale.weights.upscaler import load_upscaler

    pair = load_upscaler(file, scale, device, compiled)
    if precision:
        diagnose(pair, _precision(precision, pair))
    else:
        diagnose(pair, optimised=False)
    return pair


def _check_upscaler(given: bool, scale: int | None, *others: str) -> None:
    """Refuse what says otherwise than --upscaler which network to use, and --scale without it."""
    if scale is not None and not given:
        raise click.UsageError("--scale is a setting of --upscaler")
    for key in others:
        if given and _given(key):
            raise click.UsageError(f"--upscaler gives the network and its weights; leave out it or --{key}")


def _load(name: str, weights: Path | None, device: str, compiled: bool = False) -> Loaded:
    from coscale.weights.load import load

    return load(name, weights, _device(device), compiled)


def _device(device: str) -> str:
    """The device meant by --device, once torch is there."""
    import torch

    from coscale import machine

    machine.settle()
    on_stop(signal.default_int_handler)  # from here on, stopping cleans up
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("there is no CUDA device here; leave out --device, or give --device cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _describe_downscaled(row: dict[str, Any]) -> str:
    def quality(title: str, key: str) -> str:
        value, before = row[key], row["before"]
        gain = f" ({value - before[key]:+.2f})" if before and math.isfinite(value) else ""
        return f"{title} {value:.2f}{gain}"

    colours = [("Y", "psnr_y"), ("RGB", "psnr_rgb"), ("Cb", "psnr_cb"), ("Cr", "psnr_cr")]
    parts = ", ".join(quality(title, key) for title, key in colours if key in row)
    by = f" (gain by {row['method']})" if row["before"] else ""
    like = f", {row['lr_psnr_g']:.1f} dB to the plain LR" if row["before"] else ""
    return (
        f"{row['width']} x {row['height']}, LR {in_bytes(row['lr_bytes'])}{like}; "
        f"PSNR in dB{by}: {parts}; {row['encode_seconds']:.1f} s"
    )


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
        from dataclasses import asdict

        from coscale.decode import check

        row["origin"] = asdict(origin)
        try:
            check(origin, load(origin.rescaler))
            row["restores"] = "yes"
        except CoscaleError as error:
            row["restores"] = f"no, {error}"
    return row
