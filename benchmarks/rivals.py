"""Cuts without repair, which the product is held against."""

from bisect import bisect_left
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from torch import Tensor, nn

from distilnas.networks.plan import Skip
from distilnas.surgery.cut import cut
from distilnas.surgery.groups import MULTIPLE, InnerGroup
from distilnas.surgery.library import Library

M = TypeVar("M")


def thin(
    library: Library, share: float, without: frozenset[int] = frozenset(), *, multiple: int = MULTIPLE
) -> list[nn.Module]:
    """The library's units with all inner groups fewer by ``share``, least magnitude of what writes them first; the
    units ``without`` are left out."""
    modules: list[nn.Module] = []
    for i, unit in enumerate(library.units):
        module = Skip() if i in without else unit.copy()
        for group in () if i in without else unit.groups:
            number = group.options([1 - share], multiple=multiple)[-1]
            if number < group.elements and group.made:
                cut(module, group, np.sort(np.argsort(-_magnitude(module, group))[:number]))
        modules.append(module)
    return modules


def _magnitude(module: nn.Module, group: InnerGroup) -> np.ndarray:
    """(elements,) sums of absolute weights."""
    writer = next(part for part in group.made if part.path == group.name)
    weight = module.get_submodule(writer.path).weight
    assert isinstance(weight, Tensor)
    return weight.detach().flatten(1).abs().sum(1).cpu().numpy()[writer.index].sum(1)


def free_units(library: Library) -> list[list[int]]:
    """Numbers of the units that can be left out, block by block."""
    blocks: dict[int, list[int]] = {}
    for i, unit in enumerate(library.units):
        if unit.droppable:
            blocks.setdefault(unit.block, []).append(i)
    return list(blocks.values())


def least_cut(build: Callable[[float], M], fits: Callable[[M], bool], steps: int) -> M:
    """``build`` of the least share in ``steps`` equal steps that ``fits``, which larger shares then do too."""
    at = bisect_left(range(steps + 1), True, key=lambda step: fits(build(step / steps)))
    if at > steps:
        raise ValueError("nothing keeps the limit")
    return build(at / steps)
