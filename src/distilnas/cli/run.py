"""``distilnas run``: everything, from where it stopped."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distilnas.cli.console import JsonOption, RichProgress, RunOption, VerboseOption, console, print_json


def run(
    config: Annotated[str, typer.Argument(help="A shipped configuration (see `distilnas config ls`) or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as key.sub=value.")] = None,
    run: RunOption = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Search, retrain, test, export and report; called again, it continues where it stopped and skips what is done."""
    from distilnas.recipes.settings import load_settings
    from distilnas.recipes.summary import run_dna
    from distilnas.runtime.device import keep_freed_memory

    keep_freed_memory()
    settings = load_settings(config, tuple(overrides or ()))
    folder = run or Path("runs") / Path(config).stem
    summary = run_dna(settings, folder, progress=RichProgress())
    if json:
        print_json(summary)
    else:
        show(summary, folder)


def show(summary: dict[str, Any], folder: Path) -> None:
    """The summary as a small table on stdout."""
    teacher, student, solution, rating = (summary[key] for key in ("teacher", "student", "solution", "rating"))
    table = Table(box=None, pad_edge=False)
    for column in ("", "test top-1", "parameters", "MACs (papers: FLOPs)"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row(
        f"teacher {teacher['name']}", f"{teacher['top1']:.2f} %", f"{teacher['params']:,}", f"{teacher['macs']:,}"
    )
    table.add_row("student", f"{student['top1']:.2f} %", f"{student['params']:,}", f"{student['macs']:,}")
    table.add_row(
        "student / teacher",
        "",
        f"{student['params'] / teacher['params']:.1%}",
        f"{student['macs'] / teacher['macs']:.1%}",
    )
    for row in summary["random"]:
        table.add_row(f"random {row['hash'][:6]}", f"{row['top1']:.2f} %", f"{row['params']:,}", f"{row['macs']:,}")
    console.print(table)
    proof = "proved optimal" if solution["optimal"] else "not proved optimal"
    console.print(
        f"{rating['num_rated']:,} of {rating['num_candidates']:,} block candidates rated; the best of "
        f"{summary['space']['num_architectures']:,} architectures under the budget, {proof}.",
        highlight=False,
    )
    for name, path in summary["artefacts"].items():
        console.print(f"  {name:13s}{folder / path}", highlight=False, soft_wrap=True)
