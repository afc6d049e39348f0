"""What was asked of the ratings beside what was measured: the head of the page on the results."""

import numpy as np

from benchmarks.kept import Truth, seeds_of, shares_better, spos_losses, taus_of, tenth
from benchmarks.ranking_study import STITCHED
from benchmarks.search_study import BUDGETS, PAPER
from benchmarks.second_truth import baselines_of, further_truths, winners
from benchmarks.texts import markdown
from distilnas import ranking

SIX = ("deep-25-epochs-6-blocks", "deep-25-epochs-6-blocks-seed-1")
EIGHT = ("teacher-deep-25-epochs-8-blocks", "deep-25-epochs-8-blocks-seed-1")


def targets_table(truth: Truth) -> str:
    """On the published table, two seeds under the recipe's teacher; then on the other truths and in the searches."""
    header = ["", "asked", f"{STITCHED}, one cut", "the same, two cuts", f"{PAPER}, one cut"]
    return markdown(header, [*_published(truth), *_further(), *_searches()])


def _published(truth: Truth) -> list[list[str]]:
    six, eight, paper = (
        [seeds_of(name, truth)[0].scores(metric) for name in names]
        for names, metric in ((SIX, STITCHED), (EIGHT, STITCHED), (SIX, PAPER))
    )
    ways = [six, [a + b for a, b in zip(six, eight, strict=True)], paper]
    taus = [np.mean([taus_of(scores, truth) for scores in seeds], axis=0) for seeds in ways]
    rows = [
        [f"tau, {what}", f"{least:.2f}", *(f"{tau[place]:.3f}" for tau in taus)]
        for place, (what, least) in enumerate((("all networks", 0.8), ("better half", 0.65), ("top tenth", 0.4)))
    ]
    some = tenth(truth)
    wanted = set(some.names)
    among = [place for place, name in enumerate(truth.names) if name in wanted]
    on_some = [np.mean([ranking.kendall(scores[among], some.accuracy) for scores in seeds]) for seeds in ways]
    spos = max(ranking.kendall(scores, some.accuracy) for _, scores in spos_losses(some))
    layers = ranking.kendall(truth.baselines["non-identity layers"], truth.accuracy)
    shares = [[_percent(shares_better(scores, truth)) for scores in seeds] for seeds in ways]
    return [
        *rows,
        ["tau above the best SPOS's, a tenth of the networks", "0.05", *(f"{tau - spos:.3f}" for tau in on_some)],
        ["tau above the number of layers'", "0.10", *(f"{tau[0] - layers:.3f}" for tau in taus)],
        ["% better than the pick under 40, 60, 80 M, each seed", "1", *("; ".join(each) for each in shares)],
    ]


def _further() -> list[list[str]]:
    rows = []
    for name, truth, kept in further_truths():
        taus = [ranking.kendall(kept.scores(metric), truth.accuracy) for metric in (STITCHED, PAPER)]
        baselines = {label: ranking.kendall(scores, truth.accuracy) for label, scores in baselines_of(kept).items()}
        best = max(baselines, key=lambda label: baselines[label])
        rows.append([f"tau, {name}", "0.65", *_apart([f"{tau:.3f}" for tau in taus])])
        leads = [f"{tau - baselines[best]:.3f}" for tau in taus]
        rows.append([f"tau above the best baseline's there ({best})", "0", *_apart(leads)])
    return rows


def _searches() -> list[list[str]]:
    rows = []
    for budget in BUDGETS:
        networks, mean, error = winners(budget)
        top1 = {name: float(np.mean(row["trainings"])) for row in networks for name in row["name"].split(" = ")}
        found = [top1[metric] for metric in (STITCHED, PAPER)]
        above = [f"{(value - mean) / error:.1f}" for value in found]
        rows.append([f"winner under {budget} above random networks, standard errors", "2", *_apart(above)])
        rows.append(["the same above SPOS's winner, points", "0", *_apart([f"{x - top1['spos']:.2f}" for x in found])])
    return rows


def _apart(cells: list[str]) -> list[str]:
    """No second cut of the layers there."""
    return [cells[0], "", cells[1]]


def _percent(shares: list[float]) -> str:
    return ", ".join(f"{100 * share:.1f}" for share in shares)
