"""The second ground truth, from what ``search_study`` kept in ``results/search``."""

from pathlib import Path

import numpy as np

from benchmarks.kept import Kept, Truth, kept_seeds
from benchmarks.pages import markdown
from distilnas import ranking

RESULTS = Path(__file__).parent / "results" / "search"


def second_table() -> str:
    """How every score orders the networks drawn from the second space."""
    truth = Truth(RESULTS / "truth.json", space="small-images", accuracy="accuracy", macs="macs")
    scores: dict[str, np.ndarray] = {}
    for kept in kept_seeds(RESULTS / "rank", truth):
        scores |= {metric: kept.scores(metric) for metric in _rated(kept)}
        scores |= {f"SPOS: {what}": values for what, values in kept.one_shot.items()}
        scores |= kept.columns("zero-cost")
    scores |= truth.baselines
    return markdown(["score", "tau", "95 % interval", "rho"], [_row(*item, truth) for item in scores.items()])


def _rated(kept: Kept) -> list[str]:
    """The metrics whose rating tables were kept."""
    return sorted(path.stem for path in kept.folder.glob("*.csv") if path.stem not in ("one-shot", "zero-cost"))


def _row(label: str, values: np.ndarray, truth: Truth) -> list[str]:
    found = ranking.correlate(values, truth.accuracy)
    low, high = ranking.intervals(values, truth.accuracy, seed=0)["kendall_tau"] or (np.nan, np.nan)
    return [label, f"{found.kendall_tau:.3f}", f"{low:.2f} to {high:.2f}", f"{found.spearman_rho:.3f}"]
