"""A unit replaced by one linear map of its channels at every place: the cheapest that keeps its borders."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.networks.parts import LinearMap
from distilnas.surgery.chain import Unit
from distilnas.surgery.moments import PER_COLUMN, MomentSum, columns_of, rows_of, thinned
from distilnas.surgery.refit import fit_held_out, set_map


def new_linear(unit: Unit) -> LinearMap:
    """A map that can stand for ``unit``; it averages by the unit's stride; its weights are without meaning.

    Raises ``UsageError`` where no such map has the unit's borders: it changes the layout (a patch embedding), or its
    output's sizes are not the input's over a whole stride, rounded up.
    """
    if len(unit.in_shape) != len(unit.out_shape):
        raise _unfit(unit)
    before, after = unit.layout.grid(unit.in_shape), unit.layout.grid(unit.out_shape)
    channels = 0 if unit.layout.kind == "nchw" else -1
    stride = max(1, round(before[0] / after[0]))
    if after != tuple(-(-size // stride) for size in before):
        raise _unfit(unit)
    module = LinearMap(
        unit.in_shape[channels], unit.out_shape[channels], stride=stride, layout=unit.layout, grid=before
    )
    return module.requires_grad_(False).eval()


@torch.no_grad()
def fit_linear(module: LinearMap, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> LinearMap:
    """``module`` with the least squares of a unit's ``outputs`` on its ``inputs``, both batch by batch, raw layout.

    The ridge, towards handing the channels on, is chosen from half to half and grows where images are few.
    """
    layer = module.map
    rows, columns = layer.weight.shape[:2]
    halves = [MomentSum(columns, rows) for _ in range(2)]
    most = PER_COLUMN * (columns + 1) / max(1, sum(map(len, inputs)))
    for at, (given, target) in enumerate(zip(inputs, outputs, strict=True)):
        samples, targets = columns_of(layer, module.pooled(given)), rows_of(layer, target)
        some = thinned(len(samples), max(1, round(most * len(given))))
        halves[at % 2].add(samples[some], targets[some])
    found = fit_held_out([(half.moment(), half.cross()) for half in halves if half.samples], np.eye(rows, columns))
    set_map(layer, found)
    return module.to(inputs[0].device)


def _unfit(unit: Unit) -> UsageError:
    return UsageError(
        "a linear map takes the place of a unit whose output is its input's size over a whole stride, but "
        f"{unit.name!r} makes {unit.out_shape} of {unit.in_shape}: keep it, or cut inside it."
    )
