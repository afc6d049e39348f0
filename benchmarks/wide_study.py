"""Do the ratings hold where networks differ more? The space ``small-images-wide``, the recipe as it stands, CIFAR-10.

    python -m benchmarks.wide_study RUNS --images c10 --teacher teacher.safetensors

1. ``RUNS/truth``: 24 networks drawn from the space, trained equally.
2. ``RUNS/like-cost``: 24 further ones of nearly one cost, as a search under a budget compares them.
3. ``RUNS/rank``: ``rank-nas-bench-macro`` on that space, under the teacher of that recipe, and the one-shot supernet.
4. ``RUNS/narrow-linear``, ``RUNS/narrow-project``: under a teacher of half the widths, which the widest cells share, so
   that it matters whether cells of the teacher's width get an exit too.

What the page on the results needs is kept in ``results/wide``.
"""

import argparse
from pathlib import Path

from benchmarks.ranking_study import STITCHED, keep
from benchmarks.search_study import BASELINES, PAPER, distilnas, ranked_with, train
from distilnas.files import write_json

RESULTS = Path(__file__).parent / "results" / "wide"
SPACE = "small-images-wide"
ON_SPACE = (f"dna.space={{preset: {SPACE}, split: null, depths: shared}}", "digits=null", "budgets=[]")
EPOCHS = 8
ADAPTERS = ("linear", "project")
TRUTHS = {"truth": (), "like-cost": ("min_macs=5.4M", "max_macs=6M")}


def main() -> None:
    """All parts, continuing where RUNS stands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--teacher", type=Path, required=True, help="teacher.safetensors of rank-nas-bench-macro")
    asked = parser.parse_args()
    training = (f"data.path={asked.images}", f"space.preset={SPACE}", f"retrain.epochs={EPOCHS}")
    networks = {}
    for name, limits in TRUTHS.items():
        networks |= train(asked.runs / name, RESULTS, *training, *limits)
    write_json(asked.runs / "networks.json", networks)
    ranked = asked.runs / "rank"
    given = (*ON_SPACE, *ranked_with(asked.images, asked.teacher, asked.runs / "networks.json"), *BASELINES)
    distilnas("run", "rank-nas-bench-macro", "--run", str(ranked), *given)
    keep(ranked, RESULTS)
    for adapters in ADAPTERS:
        narrow = asked.runs / f"narrow-{adapters}"
        own = asked.runs / f"narrow-{ADAPTERS[0]}" / "seed-0" / "teacher" / "teacher.safetensors"
        given = (
            f"dna.data.path={asked.images}",
            f"truth={asked.runs / 'networks.json'}",
            "dna.teacher.model_kwargs={widths: [32, 64, 128], depths: [2, 2, 2], linear_ends: true}",
            f"dna.distill.adapters={adapters}",
            f"metrics=[{PAPER},{STITCHED}]",
            *(() if adapters == ADAPTERS[0] else (f"dna.teacher.weights={own}", "dna.teacher.fit=null")),
        )
        distilnas("run", "rank-small-images", "--run", str(narrow), *ON_SPACE, *given)
        keep(narrow, RESULTS)


if __name__ == "__main__":
    main()
