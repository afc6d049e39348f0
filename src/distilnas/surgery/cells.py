"""Cells of new layers in the place of whole blocks, trained block by block as in DNA, beside the teacher's own."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distilnas.networks.new_parts import NewCell
from distilnas.space import Candidate, Cell
from distilnas.supernet import Supernet
from distilnas.supernet.student import load_layer, measure_norms
from distilnas.surgery.chain import Unit, run
from distilnas.surgery.library import Place


def cell_blocks(units: Sequence[Unit]) -> dict[int, tuple[int, int]]:
    """First and last unit of each block that cells may stand for: those between maps (B, C, H, W), not the first, which
    reads images, nor the head."""
    found = {}
    for block, group in itertools.groupby(range(len(units)), key=lambda i: units[i].block):
        inside = list(group)
        first, last = inside[0], inside[-1]
        maps = first > 0 and all(len(shape) == 3 for shape in (units[first].in_shape, units[last].out_shape))
        if maps and units[last].border is not None and {units[i].layout.kind for i in (first - 1, last)} == {"nchw"}:
            found[block] = (first, last)
    return found


def new_cell(text: str, first: Unit, last: Unit) -> NewCell:
    """The cell of a ``text`` without its weights, for the units from ``first`` to ``last``; frozen, in eval mode."""
    return NewCell(Cell.parse(text), first.in_shape[0], last.out_shape[0]).requires_grad_(False).eval()


@torch.no_grad()
def cells_of(supernet: Supernet, units: Sequence[Unit], batches: Sequence[Tensor]) -> dict[Place, NewCell]:
    """Every candidate of the trained ``supernet``'s blocks that cells may stand for, as a module with its weights.

    Its batch norms, which had no statistics while all candidates shared them, are measured on ``batches`` of images
    (B, C, H, W). The supernet's blocks are the teacher's, from which ``units`` are made.
    """
    found, features, at = {}, list(batches), 0
    for block, (first, last) in cell_blocks(units).items():
        features, at = [run([unit.module for unit in units[at:first]], x) for x in features], first
        spec = supernet.space.body[block]
        for number, cell in enumerate(spec.cells):
            for path in itertools.product(*map(range, cell.shape)):
                module = _filled(supernet, block, Candidate(cell=number, path=path), units[first], units[last])
                measure_norms(module.layers_before(), features)
                found[Place(first, last, str(module.cell))] = module
    return found


def _filled(supernet: Supernet, block: int, candidate: Candidate, first: Unit, last: Unit) -> NewCell:
    """One candidate with the supernet's weights; what enters and leaves it becomes its own."""
    spec, trained = supernet.space.body[block], supernet.blocks[block]
    entry: Any = trained.entry
    own: Any = trained.cells[candidate.cell]  # type: ignore[index]
    enter = entry.out_channels if isinstance(entry, nn.Conv2d) else 0
    filling = spec.cells[candidate.cell].fill(candidate.path, stride=spec.stride)
    module = new_cell(str(Cell(width=filling.width, stride=filling.stride, ops=filling.ops, enter=enter)), first, last)
    layers: list[Any] = list(module.layers)
    if enter:
        adapter = layers.pop(0)
        adapter.weight.copy_(entry.weight)
        nn.init.zeros_(adapter.bias)
    for layer, options, op in zip(layers, own.layers, candidate.path, strict=True):
        load_layer(layer, options[op])
    if isinstance(own.exit, nn.Conv2d):
        module.map.load_state_dict(own.exit.state_dict())
    else:
        nn.init.dirac_(module.map.weight)
        nn.init.zeros_(module.map.bias)  # type: ignore[arg-type]
    return module.to(first.example().device)
