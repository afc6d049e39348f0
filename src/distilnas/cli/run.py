"""``distilnas run``: everything, from where it stopped."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distilnas.cli.console import (
    BudgetOption,
    JsonOption,
    RichProgress,
    RunOption,
    VerboseOption,
    begin,
    console,
    print_json,
)
from distilnas.cli.shrink import show_shrunk


def run(
    config: Annotated[str, typer.Argument(help="A shipped configuration (see `distilnas config ls`) or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as key.sub=value.")] = None,
    run: RunOption = None,
    budget: BudgetOption = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Search, retrain, test, export and report; called again, it continues where it stopped and skips what is done."""
    from distilnas.recipes.budgets import overrides_of
    from distilnas.recipes.catalogue import load_settings, run_recipe

    folder = run or Path("runs") / Path(config).stem
    begin(folder)
    settings = load_settings(config, (*(overrides or ()), *overrides_of(budget or [])))
    summary = run_recipe(settings, folder, progress=RichProgress())
    if json:
        print_json(summary)
    else:
        show(summary, folder)


def show(summary: dict[str, Any], folder: Path) -> None:
    """The summary as a small table on stdout."""
    shown = {
        "dna": _show_dna,
        "dnad": _show_dnad,
        "retrain": _show_retrained,
        "progressive": _show_rounds,
        "rank": _show_ranking,
        "truth": _show_truth,
        "shrink": show_shrunk,
    }
    shown[summary["recipe"]](summary)
    for text in summary.get("warnings", ()):
        console.print(f"Mind: {text}", highlight=False, soft_wrap=True)
    for name, path in summary.get("artefacts", {}).items():
        console.print(f"  {name:13s}{folder / path}", highlight=False, soft_wrap=True)


def _networks(rows: dict[str, dict[str, Any]], asked: Iterable[str] = ()) -> Table:
    """Accuracy and costs of networks: the usual ones and those ``asked`` for."""
    from distilnas.tables.measures import EXACT, measure_info, shown

    table, costs = Table(box=None, pad_edge=False), shown(EXACT, asked)
    for column in ("", "test top-1", *(measure_info(cost).title for cost in costs)):
        table.add_column(column, justify="left" if not column else "right")
    for name, row in rows.items():
        table.add_row(name, f"{row['top1']:.2f} %", *(_amount(row.get(cost)) for cost in costs))
    return table


def _amount(value: int | float | None) -> str:
    return "" if value is None else f"{value:,}"


def _show_dna(summary: dict[str, Any]) -> None:
    teacher, student, solution, rating = (summary[key] for key in ("teacher", "student", "solution", "rating"))
    from distilnas.tables.measures import EXACT, shown

    drawn = {f"random {row['hash'][:6]}": row for row in summary["random"]}
    asked = solution["budgets"]
    table = _networks({f"teacher {teacher['name']}": teacher, "student": student} | drawn, asked)
    both = (cost for cost in shown(EXACT, asked) if cost in student and cost in teacher)
    table.add_row("student / teacher", "", *(f"{student[cost] / teacher[cost]:.1%}" for cost in both))
    console.print(table)
    proof = "proved optimal" if solution["optimal"] else "not proved optimal"
    if solution.get("contradicted"):
        proof += " by its ratings, but contradicted by its assembled networks"
    console.print(
        f"{rating['num_rated']:,} of {rating['num_candidates']:,} block candidates rated; the best of "
        f"{summary['space']['num_architectures']:,} architectures under the budget, {proof}.",
        highlight=False,
    )


def _show_dnad(summary: dict[str, Any]) -> None:
    teacher, search = summary["teacher"], summary["search"]
    networks = {f"teacher {teacher['name']}": teacher} if teacher else {}
    console.print(_networks(networks | {"student": summary["student"]}))
    console.print(
        f"{search['num_networks']} networks found, {search['num_front']} on the front of MACs and held-out accuracy, "
        f"{search['num_events']} at Pareto events; the search ended because {search['ended']}.",
        highlight=False,
    )


def _show_retrained(summary: dict[str, Any]) -> None:
    console.print(_networks({summary["run"]: summary["student"]}))


def _show_rounds(summary: dict[str, Any]) -> None:
    rows = {}
    for row in summary["rounds"]:
        number = row["round"]
        rows |= {f"round {number} teacher": row["teacher"], f"round {number} student": row["student"]}
        if "scaled" in row:
            rows[f"round {number} student, scaled"] = row["scaled"]
    console.print(_networks(rows))


def _show_ranking(summary: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("score", "Kendall tau", "standard error", "networks"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for name, tau in summary["baselines"].items():
        table.add_row(f"baseline {name}", f"{tau:.3f}", "", "")
    for name, tau in summary["kendall_tau"].items():
        error = "" if tau["stderr"] is None else f"{tau['stderr']:.3f}"
        table.add_row(name, f"{tau['mean']:.3f}", error, f"{tau['n']:,}")
    console.print(table)


def _show_truth(summary: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("test top-1", justify="right")
    for name, accuracy in summary["accuracy"].items():
        table.add_row(name, f"{accuracy:.2f} %")
    console.print(table)
