"""The second ground truth and the test of a search, from what ``search_study`` kept in ``results/search``."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept, Truth, kept_seeds
from benchmarks.pages import markdown
from distilnas import ranking
from distilnas.files import read_json

RESULTS = Path(__file__).parent / "results" / "search"
RUNS = {"rank": "linear exits", "rank-project": "projections"}


def second_table() -> str:
    """How every score orders the networks drawn from the second space."""
    truth = Truth(RESULTS / "truth.json", space="small-images", accuracy="accuracy", macs="macs")
    scores: dict[str, np.ndarray] = {}
    for run, label in RUNS.items():
        for kept in kept_seeds(RESULTS / run, truth):
            scores |= {f"{metric}, {label}": kept.scores(metric) for metric in _rated(kept)}
            if kept.columns("one-shot"):
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


def winners_table() -> str:
    """Networks chosen under budgets and random ones, trained equally."""
    rows = []
    for path in sorted(RESULTS.glob("winners-*.json")):
        trained = list(read_json(path).values())
        random = [network for network in trained if network["name"].startswith("random-")]
        for network in (network for network in trained if network not in random):
            rows.append([_budget(path), network["name"], f"{network['macs'] / 1e6:.1f}", _accuracy(network)])
        mean, error = ranking.mean_stderr([network["accuracy"] for network in random])
        macs = np.mean([network["macs"] for network in random])
        label = f"{len(random)} random networks"
        rows.append([_budget(path), label, f"{macs / 1e6:.1f}", f"{mean:.2f} ± {error:.2f} ({_spread(random)})"])
    return markdown(["budget", "chosen by", "M MACs", "test top-1, %"], rows)


def _budget(path: Path) -> str:
    return path.stem.removeprefix("winners-")


def _accuracy(network: dict[str, Any]) -> str:
    error = network["stderr"]
    return f"{network['accuracy']:.2f}" + ("" if error is None else f" ± {error:.2f}")


def _spread(networks: list[dict[str, Any]]) -> str:
    return ", ".join(f"{network['accuracy']:.2f}" for network in networks)
