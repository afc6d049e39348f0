"""``distilnas``: assembles the verbs, turns errors into one short message and an exit code.

Exit codes: 0 done, 1 failed, 2 usage, configuration or data, 3 infeasible budget; 128 + N: ended by signal N.
"""

import io
import logging
import os
import sys
import time
import traceback

import typer
from rich.text import Text

from distilnas.cli import bench, check, config, doctor, latency, plan, profile, push, rank, run, shrink, steps, zoo
from distilnas.cli.console import error_console, print_json
from distilnas.cli.stopping import Interrupted, check_address_space, interrupted_text, memory_text, signals_caught
from distilnas.errors import DistilnasError, InfeasibleError, UsageError
from distilnas.recipes.verbs import VERBS
from distilnas.version import __version__

_FIRST_SECONDS = 3.0
_KINDS = {DistilnasError.exit_code: "failed", UsageError.exit_code: "usage", InfeasibleError.exit_code: "infeasible"}

app = typer.Typer(
    name="distilnas",
    help="A trained teacher, your images and a budget in; a smaller trained network out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("shrink")(shrink.shrink)
app.command("run")(run.run)
for verb in VERBS:
    app.command(verb.name, help=verb.help)(steps.OWN.get(verb) or steps.command(verb))
app.command("report")(steps.report)
app.command("profile")(profile.profile)
app.command("plan")(plan.plan)
app.command("rank")(rank.rank)
app.command("bench")(bench.bench)
app.command("check")(check.check)
app.command("push")(push.push)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config")
app.add_typer(latency.app, name="latency")
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
    check_address_space()


def main() -> None:
    """Entry point of the ``distilnas`` command."""
    # Read when torch is loaded, which happens in the verbs. Threads that spin while they wait slow training down many
    # times over as soon as any other program wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be no text
    verbose = "-v" in sys.argv or "--verbose" in sys.argv
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR, format="%(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("distilnas").setLevel(logging.INFO if verbose else logging.WARNING)
    sys.exit(_guarded(verbose))


def _guarded(verbose: bool) -> int:
    try:
        with signals_caught():
            app()
    except DistilnasError as error:
        text = memory_text(error)
        return _tell(text or str(error), UsageError.exit_code if text else error.exit_code, verbose)
    except Interrupted as stopped:
        return _tell(interrupted_text(stopped), stopped.exit_code, verbose=False, before="")
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        text = memory_text(error)
        if text is None:
            raise
        return _tell(text, UsageError.exit_code, verbose)
    return 0


def _tell(text: str, code: int, verbose: bool, *, before: str = "error: ") -> int:
    """One line on stderr, whatever names are in it, and with ``--json`` a record on stdout.

    Of several processes, those that do not lead wait for the first.
    """
    line = " ".join(text.split())
    if "--json" in sys.argv:
        print_json({"error": {"code": code, "kind": _KINDS.get(code, "interrupted"), "message": line}})
    if error_console.quiet:
        time.sleep(_FIRST_SECONDS)
        error_console.quiet = False
    if verbose:
        traceback.print_exc()
    error_console.print(Text(before, style="red"), end="")
    error_console.print(Text(line), soft_wrap=True)
    return code
