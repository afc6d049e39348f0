"""The numbers and pictures of docs/results/ranking.md, from the tables in ``results/ranking`` alone.

    make ranking-page TRUTH=nas-bench-macro_cifar10.json

Nothing is trained: every correlation is computed anew from the rating tables and one-shot scores of the reported runs.
The page's prose is written by hand; what stands between ``<!-- NAME -->`` and ``<!-- end -->`` is replaced.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.kept import MACRO_BUDGETS, Kept, Truth, seeds_of, shares_better, spos_losses, taus_of, tenth
from benchmarks.pages import save
from benchmarks.ranking_study import METRICS, RATINGS, RESULTS, STITCHED, VARIANTS
from benchmarks.search_study import PAPER
from benchmarks.second_truth import (
    adapters_table,
    like_cost_table,
    pooled_table,
    second_table,
    wide_leads,
    wide_table,
    winners_table,
)
from benchmarks.targets import targets_table
from benchmarks.texts import DOCS, fill, markdown
from distilnas import ranking
from distilnas.tables import RatingTable
from distilnas.tables.combine import scaled, spread_weights

FITTED = ("main", "deep-25-epochs-6-blocks")
TRAINED = (10, 30, 100)
DRAWS = 20
CUTS = (
    ("teacher-deep-8-blocks",),
    ("deep-6-blocks",),
    ("deep-3-blocks",),
    ("teacher-deep-8-blocks", "deep-6-blocks"),
    ("teacher-deep-8-blocks", "deep-3-blocks"),
    ("teacher-deep-8-blocks", "deep-6-blocks", "deep-3-blocks"),
    ("main",),
    ("main", "deep-6-blocks"),
    ("teacher-deep-8-blocks", "main"),
    ("second-seed",),
    ("main", "second-seed"),
    ("teacher-deep-8-blocks", "second-seed"),
    ("teacher-deep-25-epochs-8-blocks",),
    ("deep-25-epochs-6-blocks",),
    ("teacher-deep-25-epochs-8-blocks", "deep-25-epochs-6-blocks"),
    ("deep-25-epochs-8-blocks-seed-1",),
    ("deep-25-epochs-6-blocks-seed-1",),
    ("deep-25-epochs-8-blocks-seed-1", "deep-25-epochs-6-blocks-seed-1"),
    ("main-again",),
    ("teacher-deep-25-epochs-8-blocks", "main-again"),
)
DISTINCT = (("main",), ("deep-25-epochs-6-blocks",), ("teacher-deep-25-epochs-8-blocks", "deep-25-epochs-6-blocks"))
LENGTHS = ("main", *(name for name in VARIANTS if name.startswith("epochs-")))


def has(kept: list[Kept], name: str) -> bool:
    """Whether all seeds have this rating."""
    return all((seed.folder / f"{name}.csv").exists() for seed in kept)


def row_of(label: str, many: list[np.ndarray], truth: Truth) -> list[str]:
    """Means over seeds."""
    values = np.mean([taus_of(scores, truth) for scores in many], axis=0)
    each = ", ".join(f"{taus_of(scores, truth)[0]:.3f}" for scores in many) if len(many) > 1 else ""
    return [label, *(f"{value:.3f}" for value in values), each]


TAUS = ["score", "tau", "tau, better half", "tau, top tenth", "rho", "tau of each seed"]


def metrics_table(truth: Truth) -> str:
    """All metrics on the same supernets, and the baselines."""
    main = seeds_of("main", truth)
    rows = [row_of(metric, [seed.scores(metric) for seed in main], truth) for metric in METRICS if has(main, metric)]
    for name, label in (("spos-shared", "SPOS, shared"), ("spos-cells", "SPOS, cells")):
        kept = seeds_of(name, truth)
        rows += [
            row_of(f"{label}: {what}", [seed.one_shot[what] for seed in kept], truth)
            for what in ("loss", "accuracy")
            if kept
        ]
    return markdown(TAUS, [*rows, *(row_of(name, [values], truth) for name, values in truth.baselines.items())])


def zero_cost_table(truth: Truth) -> str:
    """Scores of untrained networks on those that were scored, beside others on the same."""
    some = tenth(truth)
    scores = Kept(RESULTS / "zero-cost" / "seed-0", some).columns("zero-cost") | {
        name: many[0] for name, many in contenders(some).items()
    }
    return markdown(TAUS[:-1], [row_of(name, [values], some)[:-1] for name, values in scores.items()])


def spos_table(truth: Truth) -> str:
    """One-shot supernets of other settings and seeds, by their loss."""
    some = tenth(truth)
    return markdown(TAUS[:-1], [row_of(name, [values], some)[:-1] for name, values in spos_losses(some)])


def factors_table(truth: Truth) -> str:
    """One factor at a time, the paper's metric and the default."""
    rows = []
    for folder in sorted(RESULTS.iterdir()):
        kept = seeds_of(folder.name, truth)
        if kept and (kept[0].folder / f"{STITCHED}.csv").exists() and not folder.name.startswith("spos"):
            paper, default = (
                [np.mean(values) for values in zip(*(taus_of(k.scores(m), truth) for k in kept), strict=True)]
                for m in (PAPER, STITCHED)
            )
            seconds = np.mean([k.record["seconds"]["distill"] for k in kept])
            teacher = np.mean([k.record["teacher_top1"] for k in kept])
            rows.append(
                [
                    folder.name,
                    f"{teacher:.2f}",
                    *_distilled(kept[0].config["distill"]),
                    f"{seconds:.0f}",
                    f"{paper[0]:.3f}",
                ]
                + [f"{value:.3f}" for value in default[:3]]
            )
    return markdown(
        [
            "variant",
            "teacher's top-1",
            "adapters",
            "epochs",
            "learning rate",
            "seconds of distillation",
            PAPER,
            STITCHED,
            "its better half",
            "its top tenth",
        ],
        rows,
    )


