"""The commands on rescalers: train, weights, models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coscale.choices import AskedPrecision
from coscale.cli.options import choice, device_of, on_device, path_type, seed_type
from coscale.console import Bar, dump, list_failures, memory_explained, say
from coscale.errors import CoscaleError

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--data", type=path_type, multiple=True, required=True, help="A folder of photos. Repeatable.")
@click.option("-o", "--out", type=path_type, required=True, help="Folder for weights, checkpoint, log and curves.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Fit the schedule into so much time.")
@click.option("--start", help="A bundled rescaler, or a file of weights, to begin with where names and shapes agree.")
@click.option("--steps", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--batch", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--patch", type=click.IntRange(8), help="Side of a crop in HR pixels, instead of the recipe's.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate instead of the recipe's.")
@click.option("--seed", type=seed_type, help="Instead of the recipe's.")
@on_device("auto")
@choice(
    "--precision",
    AskedPrecision,
    "auto",
    "Of convolutions; auto is bfloat16 where the hardware computes in it, where it is faster.",
)
@click.option("--graphics", type=click.FloatRange(0, 1), help="Share of each batch that is drawn instead of photos.")
@click.option("--compile/--eager", "compiled", default=True, help="Compiled steps are faster after a minute or so.")
def train(
    recipe: str,
    data: tuple[Path, ...],
    out: Path,
    minutes: float | None,
    device: str,
    precision: AskedPrecision,
    compiled: bool,
    **changes: Any,
) -> None:
    """Train a rescaler on photos; the recipes are called like the rescalers.

    The same command goes on with a run that was stopped. On several GPUs:
    torchrun --nproc-per-node N -m coscale train ...
    """
    device = device_of(device)
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


@click.group()
def weights() -> None:
    """Bring in official checkpoints, and check the weights that came with the package."""


@weights.command("import")
@click.argument("file", type=path_type)
@click.option("--overwrite", is_flag=True, help="Replace weights imported before.")
def import_(file: Path, overwrite: bool) -> None:
    """Make an official checkpoint (IRN_x2.pth, say) the weights of the rescaler that it is of."""
    from coscale.weights.load import import_checkpoint

    named, path = import_checkpoint(file, overwrite)
    say(f"{file} -> {path}", f"it is {named.name}: coscale downscale photo.jpg --rescaler {named.name}")


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@on_device("cpu")
def verify(names: tuple[str, ...], device: str) -> None:
    """Check the bundled weights: the files by their hash, what they give by test vectors."""
    device = device_of(device)
    from coscale.weights.manifest import read_manifest
    from coscale.weights.verify import verify

    wrong, chosen = [], names or tuple(read_manifest())
    for name in chosen:
        try:
            share = verify(name, device)
            say(f"{name}: as shipped; {share:.2%} of 8-bit values differ by one grey level on {device}")
        except CoscaleError as error:
            wrong.append(str(error))
    list_failures(wrong, len(chosen))


@click.command()
@click.argument("name", metavar="NAME")
@click.option("-o", "--out", type=path_type, required=True, help="The folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace the files of that folder.")
def card(name: str, out: Path, overwrite: bool) -> None:
    """Write the weights of a bundled rescaler as a folder for the Hugging Face hub: model card, manifest, weights.

    Uploaded as owner/name, they are what --rescaler hf:owner/name takes.
    """
    from coscale.weights.card import write_card

    say(f"{write_card(name, out, overwrite)}: to upload it: hf upload OWNER/{name} {out}")


@click.command()
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
            say(dump(row))
    else:
        table = [
            (r["name"], f"x{r['scale']}", f"{r['parameters'] / 1e6:.2f} M", r["weights"], r["about"]) for r in rows
        ]
        say(*text_table(("name", "scale", "parameters", "weights", ""), table).split("\n"))
