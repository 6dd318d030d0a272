"""What the commands share: options, and what they mean."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import click
from click.core import ParameterSource

from coscale.choices import (
    AskedPrecision,
    Device,
    Direction,
    Effort,
    Keep,
    LossName,
    LRTarget,
    Norm,
    ObjectiveName,
    PhotoFormat,
    Runtime,
    Start,
)
from coscale.console import memory_explained, on_stop

if TYPE_CHECKING:
    import torch

    from coscale.collaborate import Method
    from coscale.rescalers import Precision
    from coscale.storage import Storage
    from coscale.weights.load import Loaded


Command = TypeVar("Command", bound=Callable[..., Any])

AUTO_SCALE = "auto"
FOR_LOSSY = "coded-x2"  # the default for LR files that lose something
DEFAULT_RESCALER = "light-x2"  # best and fastest of those in the package at x2

path_type = click.Path(path_type=Path)
seed_type = click.IntRange(0, 2**63 - 1)


def options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


def choice(name: str, kind: Any, default: str, about: str | None = None) -> Callable[[Any], Any]:
    """Give an option that takes one of the values of a Literal type."""
    return click.option(name, type=click.Choice(get_args(kind)), default=default, show_default=True, help=about)


def on_device(default: str) -> Callable[[Any], Any]:
    return choice("--device", Device, default)


common = options(
    on_device("auto"),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object a result instead of text."),
)
max_pixels_option = click.option(
    "--max-pixels", type=click.IntRange(1), help="Refuse images that declare more, unread; 250 million by default."
)


strict_option = click.option(
    "--strict", is_flag=True, help="Refuse photos that are damaged; without it they are read as they can be."
)


strip_option = click.option(
    "--strip",
    "stripped",
    is_flag=True,
    help="Leave out EXIF, XMP and IPTC data (camera, author, date, place) and gain maps. Colour profiles stay.",
)


def bytes_of(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """1GiB, 800MB or a plain number as bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kMGT])(i?))?B?", text.strip())
    if not match:
        raise click.BadParameter(f"{text!r} is no number of bytes; write 60kB, 800MB or 1.5GiB, for example")
    number, unit, binary = match.groups()
    return float(number) * (1024 if binary else 1000) ** (" kMGT".index(unit) if unit else 0)


room_options = options(
    click.option("--tile", type=click.IntRange(1), help="Work in tiles of so many LR pixels a side."),
    click.option(
        "--memory",
        callback=bytes_of,
        metavar="SIZE",
        help="Work in tiles that take no more than this, 1GiB for example; PyTorch and the photo come on top.",
    ),
)
rescaler_option = click.option(
    "--rescaler",
    help=f"See: coscale models; or hf:owner/name, from the Hugging Face hub. By default {DEFAULT_RESCALER}, or "
    f"{FOR_LOSSY} where the LR file loses something.",
)
weights_option = click.option(
    "--weights", type=path_type, help="A checkpoint (.safetensors, or an official .pth) instead of the bundled weights."
)


class _Scale(click.ParamType):
    """A whole scale of --upscaler, or ``auto``: the best of several for LR files of one size."""

    name = "scale"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "INTEGER|auto"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return value if value == AUTO_SCALE else click.IntRange(2)(value, param, ctx)


