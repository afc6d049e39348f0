"""Exact parameters and multiply-adds of derived networks, summed from parts that are each counted once.

Counting a whole network takes a second, and a search under a budget counts after every deletion; the sums here are
those of ``costing.profile`` to the last digit.
"""

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor, nn

from distilnas.costing import count, count_params
from distilnas.networks.darts import FactorizedReduce, make_op, relu_conv_bn
from distilnas.networks.darts.stems import make_stems
from distilnas.space.darts import (
    CellPlan,
    CellwiseGenotype,
    DartsArchitecture,
    DartsCell,
    Edge,
    plan_cells,
    reduction_cells,
)
from distilnas.space.darts.genotype import all_states
from distilnas.space.darts.space import NODES, DartsSpace

Counts = tuple[int, int]
"""(params, macs)"""


def derived_counts(architecture: DartsArchitecture, *, resolution: int, num_classes: int, in_chans: int = 3) -> Counts:
    """(params, macs) of the network of ``architecture``, without auxiliary head, for images of ``resolution``."""
    plans = plan_cells(architecture)
    sides = _sides(architecture, resolution)
    parts = [_stem_counts(architecture.stem, in_chans, architecture.width, resolution)]
    for plan in plans:
        entered = (sides[plan.index - 2], sides[plan.index - 1])
        for state, (width, side) in enumerate(zip(plan.in_widths, entered, strict=True)):
            if width is not None:
                parts.append(_entry_counts(width, plan.width, plan.after_reduction and state == 0, side))
        parts += [
            _op_counts(edge.op, plan.width, *_stride_and_side(plan, edge.input, entered[1]))
            for node in plan.cell.nodes
            for edge in node
        ]
    parts.append(((plans[-1].out_width + 1) * num_classes, plans[-1].out_width * num_classes))
    return sum(params for params, _ in parts), sum(macs for _, macs in parts)


def smallest_counts(space: DartsSpace, *, width: int, resolution: int, num_classes: int) -> dict[str, int]:
    """The least ``params`` and the least ``macs`` (not always of one network) that a derived network can have.

    It reads one input in every living cell, so the living cells are a chain from the last back to the stem in steps of
    one or two; and all its nodes apply the cheapest op, after the first one to the first one's state.
    """
    counts = [
        derived_counts(
            space.architecture(CellwiseGenotype(cells=cells), width=width),
            resolution=resolution,
            num_classes=num_classes,
        )
        for op in space.primitives
        if op != "none"
        for cells in _chains(space.num_cells, (_thin_cell(op, 0), _thin_cell(op, 1)))
    ]
    return {"params": min(params for params, _ in counts), "macs": min(macs for _, macs in counts)}


def _thin_cell(op: str, state: int) -> DartsCell:
    """One op a node: the first reads the input ``state``, the others the first."""
    nodes = ((Edge(op=op, input=state),), *((Edge(op=op, input=2),) for _ in range(NODES - 1)))
    return DartsCell(nodes=nodes, concat=all_states(NODES))


def _chains(length: int, cells: tuple[DartsCell, DartsCell]) -> Iterator[tuple[DartsCell, ...]]:
    """Every sequence of so many cells that differs in a living one; ``cells[s]`` reads the input s alone."""
    if length <= 0:
        yield ()
        return
    skips, follows = cells
    for before in _chains(length - 1, cells):
        yield (*before, follows)
    for before in _chains(length - 2, cells):
        yield (*before, *((follows, skips) if length > 1 else (skips,)))


def candidate_macs(space: DartsSpace, *, resolution: int) -> Tensor:
    """Multiply-adds of every candidate in the supernet, float64 (rows, columns); 0 where there is no candidate."""
    architecture = space.architecture(space.everything, width=space.width)
    sides = _sides(architecture, resolution)
    macs = torch.zeros(space.rows, space.columns, dtype=torch.float64)
    for plan in plan_cells(architecture):
        for n, node in enumerate(plan.cell.nodes):
            for column, edge in enumerate(node):
                at = _stride_and_side(plan, edge.input, sides[plan.index - 1])
                macs[plan.index * NODES + n, column] = _op_counts(edge.op, plan.width, *at)[1]
    return macs


def point_sides(space: DartsSpace, *, resolution: int) -> tuple[int, ...]:
    """Heights of the supernet's maps at the ends of its three resolutions."""
    sides = _sides(space.architecture(space.everything, width=space.width), resolution)
    first, second = reduction_cells(space.num_cells)
    return sides[first - 1], sides[second - 1], sides[space.num_cells - 1]


def _sides(architecture: DartsArchitecture, resolution: int) -> dict[int, int]:
    """Height of the maps: -2 and -1 are the stem's, k that of cell k, whether it lives or not."""
    quarter, eighth = -(-resolution // 4), -(-resolution // 8)  # halves rounded up, two and three times
    sides = {-2: resolution, -1: resolution} if architecture.stem == "cifar" else {-2: quarter, -1: eighth}
    reductions = reduction_cells(architecture.num_cells)
    for k in range(architecture.num_cells):
        sides[k] = -(-sides[k - 1] // 2) if k in reductions else sides[k - 1]
    return sides


def _stride_and_side(plan: CellPlan, state: int, side: int) -> tuple[int, int]:
    """Stride of an edge, and the height of the map it reads, in a cell that is entered at ``side``."""
    if not plan.reduces:
        return 1, side
    return (2, side) if state < 2 else (1, -(-side // 2))


@cache
def _op_counts(op: str, width: int, stride: int, side: int) -> Counts:
    with torch.device("meta"):
        return _counted(make_op(op, width, stride), width, side)


@cache
def _entry_counts(in_width: int, width: int, halves: bool, side: int) -> Counts:
    with torch.device("meta"):
        return _counted((FactorizedReduce if halves else relu_conv_bn)(in_width, width), in_width, side)


@cache
def _stem_counts(stem: str, in_chans: int, width: int, resolution: int) -> Counts:
    with torch.device("meta"):
        return _counted(nn.Sequential(*make_stems(stem, in_chans, width)), in_chans, resolution)


def _counted(module: nn.Module, in_width: int, side: int) -> Counts:
    return count_params(module), count(module, (in_width, side, side)).macs
