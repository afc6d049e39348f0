"""Cost tables computed from the modules that ``distilnas.blocks`` builds: nothing is typed in.

A block's layers are built one by one on the meta device and counted, the first layer once for every width that the
previous block may emit, so that the sum over an architecture equals the count of the built network exactly.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from distilnas.blocks import conv_norm_act, make_layer
from distilnas.costing.counters import count_owned, count_params
from distilnas.space import CellSpec, Op, SearchSpace
from distilnas.tables import CellCosts, CostTable

COSTS = ("macs", "params")
_Build = Callable[[], nn.Module]


def cost_table(space: SearchSpace, *, resolution: int, num_classes: int, in_chans: int = 3) -> CostTable:
    """MACs and parameters of every candidate of ``space`` for images of ``resolution`` and ``num_classes`` classes."""
    counter = _LayerCounter()
    stem, side = counter.sequence(lambda: _stem(space, in_chans), in_chans, resolution)
    cells = []
    for b, block in enumerate(space.blocks):
        after = -(-side // block.stride)
        cells.append(tuple(counter.cell(cell, space.in_widths(b), block.stride, side, after) for cell in block.cells))
        side = after
    head = {width: counter.head(space, width, side, num_classes) for width in space.blocks[-1].widths}
    return CostTable(
        space=space.fingerprint,
        costs=COSTS,
        in_widths=tuple(space.in_widths(b) for b in range(len(space.blocks))),
        stem=stem,
        head=head,
        cells=tuple(cells),
        settings={"resolution": resolution, "num_classes": num_classes, "in_chans": in_chans},
    )


class _LayerCounter:
    """Counts layers, each distinct one once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], tuple[int, ...]] = {}

    def sequence(self, build: _Build, in_width: int, side: int) -> tuple[np.ndarray, int]:
        with torch.device("meta"):
            module = build()
        counts = count_owned(module, (in_width, side, side))
        return np.array([counts.macs, count_params(module)], dtype=np.int64), counts.shape[-1]

    def layer(self, op: Op, in_width: int, out_width: int, stride: int, side: int) -> tuple[int, ...]:
        key = (op, in_width, out_width, stride, side)
        if key not in self._seen:
            counts, _ = self.sequence(lambda: make_layer(op, in_width, out_width, stride), in_width, side)
            self._seen[key] = tuple(int(x) for x in counts)
        return self._seen[key]

    def cell(self, cell: CellSpec, in_widths: tuple[int, ...], stride: int, side: int, after: int) -> CellCosts:
        first = [[self.layer(op, w, cell.width, stride, side) for op in cell.layers[0]] for w in in_widths]
        rest = [[self.layer(op, cell.width, cell.width, 1, after) for op in layer] for layer in cell.layers[1:]]
        return CellCosts(
            first=np.array(first, dtype=np.int64).transpose(2, 0, 1),
            rest=tuple(np.array(layer, dtype=np.int64).T for layer in rest),
        )

    def head(self, space: SearchSpace, width: int, side: int, num_classes: int) -> np.ndarray:
        convolution, _ = self.sequence(
            lambda: nn.Sequential(*conv_norm_act(width, space.head.width, kernel=1, stride=1, act=space.head.act)),
            width,
            side,
        )
        classifier = np.array([space.head.width * num_classes, (space.head.width + 1) * num_classes], dtype=np.int64)
        return convolution + classifier


def _stem(space: SearchSpace, in_chans: int) -> nn.Module:
    stem, width = space.stem, space.stem.width
    modules = [*conv_norm_act(in_chans, width, kernel=3, stride=stem.stride, act=stem.act)]
    for layer in stem.layers:
        modules.append(make_layer(layer.op, width, layer.width, layer.stride))
        width = layer.width
    return nn.Sequential(*modules)
