"""Small random search problems and the plainest possible solver: list every architecture."""

import itertools

import numpy as np

from distilnas.solve import BlockCandidates, CellCandidates, Limit, Position, SearchProblem


def random_problem(
    rng: np.random.Generator,
    *,
    max_blocks: int = 4,
    max_cells: int = 3,
    max_candidates: int = 4,
    float_cost: bool = False,
) -> SearchProblem:
    """Ratings are multiples of 1/8 (ties are frequent, sums exact); costs 'macs' and 'params' are small integers, the
    optional 'latency' a multiple of 1/16."""
    blocks, in_widths = [], (int(rng.integers(1, 9)),)
    spread = int(rng.choice([2, 8, 200]))
    for b in range(int(rng.integers(1, max_blocks + 1))):
        cells = []
        for c in range(int(rng.integers(1, max_cells + 1))):
            n = int(rng.integers(1, max_candidates + 1))
            shape = (len(in_widths), n)
            costs = {"macs": rng.integers(0, spread, shape), "params": rng.integers(-3, 10, shape)}
            if float_cost:
                costs["latency"] = rng.integers(0, 40, shape) / 16
            ratings = rng.integers(-4, spread, n) / 8
            cells.append(CellCandidates(name=f"c{c}", width=int(rng.integers(1, 4)) * 8, ratings=ratings, costs=costs))
        blocks.append(BlockCandidates(name=f"b{b}", in_widths=in_widths, cells=tuple(cells)))
        in_widths = tuple(int(w) for w in rng.permutation(sorted({cell.width for cell in cells})))
    if rng.random() < 0.5:
        blocks.append(last_block(in_widths, {"macs": [int(rng.integers(0, 5)) for _ in in_widths]}, list(costs)))
    return SearchProblem(blocks=tuple(blocks))


def last_block(in_widths: tuple[int, ...], costs: dict[str, list[int]], names: list[str]) -> BlockCandidates:
    """A head: one candidate with a rating of 0, whose ``costs`` depend on what comes in; other ``names`` cost 0."""
    tables = {name: np.array(costs.get(name, [0] * len(in_widths)))[:, None] for name in names}
    return BlockCandidates(
        name="head",
        in_widths=in_widths,
        cells=(CellCandidates(name="head", width=1, ratings=np.zeros(1), costs=tables),),
    )


def random_limits(rng: np.random.Generator, problem: SearchProblem, table: list | None = None) -> list[Limit]:
    """Limits near the costs of random architectures, so that some bind, some do not and some cannot be kept."""
    table = table or architectures(problem)
    limits = []
    for cost in problem.cost_names:
        if rng.random() < 0.7:
            value = table[int(rng.integers(len(table)))][1][cost] + int(rng.integers(-2, 3))
            kind = rng.random()
            if kind < 0.6:
                limits.append(Limit(cost=cost, max=value))
            elif kind < 0.8:
                limits.append(Limit(cost=cost, min=value))
            else:
                limits.append(Limit(cost=cost, min=value, max=value + int(rng.integers(0, 6))))
    return limits


def architectures(problem: SearchProblem) -> list[tuple[float, dict, tuple[Position, ...]]]:
    """(rating, costs, positions) of every architecture, summed here and not by the code under test."""
    options = [[Position(i, j) for i, c in enumerate(b.cells) for j in range(len(c))] for b in problem.blocks]
    table = []
    for positions in itertools.product(*options):
        rating, costs, width = 0.0, dict.fromkeys(problem.cost_names, 0), problem.blocks[0].in_widths[0]
        for block, position in zip(problem.blocks, positions, strict=True):
            cell = block.cells[position.cell]
            rating += float(cell.ratings[position.candidate])
            for name in costs:
                costs[name] += cell.costs[name][block.in_widths.index(width)][position.candidate].item()
            width = cell.width
        table.append((rating, costs, positions))
    return table


def keeps(costs: dict, limits: list[Limit]) -> bool:
    return all(
        (lim.max is None or costs[lim.cost] <= lim.max) and (lim.min is None or costs[lim.cost] >= lim.min)
        for lim in limits
    )


def order(entry: tuple, limits: list[Limit]) -> tuple:
    """The documented order: rating, upper-limited costs, lower-limited costs (more first), positions."""
    rating, costs, positions = entry
    uppers = [costs[lim.cost] for lim in limits if lim.max is not None]
    return (rating, *uppers, *[-costs[lim.cost] for lim in limits if lim.min is not None], positions)


def best(problem: SearchProblem, limits: list[Limit], table: list | None = None) -> list[tuple]:
    """All architectures within the limits, in the documented order."""
    fitting = [entry for entry in table or architectures(problem) if keeps(entry[1], limits)]
    return sorted(fitting, key=lambda entry: order(entry, limits))
