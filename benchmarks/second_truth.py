"""The second and third ground truth and the winners of searches, as ``search_study`` and ``wide_study`` kept them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from benchmarks import wide_study
from benchmarks.kept import Kept, Truth, kept_seeds
from benchmarks.pages import markdown
from benchmarks.ranking_study import DEFAULT
from benchmarks.search_study import PAPER, RESULTS, TRUTHS
from distilnas import ranking
from distilnas.files import read_json


def second_table() -> str:
    """How every score orders the networks drawn from the second space, after short and after longer trainings."""
    return _scores_table(RESULTS, "small-images", TRUTHS)


def wide_table() -> str:
    """How every score orders the networks drawn from the space of wider differences."""
    return _scores_table(wide_study.RESULTS, wide_study.SPACE, {"truth": wide_study.EPOCHS})


def wide_leads() -> str:
    """The two ratings there against each other and against size, and what they say beyond size."""
    truth = _truth(wide_study.RESULTS / "truth.json", wide_study.SPACE)
    kept, macs = kept_seeds(wide_study.RESULTS / "rank", truth)[0], truth.baselines["macs"]
    paper, rows = kept.scores(PAPER), []
    for metric in (DEFAULT, PAPER):
        scores = kept.scores(metric)
        leads = ["" if metric == PAPER else _lead(scores, paper, truth), _lead(scores, macs, truth)]
        own, shared, size = (
            ranking.kendall(*pair) for pair in ((scores, truth.accuracy), (scores, macs), (macs, truth.accuracy))
        )
        partial = (own - shared * size) / np.sqrt((1 - shared**2) * (1 - size**2))
        both = ranking.kendall(rankdata(scores) + rankdata(macs), truth.accuracy)
        rows.append([metric, *leads, f"{partial:.3f}", f"{both:.3f}"])
    header = ["score", f"tau above {PAPER}'s", "above that of MACs", "partial tau given MACs", "sum of ranks with MACs"]
    return markdown(header, rows)


def _scores_table(results: Path, space: str, files: Mapping[str, int]) -> str:
    """``files``: epochs of training of the truths by their file's name."""
    truths = {epochs: _truth(results / f"{name}.json", space) for name, epochs in files.items()}
    shortest, *_ = truths.values()
    scores: dict[str, np.ndarray] = {}
    for kept in kept_seeds(results / "rank", shortest):
        scores |= {metric: kept.scores(metric) for metric in _rated(kept)}
        scores |= {f"SPOS: {what}": values for what, values in kept.one_shot.items()}
        scores |= kept.columns("zero-cost")
    scores |= shortest.baselines
    shown = {label: [cell for truth in truths.values() for cell in _tau(scores[label], truth)] for label in scores}
    header = ["score", *(f"{what}, {epochs} epochs" for epochs in truths for what in ("tau", "95 % interval", "rho"))]
    return markdown(header, [[label, *cells] for label, cells in shown.items()])


def winners_table() -> str:
    """Under each budget the network of every way of choosing, beside networks drawn at random."""
    rows = []
    for path in sorted(RESULTS.glob("winners-*.json")):
        budget = path.stem.split("-")[1]
        networks = sorted(read_json(path).values(), key=lambda row: -row["accuracy"])
        drawn = [row["accuracy"] for row in networks if row["name"].startswith("random")]
        mean, error = ranking.mean_stderr(drawn)
        for row in networks:
            lead = row["accuracy"] - mean
            ahead = ["", ""] if row["name"].startswith("random") else [f"{lead:+.2f}", f"{lead / error:+.1f}"]
            size = [f"{row['macs'] / 1e6:.2f}", f"{row['params'] / 1e3:.0f}"]
            rows.append([budget, row["name"], f"{row['accuracy']:.2f}", *ahead, *size])
        rows.append([budget, f"mean of {len(drawn)} random", f"{mean:.2f} ± {error:.2f}", "", "", "", ""])
    header = ["MACs at most", "chosen by", "test top-1, %", "above the mean", "in its standard errors"]
    return markdown([*header, "M MACs", "k parameters"], rows)


def _rated(kept: Kept) -> list[str]:
    """The metrics whose rating tables were kept."""
    return sorted(path.stem for path in kept.folder.glob("*.csv") if path.stem not in ("one-shot", "zero-cost"))


def _truth(path: Path, space: str) -> Truth:
    columns = ranking.read_columns(path, plain="accuracy")
    return Truth(columns, space=space, accuracy="accuracy", macs="macs")


def _tau(values: np.ndarray, truth: Truth) -> list[str]:
    """Kendall's tau, its interval, Spearman's rho."""
    found = ranking.correlate(values, truth.accuracy)
    low, high = ranking.intervals(values, truth.accuracy, seed=0)["kendall_tau"] or (np.nan, np.nan)
    return [f"{found.kendall_tau:.3f}", f"{low:.2f} to {high:.2f}", f"{found.spearman_rho:.3f}"]


def _lead(values: np.ndarray, other: np.ndarray, truth: Truth) -> str:
    """The difference of tau and its interval."""
    found = ranking.paired_bootstrap(values, other, truth.accuracy, seed=0)
    return f"{found.difference:+.3f} ({found.interval[0]:.2f} to {found.interval[1]:.2f})"
