"""What the verbs share: consoles, progress drawing, records to stdout."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
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

console = Console()
error_console = Console(stderr=True)
LOG_SECONDS = 60.0

RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder; default runs/NAME.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON record on stdout, nothing else.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Log what happens; tracebacks of errors.")]


def begin() -> None:
    """What every verb that computes does first; of several processes started together only the first prints."""
    from distilnas.runtime import ranks
    from distilnas.runtime.device import keep_freed_memory

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
        error_console.print(f"[bold cyan]>[/] {text}", highlight=False)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[RichTask | LineTask]:
        """A bar for ``total`` steps."""
        if not error_console.is_terminal:
            yield LineTask(name, total, done)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=error_console, refresh_per_second=4) as progress:
            yield RichTask(progress, progress.add_task(name, total=total, completed=done, note=""))
