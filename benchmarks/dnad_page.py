"""The numbers and pictures of docs/results/dnad.md, from ``results/dnad`` alone: ``make dnad-page``.

The page's prose is written by hand; what stands between ``<!-- NAME -->`` and ``<!-- end -->`` is replaced.
"""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.dnad_study import RESULTS
from benchmarks.pages import save
from benchmarks.texts import DOCS, fill, markdown

NAMES = {
    "dnad": "DNAD",
    "snps": "SNPS",
    "darts": "DARTS, first order",
    "random": "random in their space",
    "dna": "DNA",
    "random-dna": "random in DNA's space",
}


def searches_table(kept: list[dict[str, Any]]) -> str:
    """What each search took and left."""
    rows = []
    for study in kept:
        for method, seconds in study["seconds"].items():
            found = study["found"].get(method, [])
            front, sizes = [n for n in found if n["front"]], [n["macs"] / 1e6 for n in found]
            left = [str(len(found)), str(len(front)), f"{min(sizes):.2f} to {max(sizes):.2f}"] if found else [""] * 3
            rows.append([str(study["seed"]), NAMES[method], f"{seconds:,.0f}", *left])
    return markdown(["seed", "method", "seconds", "networks", "on the front", "M MACs"], rows)


def trained_table(kept: list[dict[str, Any]]) -> str:
    """Test accuracy of the networks, all trained in the same way; random ones as mean and range."""
    rows = []
    for study in kept:
        for budget, amount in study["budgets"].items():
            within = [row for row in study["trained"] if row["budget"] == budget]
            for method in NAMES:
                many = [row for row in within if _kind(row) == method]
                if many:
                    rows.append([str(study["seed"]), f"{budget}, {amount / 1e6:.2f}", NAMES[method], *_columns(many)])
    return markdown(["seed", "budget, M MACs", "method", "M MACs", "parameters", "test top-1"], rows)


def _kind(row: dict[str, Any]) -> str:
    """The method without the number of a random network."""
    return re.sub(r"-\d+$", "", row["method"])


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    macs, params, top1 = (np.array([row[key] for row in rows]) for key in ("macs", "params", "top1"))
    if len(rows) == 1:
        return [f"{macs[0] / 1e6:.2f}", f"{params[0]:,}", f"{top1[0]:.2f}"]
    spread = f"{top1.mean():.2f} ({top1.min():.2f} to {top1.max():.2f}, {len(rows)} networks)"
    return [f"{macs.mean() / 1e6:.2f}", f"{params.mean():,.0f}", spread]


def draw_fronts(study: dict[str, Any], path: Path) -> None:
    """Left what the searches know: held-out accuracy over multiply-adds; right the test accuracy after training."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3), width_ratios=(3, 2))
    for method, found in study["found"].items():
        (line,) = left.plot([], [], label=NAMES[method])
        for on, size in ((False, 6), (True, 22)):
            points = [(n["macs"] / 1e6, n["accuracy"]) for n in found if n["front"] == on]
            if points:
                left.scatter(*zip(*points, strict=True), s=size, color=line.get_color())
    for method in NAMES:
        rows = [row for row in study["trained"] if _kind(row) == method]
        right.scatter([row["macs"] / 1e6 for row in rows], [row["top1"] for row in rows], s=18, label=NAMES[method])
    left.set(xlabel="M MACs", ylabel="held-out accuracy of the supernet, %")
    right.set(xlabel="M MACs", ylabel="test top-1, %")
    for axis in (left, right):
        axis.legend(fontsize=7, frameon=False)
    save(figure, path)


def draw_shrinking(study: dict[str, Any], path: Path) -> None:
    """Ops alive, S and gamma over the epochs of DNAD and SNPS."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.6))
    for method in ("dnad", "snps"):
        epochs = study["history"][method]["epochs"]
        for axis, key in zip(axes, ("ops", "sparsity", "gamma"), strict=True):
            axis.plot([e["epoch"] + 1 for e in epochs], [e[key] for e in epochs], label=NAMES[method])
            axis.set(xlabel="epoch", title={"ops": "ops alive", "sparsity": "S", "gamma": "gamma"}[key])
    axes[2].set_yscale("log")
    axes[0].legend(fontsize=7, frameon=False)
    save(figure, path)


def main() -> None:
    """Refresh tables and pictures."""
    kept = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("seed-*.json"))]
    fill(DOCS / "dnad.md", {"searches": searches_table(kept), "trained": trained_table(kept)})
    draw_fronts(kept[0], DOCS / "dnad" / "fronts.svg")
    draw_shrinking(kept[0], DOCS / "dnad" / "shrinking.svg")


if __name__ == "__main__":
    main()
