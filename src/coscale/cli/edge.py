"""The commands that take upscalers elsewhere: export, web."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coscale.cli.options import (
    check_upscaler,
    choice,
    named_pair,
    path_type,
    upscaler_options,
    upscaler_pair,
    weights_option,
)
from coscale.console import dump, in_bytes
from coscale.errors import OutputError

if TYPE_CHECKING:
    from coscale.export import HalfOrFull


@click.command()
@click.argument("name", required=False, metavar="NAME")
@click.option("--to", "kind", type=click.Choice(["onnx"]), default="onnx", show_default=True)
@click.option("-o", "--out", type=path_type, help="The file to write; NAME.onnx without it.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@choice("--precision", ("float32", "float16"), "float32", "Of weights and convolutions; images stay in float32.")
@weights_option
@upscaler_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def export(
    name: str | None,
    kind: str,
    out: Path | None,
    overwrite: bool,
    precision: HalfOrFull,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    as_json: bool,
) -> None:
    """Write the upscaler of rescaler NAME, or of --upscaler FILE, as an ONNX file that takes LR images of any size.

    The file is run in ONNX Runtime and kept only if it restores what PyTorch restores, within one grey level.
    """
    check_upscaler(bool(upscaler), scale, "weights")
    if (name is None) == (upscaler is None):
        raise click.UsageError("give the NAME of a rescaler, or --upscaler FILE, and not both")
    pair = upscaler_pair(upscaler, scale, "cpu") if upscaler else named_pair(str(name), weights, "cpu")
    from coscale.export import export_onnx

    suffix = ".fp16.onnx" if precision == "float16" else ".onnx"
    path = out or Path(pair.name + suffix)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already; give --overwrite to replace it, or another --out")
    row = {"rescaler": pair.name} | export_onnx(pair, path, precision)
    click.echo(dump(row) if as_json else _describe(row))


def _describe(row: dict[str, Any]) -> str:
    share = f"{row['share']:.2%} of 8-bit values differ by one grey level from PyTorch's"
    threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    ratio = row["torch_seconds"] / row["onnx_seconds"]
    return (
        f"{row['rescaler']} -> {row['output']}  {in_bytes(row['bytes'])}, {row['precision']}, opset {row['opset']}\n"
        f"agrees: {share}\n"
        f"an LR of {row['width']} x {row['height']} takes {row['onnx_seconds']:.3f} s in ONNX Runtime, "
        f"{row['torch_seconds']:.3f} s in PyTorch ({ratio:.2f} times as fast), on the CPU with {threads}"
    )
