"""Commands; each is a thin wrapper of one function of a stage."""

import sys
import warnings

import typer

from morphion import __version__
from morphion.cli import (
    anneal,
    config,
    currents,
    dataset,
    labels,
    report,
    stores,
    structures,
    surrogates,
    verdict,
)
from morphion.errors import MorphionError, MorphionWarning
from morphion.progress import log
from morphion.provenance import command_line
from morphion.stopping import leave_when_told, was_told

app = typer.Typer(
    name="morphion",
    help="Structure-transport design of nanoparticle electrolytes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    labels,
    surrogates,
    stores,
    config,
    structures,
    verdict,
    dataset,
    currents,
    anneal,
    report,
):
    module.register(app)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Show the version and exit.")):
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point; an error the user can mend is one line and exit status 2."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", MorphionWarning)
    leave_when_told()
    if not sys.stderr.isatty():
        log(f"# {command_line()}")  # the first line of a job's log reruns the job
    try:
        app()
    except MorphionError as error:
        log(f"error: {error}")
        sys.exit(2)
    except OSError as error:
        log(f"error: {error.filename or 'input or output'}: {error.strerror or error}")
        sys.exit(2)
    except KeyboardInterrupt:
        log("interrupted")
        sys.exit(130)
    except Exception:  # of any kind where SIGTERM came in the middle of it, such as an import
        if told := was_told():
            sys.exit(128 + told)
        raise


def _show_warning(message, category, filename, lineno, file=None, line=None):
    log(f"warning: {message}")
