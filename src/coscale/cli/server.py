"""The command that serves the page."""

from __future__ import annotations

import os
import threading

import click

from coscale.cli.options import DEFAULT_RESCALER, asked_of, bytes_of, device_of, format_options, on_device, storage_of
from coscale.console import on_stop, say, warn
from coscale.errors import ServeError


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
    "--keep", type=click.FloatRange(0, min_open=True), default=15, show_default=True, help="Minutes for a result."
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
    keep: float,
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

    storage = storage_of(form, small, asked_of(quality, size, psnr))
    if not storage.lossless:
        raise click.UsageError(
            "the page compares methods, of which HCD needs LR files without loss; take png, webp or jxl"
        )
    limits = ServeLimits(
        int(max_upload), max_pixels, max_waiting, max_kept, seconds=keep * 60, kept_bytes=int(max_kept_size)
    )
    if not is_loopback(host):
        warn("whoever reaches this machine can use the page; it has no accounts and no TLS")
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
        ready=lambda address: say(f"coscale: open {address}"),
        until=stopped,
    )
    warn("stopped; no photo and no result is left here")
    os._exit(1)  # an answer may still be on its way in a thread, which Python would not outlive in order
