"""One cell of a derived DARTS network.

Parameter names: ``preprocess0``, ``preprocess1``, and ``nodes.N.OP_fromS`` for the edge of node N (from 0; it computes
state N + 2) that applies OP to state S. An edge is found by what it is, not by its place in a list.
"""

import functools

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from distilnas.networks.darts.ops import FactorizedReduce, make_op, relu_conv_bn
from distilnas.space.darts import CellPlan, Edge


class Cell(nn.Module):
    """c_{k-2}, c_{k-1} -> the concatenated nodes, (B, plan.out_width, H, W).

    An input that the plan leaves out may be None. ``drop_path`` zeroes each op's output per sample in training and
    divides the rest by the probability of keeping; identities are never dropped.
    """

    def __init__(self, plan: CellPlan) -> None:
        super().__init__()
        self.plan = plan
        before, previous = plan.in_widths
        enter = FactorizedReduce if plan.after_reduction else relu_conv_bn
        self.preprocess0 = None if before is None else enter(before, plan.width)
        self.preprocess1 = None if previous is None else relu_conv_bn(previous, plan.width)
        self.nodes = nn.ModuleList(
            nn.ModuleDict({_name(edge): _make_edge(edge, plan) for edge in node}) for node in plan.cell.nodes
        )
        self.drop_path = DropPath(0.0)

    def forward(self, s0: Tensor | None, s1: Tensor | None) -> Tensor:
        states: dict[int, Tensor] = {}
        if self.preprocess0 is not None:
            states[0] = self.preprocess0(s0)
        if self.preprocess1 is not None:
            states[1] = self.preprocess1(s1)
        for number, (node, edges) in enumerate(zip(self.nodes, self.plan.cell.nodes, strict=True), start=2):
            assert isinstance(node, nn.ModuleDict)
            outputs = [self._apply_edge(node[_name(edge)], states[edge.input]) for edge in edges]
            states[number] = functools.reduce(torch.add, outputs)
        return torch.cat([states[state] for state in self.plan.cell.concat], dim=1)

    def _apply_edge(self, op: nn.Module, x: Tensor) -> Tensor:
        return x if isinstance(op, nn.Identity) else self.drop_path(op(x))


def _name(edge: Edge) -> str:
    return f"{edge.op}_from{edge.input}"


def _make_edge(edge: Edge, plan: CellPlan) -> nn.Module:
    return make_op(edge.op, plan.width, 2 if plan.reduces and edge.input < 2 else 1)