def _distilled(settings: dict[str, Any]) -> list[str]:
    return [settings["adapters"], str(settings["epochs"]), f"{settings['optim']['lr']:g}"]


def cuts_table(truth: Truth) -> str:
    """Ratings by one cut of the layers into blocks, and plain sums of those by several cuts."""
    rows = []
    for metric in (STITCHED, PAPER):
        for variants in CUTS:
            kept = [seeds_of(variant, truth)[0] for variant in variants]
            label = " + ".join(map(_cut, kept))
            total = np.sum([one.scores(metric) for one in kept], axis=0)
            shares = ", ".join(f"{share:.1%}" for share in shares_better(total, truth))
            rows.append([metric, *row_of(label, [total], truth)[:-1], shares])
    return markdown(["rating", "blocks (teacher)", *TAUS[1:-1], "better under 40, 60, 80 M"], rows)


def bands_table(truth: Truth) -> str:
    """Among the networks that cost at most a budget and nine tenths of it at least, as a search compares them."""
    six = seeds_of("deep-25-epochs-6-blocks", truth)[0]
    scores = {metric: six.scores(metric) for metric in (STITCHED, PAPER)} | {
        f"{name}, loss": seeds_of(name, truth)[0].one_shot["loss"] for name in ("spos-shared", "spos-cells")
    }
    scores |= truth.baselines
    bands = [(truth.macs <= budget) & (truth.macs >= 0.9 * budget) for budget in MACRO_BUDGETS]
    rows = [
        [name, *(f"{ranking.kendall(values[band], truth.accuracy[band]):.3f}" for band in bands)]
        for name, values in scores.items()
    ]
    named = zip(MACRO_BUDGETS, bands, strict=True)
    return markdown(["score", *(f"{b / 1e6:.0f} M, {band.sum():,} networks" for b, band in named)], rows)


def distinct_table(truth: Truth) -> str:
    """The same where networks that stand in the table by several names count once, by their mean score.

    A layer that is left out behind the first of a width is nothing; the published table gives all names of a network
    one accuracy and one cost.
    """
    choices = ranking.NetworkNames(truth.space).choices(truth.names)
    layers = {name: truth.space.architecture(choice).acting_layers for name, choice in choices.items()}
    first = {found: name for name, found in reversed(layers.items())}
    once = truth.among(set(first.values()))
    place = {layers[name]: number for number, name in enumerate(once.names)}
    which = np.array([place[found] for found in layers.values()])
    shown = {" + ".join(variants): variants for variants in DISTINCT}
    scores = {
        label: np.sum([seeds_of(variant, truth)[0].scores(STITCHED) for variant in variants], axis=0)
        for label, variants in shown.items()
    }
    scores |= {name: values for name, values in truth.baselines.items() if name != "params"}
    rows = []
    for label, values in scores.items():
        mean = np.bincount(which, weights=values) / np.bincount(which)
        rows.append([label, *row_of(label, [values], truth)[1:4], *row_of(label, [mean], once)[1:4]])
    header = [
        "score",
        *(f"{tau}, {what}" for what in ("6,561 names", f"{len(once.names):,} networks") for tau in TAUS[1:4]),
    ]
    return markdown(header, rows)


