"""Scores and true accuracies of the same networks, brought together from two files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from distilnas.errors import UsageError
from distilnas.ranking.columns import Columns

ACCURACY = ("accuracy", "mean_acc")
MIN_NETWORKS = 3
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """``scores`` (n,), higher is better, and ``truth`` (n,), true accuracies, of the networks ``names``.

    ``costs[cost]`` (n,) are the networks' costs, as far as known. Raises ``UsageError`` for fewer than three networks,
    numbers that are not finite, and for scores or truth that are all equal: no order, no correlation.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    truth: np.ndarray
    costs: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.names) < MIN_NETWORKS:
            raise UsageError(f"a ranking needs at least {MIN_NETWORKS} networks, got {len(self.names)}.")
        for what, values in (("scores", self.scores), ("true accuracies", self.truth)):
            assert values.shape == (len(self.names),)
            if not np.isfinite(values).all():
                bad = self.names[int(np.argmin(np.isfinite(values)))]
                raise UsageError(f"the {what} must be finite; that of {bad!r} and maybe others are not.")
            if np.ptp(values) == 0:
                raise UsageError(
                    f"all {len(values)} {what} are equal: without differences there is no order, and Kendall's tau is "
                    "not defined. Give numbers that differ."
                )


def compare(
    scores: Mapping[str, float],
    truth: Mapping[str, float],
    costs: Mapping[str, Mapping[str, float]] | None = None,
    *,
    lower_is_better: bool = False,
    common: bool = False,
) -> Comparison:
    """Bring together what is known of each network, in the truth's order.

    Scores where lower is better change their sign. Raises ``UsageError`` when scores and truth are about different
    networks, unless ``common`` asks for those in both; every compared network needs its ``costs``, other ones may be
    there too.
    """
    if not common:
        _check_same(scores, truth)
    names = tuple(name for name in truth if name in scores)
    for cost, values in (costs or {}).items():
        if missing := [name for name in names if name not in values]:
            raise UsageError(f"{_some(missing)} have no {cost}; give the costs of all networks.")
    sign = -1.0 if lower_is_better else 1.0
    return Comparison(
        names=names,
        scores=sign * _array(names, scores),
        truth=_array(names, truth),
        costs={cost: _array(names, values) for cost, values in (costs or {}).items()},
    )


def cost_numbers(columns: Columns, wanted: Iterable[str]) -> dict[str, dict[str, float]]:
    """The ``wanted`` columns of a file as costs; papers call MACs FLOPs, so ``flops`` stands in for ``macs``."""
    return {cost: columns.numbers(_cost_column(columns, cost)) for cost in wanted}


def _cost_column(columns: Columns, cost: str) -> str:
    for column in (cost, "flops") if cost == "macs" else (cost,):
        if column in columns.columns:
            return column
    raise UsageError(
        f"a budget of {cost} needs the {cost} of every network, but {columns.source} has only the columns "
        f"{', '.join(columns.columns) or 'of names'}; give them with --costs FILE."
    )


def _array(names: tuple[str, ...], values: Mapping[str, float]) -> np.ndarray:
    return np.array([values[name] for name in names], dtype=np.float64)


def _check_same(scores: Mapping[str, float], truth: Mapping[str, float]) -> None:
    no_truth = [name for name in scores if name not in truth]
    no_score = [name for name in truth if name not in scores]
    if no_truth or no_score:
        parts = [
            f"{_some(names)} have no {what}" for names, what in ((no_truth, "truth"), (no_score, "score")) if names
        ]
        raise UsageError(
            f"scores and truth must be about the same networks: {'; '.join(parts)}. Give --common to compare the "
            f"{len(scores) - len(no_truth)} in both."
        )


def _some(names: list[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{more})"
