"""``distilnas rank``: how well scores order networks whose true accuracy is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from distilnas.cli.console import JsonOption, VerboseOption, console, print_json
from distilnas.cli.rank_sources import Baseline, Source, fit_blocks, read_costs, read_known, read_scores, read_table

if TYPE_CHECKING:
    from distilnas.tables import RatingTable


def rank(
    truth: Annotated[Path, typer.Option(help="CSV (architecture,accuracy) or JSON; costs may stand in it too.")],
    scores: Annotated[Path | None, typer.Option(help="CSV (architecture,score) or JSON {architecture: score}.")] = None,
    ratings: Annotated[Path | None, typer.Option(help="A rating table, .npz or .csv; needs --space.")] = None,
    baseline: Annotated[Baseline | None, typer.Option(help="Score by size alone; needs --space.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run of the recipe dna: its ratings in its space.")] = None,
    space: Annotated[str | None, typer.Option(help="A space's name or file; all names must be networks of it.")] = None,
    digits: Annotated[str | None, typer.Option(help="The space of names like 02012100, if not --space.")] = None,
    finer: Annotated[
        Path | None, typer.Option(help="A rating table of the same layers in finer blocks, added to the ratings.")
    ] = None,
    finer_space: Annotated[str | None, typer.Option(help="The space of --finer.")] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="N|FILE",
            help="Weight the ratings' blocks as fits N trained networks, drawn from the truth by --seed, or those of "
            "FILE (as --truth); the others are compared.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --fit or --finer: write the table that comes of it, .npz or .csv, to solve with."),
    ] = None,
    field: Annotated[str | None, typer.Option(help="Column of the truth; default accuracy or mean_acc.")] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Lower scores are better (ratings: always).")
    ] = False,
    common: Annotated[bool, typer.Option("--common", help="Compare the networks that both files have.")] = False,
    costs: Annotated[Path | None, typer.Option(help="CSV (architecture,macs,...) or JSON, for budgets.")] = None,
    budget: Annotated[list[str] | None, typer.Option(help="40M (MACs) or COST=AMOUNT; repeatable.")] = None,
    resolution: Annotated[int, typer.Option(min=1, help="Image side of the baseline macs.")] = 224,
    num_classes: Annotated[int, typer.Option(min=1, help="Classes of the baselines macs and params.")] = 1000,
    plot: Annotated[Path | None, typer.Option(help="Write a scatter plot to this HTML file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and of --fit N.")] = 0,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare scores with true accuracies: rank correlation, overlap of the best, regret under budgets."""
    from distilnas import ranking

    source = Source(
        scores=scores,
        ratings=ratings,
        baseline=baseline,
        run=run,
        space=space,
        digits=digits,
        counting={"resolution": resolution, "num_classes": num_classes},
        finer=finer,
        finer_space=finer_space,
        fit=fit,
        out=out,
    )
    budgets = [ranking.parse_budget(text) for text in budget or ()]
    wanted = (field,) if field else ranking.ACCURACY
    true = ranking.read_columns(truth, plain=wanted[0])
    column = true.pick(*wanted)
    known, fitted = read_known(source, true), None
    if fit is not None:
        assert known
        fitted, true = fit_blocks(source, known, true, wanted, seed)
        known = known.among(true)
    lower = lower_is_better or bool(ratings or run)
    comparison = ranking.compare(
        read_scores(source, known, fitted),
        true.numbers(column),
        read_costs(source, costs, true, known, {budget.cost for budget in budgets}),
        lower_is_better=lower,
        common=common,
    )
    picks = ranking.picks_of(comparison, budgets)
    record = {"scores": str(source), "truth": str(truth), "field": column, "lower_is_better": lower}
    record |= ranking.rank_record(comparison, picks, seed=seed)
    if fitted and known:
        record["fit"] = fitted.record(list(known.choices.values()), comparison.truth)
    if plot:
        from distilnas.ranking.plot import write_scatter

        write_scatter(plot, comparison, picks, title=f"{source} against {truth.name} ({column})")
    if out and known:
        _write_ratings(out, fitted.table if fitted else read_table(source, known))
    print_json(record) if json else _show(record)


def _write_ratings(path: Path, table: "RatingTable") -> None:
    from distilnas.tables.csv import write_ratings_csv

    table.save(path) if path.suffix == ".npz" else write_ratings_csv(path, table)


def _show(record: dict[str, Any]) -> None:
    better = "lower" if record["lower_is_better"] else "higher"
    console.print(
        f"{record['n']:,} networks: {record['scores']} ({better} is better) against {record['truth']} "
        f"({record['field']})\n",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if "fit" in record:
        console.print(_fit_text(record["fit"]) + "\n", highlight=False, soft_wrap=True)
    console.print(_correlations(record))
    tops = ", ".join(f"{top['overlap']:.0%} of the best {top['k']:,}" for top in record["top"])
    if tops:
        console.print(f"\nAmong the best by score are {tops} by truth.", highlight=False, soft_wrap=True)
    console.print("\nBest-scored against truly best network, and its percentile among all that fit:")
    console.print(_regrets(record["regret"]))


def _fit_text(fit: dict[str, Any]) -> str:
    weights = ", ".join(f"{weight:.3g}" for weight in fit["weights"])
    return (
        f"Blocks weighted {weights} as fits {len(fit['trained']):,} networks (error {fit['error']:.3g}), which are not "
        f"among those compared; on these the plain sum's Kendall tau is {_value(fit['sum']['kendall_tau'])}."
    )


def _correlations(record: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    half, tenth = record["better_half"], record["top_tenth"]
    table.add_column("")
    for title in ("all", f"{record['confidence']:.0%} interval", "better half", "top tenth"):
        table.add_column(title, justify="right")
    for key, title in (("kendall_tau", "Kendall tau"), ("spearman_rho", "Spearman rho"), ("pearson_r", "Pearson r")):
        interval = record["intervals"][key]
        between = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "undefined"
        table.add_row(title, _value(record[key]), between, _value(half[key]), _value(tenth[key]))
    table.add_row("networks", f"{record['n']:,}", "", f"{half['n']:,}", f"{tenth['n']:,}")
    return table


def _regrets(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("budget")
    for title in ("fit", "tied", "picked", "best", "regret", "percentile", "median"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            f"{row['max']:,.10g} {row['cost']}" if row["cost"] else "none",
            f"{row['num_fitting']:,}",
            f"{row['num_tied']:,}",
            f"{row['accuracy']:.4g}",
            f"{row['best_accuracy']:.4g}",
            f"{row['regret']:.3g}",
            f"{row['percentile']:.1f}",
            f"{row['median']:.4g}",
        )
    return table


def _value(number: float | None) -> str:
    return "undefined" if number is None else f"{number:.3f}"
