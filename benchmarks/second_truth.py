"""Further ground truths and the winners of searches, as ``search_study`` and ``wide_study`` kept them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks import wide_study
from benchmarks.kept import Kept, Truth, kept_seeds, taus_of
from benchmarks.ranking_study import STITCHED
from benchmarks.search_study import BUDGETS, PAPER, RESULTS, TRUTHS
from benchmarks.texts import markdown
from distilnas import ranking
from distilnas.files import read_json

WIDE = {"third truth": "truth", "fourth truth, of like cost": "like-cost"}


def second_table() -> str:
    """How every score orders the networks drawn from the second space, after short and after longer trainings."""
    return _scores_table(RESULTS, "small-images", TRUTHS)


def wide_table() -> str:
    """How every score orders the networks drawn from the space of wider differences."""
    return _scores_table(wide_study.RESULTS, wide_study.SPACE, {"truth": wide_study.EPOCHS})


def like_cost_table() -> str:
    """How every score orders networks of that space that cost nearly the same."""
    return _scores_table(wide_study.RESULTS, wide_study.SPACE, {"like-cost": wide_study.EPOCHS})


def further_truths() -> list[tuple[str, Truth, Kept]]:
    """The truths that nothing was chosen by, each with the ratings and baselines of its networks."""
    longest = list(TRUTHS)[-1]
    places = {f"second truth, {TRUTHS[longest]} epochs": (RESULTS, "small-images", longest)}
    places |= {name: (wide_study.RESULTS, wide_study.SPACE, file) for name, file in WIDE.items()}
    truths = {
        name: (results, _truth(results / f"{file}.json", space)) for name, (results, space, file) in places.items()
    }
    return [(name, truth, kept_seeds(results / "rank", truth)[0]) for name, (results, truth) in truths.items()]


def baselines_of(kept: Kept) -> dict[str, np.ndarray]:
    """All scores that need no rating: one-shot, zero-cost, size."""
    one_shot = {f"SPOS: {what}": values for what, values in kept.one_shot.items()}
    return one_shot | kept.columns("zero-cost") | kept.truth.baselines


def pooled_table() -> str:
    """The stitched rating against the paper's on every such truth, and in the mean."""
    sets, rows = [], []
    for name, truth, kept in further_truths():
        stitched, paper = kept.scores(STITCHED), kept.scores(PAPER)
        sets.append((stitched, paper, truth.accuracy))
        taus = [f"{ranking.kendall(scores, truth.accuracy):.3f}" for scores in (stitched, paper)]
        rows.append([name, *taus, _lead(stitched, paper, truth)])
    rows.append(["mean", "", "", _with_interval(ranking.pooled_bootstrap(sets, seed=0))])
    return markdown(["truth", f"tau of {STITCHED}", f"tau of {PAPER}", "lead (95 %)"], rows)


def adapters_table() -> str:
    """With an exit at every cell and without, where the widest cells have the teacher's widths."""
    rows = []
    for metric in (PAPER, STITCHED):
        sets = []
        for name, file in WIDE.items():
            truth = _truth(wide_study.RESULTS / f"{file}.json", wide_study.SPACE)
            folders = [wide_study.RESULTS / f"narrow-{adapters}" for adapters in wide_study.ADAPTERS]
            linear, project = (kept_seeds(folder, truth)[0].scores(metric) for folder in folders)
            sets.append((linear, project, truth.accuracy))
            taus = [f"{ranking.kendall(scores, truth.accuracy):.3f}" for scores in (linear, project)]
            rows.append([metric, name, *taus, _lead(linear, project, truth)])
        rows.append([metric, "mean", "", "", _with_interval(ranking.pooled_bootstrap(sets, seed=0))])
    return markdown(["rating", "truth", *wide_study.ADAPTERS, "lead (95 %)"], rows)


