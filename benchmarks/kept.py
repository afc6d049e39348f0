"""The kept rating tables and scores of runs of the recipe ``rank``, and the true accuracies they are compared with."""

import json
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.ranking_study import EVERY, RESULTS, VARIANTS
from distilnas import ranking
from distilnas.costing import cost_table
from distilnas.recipes.settings import SpaceSettings
from distilnas.recipes.spaces import named_space
from distilnas.space import Choice, SearchSpace, find_space
from distilnas.tables import RatingTable
from distilnas.tables.csv import read_ratings_csv

MACRO_BUDGETS = [40e6, 60e6, 80e6]


class Truth:
    """Networks of a space, their accuracies (percent) and MACs, in columns of these names."""

    def __init__(self, columns: ranking.Columns, *, space: str, accuracy: str, macs: str) -> None:
        self._named = {"space": space, "accuracy": accuracy, "macs": macs}
        self.columns, self.space = columns, find_space(space)
        self.names = list(columns.rows)
        self.accuracy = np.array(list(columns.numbers(accuracy).values()))
        self.macs = np.array(list(columns.numbers(macs).values()))

    def among(self, names: Collection[str]) -> "Truth":
        """The truth of these networks alone."""
        rows = {name: row for name, row in self.columns.rows.items() if name in names}
        return Truth(replace(self.columns, rows=rows), **self._named)

    @cached_property
    def baselines(self) -> dict[str, np.ndarray]:
        """Scores that need no training."""
        choices = list(ranking.NetworkNames(self.space).choices(self.names).values())
        costs = cost_table(self.space, resolution=32, num_classes=10)
        sizes = {name: ranking.cost_scores(self.space, costs, name, choices) for name in ("params", "macs")}
        return sizes | {"non-identity layers": ranking.depth_scores(self.space, choices)}


class Kept:
    """One seed of one run."""

    def __init__(self, folder: Path, truth: Truth) -> None:
        self.folder, self.truth = folder, truth
        self.record = json.loads((folder / "record.json").read_text())

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run's settings."""
        return yaml.safe_load((self.folder / "config.yaml").read_text())

    @cached_property
    def space(self) -> SearchSpace:
        """The space that was rated."""
        return named_space(SpaceSettings(**self.config["space"]))

    @cached_property
    def choices(self) -> list[Choice]:
        """The truth's networks in that space."""
        names = ranking.NetworkNames(self.space, self.truth.space)
        return list(names.choices(self.truth.names).values())

    def table(self, name: str) -> RatingTable:
        """A rating table by metric or name."""
        return read_ratings_csv(self.folder / f"{name}.csv", self.space)

    def scores(self, name: str) -> np.ndarray:
        """(n,) predictions, higher is better: the negative sum over blocks."""
        return self.summed(self.table(name))

    def summed(self, table: RatingTable) -> np.ndarray:
        return -ranking.rating_sums(table, self.choices)

    @cached_property
    def one_shot(self) -> dict[str, np.ndarray]:
        """Loss (negative) and accuracy of the one-shot supernet's networks; none when there was no such supernet."""
        found = self.columns("one-shot")
        return {"loss": -found["loss"], "accuracy": found["accuracy"]} if found else {}

    def columns(self, name: str) -> dict[str, np.ndarray]:
        """All columns of a table of scores, (n,) each in the truth's order; none when it was not kept."""
        path = self.folder / f"{name}.csv"
        if not path.exists():
            return {}
        columns = ranking.read_columns(path, plain="score")
        header = next(iter(columns.rows.values()))
        return {
            column: np.array([numbers[network] for network in self.truth.names])
            for column in header
            for numbers in [columns.numbers(column)]
        }


def kept_seeds(folder: Path, truth: Truth) -> list[Kept]:
    """The kept seeds of a run, none when it was not run."""
    return [Kept(seed, truth) for seed in sorted(folder.glob("seed-*"))]


def seeds_of(variant: str, truth: Truth) -> list[Kept]:
    """The kept seeds of a variant of the ranking study, none when it was not run."""
    return kept_seeds(RESULTS / variant, truth)


def spos_losses(truth: Truth) -> list[tuple[str, np.ndarray]]:
    """Every one-shot supernet's variant and (n,) scores by its loss."""
    named = [name for name in VARIANTS if name.startswith("spos")]
    return [(name, seed.one_shot["loss"]) for name in named for seed in seeds_of(name, truth)]


def tenth(truth: Truth) -> Truth:
    """Every tenth network, for scores that take long."""
    return truth.among(truth.names[:: EVERY["zero-cost"]])


def taus_of(scores: np.ndarray, truth: Truth) -> list[float]:
    """Kendall's tau over all, the better half and the top tenth, and Spearman's rho over all."""
    whole = ranking.correlate(scores, truth.accuracy)
    best = [ranking.among_best(scores, truth.accuracy, share).kendall_tau for share in (0.5, 0.1)]
    return [value or 0.0 for value in (whole.kendall_tau, *best, whole.spearman_rho)]


def shares_better(scores: np.ndarray, truth: Truth) -> list[float]:
    """Of the networks within each of ``MACRO_BUDGETS`` the share that is better than the one of the best score."""
    shares = []
    for budget in MACRO_BUDGETS:
        accuracy, within = truth.accuracy[truth.macs <= budget], scores[truth.macs <= budget]
        shares.append(float(np.mean(accuracy > accuracy[within.argmax()])))
    return shares
