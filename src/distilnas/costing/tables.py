"""Cost tables computed from the modules that ``distilnas.blocks`` builds: nothing is typed in.

A block's layers are built one by one on the meta device and counted, the first layer once for every width that the
previous block may emit, so that the sum over an architecture equals the count of the built network exactly.
"""

from collections.abc import Sequence

import numpy as np
import torch

from distilnas.blocks import Piece, Pieces, block_kind
from distilnas.costing.measures import ADDITIVE, MEASURES, Part
from distilnas.space import Family, SearchSpace
from distilnas.tables import CellCosts, CostTable
from distilnas.tables.measures import measure_info

Shape = tuple[int, ...]


def cost_table(
    space: SearchSpace, *, resolution: int, num_classes: int, in_chans: int = 3, measures: Sequence[str] = ADDITIVE
) -> CostTable:
    """The ``measures`` of every candidate of ``space`` for images of ``resolution`` and ``num_classes`` classes."""
    counter = _Counter(measures)
    in_widths = tuple(space.in_widths(b, in_chans) for b in range(len(space.blocks)))
    cells, side = [], resolution
    for block, widths in zip(space.blocks, in_widths, strict=True):
        shapes = [(width, side, side) for width in widths]
        cells.append(tuple(counter.family(f, shapes, block.stride, num_classes) for f in block.families))
        side = -(-side // block.stride)
    return CostTable(
        space=space.fingerprint,
        costs=tuple(measures),
        floats=tuple(name for name in measures if not measure_info(name).exact),
        in_widths=in_widths,
        cells=tuple(cells),
        settings={"resolution": resolution, "num_classes": num_classes, "in_chans": in_chans},
    )


class _Counter:
    """Counts pieces, each distinct one once."""

    def __init__(self, measures: Sequence[str]) -> None:
        self._measures = [MEASURES[name] for name in measures]
        self._seen: dict[object, tuple[np.ndarray, Shape]] = {}

    def family(self, family: Family, shapes: list[Shape], stride: int, num_classes: int) -> CellCosts:
        """The costs of all candidates for each map that may come in."""
        kind, firsts, rest = block_kind(family.kind), [], ()
        for shape in shapes:
            fixed, *axes = self._axes(kind.pieces(family, shape[0], stride=stride, num_classes=num_classes), shape)
            first, *rest = axes or [np.zeros_like(fixed)]
            firsts.append(fixed + first)
        return CellCosts(first=np.stack(firsts, axis=1), rest=tuple(rest))

    def _axes(self, pieces: Pieces, shape: Shape) -> list[np.ndarray]:
        """(costs, 1) of what is always there, then (costs, options) of each axis."""
        total = np.zeros(len(self._measures), dtype=np.int64)
        for piece in pieces.fixed:
            costs, shape = self._piece(piece, shape)
            total = total + costs
        found = [total[:, None]]
        for options in pieces.axes:
            counted = [self._piece(piece, shape) for piece in options]
            found.append(np.stack([costs for costs, _ in counted], axis=1))
            shape = counted[0][1]
        return found

    def _piece(self, piece: Piece, shape: Shape) -> tuple[np.ndarray, Shape]:
        """(costs,) of a piece on a map of ``shape``, and the shape it gives out."""
        key = (piece.key, shape)
        if key not in self._seen:
            with torch.device("meta"):
                part = Part(piece.build(), shape)
            self._seen[key] = np.array([measure(part) for measure in self._measures]), part.counts.shape
        return self._seen[key]
