"""What the verbs share: consoles, progress drawing, records to stdout."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
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

RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder; default runs/NAME.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON record on stdout, nothing else.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Log what happens; tracebacks of errors.")]


def print_json(record: Any) -> None:
    """One JSON record on stdout."""
    print(json.dumps(record, indent=2, default=str))


class RichTask:
    """One bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        """See ``distilnas.runtime.progress.Task``."""
        self._progress.update(self._task, advance=steps, note=note)


class RichProgress:
    """Draws progress on stderr: what, how far, how long, how long still."""

    def message(self, text: str) -> None:
        """One line that stays."""
        error_console.print(f"[bold cyan]>[/] {text}", highlight=False)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[RichTask]:
        """A bar for ``total`` steps."""
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
