"""``distilnas``: assembles the verbs, turns errors into one short message and an exit code.

Exit codes: 0 done, 1 failed, 2 usage, configuration or data, 3 infeasible budget.
"""

import logging
import os
import sys
import time
import traceback

import typer

from distilnas.cli import bench, config, doctor, plan, profile, rank, run, shrink, steps, zoo
from distilnas.cli.console import error_console
from distilnas.errors import DistilnasError
from distilnas.version import __version__

_FIRST_SECONDS = 3.0

app = typer.Typer(
    name="distilnas",
    help="A trained teacher, your images and a budget in; a smaller trained network out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("shrink")(shrink.shrink)
app.command("run")(run.run)
for verb in steps.VERBS:
    app.command(verb.__name__)(verb)
app.command("profile")(profile.profile)
app.command("plan")(plan.plan)
app.command("rank")(rank.rank)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config")
app.add_typer(zoo.app, name="zoo")


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """A trained teacher, your images and a budget in; a smaller trained network out."""


def main() -> None:
    """Entry point of the ``distilnas`` command."""
    # Read when torch is loaded, which happens in the verbs. Threads that spin while they wait slow training down many
    # times over as soon as any other program wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    verbose = "-v" in sys.argv or "--verbose" in sys.argv
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("distilnas").setLevel(logging.INFO if verbose else logging.WARNING)
    sys.exit(_guarded(verbose))


def _guarded(verbose: bool) -> int:
    try:
        app()
    except DistilnasError as error:
        if error_console.quiet:  # not the first of several processes: that one may be about to say the same
            time.sleep(_FIRST_SECONDS)
            error_console.quiet = False
        if verbose:
            traceback.print_exc()
        error_console.print("[red]error:[/]", end=" ")
        error_console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    return 0
