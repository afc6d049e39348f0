"""Does a search by these ratings find better networks? The space ``small-images``, two budgets, CIFAR-10.

    python -m benchmarks.search_study RUNS --images c10 --teacher teacher.safetensors

1. ``RUNS/truth``, ``RUNS/truth-5-epochs``: 24 networks drawn from the space, trained equally (a second ground truth
   for the ratings), and trained again for longer.
2. ``RUNS/rank``: distillation under the teacher of the ranking study, ratings, one-shot supernet; compared with 1.
3. Under each budget the winner by the default rating, by the paper's, by the one-shot supernet (best of as many
   networks as block-wise ratings rate candidates), and the deepest and the shallowest near the budget.
4. ``RUNS/winners-BUDGET``: these and five random networks of the budget, retrained equally.
5. ``RUNS/winners-BUDGET-again``: these once more with another seed, but for the deepest, which is far behind.

What the page on the results needs is kept in ``results/search``.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ranking_study import SPOS, STITCHED, keep
from distilnas.baselines.spos.sampling import uniform
from distilnas.config import parse_amount
from distilnas.costing import cost_table
from distilnas.files import read_json, write_json
from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.dna.recipe import with_teacher
from distilnas.recipes.dna.steps import SPACE
from distilnas.recipes.frame import Job
from distilnas.recipes.rank.steps import TrainOneShot, one_shot_scores, rate_by
from distilnas.recipes.students import DATA
from distilnas.runtime.store import Run
from distilnas.solve import Limit, search_problem, solve, to_choice
from distilnas.space import Architecture, Choice, SearchSpace
from distilnas.tables import CellRatings, CostTable, RatingTable, indifferent

RESULTS = Path(__file__).parent / "results" / "search"
BUDGETS = ("10M", "18M")
NEAR = 0.9  # random networks, the one-shot supernet's and those by depth have at least this share of the budget
EPOCHS = 5  # of the networks of a budget
AGAIN = "seeds=[1]"
TRUTHS = {"truth": 2, "truth-5-epochs": EPOCHS}
PAPER = "relative_l1"
BASELINES = ("zero_cost=[synflow,jacob_cov,naswot]", *SPOS)
METRICS = (STITCHED, "stitched_sqrt_kl", PAPER, "cosine")


def distilnas(*arguments: str) -> None:
    """Run the command line in a process of its own."""
    subprocess.run((sys.executable, "-m", "distilnas", *arguments), check=True)


def depth_table(space: SearchSpace, sign: int) -> RatingTable:
    """Every candidate rated by its depth times ``sign``: the solver then finds the shallowest (1) or deepest (-1)."""
    alike, blocks = indifferent(space), []
    for block in space.body:
        ratings = [np.full(cell.shape, float(sign * cell.depth)) for cell in block.cells]
        blocks.append(tuple(CellRatings(mean=r, stderr=0 * r, batches=r[None]) for r in ratings))
    return replace(alike, metric="depth", cells=(*blocks, *alike.cells[len(blocks) :]))


def solved(space: SearchSpace, table: RatingTable, costs: CostTable, limits: tuple[Limit, ...]) -> Architecture:
    """The proved best network."""
    best = solve(search_problem(space, table, costs), limits)[0]
    return space.architecture(to_choice(space, best.positions))


def ranked_with(images: Path, teacher: Path, truth: Path) -> tuple[str, ...]:
    """Overrides of a recipe ``rank`` under a given teacher: these metrics."""
    return (
        f"dna.data.path={images}",
        f"dna.teacher.weights={teacher}",
        "dna.teacher.fit=null",
        f"truth={truth}",
        f"metrics=[{','.join(METRICS)}]",
    )


def drawn(space: SearchSpace, costs: CostTable, limit: Limit, number: int) -> list[Choice]:
    """Random networks near the budget."""
    found: dict[Choice, None] = {}
    draw = 0
    while len(found) < number:
        choice = uniform(space, 1, draw)
        draw += 1
        if limit.allows(costs.total(space, choice)["macs"]):
            found[choice] = None
    return list(found)


def winners(run: Path, given: tuple[str, ...], budget: str) -> dict[str, str]:
    """What each way of choosing chooses under a budget; ways that agree share an entry."""
    settings = load_settings("rank-small-images", given)
    dna = replace(settings.dna, seed=settings.seeds[0])
    with Run(run / f"seed-{dna.seed}") as opened:
        job = Job(opened, dna, *with_teacher(dna))
        space = job.get(SPACE)
        costs = cost_table(space, resolution=32, num_classes=len(job.get(DATA).train.classes))
        amount = parse_amount(budget)
        limits = (Limit(cost="macs", max=amount),)
        near = Limit(cost="macs", min=int(NEAR * amount), max=amount)
        tables = {name: job.get(rate_by(name, settings)) for name in (STITCHED, PAPER)}
        found = {name: solved(space, table, costs, limits) for name, table in tables.items()}
        choices = drawn(space, costs, near, space.num_candidates)
        loss = one_shot_scores(job, TrainOneShot(settings=settings.one_shot), choices).loss
        found["spos"] = space.architecture(choices[int(loss.argmin())])
    for name, sign in (("deepest", -1), ("shallowest", 1)):
        found[name] = solved(space, depth_table(space, sign), costs, (near,))
    agreed = {chosen: " = ".join(name for name in found if found[name] == chosen) for chosen in found.values()}
    return {names: str(chosen) for chosen, names in agreed.items()}


def train(folder: Path, results: Path, *given: str) -> dict[str, Any]:
    """Train and test networks equally; the truth is kept in ``results`` by the folder's name, and returned."""
    distilnas("run", "truth-small-images", "--run", str(folder), *given)
    truth = read_json(folder / "truth.json")
    write_json(results / f"{folder.name}.json", truth)
    return truth


def main() -> None:
    """All five parts, continuing where RUNS stands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--teacher", type=Path, required=True, help="teacher.safetensors of the ranking study's main")
    asked = parser.parse_args()
    trained = f"data.path={asked.images}"
    for name, epochs in TRUTHS.items():
        train(asked.runs / name, RESULTS, trained, f"retrain.epochs={epochs}")
    given = (*ranked_with(asked.images, asked.teacher, asked.runs / "truth" / "truth.json"), *BASELINES)
    ranked = asked.runs / "rank"
    distilnas("run", "rank-small-images", "--run", str(ranked), *given)
    keep(ranked, RESULTS)
    for budget in BUDGETS:
        folder = asked.runs / f"winners-{budget}"
        chosen = winners(ranked, given, budget)
        least = f"min_macs={int(NEAR * parse_amount(budget))}"
        schedule = (trained, f"retrain.epochs={EPOCHS}")
        near = ("number=5", least, f"max_macs={budget}")
        train(folder, RESULTS, *schedule, f"networks={json.dumps(chosen)}", *near)
        close = {names: network for names, network in chosen.items() if "deepest" not in names.split(" = ")}
        again = folder.with_name(f"{folder.name}-again")
        train(again, RESULTS, *schedule, f"networks={json.dumps(close)}", "number=0", AGAIN)


if __name__ == "__main__":
    main()
