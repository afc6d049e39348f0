"""What the verbs share: consoles, progress drawing, records to stdout."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from distilnas.runtime.progress import Epoch

# Names of files and runs are never read as markup or emoji; what is to have a style is made a ``Text``.
console = Console(markup=False, emoji=False)
error_console = Console(stderr=True, markup=False, emoji=False)
LOG_SECONDS = 60.0

RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder; default runs/NAME.")]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option("--budget", help="macs=40%, params=1M..2M, bytes=5M: in place of all others; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON record on stdout, nothing else.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Log what happens; tracebacks of errors.")]


@dataclass(kw_only=True)
class Work:
    """What this command is at, for the one who interrupts it."""

    folder: Path | None = None
    place: str | None = None


work = Work()


def begin(folder: Path | None = None) -> None:
    """What every verb that computes does first; of several processes started together only the first prints.

    ``folder``: of the run that it works on.
    """
    from distilnas.runtime import ranks
    from distilnas.runtime.device import keep_freed_memory

    work.folder, work.place = folder, None
    keep_freed_memory()
    ranks.join()
    if not ranks.leads():
        console.quiet = error_console.quiet = True
        logging.disable()


def print_json(record: Any) -> None:
    """One JSON record on stdout."""
    if not console.quiet:
        print(json.dumps(record, indent=2, default=str))


class RichTask:
    """One bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        """See ``distilnas.runtime.progress.Task``."""
        self._progress.update(self._task, advance=steps, note=note)


class LineTask:
    """A line now and then, for logs."""

    def __init__(self, name: str, total: int, done: int) -> None:
        self._name, self._total, self._done, self._before = name, total, done, done
        self._start = self._shown = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """See ``distilnas.runtime.progress.Task``."""
        self._done += steps
        now = time.monotonic()
        if now - self._shown >= LOG_SECONDS:
            self._shown = now
            took = now - self._start
            left = took / (self._done - self._before) * (self._total - self._done)
            spent, still = (timedelta(seconds=round(seconds)) for seconds in (took, left))
            error_console.print(
                f"  {self._name} {self._done}/{self._total}, {spent} spent, about {still} left {note}".rstrip(),
                highlight=False,
                soft_wrap=True,
            )


class RichProgress:
    """Draws progress on stderr: what, how far, how long, how long still; in a log file a line a minute."""

    def message(self, text: str) -> None:
        """One line that stays."""
        work.place = text
        error_console.print(Text("> ", style="bold cyan"), end="")
        error_console.print(Text(text), soft_wrap=True)

    def epoch(self, epoch: Epoch) -> None:
        """Nothing: the bar has the loss."""

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[RichTask | LineTask]:
        """A bar for ``total`` steps."""
        work.place = name
        if not error_console.is_terminal:
            yield LineTask(name, total, done)
            return
        columns = (
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=error_console, refresh_per_second=4) as progress:
            yield RichTask(progress, progress.add_task(name, total=total, completed=done, note=""))
