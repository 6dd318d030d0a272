"""The command: parses, calls, shows progress. What takes long to import is imported by the command that needs it."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import click

from coscale import __version__
from coscale.cli.collections import batch
from coscale.cli.edge import export, web
from coscale.cli.measure import evaluate_
from coscale.cli.networks import card, models, train, weights
from coscale.cli.photos import downscale, info, upscale
from coscale.cli.reproduce import reproduce
from coscale.cli.server import serve
from coscale.console import STOPPED, escaped, fail, log_escaped, on_stop, warn
from coscale.errors import CoscaleError, CoscaleWarning, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="coscale")
def cli() -> None:
    """Make small 8-bit images of photos that anyone can look at, and bring the photos back at full size."""


for _command in (
    *(downscale, upscale, info, batch, serve, export, web),
    *(evaluate_, reproduce, models, card, weights, train),
):
    cli.add_command(_command)


def main() -> None:
    """Run the command: one line on stderr for whatever a user can cause, and no traceback."""
    # torch loses an interrupt that comes while it is imported. Until there is something to clean up, just leave.
    on_stop(lambda *_: (os.write(2, f"coscale: {STOPPED}\n".encode()), os._exit(1)))
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", CoscaleWarning)  # Python shows a text once only
    log_escaped()
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # file names may be no text
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        fail(f"{_one_line(error)} (coscale --help says more)", status=2)
    except click.ClickException as error:
        fail(_one_line(error))
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


def _one_line(error: click.ClickException) -> str:
    """What click says, which it may have set in lines."""
    return " ".join(error.format_message().split())


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Ours as one line; those of others as Python shows them."""
    if issubclass(category, CoscaleWarning):
        warn(message)
    else:
        _python_shows(escaped(message), category, *place, **more)


_python_shows = warnings.showwarning
