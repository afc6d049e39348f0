"""Where the scores and costs of ``distilnas rank`` come from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distilnas.checksums import check_files, read_record
from distilnas.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from distilnas.ranking import Columns, FittedSum, NetworkNames
    from distilnas.space import Choice, SearchSpace
    from distilnas.tables import RatingTable

Baseline = Literal["macs", "params", "depth"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the scores come from, exactly one of four, and the space by which names are read.

    ``finer``: a table of the same layers in the finer blocks of ``finer_space``, to be added. ``fit``: a number or file
    of trained networks that weights of blocks are fitted to. ``out``: a file for the table that comes of either.
    """

    scores: Path | None
    ratings: Path | None
    baseline: Baseline | None
    run: Path | None
    space: str | None
    digits: str | None
    counting: dict[str, Any]
    finer: Path | None
    finer_space: str | None
    fit: str | None
    out: Path | None

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
        if (self.fit is not None or self.finer) and not (self.ratings or self.run):
            raise UsageError(f"--fit and --finer are for ratings of blocks: --ratings or --run, not {given[0]}.")
        if (self.finer is None) != (self.finer_space is None):
            raise UsageError("--finer TABLE and --finer-space SPACE belong together; give both.")
        if self.out and self.fit is None and not self.finer:
            raise UsageError("--out writes the ratings that --fit or --finer has changed; give one of them too.")
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

    def among(self, true: "Columns") -> "Known":
        """The same for part of the truth."""
        return replace(self, choices={name: self.choices[name] for name in true.rows})


def read_known(source: Source, true: "Columns") -> Known | None:
    """What the source's space says of the truth's networks; None without a space."""
    from distilnas.ranking import NetworkNames

    if source.run:
        _check_rated(source.run)
    text = str(source.run / "space" / "space.json") if source.run else source.space
    if text is None:
        return None
    space = _space(text)
    names = NetworkNames(space, _space(source.digits) if source.digits else None)
    return Known(space=space, names=names, choices=names.choices(true.rows))


def _check_rated(run: Path) -> None:
    if (run / "rate" / "ratings.npz").exists():
        for step in ("rate", "space", "cost"):
            check_files(run / step, read_record(run / step))
        return
    if not run.is_dir():
        raise UsageError(f"there is no run folder {run}.")
    if rounds := sorted(run.glob("round-*/rate/ratings.npz")):
        raise UsageError(f"{run} is a run of several rounds; give one of them, e.g. --run {rounds[0].parents[1]}.")
    tables = sorted(run.glob("ratings/*/ratings.npz")) + sorted(run.glob("seed-*/ratings/*/ratings.npz"))
    if tables:
        raise UsageError(
            f"{run} is a run of the recipe rank, of several rating tables; give one of them, e.g. --ratings "
            f"{tables[0]} --space {tables[0].parents[2] / 'space' / 'space.json'}."
        )
    raise UsageError(f"{run} has no ratings (rate/ratings.npz); let it run that far first.")


def _space(text: str) -> "SearchSpace":
    from distilnas.space import find_space

    return find_space(text)


def fit_blocks(
    source: Source, known: Known, true: "Columns", wanted: Sequence[str], seed: int
) -> tuple["FittedSum", "Columns"]:
    """The source's ratings with weights of blocks fitted to trained networks, and the truth of all others.

    The networks are drawn from the truth or those of a file; their accuracy is the first of the ``wanted`` columns.
    """
    from distilnas.ranking import draw_trained, fit_sum, left_out, read_columns

    assert source.fit is not None
    if re.fullmatch(r"-?\d{1,9}", source.fit):
        trained = draw_trained(true, int(source.fit), seed=seed)
    else:
        trained = _spelled(read_columns(Path(source.fit), plain=wanted[0]), known)
    others = left_out(true, trained)
    accuracy = trained.numbers(trained.pick(*wanted))
    return fit_sum(read_table(source, known), known.names.choices(accuracy), accuracy), others


def read_scores(source: Source, known: Known | None, fitted: "FittedSum | None") -> dict[str, float]:
    """Scores by the truth's names; those of a rating table or a baseline are summed through the space."""
    from distilnas.ranking import read_columns

    if source.scores:
        columns = _spelled(read_columns(source.scores, plain="score"), known)
        return columns.numbers(columns.pick("score"))
    assert known
    return dict(zip(known.choices, _summed(source, known, fitted).tolist(), strict=True))


def _summed(source: Source, known: Known, fitted: "FittedSum | None") -> "np.ndarray":
    from distilnas import ranking

    choices = list(known.choices.values())
    if not source.baseline:
        return ranking.rating_sums(fitted.table if fitted else read_table(source, known), choices)
    if source.baseline == "depth":
        return ranking.depth_scores(known.space, choices)
    from distilnas.costing import cost_table

    table = cost_table(known.space, **source.counting)
    return ranking.cost_scores(known.space, table, source.baseline, choices)


def read_table(source: Source, known: Known) -> "RatingTable":
    """The source's ratings, with those of the finer blocks added."""
    from distilnas.tables.csv import read_ratings
    from distilnas.tables.cuts import with_finer

    table = read_ratings(source.ratings or (source.run or Path()) / "rate" / "ratings.npz", known.space)
    if source.finer is None or source.finer_space is None:
        return table
    finer_space = _space(source.finer_space)
    return with_finer(table, known.space, read_ratings(source.finer, finer_space), finer_space)


def read_costs(
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
