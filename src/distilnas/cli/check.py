"""``distilnas check``: is every file of a run what it was when it was written?"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from distilnas.checksums import check_folder
from distilnas.cli.console import JsonOption, VerboseOption, console, print_json
from distilnas.errors import UsageError


def check(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or of a student.")],
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Hold every file of a run against its SHA-256, a line each; exit code 1 where one changed or is gone."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the folder of a run.")
    found = check_folder(folder)
    if not any(Path(entry.path).name in ("run.json", "step.json", "student.json", "config.yaml") for entry in found):
        raise UsageError(f"{folder} is neither a run nor a student: it has no files of one.")
    counts = Counter(entry.state for entry in found)
    intact = not counts["changed"] and not counts["missing"]
    if json:
        print_json({"run": str(folder), "intact": intact, "files": [entry.to_dict() for entry in found]})
    else:
        for entry in found:
            console.print(f"{entry.state:10s}{entry.path}{f'  {entry.remedy}' if entry.remedy else ''}", soft_wrap=True)
        console.print(", ".join(f"{number} {state}" for state, number in sorted(counts.items())))
    if not intact:
        raise typer.Exit(1)
