"""The search space of the DARTS family: at every node of every cell, each op on each earlier state is a candidate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from distilnas.errors import UsageError
from distilnas.space.darts.architecture import DartsArchitecture
from distilnas.space.darts.genotype import CellwiseGenotype, DartsCell, Edge, all_states
from distilnas.space.darts.ops import OPS, PRIMITIVES, check_op

NODES = 4  # of a cell, as everywhere in the literature

PRIMITIVE_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "p3": ("skip_connect", "sep_conv_3x3", "dil_conv_5x5"),  # default of DNAD's authors
        "p2": ("skip_connect", "sep_conv_3x3"),
        "darts7": PRIMITIVES[1:],
        "darts8": PRIMITIVES,
    }
)


@dataclass(frozen=True, kw_only=True)
class DartsSpace:
    """Which genotypes there are, and the size of the supernet that holds them all.

    Nodes of all cells are numbered in one row: row ``4 k + n`` is node n of cell k. A node's candidates are numbered in
    one column each, ordered by input, then by the order of ``OPS``; ``primitives`` are kept in that order. State 0 is
    c_{k-2}, as in DARTS; the order of states does not matter to a search in which all of them are candidates.

    Args:
        width: channels C of the supernet's nodes before the first reduction.
    """

    stem: str = "cifar"
    width: int = 16
    num_cells: int = 8
    primitives: tuple[str, ...] = PRIMITIVE_SETS["p3"]

    def __post_init__(self) -> None:
        for name in self.primitives:
            check_op(name)
        if not self.primitives or len(set(self.primitives)) < len(self.primitives):
            raise UsageError(f"primitives must be different ops, at least one, got {list(self.primitives)}.")
        object.__setattr__(self, "primitives", tuple(sorted(self.primitives, key=OPS.index)))
        self.architecture(self.everything, width=self.width)  # checks the rest

    @property
    def rows(self) -> int:
        """Nodes of all cells."""
        return self.num_cells * NODES

    @property
    def columns(self) -> int:
        """Candidates of the last node, which has most."""
        return (NODES + 1) * len(self.primitives)

    @property
    def candidates(self) -> tuple[tuple[Edge, ...], ...]:
        """The candidates of the nodes of a cell, the same in all cells."""
        return tuple(
            tuple(Edge(op=op, input=state) for state in range(node + 2) for op in self.primitives)
            for node in range(NODES)
        )

    @property
    def num_candidates(self) -> int:
        """Candidates of all nodes of all cells."""
        return self.num_cells * sum(map(len, self.candidates))

    @property
    def num_genotypes(self) -> int:
        """How many genotypes there are when a node keeps any non-empty set of its candidates."""
        return math.prod(2 ** len(node) - 1 for node in self.candidates) ** self.num_cells

    @property
    def everything(self) -> CellwiseGenotype:
        """The genotype of all candidates: the supernet's."""
        cell = DartsCell(nodes=self.candidates, concat=all_states(NODES))
        return CellwiseGenotype(cells=(cell,) * self.num_cells)

    def genotype(self, kept: Sequence[Sequence[bool]]) -> CellwiseGenotype:
        """The genotype of the candidates for which ``kept[row][column]`` is true; longer rows are cut."""
        if len(kept) != self.rows:
            raise UsageError(f"a genotype of this space has {self.rows} nodes, got {len(kept)}.")
        nodes = [
            tuple(edge for edge, keep in zip(self.candidates[row % NODES], flags, strict=False) if keep)
            for row, flags in enumerate(kept)
        ]
        cells = tuple(tuple(nodes[start : start + NODES]) for start in range(0, self.rows, NODES))
        return CellwiseGenotype(cells=tuple(DartsCell(nodes=cell, concat=all_states(NODES)) for cell in cells))

    def architecture(self, genotype: CellwiseGenotype, *, width: int) -> DartsArchitecture:
        """The network of a genotype in another ``width``; stem and number of cells are the supernet's."""
        return DartsArchitecture(genotype=genotype, stem=self.stem, width=width, num_cells=self.num_cells)
