"""What a unit costs with fewer elements of its groups: few counts, and exact integers for all options that follow.

Costs are sums over layers. So what groups that touch no module together save adds up; where they share some, costs are
linear in each number of elements, and follow from counts with all and with the fewest of each, with and without each
branch.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.sparse import csgraph
from torch import nn

from distilnas.costing.measures import MEASURES, Part
from distilnas.runtime.skeletons import skeleton
from distilnas.surgery.chain import Unit
from distilnas.surgery.cut import cut
from distilnas.surgery.grafts import Cuttable
from distilnas.surgery.groups import InnerGroup

_MOST_CORNERS = 4  # groups that share modules, beyond which corners are more than options
Costs = dict[str, int]


def costs_of(
    unit: Unit, parts: Sequence[Cuttable], options: Sequence[tuple[int, ...]], measures: Sequence[str]
) -> dict[str, np.ndarray]:
    """(options,) by name: what ``unit`` costs with so many elements of each of its groups ``parts``."""
    counter = _Counter(skeleton(unit.module), unit.in_shape, unit.norms, measures)
    whole = counter.count((), ())
    total = {name: np.full(len(options), whole[name], dtype=np.int64) for name in measures}
    for members in _sharing([part.group for part in parts]):
        rows = [tuple(numbers[g] for g in members) for numbers in options]
        found = counter.table([parts[g] for g in members], rows)
        for name in measures:
            total[name] += [found[row][name] - whole[name] for row in rows]
    return total


def _sharing(groups: Sequence[InnerGroup]) -> list[list[int]]:
    """Numbers of ``groups``, together where they touch a module together, directly or by way of others."""
    if not groups:
        return []
    touched = [_touched(group) for group in groups]
    meet = [[any(_nested(a, b) for a in one for b in other) for other in touched] for one in touched]
    number, labels = csgraph.connected_components(np.array(meet), directed=False)
    return [np.flatnonzero(labels == label).tolist() for label in range(number)]


def _touched(group: InnerGroup) -> set[str]:
    """Paths of what changes with the number of the group's elements."""
    paths = {part.path for part in (*group.made, *group.read, *group.counts)}
    return paths | ({group.branch.path} if group.branch else set())


def _nested(path: str, other: str) -> bool:
    """Whether one of two modules is the other or inside it."""
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")


@dataclass(frozen=True, eq=False)
class _Counter:
    """Counts on copies of a unit without values (``hollow``); ``norms``: the unit's."""

    hollow: nn.Module
    in_shape: tuple[int, ...]
    norms: Mapping[str, str]
    measures: Sequence[str]

    def table(self, parts: Sequence[Cuttable], rows: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Costs]:
        """Costs of each of ``rows``, numbers of elements of ``parts``, all else kept; of many parts each is counted."""
        counted = cache(lambda numbers: self.count(parts, numbers))
        if len(parts) > _MOST_CORNERS:
            return {row: counted(row) for row in rows}
        gaining = [self._gains_bias(part) for part in parts]
        found = {}
        for row in dict.fromkeys(rows):
            ends = [_ends(*one) for one in zip(parts, row, gaining, strict=True)]
            corners = {corner: counted(corner) for corner in itertools.product(*map(dict.fromkeys, ends))}
            found[row] = {name: _between(corners, ends, row, name) for name in self.measures}
        return found

    def count(self, parts: Sequence[Cuttable], numbers: Sequence[int]) -> Costs:
        """Costs with so many elements of each of ``parts``."""
        module = copy.deepcopy(self.hollow)
        for part, number in zip(parts, numbers, strict=True):
            cut(module, part.group, range(number))
            if 0 < number < part.options[0]:
                self._add_biases(module, part)
        whole = Part(module, self.in_shape)
        return {name: int(MEASURES[name](whole)) for name in self.measures}

    def _add_biases(self, module: nn.Module, part: Cuttable) -> None:
        for path in self._without_constant(module, part):
            layer = module.get_submodule(path)
            assert isinstance(layer.weight, torch.Tensor)
            layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)), requires_grad=False)

    def _gains_bias(self, part: Cuttable) -> bool:
        """Whether what reads the group, once refitted, has a constant that nothing in the unit can take up."""
        return bool(self._without_constant(self.hollow, part))

    def _without_constant(self, module: nn.Module, part: Cuttable) -> list[str]:
        paths = [read.path for read in part.group.read]
        return [path for path in paths if module.get_submodule(path).bias is None and path not in self.norms]


def _ends(part: Cuttable, number: int, gains: bool) -> tuple[int, int]:
    """Most and fewest elements of the line on which the costs of ``number`` lie.

    A branch that is left out lies on none with others, nor does the whole group where a cut one ``gains`` a bias.
    """
    if number == 0 or (gains and number == part.options[0]):
        return number, number
    some = [other for other in part.options[int(gains) :] if other]
    return some[0], some[-1]


def _between(
    corners: Mapping[tuple[int, ...], Costs], ends: Sequence[tuple[int, int]], row: Sequence[int], name: str
) -> int:
    """The multilinear formula, in integers."""
    total, scale = 0, 1
    for corner, counts in corners.items():
        weight = 1
        for at, (most, least), number in zip(corner, ends, row, strict=True):
            if most != least:
                weight *= number - least if at == most else most - number
        total += weight * counts[name]
    for most, least in ends:
        scale *= max(1, most - least)
    value, rest = divmod(total, scale)
    assert rest == 0, "costs are linear in the number of channels"
    return value
