"""What makes ratings true: the recipe ``rank-nas-bench-macro`` with one factor changed at a time.

    python -m benchmarks.ranking_study RUNS --images c10 --truth nas-bench-macro_cifar10.json [--only main spos-shared]

``main`` trains a smaller teacher than the recipe's; every other variant but ``teacher-*`` is taught by the teacher of
its first seed, or by the one that ``TAUGHT_BY`` names. Runs are resumable and lie in RUNS/VARIANT; of each what the
page on the results is made from is kept in ``results/ranking``: correlations, seconds, and the rating tables and scores
themselves, so that they can be recomputed without training.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "ranking"
METRICS = [
    "relative_l1",
    "relative_mse",
    "channel_mse",
    "cosine",
    "stitched_kl",
    "stitched_sqrt_kl",
    "stitched_logit_mse",
    "stitched_sqrt_logit_mse",
    "stitched_ce",
]
STITCHED = "stitched_sqrt_logit_mse"
RATINGS = {
    "images_250": {"metric": STITCHED, "images": 250, "batch_size": 125},
    "images_500": {"metric": STITCHED, "images": 500, "batch_size": 250},
    "batch_50": {"metric": STITCHED, "images": 1000, "batch_size": 50},
    "batch_500": {"metric": STITCHED, "images": 1000, "batch_size": 500},
}
SMALL = (
    "dna.teacher.model_kwargs={widths: [64, 128, 256], depths: [2, 2, 2], linear_ends: true}",
    "dna.teacher.partition=[stages.0.0,stages.0.1,stages.1.0,stages.1.1,stages.2.0,stages.2.1]",
    "dna.teacher.fit.epochs=10",
)
THREE = "dna.teacher.partition=[stages.0.1,stages.1.1,stages.2.1]"
FOUR = "dna.teacher.partition=[stages.0.1,stages.1.1,stages.2.0,stages.2.1]"
DEEP = ("dna.teacher.fit.epochs=15",)
EIGHT = (
    "dna.teacher.partition=[stages.0.0,stages.0.1,stages.1.0,stages.1.1,stages.1.2,stages.2.0,stages.2.1,stages.2.2]",
    "dna.space.split=[1,1,1,1,1,1,1,1]",
)
STAGES = "dna.teacher.partition=[stages.0.1,stages.1.2,stages.2.2]"
SHARED = "dna.space.depths=shared"
ONE_SHOT = (THREE, "dna.space.split=null", SHARED, "dna.distill.epochs=0")
SPOS = (
    "one_shot.epochs=5",
    "one_shot.batch_size=125",
    "one_shot.optim={optimizer: sgd, lr: 0.1, momentum: 0.9, weight_decay: 0.0005, warmup: 0.2, min_lr_ratio: 0.0, "
    "schedule: cosine, lr_base_size: null}",
    "one_shot.augment={crop: padded, padding: 4, hflip: 0.5}",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "main": (),
    "second-seed": ("seeds=[1]",),  # of all but the teacher
    "blocks-3": (THREE, "dna.space.split=null"),
    "blocks-3-shared": (THREE, "dna.space.split=null", SHARED),
    "blocks-4": (FOUR, "dna.space.split=[2,3,1,2]"),
    "blocks-6-shared": (SHARED,),
    "epochs-1": ("dna.distill.epochs=1",),
    "epochs-4": ("dna.distill.epochs=4",),
    "sampling-fair": ("dna.distill.sampling=fair",),
    "loss-l1": ("dna.distill.loss=relative_l1",),
    "loss-cosine": ("dna.distill.loss=cosine",),
    "adapters-project": ("dna.distill.adapters=project",),
    "cells-all": ("dna.distill.cells_per_step=null",),
    "teacher-muon": (
        "dna.teacher.fit.epochs=8",
        "dna.teacher.fit.optim={optimizer: muon, lr: 0.02, weight_decay: 0.0005, warmup: 0.1, min_lr_ratio: 0.0}",
    ),
    "teacher-4-epochs": ("dna.teacher.fit.epochs=4",),
    "teacher-deep-8-blocks": (*DEEP, *EIGHT),
    "deep-6-blocks": DEEP,
    "deep-3-blocks": (*DEEP, STAGES, "dna.space.split=null"),
    "teacher-deep-25-epochs-8-blocks": EIGHT,
    "deep-25-epochs-6-blocks": (),
    "deep-25-epochs-6-blocks-seed-1": ("seeds=[1]",),
    "deep-25-epochs-8-blocks-seed-1": (*EIGHT, "seeds=[1]"),
    "lr-0.003": ("dna.distill.optim.lr=0.003",),
    "spos-shared": (*ONE_SHOT, *SPOS),
    "spos-cells": ("dna.distill.epochs=0", *SPOS),
    "spos-seed-1": (*ONE_SHOT, *SPOS, "seeds=[1]"),
    "spos-lr-0.03": (*ONE_SHOT, *SPOS, "one_shot.optim.lr=0.03"),
    "spos-lr-0.3": (*ONE_SHOT, *SPOS, "one_shot.optim.lr=0.3"),
    "spos-epochs-10": (*ONE_SHOT, *SPOS, "one_shot.epochs=10"),
    "zero-cost": ("dna.distill.epochs=0", "zero_cost=[synflow,jacob_cov,naswot]"),
}
LARGE = ("teacher-deep", "deep-")  # their teacher is the recipe's, the others' the smaller one
TENTH = ("zero-cost", "spos-seed-1", "spos-lr-0.03", "spos-lr-0.3", "spos-epochs-10")
EVERY = dict.fromkeys(TENTH, 10)  # scored on one in so many networks of the table, for time
TAUGHT_BY = {
    "deep-6-blocks": "teacher-deep-8-blocks",
    "deep-3-blocks": "teacher-deep-8-blocks",
    "deep-25-epochs-6-blocks": "teacher-deep-25-epochs-8-blocks",
    "deep-25-epochs-6-blocks-seed-1": "teacher-deep-25-epochs-8-blocks",
    "deep-25-epochs-8-blocks-seed-1": "teacher-deep-25-epochs-8-blocks",
}


def run(name: str, runs: Path, images: Path, truth: Path) -> Path:
    """Run or continue one variant."""
    if name in EVERY:
        truth = thinned(truth, EVERY[name], runs)
    first = runs / TAUGHT_BY.get(name, "main") / "seed-0" / "teacher" / "teacher.safetensors"
    own = name == "main" or name.startswith("teacher-")
    taught = () if own else (f"dna.teacher.weights={first}", "dna.teacher.fit=null")
    trained = "dna.distill.epochs=0" not in VARIANTS[name]
    metrics = f"metrics=[{','.join(METRICS if trained else METRICS[:1])}]"
    ratings = (f"ratings={json.dumps(RATINGS)}",) if name == "main" else ()
    teacher = () if name.startswith(LARGE) else SMALL
    given = (f"dna.data.path={images}", f"truth={truth}", metrics, *ratings, *teacher, *VARIANTS[name], *taught)
    command = (sys.executable, "-m", "distilnas", "run", "rank-nas-bench-macro", "--run", str(runs / name), *given)
    subprocess.run(command, check=True)
    return runs / name


def thinned(truth: Path, every: int, runs: Path) -> Path:
    """A file in ``runs`` of one in ``every`` networks of ``truth``."""
    path = runs / f"every-{every}.json"
    path.write_text(json.dumps(dict(list(json.loads(truth.read_text()).items())[::every])))
    return path


def keep(run: Path, results: Path = RESULTS) -> None:
    """Copy what a run's results are made from to ``results``/VARIANT."""
    summary = json.loads((run / "summary.json").read_text())
    for seed in summary["seeds"]:
        source, target = run / f"seed-{seed['seed']}", results / run.name / f"seed-{seed['seed']}"
        target.mkdir(parents=True, exist_ok=True)
        (target / "record.json").write_text(json.dumps(_short(seed), indent=1) + "\n")
        (target / "config.yaml").write_text(_without_folders((source / "config.yaml").read_text()))
        for table in sorted(source.glob("ratings/*/ratings.csv")):
            shutil.copy(table, target / f"{table.parent.name}.csv")
        for step, name in (("one-shot-scores", "one-shot"), ("zero-cost", "zero-cost")):
            scores = source / step / "scores.json"
            if scores.exists():
                _write_scores(json.loads(scores.read_text()), target / f"{name}.csv")


def _write_scores(rows: dict[str, dict[str, float]], path: Path) -> None:
    """Networks and their scores to six digits, as CSV."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["architecture", *next(iter(rows.values()))], lineterminator="\n")
        table.writeheader()
        table.writerows({"architecture": name} | _short(row) for name, row in rows.items())


def _short(value: Any) -> Any:
    """Numbers to six digits."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _without_folders(config: str) -> str:
    """Paths by their last part alone."""
    return re.sub(r": /.*/", ": ", config)


def main() -> None:
    """Run and keep the variants asked for, in the order of ``VARIANTS``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--truth", type=Path, required=True, help="the published table")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    asked = parser.parse_args()
    for name in VARIANTS:
        if name in asked.only:
            keep(run(name, asked.runs, asked.images, asked.truth))


if __name__ == "__main__":
    main()
