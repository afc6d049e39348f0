"""``distilnas rank``: how well scores order networks whose true accuracy is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from distilnas.cli.console import JsonOption, VerboseOption, console, print_json
from distilnas.errors import UsageError

if TYPE_CHECKING:
    from distilnas.ranking import Columns, NetworkNames
    from distilnas.space import Choice, SearchSpace

Baseline = Literal["macs", "params", "depth"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the scores come from, exactly one of four, and the space by which names are read."""

    scores: Path | None
    ratings: Path | None
    baseline: Baseline | None
    run: Path | None
    space: str | None
    digits: str | None
    counting: dict[str, int]

    def __post_init__(self) -> None:
        sources = {"scores": self.scores, "ratings": self.ratings, "baseline": self.baseline, "run": self.run}
        given = [f"--{name}" for name, value in sources.items() if value is not None]
        if len(given) != 1:
            raise UsageError(
                "give exactly one source of scores, --scores, --ratings, --baseline or --run, got "
                f"{' and '.join(given) or 'none'}."
            )
        if (self.ratings or self.baseline or self.digits) and not (self.space or self.run):
            raise UsageError(f"{'--digits' if self.scores else given[0]} needs --space NAME or --space FILE.")
        if self.run and self.space:
            raise UsageError("--run brings its own space; leave --space out.")

    def __str__(self) -> str:
        return f"baseline {self.baseline}" if self.baseline else str(self.scores or self.ratings or self.run)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A space, how its networks are named, and the choice that each of the truth's names means."""

    space: "SearchSpace"
    names: "NetworkNames"
    choices: dict[str, "Choice"]


def rank(
    truth: Annotated[Path, typer.Option(help="CSV (architecture,accuracy) or JSON; costs may stand in it too.")],
    scores: Annotated[Path | None, typer.Option(help="CSV (architecture,score) or JSON {architecture: score}.")] = None,
    ratings: Annotated[Path | None, typer.Option(help="A rating table, .npz or .csv; needs --space.")] = None,
    baseline: Annotated[Baseline | None, typer.Option(help="Score by size alone; needs --space.")] = None,
    run: Annotated[Path | None, typer.Option(help="A run folder: its ratings in its space.")] = None,
    space: Annotated[str | None, typer.Option(help="A space's name or file; all names must be networks of it.")] = None,
    digits: Annotated[str | None, typer.Option(help="The space of names like 02012100, if not --space.")] = None,
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
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare scores with true accuracies: rank correlation, overlap of the best, regret under budgets."""
    from distilnas import ranking

    counting = {"resolution": resolution, "num_classes": num_classes}
    source = Source(
        scores=scores, ratings=ratings, baseline=baseline, run=run, space=space, digits=digits, counting=counting
    )
    budgets = [ranking.parse_budget(text) for text in budget or ()]
    true = ranking.read_columns(truth, plain=field or ranking.ACCURACY[0])
    column = true.pick(*([field] if field else ranking.ACCURACY))
    known = _known(source, true)
    lower = lower_is_better or bool(ratings or run)
    comparison = ranking.compare(
        _scores(source, known),
        true.numbers(column),
        _costs(source, costs, true, known, {budget.cost for budget in budgets}),
        lower_is_better=lower,
        common=common,
    )
    picks = ranking.picks_of(comparison, budgets)
    record = {"scores": str(source), "truth": str(truth), "field": column, "lower_is_better": lower}
    record |= ranking.rank_record(comparison, picks, seed=seed)
    if plot:
        from distilnas.ranking.plot import write_scatter

        write_scatter(plot, comparison, picks, title=f"{source} against {truth.name} ({column})")
    print_json(record) if json else _show(record)


def _known(source: Source, true: "Columns") -> Known | None:
    from distilnas.ranking import NetworkNames

    text = str(source.run / "space" / "space.json") if source.run else source.space
    if text is None:
        return None
    space = _space(text)
    names = NetworkNames(space, _space(source.digits) if source.digits else None)
    return Known(space=space, names=names, choices=names.choices(true.rows))


def _space(text: str) -> "SearchSpace":
    from distilnas.space import find_space

    return find_space(text)


def _scores(source: Source, known: Known | None) -> dict[str, float]:
    """Scores by the truth's names; those of a rating table or a baseline are summed through the space."""
    from distilnas.ranking import read_columns

    if source.scores:
        columns = _spelled(read_columns(source.scores, plain="score"), known)
        return columns.numbers(columns.pick("score"))
    assert known
    return dict(zip(known.choices, _summed(source, known).tolist(), strict=True))


def _summed(source: Source, known: Known) -> Any:
    from distilnas import ranking
    from distilnas.tables.csv import read_ratings

    choices = list(known.choices.values())
    if not source.baseline:
        path = source.ratings or (source.run or Path()) / "rate" / "ratings.npz"
        return ranking.rating_sums(read_ratings(path, known.space), choices)
    if source.baseline == "depth":
        return ranking.depth_scores(known.space, choices)
    from distilnas.costing import cost_table

    table = cost_table(known.space, **source.counting)
    return ranking.cost_scores(known.space, table, source.baseline, choices)


def _costs(
    source: Source, path: Path | None, true: "Columns", known: Known | None, wanted: set[str]
) -> dict[str, dict[str, float]]:
    """The wanted costs by cost and network, from their own file or else the truth's."""
    from distilnas.ranking import cost_numbers, read_columns

    columns = _spelled(read_columns(path, plain="macs"), known) if path else true
    if path is None and source.run and known:
        own = _own_costs(source.run, known, wanted - {"macs" if c == "flops" else c for c in true.columns})
        return own | cost_numbers(columns, wanted - set(own))
    return cost_numbers(columns, wanted)


def _own_costs(run: Path, known: Known, wanted: set[str]) -> dict[str, dict[str, float]]:
    """What the run's cost table says, where the truth does not."""
    from distilnas.ranking import cost_scores
    from distilnas.tables import CostTable

    path = run / "cost" / "costs.npz"
    if not wanted or not path.exists():
        return {}
    table = CostTable.load(path)
    choices = list(known.choices.values())
    values = {cost: cost_scores(known.space, table, cost, choices) for cost in wanted & set(table.costs)}
    return {cost: dict(zip(known.choices, row.tolist(), strict=True)) for cost, row in values.items()}


def _spelled(columns: "Columns", known: Known | None) -> "Columns":
    return known.names.spell_as(columns, known.choices) if known else columns


def _show(record: dict[str, Any]) -> None:
    better = "lower" if record["lower_is_better"] else "higher"
    console.print(
        f"{record['n']:,} networks: {record['scores']} ({better} is better) against {record['truth']} "
        f"({record['field']})\n",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    console.print(_correlations(record))
    tops = ", ".join(f"{top['overlap']:.0%} of the best {top['k']:,}" for top in record["top"])
    if tops:
        console.print(f"\nAmong the best by score are {tops} by truth.", highlight=False, soft_wrap=True)
    console.print("\nBest-scored against truly best network, and its percentile among all that fit:")
    console.print(_regrets(record["regret"]))


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
