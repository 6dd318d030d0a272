"""The command: parses, calls, shows progress. What takes long to import is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from coscale import __version__
from coscale.errors import CoscaleError, MemoryNeededError, SettingsError

if TYPE_CHECKING:
    from coscale.collaborate import HCD
    from coscale.collaborate.hcd import Progress
    from coscale.image import Photo
    from coscale.lrfile import Origin
    from coscale.rescalers import Precision
    from coscale.weights.load import Loaded

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_RESCALER = "irn-x2-4b"

_path = click.Path(path_type=Path)
_seed = click.IntRange(0, 2**63 - 1)


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


_common = _options(
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object a result instead of text."),
)
_max_pixels = click.option(
    "--max-pixels", type=click.IntRange(1), help="Refuse images that declare more, unread; 250 million by default."
)
_weights = click.option(
    "--weights", type=_path, help="A checkpoint (.safetensors, or an official .pth) instead of the bundled weights."
)
_output = _options(
    click.option("-o", "--out", type=_path, help="Output file, or folder for several inputs or a folder."),
    click.option("--overwrite", is_flag=True, help="Replace results that exist; without it they are skipped."),
)
_hcd = _options(
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the method's gradients.",
    ),
    click.option("--hr-steps", type=click.IntRange(0), default=15, show_default=True, help="HCD: N_y."),
    click.option("--lr-steps", type=click.IntRange(0), default=15, show_default=True, help="HCD: N_x."),
    click.option("--alpha", type=click.FloatRange(0), default=20 / 255, show_default="20/255", help="HCD: step."),
    click.option("--eps", type=click.FloatRange(0), default=0.3, show_default=True, help="HCD: radius of the ball."),
    click.option("--norm", type=click.Choice(["l2", "linf"]), default="l2", show_default=True, help="HCD: its norm."),
    click.option("--loss", type=click.Choice(["mse", "l1", "y-mse"]), default="mse", show_default=True, help="HCD."),
    click.option("--start", type=click.Choice(["random", "zero"]), default="random", show_default=True, help="HCD."),
    click.option("--seed", type=_seed, default=0, show_default=True, help="HCD: seed of the random start."),
    click.option(
        "--lr-target",
        type=click.Choice(["original", "collaborative"]),
        default="original",
        show_default=True,
        help="HCD: what the LR stage restores.",
    ),
    click.option(
        "--direction",
        type=click.Choice(["descent", "ascent"]),
        default="descent",
        show_default=True,
        help="HCD: ascent makes an adversarial LR.",
    ),
    click.option(
        "--keep", type=click.Choice(["best", "last"]), default="best", show_default=True, help="HCD: which iterate."
    ),
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
@click.option("--method", type=click.Choice(["none", "hcd"]), default="hcd", show_default=True)
@_max_pixels
@_hcd
@_common
def downscale(
    inputs: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
    rescaler: str,
    weights: Path | None,
    method: str,
    max_pixels: int | None,
    device: str,
    as_json: bool,
    precision: Precision,
    **settings: Any,
) -> None:
    """Write each photo as a small PNG that `coscale upscale` restores: photo.jpg becomes photo.x2.png.

    Each file is read back and upscaled, and the PSNR is what that really gives.
    """
    from coscale.evaluate import write_and_measure
    from coscale.image import read
    from coscale.jobs import plan

    hcd = _settings(method, settings)
    pair = _load(rescaler, weights, device)
    jobs = plan(inputs, out, beside=f".x{pair.scale}.png", inside=f".x{pair.scale}.png", allowed=(".png",))

    def one(source: Path, target: Path, progress: Progress) -> dict[str, Any]:
        return write_and_measure(read(source, max_pixels), pair, hcd, target, progress, precision)

    # The last pass is the file's way back.
    passes = (hcd.hr_steps + hcd.lr_steps if hcd else 0) + 1
    _run("downscaling", jobs, one, passes, _describe_downscaled, overwrite, as_json)


@cli.command()
@click.argument("inputs", nargs=-1, required=True, type=_path, metavar="LR|FOLDER...")
@_output
@click.option("--rescaler", help="For images that coscale did not write; see: coscale models.")
@_weights
@click.option("--sample", "seed", type=_seed, metavar="SEED", help="Draw the latent instead of taking 0 (IRN).")
@_max_pixels
@_common
def upscale(
    inputs: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
    rescaler: str | None,
    weights: Path | None,
    seed: int | None,
    max_pixels: int | None,
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
    from coscale.rescalers import find

    pairs: dict[str, Loaded] = {}

    def one(source: Path, target: Path, _: Progress) -> dict[str, Any]:
        lr, origin = read_lr(source, max_pixels)
        name = origin.rescaler if origin else rescaler
        if name is None:
            raise SettingsError(f"{source} does not say which rescaler made it; give --rescaler NAME")
        if rescaler not in (None, name):
            raise SettingsError(f"{source} was made by {name}, not by {rescaler}; leave out --rescaler")
        if name not in pairs:
            pairs[name] = _load(name, weights, device)
            if seed is not None and weights is None and find(name).checkpoint == "bundled":
                click.echo(f"coscale: {name} was trained to restore from z = 0; a drawn latent gives noise", err=True)
        begun = time.perf_counter()
        photo = decode_photo(lr, pairs[name], origin, seed)
        seconds = time.perf_counter() - begun
        write(target, photo)
        height, width = photo.size
        return {"width": width, "height": height, "rescaler": name, "seconds": round(seconds, 3)}

    jobs = plan(inputs, out, beside=".restored.png", inside=".png", allowed=SUFFIXES)
    _run("upscaling", jobs, one, 1, _describe_upscaled, overwrite, as_json)


@cli.command("eval")
@click.argument("sets", nargs=-1, required=True, type=_path, metavar="FOLDER...")
@click.option("--rescaler", "rescalers", multiple=True, default=[DEFAULT_RESCALER], show_default=True)
@_weights
@click.option(
    "--method",
    "methods",
    type=click.Choice(["none", "hcd"]),
    multiple=True,
    default=["none", "hcd"],
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
@_hcd
@_common
def evaluate_(
    sets: tuple[Path, ...],
    rescalers: tuple[str, ...],
    weights: Path | None,
    methods: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    max_pixels: int | None,
    device: str,
    as_json: bool,
    precision: Precision,
    **settings: Any,
) -> None:
    """Measure rescalers and methods on folders of photos, by the protocol of the field, on the files themselves."""
    from coscale.evaluate import evaluate, find_sets, identity, read_rows
    from coscale.files import check_writable
    from coscale.report.tables import summarise, text_table

    if out:
        check_writable(out)
    earlier = read_rows(out) if out and out.exists() and not overwrite else {}
    pairs = [_load(name, weights, device) for name in rescalers]
    found = find_sets(sets)
    total = sum(map(len, found.values())) * len(pairs) * len(methods)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []

    def failed(error: CoscaleError) -> None:
        failures.append(str(error))
        bar.reach(len(rows) + len(failures))

    with _bar("measuring", total) as bar, _memory_explained(Path("eval")), _lines(out, earlier.values()) as write_line:
        for pair, method in itertools.product(pairs, methods):
            hcd = _settings(method, settings)
            options = {"max_pixels": max_pixels, "earlier": earlier, "failed": failed}
            for row in evaluate(found, pair, hcd, precision, **options):
                rows.append(row)
                bar.reach(len(rows) + len(failures))
                if as_json:
                    bar.say(_dump(row))
                if identity(row) not in earlier:
                    write_line(_dump(row))
    if not as_json:
        header = (
            "set",
            "rescaler",
            "method",
            "images",
            "PSNR-Y",
            "SSIM-Y",
            "PSNR-RGB",
            "LR PSNR",
            "encode s",
            "decode s",
        )
        table = [
            (
                *(str(r[key]) for key in ("set", "rescaler", "method", "images")),
                f"{r['psnr_y']:.2f}",
                f"{r['ssim_y']:.4f}",
                f"{r['psnr_rgb']:.2f}",
                f"{r['lr_psnr_bicubic']:.2f}",
                f"{r['encode_seconds']:.2f}",
                f"{r['decode_seconds']:.2f}",
            )
            for r in summarise(rows)
        ]
        click.echo(text_table(header, table))
    _list(failures, total)


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
            click.echo(_dump(row))
    else:
        table = [
            (r["name"], f"x{r['scale']}", f"{r['parameters'] / 1e6:.2f} M", r["weights"], r["about"]) for r in rows
        ]
        click.echo(text_table(("name", "scale", "parameters", "weights", ""), table))


@cli.command()
@click.argument("file", type=_path)
@_weights
@_max_pixels
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(file: Path, weights: Path | None, max_pixels: int | None, as_json: bool) -> None:
    """Say what an image is, and what an LR file restores to."""
    from coscale.lrfile import read_lr

    photo, origin = read_lr(file, max_pixels)
    row = _facts(file, photo, origin, weights)
    if as_json:
        click.echo(_dump(row))
        return
    kind = "grey" if row["channels"] == 1 else "RGB"
    extras = [name for name in ("alpha", "icc") if row[name]]
    click.echo(f"{file}: {row['width']} x {row['height']} {' + '.join([kind, *extras])}, {_bytes(row['bytes'])}")
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
    _on_stop(lambda *_: (os.write(2, f"coscale: {_STOPPED}\n".encode()), os._exit(1)))
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its warnings are not for those who use a command
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # file names may be no text
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        _fail(f"{error.format_message()} (coscale --help says more)", status=2)
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail(_STOPPED)
    except SettingsError as error:
        _fail(str(error), status=2)
    except CoscaleError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python tries once more as it ends
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or 'standard output'}")


_STOPPED = "interrupted; what was finished is kept, and nothing half-written is left"


def _on_stop(handler: Callable[..., Any]) -> None:
    """What Ctrl-C and a plain kill do. A shell starts background jobs with Ctrl-C ignored: that stays so."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)