def _cut(kept: Kept) -> str:
    seed = f", seed {kept.record['seed']}" if kept.record["seed"] else ""
    return f"{len(kept.space.body)} blocks ({kept.record['teacher_top1']:.2f} %{seed})"


def sums_table(truth: Truth) -> str:
    """How block ratings are brought together."""
    rules: dict[str, Callable[[Kept, RatingTable], np.ndarray]] = {
        "sum": lambda kept, table: kept.summed(table),
        "z: each block by its standard deviation": lambda kept, table: kept.summed(
            scaled(table, spread_weights(table))
        ),
        "product": lambda kept, table: -np.log(ranking.block_ratings(table, kept.choices)).sum(1),
    }
    main = seeds_of("main", truth)
    rows = [
        row_of(f"{metric}, {label}", [rule(seed, seed.table(metric)) for seed in main], truth)
        for metric in (PAPER, STITCHED)
        for label, rule in rules.items()
    ]
    return markdown(TAUS, rows)


def fitted_table(truth: Truth) -> str:
    """Plain and fitted sum of the first seed on the networks left out, over draws of those that are fitted to."""
    rows = []
    for run, metric, number in itertools.product(FITTED, (PAPER, STITCHED), TRAINED):
        kept = seeds_of(run, truth)[0]
        taus = np.array([_fitted_taus(kept, metric, number, draw) for draw in range(DRAWS)])
        plain, fitted, plain_half, fitted_half = taus.T
        cells = [run, metric, str(number), f"{plain.mean():.3f}", _with_error(fitted), f"{fitted.min():.3f}"]
        better = f"{np.sum(fitted > plain)} of {DRAWS}"
        rows.append([*cells, better, f"{plain_half.mean():.3f}", _with_error(fitted_half)])
    header = ["run", "rating", "trained networks", "tau, sum", "tau, fitted", "worst draw", "fitted is better in"]
    return markdown([*header, "better half, sum", "better half, fitted"], rows)


def _fitted_taus(kept: Kept, metric: str, number: int, draw: int) -> list[float]:
    """Over all networks left out, then over their better half: of the plain and of the fitted sum."""
    trained = ranking.draw_trained(kept.truth.columns, number, seed=draw)
    choices = dict(zip(kept.truth.names, kept.choices, strict=True))
    fitted = ranking.fit_sum(kept.table(metric), choices, trained.numbers("mean_acc"))
    accuracy = ranking.left_out(kept.truth.columns, trained).numbers("mean_acc")
    true = np.array(list(accuracy.values()))
    rated = ranking.block_ratings(fitted.ratings, [choices[name] for name in accuracy])
    scores = [-rated.sum(1), fitted.model.predict(rated)]
    whole = [ranking.kendall(values, true) for values in scores]
    return whole + [ranking.among_best(values, true, 0.5).kendall_tau or 0.0 for values in scores]


def _with_error(values: np.ndarray) -> str:
    mean, error = ranking.mean_stderr(values.tolist())
    return f"{mean:.3f} ± {error:.3f}"


def images_table(truth: Truth) -> str:
    """Rating images and batches, the statistics of batch norm being those of a batch."""
    main = seeds_of("main", truth)
    rate = main[0].config["rate"]
    label = f"{rate['images']:,} images, batches of {rate['batch_size']}"
    rows = [row_of(label, [seed.scores(STITCHED) for seed in main], truth)]
    for name, settings in RATINGS.items():
        if not has(main, name):
            continue
        label = f"{settings['images']:,} images, batches of {settings['batch_size']}"
        rows.append(row_of(label, [seed.scores(name) for seed in main], truth))
    return markdown(TAUS, rows)


def contenders(truth: Truth) -> dict[str, list[np.ndarray]]:
    """The scores that a reader wants side by side, seed by seed."""
    found = {metric: [seed.scores(metric) for seed in seeds_of("main", truth)] for metric in (STITCHED, PAPER)}
    for name in ("spos-shared", "spos-cells"):
        if kept := seeds_of(name, truth):
            found[f"{name}, loss"] = [seed.one_shot["loss"] for seed in kept]
    return found | {name: [values] for name, values in truth.baselines.items() if name != "params"}


