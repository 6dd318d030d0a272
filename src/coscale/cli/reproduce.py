"""The command that measures the paper again: reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from coscale.choices import AskedPrecision, Target
from coscale.cli.options import choice, device_of, named_pair, on_device, path_type, trust_option, upscaler_pair
from coscale.console import Bar, list_failures, memory_explained, say, warn
from coscale.errors import SettingsError

if TYPE_CHECKING:
    from coscale.rescalers import Precision
    from coscale.weights.load import Loaded

_TARGETS = get_args(Target)


def _named_files(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, Path]:
    """NAME=FILE, any number of them."""
    pairs = [text.partition("=") for text in texts]
    if not all(name and file for name, _, file in pairs):
        raise click.BadParameter("write NAME=FILE, irn-x4=IRN_x4.pth for example")
    return {name: Path(file) for name, _, file in pairs}


@click.command()
@click.argument("targets", nargs=-1, required=True, type=click.Choice((*_TARGETS, "all")), metavar="TARGET...")
@click.option("--data", type=path_type, required=True, help="A folder with the benchmark sets somewhere in it.")
@click.option("-o", "--out", type=path_type, required=True, help="Folder for rows, tables, figures and the page.")
@click.option("--quick", is_flag=True, help="Two small images a set and fewer points: minutes instead of hours.")
@click.option("--set", "sets", multiple=True, help="Of table 1, instead of all that are found. Repeatable.")
@click.option("--x2", help="The rescaler of tables 2 and 3 and figures 2, 6 and 7.")
@click.option("--x4", multiple=True, help="A system of table 1, instead of those in the package. Repeatable.")
@click.option("--main", help="The one of them that pictures are of.")
@click.option(
    "--weights",
    multiple=True,
    callback=_named_files,
    metavar="NAME=FILE",
    help="A checkpoint for one of them, which joins table 1. Repeatable.",
)
@click.option(
    "--upscaler",
    "upscalers",
    type=path_type,
    multiple=True,
    metavar="FILE",
    help="A x4 super-resolution network that joins table 1, with bicubic as its downscaler. Repeatable.",
)
@trust_option
@click.option("--rows", type=path_type, multiple=True, help="Rows of `coscale eval` that need not be measured again.")
@click.option(
    "--cid22", type=path_type, metavar="FOLDER", help="Photos that join rates: CID22's, of which 24 are taken."
)
@click.option(
    "--filter",
    "filtering",
    type=path_type,
    metavar="FILE",
    help="A checkpoint of coded-x1, the artefact filter that rates put behind codecs at full size.",
)
@click.option("--mozjpeg", type=path_type, metavar="FOLDER", help="The npm package @jsquash/jpeg, for rates.")
@choice("--precision", AskedPrecision, "auto", "Of the methods' gradients.")
@on_device("auto")
def reproduce(
    targets: tuple[str, ...],
    data: Path,
    out: Path,
    quick: bool,
    sets: tuple[str, ...],
    x2: str | None,
    x4: tuple[str, ...],
    main: str | None,
    weights: dict[str, Path],
    upscalers: tuple[Path, ...],
    trust: bool,
    rows: tuple[Path, ...],
    cid22: Path | None,
    filtering: Path | None,
    mozjpeg: Path | None,
    precision: str,
    device: str,
) -> None:
    """Measure the paper's tables and figures again, and put them beside its numbers, in one HTML page.

    TARGET is table1, table2, table3, fig1, fig2, fig5, fig6, fig7, fig8, rates (LR files beside image codecs) or all.
    What is in the folder OUT already is not measured again, so that a run that was stopped goes on.
    """
    device = device_of(device)
    from coscale.reproduce.plan import RatesSettings
    from coscale.reproduce.rates import FILTER_PAIR
    from coscale.reproduce.runner import run, systems_of
    from coscale.rescalers import find

    if trust and not upscalers:
        raise click.UsageError("--trust is a setting of --upscaler")
    files = {f"bicubic+{file.stem}": file for file in upscalers}
    if len(files) < len(upscalers):
        raise SettingsError("two --upscaler files have one name; rename one, since rows are told apart by it")
    more = (*files, *(name for name in weights if find(name).scale == 4))
    rates = RatesSettings(cid22, filtering, mozjpeg)
    settings = systems_of(quick, sets, x2, (*x4, *more) if x4 else (), main, more, rates)
    if filtering:
        weights |= {FILTER_PAIR: filtering}

    def load(name: str) -> Loaded:
        if name in files:
            return upscaler_pair(files[name], 4, device, precision=precision, trust=trust)
        return named_pair(name, weights.get(name), device)

    wanted = cast("list[Target]", list(_TARGETS) if "all" in targets else list(dict.fromkeys(targets)))
    used = None if precision == "auto" else cast("Precision", precision)
    too_large = "not enough memory for a photo of this size; take it out of its folder"
    with Bar("measuring", 1) as bar, memory_explained(too_large):
        options: dict[str, Any] = {
            "precision": used,
            "rows": rows,
            "own": tuple(files),
            "note": warn,
            "tell": bar.reach,
        }
        done = run(wanted, data, out, settings, load, **options)
    say(*done.written)
    list_failures(done.failures, done.total)