def _fail(message: str, status: int = 1) -> NoReturn:
    click.echo(f"coscale: {message}", err=True)
    sys.exit(status)


def _settings(method: str, settings: dict[str, Any]) -> HCD | None:
    from coscale.collaborate import HCD

    return HCD(**settings) if method == "hcd" else None


def _load(name: str, weights: Path | None, device: str) -> Loaded:
    import torch

    from coscale.weights.load import load

    _on_stop(signal.default_int_handler)  # from here on, stopping cleans up
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("there is no CUDA device here; leave out --device, or give --device cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return load(name, weights, device)


class Bar:
    """A progress bar that appears once the work has taken a second, and only on a terminal."""

    def __init__(self, label: str, total: int) -> None:
        self._bar = click.progressbar(length=total, label=label, file=sys.stderr or io.StringIO())
        self._lock = threading.Lock()
        self._shown = False
        self._done = 0
        self._timer = threading.Timer(1.0, self._show)
        self._timer.daemon = True
        if sys.stderr is not None and sys.stderr.isatty():
            self._timer.start()

    def _show(self) -> None:
        with self._lock:
            self._bar.__enter__()
            self._bar.update(self._done)
            self._shown = True

    def reach(self, done: int) -> None:
        """Say that ``done`` of the total is done."""
        with self._lock:
            if self._shown:
                self._bar.update(done - self._done)
            self._done = done

    def say(self, text: str) -> None:
        """Print a result on stdout, in the bar's place; the bar comes back below it."""
        with self._lock:
            if self._shown:
                click.echo("\r\033[K", err=True, nl=False)
            click.echo(text)

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            if self._shown:
                self._bar.__exit__(None, None, None)


@contextlib.contextmanager
def _bar(label: str, total: int) -> Iterator[Bar]:
    bar = Bar(label, total)
    try:
        yield bar
    finally:
        bar.close()


def _run(
    label: str,
    jobs: Sequence[tuple[Path, Path]],
    one: Callable[[Path, Path, Progress], dict[str, Any]],
    passes: int,
    describe: Callable[[dict[str, Any]], str],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Do the jobs one by one, of ``passes`` steps each; a failure does not stop the rest, and is listed at the end."""
    from coscale.files import check_writable

    failures = []
    with _bar(label, len(jobs) * passes) as bar:
        for done, (source, target) in enumerate(jobs):
            row: dict[str, Any] = {"input": str(source), "output": str(target)}
            try:
                if target.exists() and not overwrite:
                    row["skipped"] = True
                    bar.say(_dump(row) if as_json else f"{target} is there already (--overwrite replaces it)")
                else:
                    check_writable(target)
                    with _memory_explained(source):
                        row |= one(source, target, lambda step, _, before=done * passes: bar.reach(before + step))
                    bar.say(_dump(row) if as_json else f"{source} -> {target}  {describe(row)}")
            except (CoscaleError, OSError) as error:
                if len(jobs) == 1:
                    raise
                failure = str(error) if str(source) in str(error) else f"{source}: {error}"
                failures.append(failure)
                if as_json:
                    bar.say(_dump(row | {"error": failure}))
            bar.reach((done + 1) * passes)
    _list(failures, len(jobs))


@contextlib.contextmanager
def _lines(path: Path | None, first: Iterable[dict[str, Any]]) -> Iterator[Callable[[str], None]]:
    """A file that begins with the rows ``first`` and grows by whole lines, so that a stop loses none of them."""
    from coscale.files import replacing

    if path is None:
        yield lambda _: None
        return
    with replacing(path) as temporary:
        temporary.write_text("".join(_dump(row) + "\n" for row in first))

    def add(line: str) -> None:
        with path.open("a") as file:
            file.write(line + "\n")

    yield add


def _list(failures: Sequence[str], total: int) -> None:
    """End with the failures, if there were any."""
    for failure in failures:
        click.echo(f"coscale: {failure}", err=True)
    if failures:
        _fail(f"{len(failures)} of {total} failed")


@contextlib.contextmanager
def _memory_explained(source: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            raise MemoryNeededError(
                f"{source}: not enough memory for a photo of this size; take a smaller one"
            ) from error
        raise


def _describe_downscaled(row: dict[str, Any]) -> str:
    def quality(name: str) -> str:
        value, before = row[name], row["before"]
        gain = f" ({value - before[name]:+.2f} by {row['method']})" if before and math.isfinite(value) else ""
        return f"{value:.2f} dB{gain}"

    return (
        f"{row['width']} x {row['height']}, LR {_bytes(row['lr_bytes'])}, PSNR-Y {quality('psnr_y')}, "
        f"PSNR-RGB {quality('psnr_rgb')}, {row['encode_seconds']:.1f} s"
    )


def _describe_upscaled(row: dict[str, Any]) -> str:
    return f"{row['width']} x {row['height']} by {row['rescaler']}, {row['seconds']:.1f} s"


def _facts(file: Path, photo: Photo, origin: Origin | None, weights: Path | None) -> dict[str, Any]:
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
            check(origin, _load(origin.rescaler, weights, "cpu"))
            row["restores"] = "yes"
        except CoscaleError as error:
            row["restores"] = f"no, {error}"
    return row


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _dump(value: Any) -> str:
    """JSON; what is not finite (the PSNR of equal images) becomes null, for which JSON has a word."""

    def clean(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: clean(item) for key, item in x.items()}
        return None if isinstance(x, float) and not math.isfinite(x) else x

    return json.dumps(clean(value))
