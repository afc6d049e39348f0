"""Is the pick right? Diverse students of one library at one share of the MACs, all recovered alike.

``python -m benchmarks.pick_study NAME DATA MODEL WEIGHTS --resolution 48 --work DIR [--share 25] [--epochs 2]``: the
best solutions that differ in two blocks, networks drawn with a leaning towards good ratings, and networks drawn at
random, eight each, repaired on the same images, measured on held-out ones, then recovered with one learning rate.
Writes benchmarks/results/picks/NAME.json: a row a student, and Kendall's tau of rating and of divergence before
training with the test accuracy afterwards, with intervals over the students.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.head_to_head import Rival, World, arguments, finished_run, open_world, tilted, train
from distilnas.ranking import correlate, intervals
from distilnas.recipes.shrink.steps import calibration_batches, rating_batches
from distilnas.recovery import RecoverySettings
from distilnas.solve import Limit
from distilnas.surgery.alternatives import on_paper
from distilnas.surgery.choose import Chosen, choose, different_choices
from distilnas.surgery.library import choice_in

RESULTS = Path(__file__).parent / "results" / "picks"
_EACH, _RATE = 8, 1e-3
_LEANING = 20.0  # weight of a block's rating against its cost in a draw that leans towards good ones


def students(world: World, limit: int) -> Iterator[tuple[str, Chosen]]:
    """How each was found, and it on paper; equal ones once."""
    trunks = world.shelf.trunks
    seen = set()
    for one in different_choices(trunks, [Limit(cost="macs", max=limit)], _EACH, 2):
        seen.add(one.choice)
        yield "solution", one
    for kind, leaning in (("leaning", _LEANING), ("random", 0.0)):
        found = 0
        while found < _EACH:
            chosen = on_paper(trunks[0], choice_in(trunks[0], tilted(trunks[0], limit, world.rng, leaning)))
            if chosen and chosen.choice not in seen:
                seen.add(chosen.choice)
                found += 1
                yield kind, chosen


def row(world: World, kind: str, chosen: Chosen, epochs: float, folder: Path) -> dict[str, Any]:
    """One student before and after."""
    (built,) = choose(world.shelf.library, [chosen], calibration_batches(world.job, 500), *rating_batches(world.job))
    rival = Rival(model=world.student(built.modules), preprocessing=world.pre)
    found = {"kind": kind, "rating": chosen.solution.rating, "macs": int(chosen.solution.costs["macs"])}
    found |= {"divergence": built.measured.divergence, "top1_before": world.test(rival.model, world.pre)}
    train(world, rival, RecoverySettings(epochs=epochs).at(_RATE), folder)
    return found | {"top1": world.test(rival.model, world.pre)}


def main() -> None:
    """One study."""
    parser = arguments(epochs=2)
    parser.add_argument("--share", type=float, default=25)
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings, folder = finished_run(args, seed=0, shares=[args.share])
    world = open_world(settings, folder, seed=0)
    rows: list[dict[str, Any]] = []
    for kind, chosen in students(world, world.limit(args.share)):
        rows.append(row(world, kind, chosen, args.epochs, args.work / "picking"))
        print(json.dumps(rows[-1]), flush=True)
    truth = np.array([one["top1"] for one in rows])
    scores = {name: -np.array([one[name] for one in rows]) for name in ("rating", "divergence")}
    found: dict[str, Any] = {"share": args.share, "epochs": args.epochs, "lr": _RATE, "students": rows}
    found["tau"] = {name: correlate(score, truth).kendall_tau for name, score in scores.items()}
    found["intervals"] = {name: intervals(score, truth, seed=0)["kendall_tau"] for name, score in scores.items()}
    found["place"] = {name: int((truth > truth[score.argmax()]).sum()) + 1 for name, score in scores.items()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{args.name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