def wide_leads() -> str:
    """The two ratings there against each other and against size, and what they say beyond size."""
    truth = _truth(wide_study.RESULTS / "truth.json", wide_study.SPACE)
    kept, macs = kept_seeds(wide_study.RESULTS / "rank", truth)[0], truth.baselines["macs"]
    paper, rows = kept.scores(PAPER), []
    for metric in (STITCHED, PAPER):
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
        scores |= baselines_of(kept)
    shown = {label: [cell for truth in truths.values() for cell in _tau(scores[label], truth)] for label in scores}
    columns = ("tau", "95 % interval", "rho", "better half", "place of the pick")
    header = ["score", *(f"{what}, {epochs} epochs" for epochs in truths for what in columns)]
    return markdown(header, [[label, *cells] for label, cells in shown.items()])


def winners_table() -> str:
    """Under each budget the network of every way of choosing, beside networks drawn at random.

    The last column measures a lead by how far one more random network may lie from the mean of the others.
    """
    rows = []
    for budget in BUDGETS:
        networks, mean, error = winners(budget)
        number = sum(row["name"].startswith("random") for row in networks)
        for row in sorted(networks, key=lambda row: -np.mean(row["trainings"])):
            lead = float(np.mean(row["trainings"])) - mean
            ahead = [f"{lead:+.2f}", f"{lead / error:+.1f}", f"{lead / (error * np.sqrt(number + 1)):+.1f}"]
            ahead = [""] * 3 if row["name"].startswith("random") else ahead
            size = [f"{row['macs'] / 1e6:.2f}", f"{row['params'] / 1e3:.0f}"]
            rows.append([budget, row["name"], ", ".join(f"{top1:.2f}" for top1 in row["trainings"]), *size, *ahead])
        rows.append([budget, f"mean of {number} random", f"{mean:.2f} ± {error:.2f}", *[""] * 5])
    header = ["MACs at most", "chosen by", "test top-1, %, each training", "M MACs", "k parameters"]
    return markdown([*header, "above the random mean", "in its errors", "in the spread of one"], rows)


def winners(budget: str) -> tuple[list[dict[str, Any]], float, float]:
    """Networks under a budget with the test accuracies of their ``trainings``; mean and error of the random ones."""
    again = read_json(RESULTS / f"winners-{budget}-again.json")
    networks = [
        row | {"trainings": row["accuracies"] + again.get(text, {"accuracies": []})["accuracies"]}
        for text, row in read_json(RESULTS / f"winners-{budget}.json").items()
    ]
    return networks, *ranking.mean_stderr([row["accuracy"] for row in networks if row["name"].startswith("random")])


def _rated(kept: Kept) -> list[str]:
    """The metrics whose rating tables were kept."""
    return sorted(path.stem for path in kept.folder.glob("*.csv") if path.stem not in ("one-shot", "zero-cost"))


def _truth(path: Path, space: str) -> Truth:
    columns = ranking.read_columns(path, plain="accuracy")
    return Truth(columns, space=space, accuracy="accuracy", macs="macs")


def _tau(values: np.ndarray, truth: Truth) -> list[str]:
    """Kendall's tau, its interval, Spearman's rho, tau among the better half, and which place the best score has."""
    whole, half, _, rho = taus_of(values, truth)
    low, high = ranking.intervals(values, truth.accuracy, seed=0)["kendall_tau"] or (np.nan, np.nan)
    place = 1 + int(np.sum(truth.accuracy > truth.accuracy[values.argmax()]))
    return [f"{whole:.3f}", f"{low:.2f} to {high:.2f}", f"{rho:.3f}", f"{half:.3f}", str(place)]


def _lead(values: np.ndarray, other: np.ndarray, truth: Truth) -> str:
    """The difference of tau and its interval."""
    return _with_interval(ranking.paired_bootstrap(values, other, truth.accuracy, seed=0))


def _with_interval(found: ranking.TauDifference) -> str:
    return f"{found.difference:+.3f} ({found.interval[0]:.2f} to {found.interval[1]:.2f})"
