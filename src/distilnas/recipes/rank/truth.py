"""The true accuracies of a comparison, read as its settings say, and how scores rank them."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distilnas import ranking
from distilnas.ranking.plot import write_scatter
from distilnas.recipes.rank.settings import RankSettings
from distilnas.space import Choice, SearchSpace, find_space
from distilnas.tables import RatingTable


class Truth:
    """The file of true accuracies; ``seed`` is that of intervals and of the networks that are fitted to."""

    def __init__(self, asked: RankSettings, seed: int) -> None:
        self._asked, self._seed = asked, seed
        self._wanted = (asked.field,) if asked.field else ranking.ACCURACY
        self._budgets = [ranking.parse_budget(text) for text in asked.budgets]

    @cached_property
    def columns(self) -> ranking.Columns:
        """What the file holds."""
        return ranking.read_columns(Path(self._asked.truth), plain=self._wanted[0])

    @cached_property
    def key(self) -> dict[str, Any]:
        """What scores of its networks depend on."""
        digest = hashlib.sha256(Path(self._asked.truth).read_bytes()).hexdigest()[:16]
        return {"truth": digest, "field": self._asked.field, "digits": self._asked.digits}

    def check(self, space: SearchSpace) -> None:
        """Raise ``UsageError`` for what does not fit together, before anything is trained."""
        self._accuracies(self.columns)
        self._costs(self.columns)
        self.choices(space)
        if self._asked.fit is not None:
            _ = self._fit_split

    def choices(self, space: SearchSpace) -> dict[str, Choice]:
        """The networks as choices of ``space``."""
        digits = find_space(self._asked.digits) if self._asked.digits else None
        return ranking.NetworkNames(space, digits).choices(self.columns.rows)

    def rank(self, scores: Mapping[str, np.ndarray], folder: Path | None = None) -> dict[str, dict[str, Any]]:
        """How each of ``scores``, (n,), higher is better and in the file's order, ranks all networks.

        Plots go to ``folder``. A score that is the same for all networks orders none and is left out.
        """
        ordering = {name: values for name, values in scores.items() if np.ptp(values) > 0}
        return {name: self._rank(name, values, self.columns, folder) for name, values in ordering.items()}

    def fit(self, ratings: RatingTable, choices: Mapping[str, Choice]) -> ranking.FittedSum:
        """Ratings with their blocks weighted as fits ``fit`` networks; raises ``UsageError`` where nothing fits."""
        trained, _ = self._fit_split
        return ranking.fit_sum(ratings, choices, self._accuracies(trained))

    def rank_fitted(
        self, name: str, fitted: ranking.FittedSum, choices: Mapping[str, Choice], folder: Path
    ) -> dict[str, Any]:
        """How a fitted sum ranks all networks but those that it was fitted to."""
        _, others = self._fit_split
        left_out = [choices[network] for network in others.rows]
        record = self._rank(f"{name}_fitted", -ranking.rating_sums(fitted.table, left_out), others, folder)
        true = np.array(list(self._accuracies(others).values()))
        return record | {"fit": fitted.record(left_out, true)}

    @cached_property
    def _fit_split(self) -> tuple[ranking.Columns, ranking.Columns]:
        """The networks to fit to, and all others."""
        assert self._asked.fit is not None
        trained = ranking.draw_trained(self.columns, self._asked.fit, seed=self._seed)
        return trained, ranking.left_out(self.columns, trained)

    def _rank(self, name: str, scores: np.ndarray, columns: ranking.Columns, folder: Path | None) -> dict[str, Any]:
        by_name = dict(zip(columns.rows, scores.tolist(), strict=True))
        comparison = ranking.compare(by_name, self._accuracies(columns), self._costs(columns))
        picks = ranking.picks_of(comparison, self._budgets)
        if folder is not None:
            write_scatter(folder / f"{name}.html", comparison, picks, title=f"{name}, seed {self._seed}")
        return ranking.rank_record(comparison, picks, seed=self._seed)

    def _accuracies(self, columns: ranking.Columns) -> dict[str, float]:
        return columns.numbers(columns.pick(*self._wanted))

    def _costs(self, columns: ranking.Columns) -> dict[str, dict[str, float]]:
        return ranking.cost_numbers(columns, {budget.cost for budget in self._budgets})
