"""``bench solve``: exact answers on tables of the DNA space's size, against HiGHS on the same problem.

Tables of noise about a trend: ratings fall with a candidate's MACs, as real ones do. To all cells of the ``dna`` space
comes one of 6 layers x 6 ops (46,656 paths) in every block. HiGHS is too slow for that (docs/performance.md), so it
meets us on the same problem cut down to cells of at most three layers.
"""

import resource
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave, medians
from distilnas.costing import cost_table
from distilnas.solve import Limit, SearchProblem, diverse, pareto_front, search_problem, solve, solve_milp
from distilnas.space import SearchSpace, preset
from distilnas.tables import CellRatings, CostTable, RatingTable, unrated

_LIMITS = (Limit(cost="macs", max=400_000_000), Limit(cost="params", max=5_000_000))
_SHORT_LIMITS = (Limit(cost="macs", max=250_000_000), Limit(cost="params", max=3_800_000))
_SHORT, _DEEP = 3, 6  # layers
_QUICK_SHORT, _QUICK_DEEP = 2, 4


def run(name: str, settings: BenchSettings) -> Report:
    """All questions at full size, and the best architecture at the short size by both solvers, in turns."""
    deep, shallow = (_QUICK_DEEP, _QUICK_SHORT) if settings.quick else (_DEEP, _SHORT)
    space = deepened(preset("dna"), deep)
    full, short = problem(space), problem(shortened(preset("dna"), shallow))
    questions: dict[str, Callable[[], Any]] = {
        "best": lambda: solve(full, _LIMITS),
        "10 best": lambda: solve(full, _LIMITS, k=10),
        "Pareto front": lambda: pareto_front(full, "macs"),
        "10 diverse": lambda: diverse(full, _LIMITS, 10, min_distance=2),
        "best, short": lambda: solve(short, _SHORT_LIMITS),
        "HiGHS, short": lambda: solve_milp(short, _SHORT_LIMITS),
    }
    best, front = questions["best"]()[0], questions["Pareto front"]()
    ours, highs = questions["best, short"]()[0], questions["HiGHS, short"]()
    times = interleave(questions, turns=settings.turns)
    return Report(
        name=name,
        what=f"budgets on MACs and parameters; {sum(map(len, full.blocks))} candidates, HiGHS and ours in turns on "
        f"{sum(map(len, short.blocks))}",
        times=times,
        work=(1, "answers"),
        ours="best, short",
        baseline="HiGHS, short",
        equal={"difference_of_ratings": abs(ours.rating - highs.rating)},
        facts={
            "architectures": str(space.num_architectures),
            "optimal": best.optimal,
            "front_points": len(front),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "targets": {
                "best under 1 s": medians(times)["best"] < 1,
                "Pareto front under 5 s": medians(times)["Pareto front"] < 5,
            },
        },
    )


def problem(space: SearchSpace) -> SearchProblem:
    """The search over ``space`` with its true costs at 224 px, 1000 classes."""
    costs = cost_table(space, resolution=224, num_classes=1000)
    return search_problem(space, _ratings(space, costs, seed=0), costs)


def shortened(space: SearchSpace, depth: int) -> SearchSpace:
    """The same space with cells of at most ``depth`` layers."""
    blocks = []
    for block in space.body:
        cells = {replace(c, layers=c.layers[:depth]): None for c in block.cells}
        blocks.append(replace(block, families=tuple(cells)))
    return SearchSpace(name="short", blocks=(*blocks, space.blocks[-1]))


def deepened(space: SearchSpace, depth: int) -> SearchSpace:
    """The same space with a cell of ``depth`` layers more in every block."""
    blocks = []
    for block in space.body:
        first = block.cells[0]
        cells = (*block.cells, replace(first, layers=(first.layers[0],) * depth))
        blocks.append(replace(block, families=tuple(dict.fromkeys(cells))))
    return SearchSpace(name="deep", blocks=(*blocks, space.blocks[-1]))


def _ratings(space: SearchSpace, costs: CostTable, seed: int) -> RatingTable:
    rng = np.random.default_rng(seed)
    cells = []
    for b, block in enumerate(space.body):
        row = []
        for c, cell in enumerate(block.cells):
            macs = costs.cells[b][c].dense()[0, 0].astype(float)
            mean = (1 - 0.1 * np.log(macs / 1e6 + 1) + rng.normal(0, 0.01, macs.shape)).reshape(cell.shape)
            row.append(CellRatings(mean=mean, stderr=np.zeros_like(mean), batches=np.stack([mean, mean])))
        cells.append(tuple(row))
    cells.append(unrated([()], 2))
    return RatingTable(space=space.fingerprint, metric="relative_l1", num_images=0, cells=tuple(cells))
