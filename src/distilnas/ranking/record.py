"""The ranking report as one record of JSON values."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from distilnas.ranking.budgets import CostBudget, Pick, pick
from distilnas.ranking.comparison import Comparison
from distilnas.ranking.correlation import CONFIDENCE, among_best, correlate, default_resamples, intervals, top_overlap

SCHEMA = 1
HALF, TENTH = 0.5, 0.1
_TOP = 10
_TOP_SHARES = (0.01, 0.1)


def picks_of(comparison: Comparison, budgets: Sequence[CostBudget]) -> list[Pick]:
    """The choice by score under each budget, then without one."""
    return [*(pick(comparison, budget) for budget in budgets), pick(comparison)]


def rank_record(comparison: Comparison, picks: Sequence[Pick], *, seed: int) -> dict[str, Any]:
    """Correlations over all networks with 95 % intervals, over the truly best half and tenth, overlap of the best k
    (10, 1 % and 10 % of the networks), and regret; positive correlations agree with the truth."""
    scores, truth = comparison.scores, comparison.truth
    return {
        "schema": SCHEMA,
        **asdict(correlate(scores, truth)),
        "intervals": intervals(scores, truth, seed=seed),
        "confidence": CONFIDENCE,
        "resamples": default_resamples(len(truth)),
        "seed": seed,
        "better_half": asdict(among_best(scores, truth, HALF)),
        "top_tenth": asdict(among_best(scores, truth, TENTH)),
        "top": [{"k": k, "overlap": top_overlap(scores, truth, k)} for k in _tops(len(truth))],
        "regret": [_pick_dict(found) for found in picks],
    }


def _tops(n: int) -> list[int]:
    return sorted(k for k in {_TOP, *(math.ceil(n * share) for share in _TOP_SHARES)} if k < n)


def _pick_dict(found: Pick) -> dict[str, Any]:
    return {
        "cost": found.budget.cost if found.budget else None,
        "max": found.budget.limit if found.budget else None,
        "num_fitting": found.num_fitting,
        "picked": found.picked[0],
        "num_tied": len(found.picked),
        "accuracy": found.accuracy,
        "best": found.best,
        "best_accuracy": found.best_accuracy,
        "regret": found.regret,
        "percentile": found.percentile,
        "median": found.median,
    }
