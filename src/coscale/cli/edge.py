"""The commands that take upscalers elsewhere: export, web."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coscale.choices import ExportPrecision
from coscale.cli.options import (
    check_upscaler,
    choice,
    named_pair,
    path_type,
    upscaler_options,
    upscaler_pair,
    weights_option,
)
from coscale.console import dump, in_bytes, say
from coscale.errors import OutputError


@click.command()
@click.argument("name", required=False, metavar="NAME")
@click.option("--to", "kind", type=click.Choice(["onnx"]), default="onnx", show_default=True)
@click.option("-o", "--out", type=path_type, help="The file to write; NAME.onnx without it.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@choice("--precision", ExportPrecision, "float32", "Of weights and convolutions; images stay in float32.")
@weights_option
@upscaler_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def export(
    name: str | None,
    kind: str,
    out: Path | None,
    overwrite: bool,
    precision: ExportPrecision,
    weights: Path | None,
    upscaler: Path | None,
    scale: int | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Write the upscaler of rescaler NAME, or of --upscaler FILE, as an ONNX file that takes LR images of any size.

    The file is run in ONNX Runtime and kept only if it restores what PyTorch restores, within one grey level.
    """
    check_upscaler(bool(upscaler), scale, "weights")
    if (name is None) == (upscaler is None):
        raise click.UsageError("give the NAME of a rescaler, or --upscaler FILE, and not both")
    pair = upscaler_pair(upscaler, scale, "cpu", trust=trust) if upscaler else named_pair(str(name), weights, "cpu")
    from coscale.export import export_onnx, seconds_of

    suffix = ".fp16.onnx" if precision == "float16" else ".onnx"
    path = out or Path(pair.name + suffix)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already; give --overwrite to replace it, or another --out")
    row = {"rescaler": pair.name} | export_onnx(pair, path, precision) | seconds_of(pair, path)
    say(*([dump(row)] if as_json else _describe(row)))


def _describe(row: dict[str, Any]) -> tuple[str, ...]:
    share = f"{row['share']:.2%} of 8-bit values differ by one grey level from PyTorch's"
    threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    ratio = row["torch_seconds"] / row["onnx_seconds"]
    return (
        f"{row['rescaler']} -> {row['output']}  {in_bytes(row['bytes'])}, {row['precision']}, opset {row['opset']}",
        f"agrees: {share}",
        f"an LR of {row['width']} x {row['height']} takes {row['onnx_seconds']:.3f} s in ONNX Runtime, "
        f"{row['torch_seconds']:.3f} s in PyTorch ({ratio:.2f} times as fast), on the CPU with {threads}",
    )


@click.command()
@click.argument("folder", type=path_type, metavar="DIR")
@click.option(
    "--rescaler",
    "rescalers",
    multiple=True,
    default=["light-x2", "light-x4", "coded-x2"],
    show_default=True,
    help="What the page restores by. Repeatable.",
)
@click.option(
    "--ort", type=path_type, metavar="FOLDER", help="The unpacked npm package onnxruntime-web, for want of a network."
)
@click.option(
    "--jxl", type=path_type, metavar="FOLDER", help="The same of jxl-oxide-wasm, by which the page reads JPEG XL."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
def web(folder: Path, rescalers: tuple[str, ...], ort: Path | None, jxl: Path | None, overwrite: bool) -> None:
    """Write a page that restores LR files in the browser, as a folder for any static web server.

    onnxruntime-web and jxl-oxide-wasm are fetched from the registry of npm once, and kept in the user's cache.
    """
    pairs = [named_pair(name, None, "cpu") for name in dict.fromkeys(rescalers)]
    from coscale.web import write_page

    written = write_page(folder, pairs, ort, overwrite, jxl)
    size = in_bytes(sum(path.stat().st_size for path in written))
    say(
        f"{folder}: {len(written)} files, {size}, with {', '.join(pair.name for pair in pairs)}",
        f"try it: python -m http.server --bind 127.0.0.1 --directory {folder}",
    )
