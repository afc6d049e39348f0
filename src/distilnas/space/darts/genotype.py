"""Genotypes: which ops read which states in the cells of a DARTS network.

A cell has states: 0 is the output of the cell before the previous one (c_{k-2}), 1 that of the previous cell (c_{k-1}),
and node n (from 0) computes state n + 2, the sum of its edges. An edge applies an op to one earlier state. The cell's
output is the concatenation of the states in ``concat``.

Two forms: ``Genotype`` (DARTS: one normal and one reduction cell, two edges per node) and ``CellwiseGenotype`` (DNAD:
every cell its own; a node keeps any non-empty set of edges). The first expands to the second.

The authors of DNAD number the two inputs the other way round (0 is the previous cell). Records always use the numbering
of DARTS; ``text`` and JSON can read and write both.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from distilnas.errors import UsageError, nearest
from distilnas.space.darts.ops import OPS, SHORT_NAMES, check_op
from distilnas.space.ops import check_positive

SCHEMA = 1
StateOrder = Literal["darts", "dnad"]
STATE_ORDERS = ("darts", "dnad")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """``op`` applied to state ``input``."""

    op: str
    input: int

    def __post_init__(self) -> None:
        check_op(self.op)
        if not isinstance(cast("object", self.input), int) or isinstance(self.input, bool) or self.input < 0:
            raise UsageError(f"an edge's input must be the number of a state, from 0, got {self.input!r}.")

    def __str__(self) -> str:
        return f"{SHORT_NAMES[self.op]}-{self.input}"


Node = tuple[Edge, ...]


@dataclass(frozen=True, kw_only=True)
class DartsCell:
    """The graph of one cell. Every state must be of use: in ``concat`` or read by a later node."""

    nodes: tuple[Node, ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise UsageError("a DARTS cell needs at least one node, got none.")
        for state, node in enumerate(self.nodes, start=2):
            _check_node(state, node)
        states = range(2, len(self.nodes) + 2)
        whole = all(type(state) is int for state in self.concat)
        if not self.concat or not whole or list(self.concat) != sorted(set(self.concat) & set(states)):
            raise UsageError(
                f"concat must list states of nodes ({states[0]} to {states[-1]}), ascending and each once, "
                f"got {list(self.concat)}."
            )
        unused = set(states) - set(self.concat) - {edge.input for node in self.nodes for edge in node}
        if unused:
            raise UsageError(f"no later node reads state {min(unused)} and concat leaves it out; add it to concat.")

    def __str__(self) -> str:
        text = " | ".join(" ".join(map(str, node)) for node in self.nodes)
        return text if self.concat == all_states(len(self.nodes)) else f"{text} > {' '.join(map(str, self.concat))}"

    @property
    def num_edges(self) -> int:
        """Ops of the cell."""
        return sum(map(len, self.nodes))

    @property
    def reads(self) -> frozenset[int]:
        """Which of the inputs 0 (c_{k-2}) and 1 (c_{k-1}) any node reads."""
        return frozenset(edge.input for node in self.nodes for edge in node if edge.input < 2)

    def swapped(self) -> "DartsCell":
        """The cell with inputs 0 and 1 exchanged: from one state order to the other."""
        nodes = tuple(
            tuple(Edge(op=e.op, input=1 - e.input if e.input < 2 else e.input) for e in node) for node in self.nodes
        )
        return DartsCell(nodes=nodes, concat=self.concat)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``from_dict`` reads it back."""
        return {"nodes": [[[e.op, e.input] for e in node] for node in self.nodes], "concat": list(self.concat)}

    @classmethod
    def from_dict(cls, data: Any) -> "DartsCell":
        """Read the JSON form; raises ``UsageError`` when it is another."""
        try:
            nodes = tuple(tuple(Edge(op=op, input=state) for op, state in node) for node in data["nodes"])
            return cls(nodes=nodes, concat=tuple(data["concat"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"not a DARTS cell: {error}; valid: what `DartsCell.to_dict` writes.") from error


@dataclass(frozen=True, kw_only=True)
class Genotype:
    """The DARTS form: all normal cells are alike, all reduction cells are alike, every node has two edges."""

    normal: DartsCell
    reduce: DartsCell

    def __post_init__(self) -> None:
        for kind, cell in (("normal", self.normal), ("reduce", self.reduce)):
            for state, node in enumerate(cell.nodes, start=2):
                if len(node) != 2:
                    raise UsageError(
                        f"in the DARTS form every node has two edges, got {len(node)} for state {state} of the "
                        f"{kind} cell; write the cells one by one instead (per-cell form)."
                    )

    def __str__(self) -> str:
        return f"N: {self.normal} ; R: {self.reduce}"

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of the text form."""
        return fingerprint(str(self))

    def expand(self, num_cells: int) -> "CellwiseGenotype":
        """The per-cell form with ``num_cells`` cells; the network is the same."""
        reductions = reduction_cells(num_cells)
        return CellwiseGenotype(cells=tuple(self.reduce if k in reductions else self.normal for k in range(num_cells)))

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``genotype_from_dict`` reads it back."""
        cells = {"normal": self.normal.to_dict(), "reduce": self.reduce.to_dict()}
        return {"schema": SCHEMA, "form": "darts", "state_order": "darts", **cells}


@dataclass(frozen=True, kw_only=True)
class CellwiseGenotype:
    """The per-cell form. A node is a set: its edges are kept sorted by input, then by the order of ``OPS``."""

    cells: tuple[DartsCell, ...]

    def __post_init__(self) -> None:
        if not self.cells:
            raise UsageError("a per-cell genotype needs at least one cell, got none.")
        object.__setattr__(self, "cells", tuple(map(_sorted_edges, self.cells)))

    def __str__(self) -> str:
        return " ; ".join(map(str, self.cells))

    @property
    def num_edges(self) -> int:
        """Ops of all cells."""
        return sum(cell.num_edges for cell in self.cells)

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the SHA-256 of the text form."""
        return fingerprint(str(self))

    def expand(self, num_cells: int) -> "CellwiseGenotype":
        """This genotype; raises ``UsageError`` unless it has ``num_cells`` cells."""
        if num_cells != len(self.cells):
            raise UsageError(f"the per-cell genotype has {len(self.cells)} cells, the network asks for {num_cells}.")
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON form; ``genotype_from_dict`` reads it back."""
        cells = [cell.to_dict() for cell in self.cells]
        return {"schema": SCHEMA, "form": "cellwise", "state_order": "darts", "cells": cells}


AnyGenotype = Genotype | CellwiseGenotype


def genotype_from_dict(data: Any) -> AnyGenotype:
    """Read the JSON form of either genotype, in either state order; raises ``UsageError`` for anything else."""
    if not isinstance(data, dict):
        raise UsageError(f"not a genotype: a mapping is needed, got {data!r:.60}.")
    fields = cast("dict[str, Any]", data)
    if fields.get("schema") != SCHEMA:
        raise UsageError(f"genotype schema must be {SCHEMA}, got {fields.get('schema')!r}.")
    order = fields.get("state_order")
    try:
        if fields.get("form") == "darts":
            return Genotype(normal=_read_cell(fields["normal"], order), reduce=_read_cell(fields["reduce"], order))
        if fields.get("form") == "cellwise":
            return CellwiseGenotype(cells=tuple(_read_cell(cell, order) for cell in fields["cells"]))
    except (KeyError, TypeError) as error:
        raise UsageError(f"not a genotype: {error}; valid: what `to_dict` of a genotype writes.") from error
    raise UsageError(f"a genotype's form must be 'darts' or 'cellwise', got {fields.get('form')!r}.")


def reduction_cells(num_cells: int) -> tuple[int, int]:
    """Indices of the two cells that halve the resolution and double the width: L // 3 and 2 L // 3 (DARTS).

    Raises ``UsageError`` below 3 cells: the three resolutions need one each.
    """
    check_positive("number of cells", num_cells)
    if num_cells < 3:
        raise UsageError(f"a DARTS network needs at least 3 cells, one per resolution, got {num_cells}.")
    return num_cells // 3, 2 * num_cells // 3


def all_states(num_nodes: int) -> tuple[int, ...]:
    """The states of all nodes: the usual ``concat``."""
    return tuple(range(2, num_nodes + 2))


def in_order(cell: DartsCell, order: object) -> DartsCell:
    """``cell`` from or to the state order ``order``; raises ``UsageError`` for an unknown one."""
    if order not in STATE_ORDERS:
        raise UsageError(f"unknown state order {order!r}; {nearest(str(order), STATE_ORDERS)}")
    return cell if order == "darts" else cell.swapped()


def fingerprint(text: str) -> str:
    """First 12 hex digits of the SHA-256 of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check_node(state: int, node: Sequence[Edge]) -> None:
    if not node:
        raise UsageError(f"a node needs at least one edge, got none for state {state}.")
    for edge in node:
        if edge.input >= state:
            raise UsageError(f"state {state} may read states 0 to {state - 1}, got {edge} ({edge.op}).")
    if len(set(node)) != len(node):
        raise UsageError(f"a node may hold an (op, input) pair once, state {state} has {' '.join(map(str, node))}.")


def _sorted_edges(cell: DartsCell) -> DartsCell:
    nodes = tuple(tuple(sorted(node, key=lambda e: (e.input, OPS.index(e.op)))) for node in cell.nodes)
    return DartsCell(nodes=nodes, concat=cell.concat)


def _read_cell(data: Any, order: object) -> DartsCell:
    return in_order(DartsCell.from_dict(data), order)
