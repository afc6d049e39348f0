"""The architecture of the relaxed supernet of DARTS: a softmax over the ops of each edge, and what it stands for."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from distilnas.runtime.seeds import torch_seed
from distilnas.space.darts import AnyGenotype, CellwiseGenotype, DartsCell, Edge, Genotype, reduction_cells
from distilnas.space.darts.genotype import Node, all_states
from distilnas.space.darts.space import NODES, DartsSpace

_START = 1e-3
_EDGES = sum(node + 2 for node in range(NODES))  # pairs of an input and a node
_KEPT = 2


class Alphas(nn.Module):
    """``alpha`` (groups, 14, P): one group for the normal and one for the reduction cells if ``shared`` (DARTS), else
    one for each cell. The 14 edges are ordered by node, then by input."""

    groups: Tensor
    places: Tensor

    def __init__(self, space: DartsSpace, *, shared: bool, seed: int) -> None:
        super().__init__()
        self.space, self.shared = space, shared
        number, cells = len(space.primitives), range(space.num_cells)
        with torch_seed(seed):
            start = torch.randn(2 if shared else space.num_cells, _EDGES, number)
        self.alpha = nn.Parameter(_START * start)
        reductions = reduction_cells(space.num_cells)
        self.register_buffer("groups", torch.tensor([k in reductions if shared else k for k in cells]).long(), False)
        places = torch.full((NODES, space.columns), _EDGES * number)  # where there is no candidate: behind the last
        for node, first in enumerate(_first_edges()):
            places[node, : (node + 2) * number] = torch.arange((node + 2) * number) + first * number
        self.register_buffer("places", places, False)

    def weights(self) -> Tensor:
        """Softmax over the ops of each edge, as (rows, columns) of the space; 0 where there is no candidate."""
        weights = nn.functional.pad(self.alpha.softmax(dim=-1).flatten(1), (0, 1))
        return weights[self.groups][:, self.places].flatten(0, 1)

    def genotype(self) -> AnyGenotype:
        """Per node the two inputs with the largest weights of an op other than ``none``, each with that op."""
        cells = [self._cell(weights) for weights in self.alpha.detach().softmax(dim=-1).tolist()]
        return Genotype(normal=cells[0], reduce=cells[1]) if self.shared else CellwiseGenotype(cells=tuple(cells))

    def _cell(self, weights: list[list[float]]) -> DartsCell:
        nodes = [
            strongest(weights[first : first + node + 2], self.space.primitives)
            for node, first in enumerate(_first_edges())
        ]
        return DartsCell(nodes=tuple(nodes), concat=all_states(NODES))


def num_genotypes(space: DartsSpace, *, shared: bool) -> int:
    """How many genotypes ``Alphas.genotype`` can give: two inputs a node, one op other than ``none`` on each."""
    ops = len(set(space.primitives) - {"none"})
    of_cell = math.prod(math.comb(node + 2, _KEPT) * ops**_KEPT for node in range(NODES))
    return of_cell ** (2 if shared else space.num_cells)


def strongest(weights: Sequence[Sequence[float]], primitives: Sequence[str]) -> Node:
    """The two strongest edges of a node by ``weights[input][op]``, the strongest first; of equals the earlier input."""
    best = []
    for state, row in enumerate(weights):
        weight, op = max((weight, -place) for place, weight in enumerate(row) if primitives[place] != "none")
        best.append((-weight, state, primitives[-op]))
    return tuple(Edge(op=op, input=state) for _, state, op in sorted(best)[:_KEPT])


def _first_edges() -> list[int]:
    """Number of the first edge of each node."""
    return [sum(earlier + 2 for earlier in range(node)) for node in range(NODES)]
