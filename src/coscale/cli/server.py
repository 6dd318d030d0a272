"""The command that serves the page."""

from __future__ import annotations

import ipaddress
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coscale.cli.options import DEFAULT_RESCALER, asked_of, bytes_of, device_of, format_options, on_device, storage_of
from coscale.console import on_stop, say, warn
from coscale.errors import ServeError

if TYPE_CHECKING:
    from coscale.serve.visitors import Network


def networks_of(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> list[Network]:
    """Read addresses and networks. Raises BadParameter."""
    try:
        return [ipaddress.ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise click.BadParameter(f"{error}; give an address or a network, as 10.0.0.1 or 10.0.0.0/8") from error


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any free one.")
@on_device("auto")
@format_options
@click.option("--max-upload", callback=bytes_of, metavar="SIZE", default="32MB", show_default=True, help="Of a photo.")
@click.option("--max-pixels", type=click.IntRange(1), default=16_000_000, show_default="16 million", help="Of a photo.")
@click.option("--max-waiting", type=click.IntRange(1), default=8, show_default=True, help="Photos in the queue.")
@click.option("--max-kept", type=click.IntRange(1), default=20, show_default=True, help="Results, the newest.")
@click.option(
    "--max-kept-size", callback=bytes_of, metavar="SIZE", default="2GB", show_default=True, help="Of all results."
)
@click.option(
    "--max-kept-minutes",
    type=click.FloatRange(0, min_open=True),
    default=15,
    show_default=True,
    help="For which a result is kept.",
)
@click.option(
    "--max-each", type=click.IntRange(1), default=4, show_default=True, help="Photos of one visitor at a time."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where results outlive the server, which finds them there again.",
)
@click.option(
    "--trusted-proxy",
    "trusted",
    callback=networks_of,
    multiple=True,
    metavar="ADDRESS",
    help="A proxy, or a network of them (10.0.0.0/8), that says who asks by X-Forwarded-For. Repeatable.",
)
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Another name to be reached by, as that of a proxy. Repeatable.",
)
def serve(
    host: str,
    port: int,
    device: str,
    form: str | None,
    small: bool,
    quality: float | None,
    size: float | None,
    psnr: float | None,
    max_upload: float,
    max_pixels: int,
    max_waiting: int,
    max_kept: int,
    max_kept_size: float,
    max_kept_minutes: float,
    max_each: int,
    keep: Path | None,
    trusted: list[Network],
    allowed: tuple[str, ...],
) -> None:
    """Serve a page to try coscale on a photo: drop it, watch the optimisation, compare, download.

    The page is for this machine. It has no accounts and no TLS: do not give it to the open internet.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ServeError("the page needs starlette and uvicorn: pip install 'coscale[serve]'") from error
    device = device_of(device)
    from coscale.serve.queue import ServeLimits
    from coscale.serve.server import is_loopback, serve
    from coscale.serve.visitors import Visitors

    storage = storage_of(form, small, asked_of(quality, size, psnr))
    if not storage.lossless:
        raise click.UsageError(
            "the page compares methods, of which HCD needs LR files without loss; take png, webp or jxl"
        )
    limits = ServeLimits(
        int(max_upload),
        max_pixels,
        max_waiting,
        max_kept,
        seconds=max_kept_minutes * 60,
        kept_bytes=int(max_kept_size),
        each=max_each,
    )
    if not is_loopback(host):
        warn("whoever reaches this machine can use the page; it has no accounts and no TLS")

    def ready(address: str, damaged: int) -> None:
        if damaged:
            warn(f"{damaged} of the results in {keep} were damaged and are removed")
        say(f"coscale: open {address}")

    stopped = threading.Event()
    on_stop(lambda *_: stopped.set())
    serve(
        host,
        port,
        device=device,
        default=DEFAULT_RESCALER,
        limits=limits,
        storage=storage,
        allowed=allowed,
        visitors=Visitors(trusted),
        keep=keep,
        ready=ready,
        until=stopped,
    )
    warn(f"stopped; results stay in {keep}" if keep else "stopped; no photo and no result is left here")
    os._exit(1)  # an answer may still be on its way in a thread, which Python would not outlive in order