def regret_table(truth: Truth) -> str:
    """What is picked under budgets: true accuracy, and the share of fitting networks that are better."""
    rows = []
    for label, many in contenders(truth).items():
        for number, scores in enumerate(many):
            cells = [f"{label}, seed {number}" if len(many) > 1 else label]
            for budget in (*MACRO_BUDGETS, np.inf):
                fits = truth.macs <= budget
                accuracy = truth.accuracy[fits]
                picked = accuracy[scores[fits] == scores[fits].max()]
                cells.append(f"{picked.mean():.2f} ({100 * np.mean(accuracy > picked.mean()):.1f} %)")
            rows.append(cells)
    best = [f"{truth.accuracy[truth.macs <= budget].max():.2f}" for budget in (*MACRO_BUDGETS, np.inf)]
    return markdown(["picked by", "40 M", "60 M", "80 M", "any"], [*rows, ["the truth", *best]])


def draw_scatter(truth: Truth, folder: Path) -> None:
    """Predicted against true, of the first seed."""
    shown = list(contenders(truth).items())[:4]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.1 * len(shown), 3), sharey=True)
    for axis, (label, many) in zip(np.atleast_1d(axes), shown, strict=True):
        place = np.random.default_rng(0).permutation(len(truth.names))[:1500]
        axis.scatter(many[0][place], truth.accuracy[place], s=2, alpha=0.4, linewidths=0, rasterized=True)
        axis.set_title(f"{label}\ntau {ranking.kendall(many[0], truth.accuracy):.3f}", fontsize=8)
        axis.set_xlabel("score, higher is better", fontsize=8)
    np.atleast_1d(axes)[0].set_ylabel("true accuracy, %", fontsize=8)
    save(figure, folder / "scatter.svg")


def draw_training(truth: Truth, folder: Path) -> None:
    """Tau over the length of distillation, each point a whole schedule."""
    runs = [kept[0] for name in LENGTHS if (kept := seeds_of(name, truth))]
    there = dict(sorted((run.config["distill"]["epochs"], run) for run in runs))
    if len(there) < 2:
        return
    figure, axis = plt.subplots(figsize=(4.6, 3))
    for metric in (STITCHED, PAPER):
        taus = [ranking.kendall(seed.scores(metric), truth.accuracy) for seed in there.values()]
        axis.plot(list(there), taus, marker="o", label=metric)
    for name in ("macs", "non-identity layers"):
        axis.axhline(ranking.kendall(truth.baselines[name], truth.accuracy), ls=":", lw=1, color="gray")
        axis.text(
            max(there),
            ranking.kendall(truth.baselines[name], truth.accuracy),
            name,
            fontsize=7,
            va="bottom",
            ha="right",
        )
    axis.set(xlabel="epochs of distillation", ylabel="Kendall tau over 6,561 networks")
    axis.legend(fontsize=8, frameon=False)
    save(figure, folder / "training.svg")


def draw_regret(truth: Truth, folder: Path) -> None:
    """True accuracy lost by the pick, over the budget, of the first seed."""
    budgets = np.linspace(25e6, 100e6, 76)
    figure, axis = plt.subplots(figsize=(5.6, 3))
    for label, many in contenders(truth).items():
        lost = []
        for budget in budgets:
            fits = truth.macs <= budget
            accuracy, scores = truth.accuracy[fits], many[0][fits]
            lost.append(accuracy.max() - accuracy[scores == scores.max()].mean())
        axis.step(budgets / 1e6, lost, where="post", label=label, lw=1.2)
    axis.set(xlabel="budget, M MACs", ylabel="regret, points")
    axis.legend(fontsize=7, frameon=False)
    save(figure, folder / "regret.svg")


def main() -> None:
    """Refresh tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path, help="the published table")
    columns = ranking.read_columns(parser.parse_args().truth, plain="mean_acc")
    truth = Truth(columns, space="nas-bench-macro", accuracy="mean_acc", macs="flops")
    tables = {
        "targets": targets_table,
        "metrics": metrics_table,
        "zero-cost": zero_cost_table,
        "spos": spos_table,
        "factors": factors_table,
        "cuts": cuts_table,
        "bands": bands_table,
        "distinct": distinct_table,
        "sums": sums_table,
        "fitted": fitted_table,
        "images": images_table,
        "regret": regret_table,
    }
    filled = {name: make(truth) for name, make in tables.items()}
    more = {"second": second_table(), "wide": wide_table(), "leads": wide_leads()}
    more |= {
        "like-cost": like_cost_table(),
        "pooled": pooled_table(),
        "adapters": adapters_table(),
        "winners": winners_table(),
    }
    fill(DOCS / "ranking.md", filled | more)
    for draw in (draw_scatter, draw_training, draw_regret):
        draw(truth, DOCS / "ranking")


if __name__ == "__main__":
    main()