scale_option = click.option(
    "--scale", type=click.IntRange(2), help="Of --upscaler: needed where its file does not tell, checked where it does."
)
auto_scale_option = click.option(
    "--scale",
    type=_Scale(),
    help="Of --upscaler: needed where its file does not tell, checked where it does. Or auto, with --size: the photo "
    "at full size or at half, whichever restores it better.",
)
trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Run --upscaler FILE also if it is a program (TorchScript, torch.export, a network saved whole), which can do "
    "whatever you can.",
)
upscaler_option = click.option(
    "--upscaler", type=path_type, metavar="FILE", help="A super-resolution network, with bicubic as its downscaler."
)
upscaler_options = options(upscaler_option, scale_option, trust_option)
upscaler_or_auto_options = options(upscaler_option, auto_scale_option, trust_option)
output_options = options(
    click.option(
        "-o", "--out", type=path_type, help="Output file, folder for several inputs or a folder, or - for stdout."
    ),
    click.option(
        "--overwrite",
        is_flag=True,
        help="Replace what is there; without it only the same result may be there.",
    ),
)
compile_option = click.option(
    "--compile", "compiled", is_flag=True, help="Compile the gradient: pays for large photos after a minute or so."
)
runtime_option = choice(
    "--runtime",
    Runtime,
    "auto",
    "What runs the rescaler where no gradient is needed; auto is ncnn where it is installed and the network suits it.",
)
measure_option = click.option(
    "--measure", "measured", is_flag=True, help="Also restore each file, and say its PSNR and what the method gained."
)
guard_option = click.option(
    "--guard/--no-guard",
    "guarded",
    default=True,
    help="Give no area in worse colours than bicubic would; without, what the rescaler makes of them.",
)
method_options = options(
    choice(
        "--precision",
        AskedPrecision,
        "auto",
        "Of the method's gradients: auto is bfloat16 where the hardware has it.",
    ),
    choice(
        "--effort",
        Effort,
        "balanced",
        "coscale: passes, from 1 (4 without learned steps) to 60.",
    ),
    choice(
        "--objective",
        ObjectiveName,
        "psnr",
        "coscale: what the restored photo is to be near by; perceptual follows what people see.",
    ),
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
    choice("--norm", Norm, "l2", "HCD: its norm."),
    choice("--loss", LossName, "mse", "HCD."),
    choice("--start", Start, "random", "HCD."),
    click.option("--seed", type=seed_type, default=0, show_default=True, help="HCD: seed of the random start."),
    choice("--lr-target", LRTarget, "original", "HCD: what the LR stage restores."),
    choice("--direction", Direction, "descent", "HCD: ascent makes an adversarial LR."),
    choice("--keep", Keep, "best", "HCD: which iterate."),
)


class _Format(click.ParamType):
    """The name of a storage, out of their list, which is looked at only where somebody asks."""

    name = "format"

    @property
    def choices(self) -> tuple[str, ...]:
        from coscale.storage import NAMES

        return NAMES

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(self.choices)}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return click.Choice(self.choices).convert(value, param, ctx)


format_options = options(
    click.option("--format", "form", type=_Format(), help="Of the LR file; by default that of --out, or png."),
    click.option(
        "--quality",
        type=click.FloatRange(1, 100),
        help="Of a lossy LR file: jpg, webp or avif. By default 75 for jpg and avif, while webp loses nothing.",
    ),
    click.option(
        "--size", callback=bytes_of, metavar="SIZE", help="Of such a file, in place of its quality: at most 120kB, say."
    ),
    click.option(
        "--psnr",
        type=float,
        metavar="DB",
        help="The same: the smallest file that restores the photo's Y to so many dB.",
    ),
    click.option("--small", is_flag=True, help="Take more time for fewer bytes of a PNG or WebP."),
)


saving_options = options(
    click.option(
        "--format",
        "form",
        type=click.Choice(get_args(PhotoFormat)),
        help="Of the photo; by default that of --out, or png.",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        help="Of JPEG (95 without) and AVIF (90), and of WebP and JPEG XL, which have no loss without.",
    ),
    click.option(
        "--depth",
        type=click.Choice((8, 16)),
        default=8,
        show_default=True,
        help="Bits a channel of PNG and TIFF; 16 keep all that the upscaler gives.",
    ),
)


def asked_of(quality: float | None, size: float | None, psnr: float | None) -> dict[str, float]:
    """Give what a lossy LR file is asked for; nothing for a lossless one."""
    asked = {"quality": quality, "size": None if size is None else int(size), "psnr": psnr}
    found = {name: value for name, value in asked.items() if value is not None}
    if len(found) > 1:
        raise click.UsageError(f"give one of {' and '.join(f'--{name}' for name in found)}")
    return found


