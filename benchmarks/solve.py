"""The exact solver at the size of the DNA space, and against HiGHS on a smaller part of it."""

import resource
import time

import numpy as np

from benchmarks.timing import interleave, keep
from distilnas.costing import cost_table
from distilnas.solve import Limit, diverse, pareto_front, search_problem, solve, solve_milp
from distilnas.space import BlockSpec, CellSpec, SearchSpace, preset
from distilnas.tables import CellRatings, CostTable, RatingTable

LIMITS = (Limit(cost="macs", max=400_000_000), Limit(cost="params", max=5_000_000))


def ratings_for(space: SearchSpace, costs: CostTable, seed: int) -> RatingTable:
    """Ratings that fall with a candidate's MACs, with noise, as real ones do."""
    rng = np.random.default_rng(seed)
    cells = []
    for b, block in enumerate(space.blocks):
        row = []
        for c, cell in enumerate(block.cells):
            macs = costs.cells[b][c].dense()[0, 0].astype(float)
            mean = 1 - 0.1 * np.log(macs / 1e6 + 1) + rng.normal(0, 0.01, macs.shape)
            shaped = mean.reshape(cell.shape)
            row.append(CellRatings(mean=shaped, stderr=np.zeros_like(shaped), batches=np.stack([shaped, shaped])))
        cells.append(tuple(row))
    return RatingTable(space=space.fingerprint, metric="relative_l1", num_images=0, cells=tuple(cells))


def shortened(space: SearchSpace, depth: int) -> SearchSpace:
    """The same space with cells of at most ``depth`` layers."""
    blocks = []
    for block in space.blocks:
        cells = {CellSpec(width=c.width, layers=c.layers[:depth]): None for c in block.cells}
        blocks.append(BlockSpec(stride=block.stride, cells=tuple(cells)))
    return SearchSpace(name="short", stem=space.stem, blocks=tuple(blocks), head=space.head)


def deepened(space: SearchSpace) -> SearchSpace:
    """The same space with a cell of six layers x six ops (46,656 paths) more in every block."""
    blocks = []
    for block in space.blocks:
        ops, width = block.cells[0].layers[0], block.cells[0].width
        blocks.append(BlockSpec(stride=block.stride, cells=(*block.cells, CellSpec(width=width, layers=(ops,) * 6))))
    return SearchSpace(name="deep", stem=space.stem, blocks=tuple(blocks), head=space.head)


def timed(work: object) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()  # type: ignore[operator]
    return time.perf_counter() - start, result


def main() -> None:
    """Full size once per task; HiGHS and ours interleaved on the short space."""
    full = deepened(preset("dna"))
    costs = cost_table(full, resolution=224, num_classes=1000)
    problem = search_problem(full, ratings_for(full, costs, 0), costs)
    best_s, best = timed(lambda: solve(problem, LIMITS))
    ten_s, _ = timed(lambda: solve(problem, LIMITS, k=10))
    front_s, front = timed(lambda: pareto_front(problem, "macs"))
    diverse_s, _ = timed(lambda: diverse(problem, LIMITS, 10, min_distance=2))
    short = shortened(preset("dna"), 2)
    short_costs = cost_table(short, resolution=224, num_classes=1000)
    small = search_problem(short, ratings_for(short, short_costs, 0), short_costs)
    limits = (Limit(cost="macs", max=250_000_000), Limit(cost="params", max=3_800_000))
    ours, highs = solve(small, limits)[0], solve_milp(small, limits)
    seconds = interleave({"ours": lambda: solve(small, limits), "highs": lambda: solve_milp(small, limits)}, repeats=5)
    keep(
        "solve",
        {
            "full": {
                "architectures": str(full.num_architectures),
                "candidates": full.num_candidates,
                "seconds": {"best": best_s, "10 best": ten_s, "pareto front": front_s, "10 diverse": diverse_s},
                "optimal": best[0].optimal,
                "front_points": len(front),
            },
            "against_highs": {
                "candidates": short.num_candidates,
                "seconds_median": seconds,
                "ratio": seconds["highs"] / seconds["ours"],
                "same_rating": abs(ours.rating - highs.rating) < 1e-6,
            },
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        },
    )


if __name__ == "__main__":
    main()
