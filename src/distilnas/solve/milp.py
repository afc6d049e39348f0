"""The same problem for a general solver (HiGHS): an independent reference for tests and benchmarks.

One binary for each (block, incoming width, cell, candidate); one unit flows from the first block's width to one of the
last widths. Meant for small and middle sizes; HiGHS decides limits and optimality to its tolerances (about 1e-6), so
it is no replacement for `solve`.
"""

import time
from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from distilnas.errors import DistilnasError, InfeasibleError
from distilnas.solve.problem import Limit, Position, SearchProblem, Solution


def solve_milp(problem: SearchProblem, limits: Sequence[Limit] = ()) -> Solution:
    """One best architecture within ``limits``; ``bound`` is the solver's own.

    Raises `InfeasibleError` when HiGHS finds the limits to exclude everything, `UsageError` for unknown costs and
    `DistilnasError` when HiGHS gives up.
    """
    start = time.perf_counter()
    for limit in limits:
        problem.check_cost(limit.cost)
    block, width_in, width_out, cell, candidate = _columns(problem)
    ratings = np.array([problem.blocks[i].cells[c].ratings[j] for i, c, j in zip(block, cell, candidate, strict=True)])
    columns = (block, width_in, width_out, cell, candidate)
    result = milp(
        ratings,
        integrality=np.ones(len(ratings)),
        bounds=Bounds(0, 1),
        constraints=[_flow(problem, columns), *(_limit(problem, columns, limit) for limit in limits)],
        options={"mip_rel_gap": 0.0},
    )
    if result.status == 2:
        raise InfeasibleError("HiGHS: no architecture keeps " + " and ".join(map(str, limits)) + ".")
    if result.x is None:
        raise DistilnasError(f"HiGHS found no architecture: {result.message}")
    taken = np.flatnonzero(result.x > 0.5)
    positions = tuple(Position(int(cell[i]), int(candidate[i])) for i in taken)
    rating, costs = problem.evaluate(positions)
    return Solution(
        positions=positions,
        rating=rating,
        costs=costs,
        optimal=result.status == 0,
        bound=float(result.mip_dual_bound),
        seconds=time.perf_counter() - start,
    )


def _columns(problem: SearchProblem) -> tuple[np.ndarray, ...]:
    """Block, incoming width, outgoing width, cell and candidate of every binary; in order of blocks."""
    rows = [
        (i, width, cell.width, c, j)
        for i, block in enumerate(problem.blocks)
        for width in block.in_widths
        for c, cell in enumerate(block.cells)
        for j in range(len(cell))
    ]
    return tuple(np.array(rows).T)


def _flow(problem: SearchProblem, columns: tuple[np.ndarray, ...]) -> LinearConstraint:
    """One unit enters; into a (block, width) goes as much as comes out of it."""
    block, width_in, width_out, *_ = columns
    nodes = [(i, width) for i, b in enumerate(problem.blocks) for width in b.in_widths]
    place = {node: row for row, node in enumerate(nodes)}
    last = len(problem.blocks) - 1
    leaves = [place[i, w] for i, w in zip(block, width_in, strict=True)]
    enters = [(place[i + 1, w], n) for n, (i, w) in enumerate(zip(block, width_out, strict=True)) if i < last]
    rows = leaves + [row for row, _ in enters]
    cols = [*range(len(block)), *(n for _, n in enters)]
    data = [1.0] * len(block) + [-1.0] * len(enters)
    supply = np.array([1.0 if i == 0 else 0.0 for i, _ in nodes])
    return LinearConstraint(coo_array((data, (rows, cols)), shape=(len(nodes), len(block))).tocsr(), supply, supply)  # pyright: ignore[reportArgumentType]


def _limit(problem: SearchProblem, columns: tuple[np.ndarray, ...], limit: Limit) -> LinearConstraint:
    """The limited sum, scaled so that its largest entry is 1."""
    row = []
    for i, width_in, _, c, j in zip(*columns, strict=True):
        block = problem.blocks[i]
        row.append(float(block.cells[c].costs[limit.cost][block.in_widths.index(int(width_in)), j]))
    values = np.array(row)
    scale = max(1e-300, np.abs(values).max())
    low = -np.inf if limit.min is None else limit.min / scale
    high = np.inf if limit.max is None else limit.max / scale
    return LinearConstraint(values[None] / scale, low, high)