def storage_of(
    form: str | None, small: bool, asked: dict[str, float], out: Path | None = None, rescaler: str | None = None
) -> Storage:
    """Give the storage by name, or else by the file that ``out`` names, or by a rescaler that one shows by itself; what
    it needs is there.
    """
    from coscale.rescalers import RESCALERS
    from coscale.storage import LOSSY_NAME, PNG, SUFFIXES, find, for_suffix

    if form is None and out is not None and out.suffix.lower() in SUFFIXES:
        storage = for_suffix(out.suffix, small, asked)
    else:
        shown_by = next((named.shown_by for named in RESCALERS if named.name == rescaler), "")
        storage = find(form or (LOSSY_NAME if asked else shown_by or PNG.name), small, asked)
    storage.check()
    return storage


def rescaler_for(storage: Storage) -> str:
    """Give the rescaler that is taken when nobody names one."""
    return DEFAULT_RESCALER if storage.lossless else FOR_LOSSY


def precision_of(asked: str, device: torch.device) -> Precision:
    from coscale.rescalers import fastest

    return fastest(device) if asked == "auto" else cast("Precision", asked)


def methods_of(names: Sequence[str], settings: dict[str, Any]) -> list[Method]:
    """Give the methods by these names, each with those of the settings that are its own.

    A setting of none is refused.
    """
    from dataclasses import fields

    from coscale.collaborate import METHODS

    own = {name: {field.name for field in fields(kind)} for name, kind in METHODS.items()}
    for key in settings:
        if given(key) and not any(key in own.get(name, ()) for name in names):
            owner = next(name for name, keys in own.items() if key in keys)
            raise click.UsageError(f"--{key.replace('_', '-')} is a setting of --method {owner}")
    if given("luma") and settings["objective"] != "psnr":
        raise click.UsageError("--luma is a setting of --objective psnr")
    return [METHODS[name](**{key: settings[key] for key in settings if key in own[name]}) for name in names]


def given(key: str) -> bool:
    """Say whether an option stands on the command line, even with its default value."""
    return click.get_current_context().get_parameter_source(key) is ParameterSource.COMMANDLINE


def upscaler_pair(
    file: Path,
    scale: int | None,
    device: str,
    compiled: bool = False,
    precision: str | None = None,
    trust: bool = False,
) -> Loaded:
    """Give the network in ``file``, tried on a small image; its gradient too where a method uses that, in
    ``precision``.

    A program is run only with ``trust``.
    """
    device = device_of(device)
    from coscale.diagnose import diagnose
    from coscale.weights.upscaler import load_upscaler

    pair = load_upscaler(file, scale, device, compiled, trust)
    with memory_explained(f"the network in {file} takes more memory for a small image than there is; give another"):
        if precision:
            diagnose(pair, precision_of(precision, pair.device))
        else:
            diagnose(pair, optimised=False)
    return pair


def check_upscaler(chosen: bool, scale: int | str | None, *others: str) -> None:
    """Refuse what says otherwise than --upscaler which network to use, and its settings without it."""
    if given("trust") and not chosen:
        raise click.UsageError("--trust is a setting of --upscaler")
    if scale not in (None, AUTO_SCALE) and not chosen:
        raise click.UsageError("--scale is a setting of --upscaler")
    for key in others:
        if chosen and given(key):
            raise click.UsageError(f"--upscaler gives the network and its weights; leave out it or --{key}")


def named_pair(
    name: str, weights: Path | None, device: str, compiled: bool = False, runtime: Runtime = "torch"
) -> Loaded:
    from coscale.weights.load import load

    return load(name, weights, device_of(device), compiled, runtime)


def device_of(device: str) -> str:
    """Give the device meant by --device, once torch is there."""
    from coscale import machine

    machine.settle()
    on_stop(signal.default_int_handler)  # from here on, stopping cleans up
    return machine.kind_of(cast("Device", device))
