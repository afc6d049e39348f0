"""The second ground truth and the winners of searches in its space, as ``search_study`` kept them in ``results``."""

from pathlib import Path

import numpy as np

from benchmarks.kept import Kept, Truth, kept_seeds
from benchmarks.pages import markdown
from distilnas import ranking
from distilnas.files import read_json

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


def winners_table() -> str:
    """Under each budget the network of every way of choosing, beside networks drawn at random."""
    rows = []
    for path in sorted(RESULTS.glob("winners-*.json")):
        networks = sorted(read_json(path).values(), key=lambda row: -row["accuracy"])
        drawn = [row["accuracy"] for row in networks if row["name"].startswith("random")]
        mean, error = ranking.mean_stderr(drawn)
        for row in networks:
            lead = "" if row["name"].startswith("random") else f"{row['accuracy'] - mean:+.2f}"
            size = [f"{row['macs'] / 1e6:.2f}", f"{row['params'] / 1e3:.0f}"]
            rows.append([path.stem.split("-")[1], row["name"], f"{row['accuracy']:.2f}", lead, *size])
        rows.append([path.stem.split("-")[1], f"mean of {len(drawn)} random", f"{mean:.2f} ± {error:.2f}", "", "", ""])
    return markdown(["MACs at most", "chosen by", "test top-1, %", "above the mean", "M MACs", "k parameters"], rows)


def _rated(kept: Kept) -> list[str]:
    """The metrics whose rating tables were kept."""
    return sorted(path.stem for path in kept.folder.glob("*.csv") if path.stem not in ("one-shot", "zero-cost"))


def _row(label: str, values: np.ndarray, truth: Truth) -> list[str]:
    found = ranking.correlate(values, truth.accuracy)
    low, high = ranking.intervals(values, truth.accuracy, seed=0)["kendall_tau"] or (np.nan, np.nan)
    return [label, f"{found.kendall_tau:.3f}", f"{low:.2f} to {high:.2f}", f"{found.spearman_rho:.3f}"]
