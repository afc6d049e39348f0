"""The supernet of the DARTS family: every cell holds all candidates, and a node adds them up with given weights.

The weights come from outside (``choices`` for shrinking, ``alphas`` for the relaxation of DARTS), so that both methods
search in one and the same network. It is built from the parts of the derived networks, with the batch norms of a
search: no scale and shift, and one after every pooling.

Parameter names: ``stem0``, ``stem1``, ``cells.K.nodes.N.OP_fromS`` as in ``networks.darts``, ``classifier``.
"""

import functools
import operator
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from distilnas.networks.darts import FactorizedReduce, make_op, relu_conv_bn
from distilnas.networks.darts.stems import make_stems
from distilnas.runtime.seeds import torch_seed
from distilnas.space.darts import CellPlan, Edge, plan_cells, reduction_cells
from distilnas.space.darts.space import NODES, DartsSpace

Weights = Sequence[Sequence[Tensor]]
"""Weights of a cell: [node][column], scalars."""


class SearchCell(nn.Module):
    """One cell with all its candidates; ``none`` is a candidate that is never computed, since it adds nothing."""

    def __init__(self, plan: CellPlan) -> None:
        super().__init__()
        before, previous = plan.in_widths
        assert before is not None
        assert previous is not None
        enter = FactorizedReduce if plan.after_reduction else relu_conv_bn
        self.preprocess0 = enter(before, plan.width, affine=False)
        self.preprocess1 = relu_conv_bn(previous, plan.width, affine=False)
        self.nodes = nn.ModuleList(
            nn.ModuleDict({_name(edge): _make_edge(edge, plan) for edge in node if edge.op != "none"})
            for node in plan.cell.nodes
        )
        self.columns = [{_name(edge): column for column, edge in enumerate(node)} for node in plan.cell.nodes]
        self.edges = [{_name(edge): edge for edge in node} for node in plan.cell.nodes]

    @property
    def reads(self) -> frozenset[int]:
        """Which of the inputs 0 (c_{k-2}) and 1 (c_{k-1}) a candidate reads."""
        inputs = (edges[name].input for node, edges in zip(self.nodes, self.edges, strict=True) for name in node)  # type: ignore[union-attr]
        return frozenset(state for state in inputs if state < 2)

    def remove(self, node: int, column: int) -> list[nn.Parameter]:
        """Take a candidate out, if it is still there; returns its parameters."""
        ops: nn.ModuleDict = self.nodes[node]  # type: ignore[assignment]
        name = next((name for name in ops if self.columns[node][name] == column), None)
        return [] if name is None else list(ops.pop(name).parameters())

    def forward(self, inputs: dict[int, Tensor], weights: Weights | None) -> Tensor:
        """``inputs``: the maps that ``reads`` names -> the concatenated nodes (B, 4 C, H, W)."""
        enter = (self.preprocess0, self.preprocess1)
        states = {i: enter[i](x) for i, x in inputs.items()}
        for n, ops in enumerate(self.nodes):
            outputs = []
            for name, op in ops.items():  # type: ignore[operator]
                output = op(states[self.edges[n][name].input])
                outputs.append(output if weights is None else weights[n][self.columns[n][name]] * output)
            states[n + 2] = functools.reduce(operator.add, outputs)
        return torch.cat([states[n + 2] for n in range(NODES)], dim=1)


class SearchNet(nn.Module):
    """Images (B, in_chans, R, R) -> logits (B, num_classes), through all candidates of ``space``.

    What nothing reads any more, a cell or the preprocessing of an input, is not computed. Weights are initialised as
    torch initialises them.
    """

    def __init__(self, space: DartsSpace, *, num_classes: int, in_chans: int = 3) -> None:
        super().__init__()
        self.space, self.num_classes, self.in_chans = space, num_classes, in_chans
        plans = plan_cells(space.architecture(space.everything, width=space.width))
        self.stem0, self.stem1 = make_stems(space.stem, in_chans, space.width)
        self.cells = nn.ModuleList(map(SearchCell, plans))
        first, second = reduction_cells(space.num_cells)
        self.points = (first - 1, second - 1, space.num_cells - 1)
        self.point_widths = tuple(plans[k].out_width for k in self.points)
        self.classifier = nn.Linear(plans[-1].out_width, num_classes)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """``weights`` (rows, columns) of the candidates, see ``DartsSpace``; None: all 1, as in derived networks."""
        return self.forward_with_points(x, weights, points=False)[0]

    def forward_with_points(
        self, x: Tensor, weights: Tensor | None = None, *, points: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the maps of the last cells of the three resolutions, where DNAD compares with the teacher."""
        outputs = {-2: self.stem0(x)}
        outputs[-1] = self.stem1(outputs[-2])
        rows = None if weights is None else [row.unbind() for row in weights.unbind()]

        def output(k: int) -> Tensor:
            if k not in outputs:
                cell: SearchCell = self.cells[k]  # type: ignore[assignment]
                inputs = {i: output(k - 2 + i) for i in sorted(cell.reads)}
                outputs[k] = cell(inputs, rows and rows[k * NODES : (k + 1) * NODES])
            return outputs[k]

        maps = [output(k) for k in self.points] if points else []
        return self.classifier(output(self.space.num_cells - 1).mean(dim=(2, 3))), maps

    def remove(self, candidates: Iterable[Sequence[int]]) -> list[nn.Parameter]:
        """Take out the candidates at (row, column); those that are gone already do not count.

        Returns the parameters that the network no longer has. At least one candidate of a node must stay.
        """
        removed: list[nn.Parameter] = []
        for row, column in candidates:
            cell: SearchCell = self.cells[row // NODES]  # type: ignore[assignment]
            removed += cell.remove(row % NODES, column)
        return removed


def build_supernet(space: DartsSpace, *, num_classes: int, in_chans: int = 3, seed: int) -> SearchNet:
    """The supernet with random weights that ``seed`` determines."""
    with torch_seed(seed):
        return SearchNet(space, num_classes=num_classes, in_chans=in_chans)


def _name(edge: Edge) -> str:
    return f"{edge.op}_from{edge.input}"


def _make_edge(edge: Edge, plan: CellPlan) -> nn.Module:
    stride = 2 if plan.reduces and edge.input < 2 else 1
    return make_op(edge.op, plan.width, stride, affine=False, pool_norm=True)
