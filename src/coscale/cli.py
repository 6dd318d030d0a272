"""The command: parses, calls, shows progress. What takes long to import is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from coscale import __version__
from coscale.errors import CoscaleError, OutputError, SettingsError

if TYPE_CHECKING:
    from coscale.collaborate import HCD
    from coscale.image import Photo
    from coscale.lrfile import Origin
    from coscale.rescalers import Precision
    from coscale.weights.load import Loaded

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_RESCALER = "irn-x2-4b"

_existing = click.Path(path_type=Path)


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
    "--weights", type=_existing, help="A checkpoint (.safetensors, or an official .pth) instead of the bundled weights."
)
_output = _options(
    click.option("-o", "--out", type=_existing, help="Output file, or folder for several inputs or a folder."),
    click.option("--overwrite", is_flag=True, help="Replace results that exist; without it they are skipped."),
)
_hcd = _options(
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the method's passes through the networks.",
    ),
    click.option("--hr-steps", type=click.IntRange(0), default=15, show_default=True, help="HCD: N_y."),
    click.option("--lr-steps", type=click.IntRange(0), default=15, show_default=True, help="HCD: N_x."),
    click.option("--alpha", type=click.FloatRange(0), default=20 / 255, show_default="20/255", help="HCD: step."),
    click.option("--eps", type=click.FloatRange(0), default=0.3, show_default=True, help="HCD: radius of the ball."),
    click.option("--norm", type=click.Choice(["l2", "linf"]), default="l2", show_default=True, help="HCD: its norm."),
    click.option("--loss", type=click.Choice(["mse", "l1", "y-mse"]), default="mse", show_default=True, help="HCD."),
    click.option("--start", type=click.Choice(["random", "zero"]), default="random", show_default=True, help="HCD."),
    click.option("--seed", type=int, default=0, show_default=True, help="HCD: seed of the random start."),
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
@click.argument("inputs", nargs=-1, required=True, type=_existing, metavar="PHOTO|FOLDER...")
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

    def one(source: Path, target: Path, bar: Bar) -> dict[str, Any]:
        return write_and_measure(read(source, max_pixels), pair, hcd, target, bar.advance, precision)

    _run(jobs, one, _describe_downscaled, overwrite, as_json)


@cli.command()
@click.argument("inputs", nargs=-1, required=True, type=_existing, metavar="LR|FOLDER...")
@_output
@click.option("--rescaler", help="For images that coscale did not write; see: coscale models.")
@_weights
@click.option("--sample", "seed", type=int, metavar="SEED", help="Draw the latent instead of taking 0 (IRN).")
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
    from coscale.decode import decode
    from coscale.image import SUFFIXES, write
    from coscale.jobs import plan
    from coscale.lrfile import read_lr

    pairs: dict[str, Loaded] = {}

    def one(source: Path, target: Path, bar: Bar) -> dict[str, Any]:
        lr, origin = read_lr(source, max_pixels)
        name = origin.rescaler if origin else rescaler
        if name is None:
            raise SettingsError(f"{source} does not say which rescaler made it; give --rescaler NAME")
        if rescaler not in (None, name):
            raise SettingsError(f"{source} was made by {name}, not by {rescaler}; leave out --rescaler")
        if name not in pairs:
            pairs[name] = _load(name, weights, device)
        begun = time.perf_counter()
        photo = decode(lr, pairs[name], origin, seed)
        seconds = time.perf_counter() - begun
        write(target, photo)
        height, width = photo.size
        return {"width": width, "height": height, "rescaler": name, "seconds": round(seconds, 3)}

    jobs = plan(inputs, out, beside=".restored.png", inside=".png", allowed=SUFFIXES)
    _run(jobs, one, _describe_upscaled, overwrite, as_json)


@cli.command("eval")
@click.argument("sets", nargs=-1, required=True, type=_existing, metavar="FOLDER...")
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
@click.option("-o", "--out", type=_existing, help="Also write the rows, one JSON object a line, to this file.")
@_hcd
@_common
def evaluate_(
    sets: tuple[Path, ...],
    rescalers: tuple[str, ...],
    weights: Path | None,
    methods: tuple[str, ...],
    out: Path | None,
    device: str,
    as_json: bool,
    precision: Precision,
    **settings: Any,
) -> None:
    """Measure rescalers and methods on folders of photos, by the protocol of the field, on the files themselves."""
    from coscale.evaluate import evaluate, find_sets
    from coscale.files import replacing
    from coscale.report.tables import summarise, text_table

    pairs = [_load(name, weights, device) for name in rescalers]
    found = find_sets(sets)
    rows: list[dict[str, Any]] = []
    with _bar("measuring", sum(map(len, found.values())) * len(pairs) * len(methods)) as bar:
        for pair in pairs:
            for method in methods:
                for row in evaluate(found, pair, _settings(method, settings), precision):
                    rows.append(row)
                    bar.advance()
                    if as_json:
                        click.echo(_dump(row))
    if out:
        with replacing(out) as temporary:
            temporary.write_text("".join(_dump(row) + "\n" for row in rows))
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
                "weights": named.weights,
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
@click.argument("file", type=_existing)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(file: Path, as_json: bool) -> None:
    """Say what an image is, and what an LR file restores to."""
    from coscale.lrfile import read_lr

    photo, origin = read_lr(file)
    row = _facts(file, photo, origin)
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
    # A plain kill would leave temporary files behind; as an interrupt it cleans up.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        cli.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; what was finished is kept, and nothing half-written is left")
    except SettingsError as error:
        _fail(str(error), status=2)
    except CoscaleError as error:
        _fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _fail(message: str, status: int = 1) -> NoReturn:
    click.echo(f"coscale: {message}", err=True)
    sys.exit(status)


def _settings(method: str, settings: dict[str, Any]) -> HCD | None:
    from coscale.collaborate import HCD

    return HCD(**settings) if method == "hcd" else None


def _load(name: str, weights: Path | None, device: str) -> Loaded:
    import torch

    from coscale.weights.load import load

    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("there is no CUDA device here; leave out --device, or give --device cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return load(name, weights, device)


class Bar:
    """A progress bar that appears once the work has taken a second, and only on a terminal."""

    def __init__(self, label: str, total: int) -> None:
        self._bar = click.progressbar(length=total, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())
        self._begun = time.monotonic()
        self._shown = False
        self._done = 0

    def advance(self, done: int | None = None, total: int | None = None) -> None:
        """To ``done`` of ``total``, or by one."""
        done = self._done + 1 if done is None else done
        if total is not None:
            self._bar.length = total
        if not self._shown and time.monotonic() - self._begun > 1:
            self._shown = True
            self._bar.__enter__()
            self._bar.update(self._done)
        if self._shown:
            self._bar.update(done - self._done)
        self._done = done

    def close(self) -> None:
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
    jobs: Sequence[tuple[Path, Path]],
    one: Callable[[Path, Path, Bar], dict[str, Any]],
    describe: Callable[[dict[str, Any]], str],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Do the jobs one by one; with several, a failure does not stop the rest, and all are listed at the end."""
    from coscale.files import check_writable

    failures = []
    for source, target in jobs:
        row: dict[str, Any] = {"input": str(source), "output": str(target)}
        if target.exists() and not overwrite:
            row["skipped"] = True
            click.echo(_dump(row) if as_json else f"{target} is there already (--overwrite replaces it)")
            continue
        try:
            check_writable(target)
            with _bar(source.name, 1) as bar, _memory_explained(source):
                row |= one(source, target, bar)
        except CoscaleError as error:
            if len(jobs) == 1:
                raise
            failures.append(str(error))
            if as_json:
                click.echo(_dump(row | {"error": str(error)}))
            continue
        click.echo(_dump(row) if as_json else f"{source} -> {target}  {describe(row)}")
    if failures:
        for failure in failures:
            click.echo(f"coscale: {failure}", err=True)
        _fail(f"{len(failures)} of {len(jobs)} failed")


@contextlib.contextmanager
def _memory_explained(source: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            raise OutputError(f"{source}: not enough memory for a photo of this size; cut it into parts") from error
        raise


def _describe_downscaled(row: dict[str, Any]) -> str:
    quality, before = row["psnr_y"], row["before"]
    gain = f" ({quality - before['psnr_y']:+.2f} by {row['method']})" if before and math.isfinite(quality) else ""
    return (
        f"{row['width']} x {row['height']}, LR {_bytes(row['lr_bytes'])}, "
        f"PSNR-Y {quality:.2f} dB{gain}, {row['encode_seconds']:.1f} s"
    )


def _describe_upscaled(row: dict[str, Any]) -> str:
    return f"{row['width']} x {row['height']} by {row['rescaler']}, {row['seconds']:.1f} s"


def _facts(file: Path, photo: Photo, origin: Origin | None) -> dict[str, Any]:
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
            check(origin, _load(origin.rescaler, None, "cpu"))
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
