"""A unit cut to fewer inner channels with the following map refitted: every number of channels from one elimination."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from distilnas.surgery.chain import Unit, convolved_norms
from distilnas.surgery.cut import cut
from distilnas.surgery.eliminate import Elimination, Reader, eliminate
from distilnas.surgery.groups import InnerGroup, Slice
from distilnas.surgery.moments import Moment
from distilnas.surgery.refit import RIDGE, fit_map, matrix_of, own_cross, set_map

_WIDE = 2048  # columns from which several channels leave in one step of the elimination


@dataclass(frozen=True, kw_only=True, eq=False)
class Cuttable:
    """One inner group of a unit with the order in which its elements go, and moments of the layers that read them."""

    group: InnerGroup
    options: tuple[int, ...]
    elimination: Elimination
    moments: Mapping[str, Moment]
    norms: Mapping[str, str]

    def kept(self, number: int) -> np.ndarray:
        return self.elimination.kept(number)


def cuttable(unit: Unit, group: InnerGroup, options: tuple[int, ...], moments: Mapping[str, Moment]) -> Cuttable:
    """Order the elements of ``group`` by what ``unit`` loses without them, down to the smallest of ``options``.

    ``moments`` hold those of every layer that reads the group. What counts is the output of the last of these layers,
    each of its channels on the scale that the batch norm behind it gives it.
    """
    norms = convolved_norms(unit.module, torch.zeros(2, *unit.in_shape))
    last = group.read[-1]
    layer = unit.module.get_submodule(last.path)
    weight = matrix_of(layer) * _scale(unit.module, norms.get(last.path))[:, None]
    columns = columns_of_elements(layer, last)
    reader = Reader(weight=weight, moment=moments[last.path], columns=columns)
    at_once = max(1, round(columns.size / _WIDE))
    elimination = eliminate([reader], keep=min(options), at_once=at_once)
    return Cuttable(group=group, options=options, elimination=elimination, moments=moments, norms=norms)


def graft(unit: Unit, part: Cuttable, number: int, *, ridge: float = RIDGE) -> nn.Module:
    """A copy of ``unit`` with ``number`` elements of the group, the layers that read them fitted to what they did."""
    module = unit.copy()
    kept = part.kept(number)
    cut(module, part.group, kept)
    for read in part.group.read:
        layer = unit.module.get_submodule(read.path)
        columns = np.sort(columns_of_elements(layer, read)[kept].ravel())
        weight = matrix_of(layer)
        moment, cross = own_cross(part.moments[read.path], weight, columns)
        fit = fit_map(moment, cross, weight[:, columns], ridge=ridge)
        norm = part.norms.get(read.path)
        set_map(module.get_submodule(read.path), fit, module.get_submodule(norm) if norm else None)
    return module


def columns_of_elements(layer: nn.Module, read: Slice) -> np.ndarray:
    """(elements, b) columns of ``layer``'s weight as a matrix that belong to each element of the group it reads."""
    taps = int(np.prod(layer.weight.shape[2:]))  # type: ignore[union-attr,arg-type]
    columns = read.index[:, :, None] * taps + np.arange(taps)
    return columns.reshape(len(read.index), -1)


def _scale(module: nn.Module, norm: str | None) -> np.ndarray:
    """What the batch norm multiplies each channel with; 1 without one."""
    if norm is None:
        return np.ones(1)
    at = module.get_submodule(norm)
    weight = torch.ones_like(at.running_var) if at.weight is None else at.weight  # type: ignore[arg-type]
    scale = weight.double() / (at.running_var.double() + at.eps).sqrt()  # type: ignore[union-attr,operator]
    return scale.detach().abs().cpu().numpy()
