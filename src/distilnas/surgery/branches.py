"""Branches beside a shortcut: modules that add nothing but a constant once a group has no elements left.

Such a module (a transformer layer's attention, its MLP) can be left out alone. Decided by what they compute.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.surgery.groups import Branch, InnerGroup, Slice

_LAYERS = (nn.Linear, nn.Conv2d)
_CLOSE = 1e-4
_LITTLE = 1e-3  # of what the whole unit's outputs are apart
_SAME = 1e-6  # batch norms round places otherwise


@torch.no_grad()
def with_branches(unit: nn.Module, groups: Sequence[InnerGroup], x: Tensor, *, droppable: bool) -> list[InnerGroup]:
    """``groups`` of ``unit``, each with the branch that goes with it, and one of a single element for other branches.

    ``x`` is an input of two different images. Where all that a ``droppable`` unit adds is one branch, that is none:
    the unit itself can be left out.
    """
    look = _Look(unit, x, droppable)
    found = []
    for group in groups:
        others = [other for other in groups if other is not group]
        around = [path for path in _around(group) if not any(_inside(path, other) for other in others)]
        found.append(replace(group, branch=look.branch(around, group.read[-1].path)))
    for path in look.modules():
        if not any(_inside(path, group) or _in_branch(path, group) for group in found):
            reader = look.last_layer(path)
            if reader and (branch := look.branch([path], reader)):
                found.append(_whole(unit, reader, branch))
    return found


class _Look:
    """What ``unit`` computes of ``x`` with the weights of one layer at zero."""

    def __init__(self, unit: nn.Module, x: Tensor, droppable: bool) -> None:
        self._unit, self._x, self._droppable = unit, x, droppable
        self._calls: dict[str, int] = {}
        self._order: list[str] = []
        handles = [module.register_forward_pre_hook(partial(self._count, path)) for path, module in _named(unit)]
        self._spread = _spread(unit(x))
        for handle in handles:
            handle.remove()

    def modules(self) -> list[str]:
        """Modules that are called once and hold others, the outermost first."""
        return [path for path, part in _named(self._unit) if self._calls.get(path) == 1 and any(part.children())]

    def last_layer(self, path: str) -> str | None:
        """The linear layer or ungrouped convolution that is called last inside the module at ``path``."""
        inside = [one for one in self._order if one.startswith(f"{path}.")]
        layers = [one for one in inside if isinstance(self._unit.get_submodule(one), _LAYERS)]
        last = self._unit.get_submodule(layers[-1]) if layers else None
        return None if last is None or getattr(last, "groups", 1) != 1 else layers[-1]

    def branch(self, around: Sequence[str], reader: str) -> Branch | None:
        """The first module ``around`` the layer ``reader`` that is constant without it, while the unit is not."""
        around = [path for path in around if self._calls.get(path) == 1]
        if not around:
            return None
        silent = copy.deepcopy(self._unit)
        weight = silent.get_submodule(reader).weight
        assert isinstance(weight, Tensor)
        weight.zero_()
        seen: dict[str, tuple[int, ...] | None] = {}
        for path in around:
            silent.get_submodule(path).register_forward_hook(partial(_note_shape, seen, path))
        output = silent(self._x)
        if _spread(output) <= _LITTLE * self._spread or (self._droppable and _adds_nothing(output, self._x)):
            return None
        return next((Branch(path=path, shape=shape) for path in around if (shape := seen.get(path))), None)

    def _count(self, path: str, *_: Any) -> None:
        self._calls[path] = self._calls.get(path, 0) + 1
        self._order.append(path)


def _spread(output: Tensor) -> float:
    """How far the outputs of two images are apart."""
    return float((output[0] - output[1]).norm())


def _named(unit: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(path, part) for path, part in unit.named_modules() if path]


def _note_shape(
    seen: dict[str, tuple[int, ...] | None], path: str, _module: nn.Module, inputs: tuple[Any, ...], output: Any
) -> None:
    tensors = bool(inputs) and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
    seen[path] = _constant_shape(inputs[0], output) if tensors else None


def _adds_nothing(output: Tensor, x: Tensor) -> bool:
    """Whether a unit that adds to its input adds the same everywhere."""
    added = output - x
    return any(
        bool((places - places[:, :1]).abs().max() <= _CLOSE * output.abs().max())
        for places in (added.movedim(axis, 0).flatten(1) for axis in (1, -1))
    )


def _whole(unit: nn.Module, reader: str, branch: Branch) -> InnerGroup:
    """All channels that the layer ``reader`` reads, as one element."""
    weight = unit.get_submodule(reader).weight
    assert isinstance(weight, Tensor)
    columns = weight.shape[1]
    read = Slice(path=reader, axis="in", index=np.arange(columns)[None])
    return InnerGroup(name=reader, elements=1, width=columns, made=(), read=(read,), branch=branch)


def _in_branch(path: str, group: InnerGroup) -> bool:
    return group.branch is not None and f"{path}.".startswith(f"{group.branch.path}.")


def _around(group: InnerGroup) -> list[str]:
    """Paths of the modules around all of the group's, the outermost first."""
    owners = [part.path.split(".")[:-1] for part in (*group.made, *group.read)]
    common = 0
    while all(len(owner) > common and owner[common] == owners[0][common] for owner in owners):
        common += 1
    return [".".join(owners[0][:depth]) for depth in range(1, common + 1)]


def _inside(path: str, group: InnerGroup) -> bool:
    return any(part.path.startswith(f"{path}.") for part in (*group.made, *group.read))


def _constant_shape(given: Tensor, output: Tensor) -> tuple[int, ...] | None:
    """The shape in which the vector that ``output`` repeats has to be added; None where it repeats none."""
    if given.shape != output.shape:
        return None
    for axis in dict.fromkeys((output.ndim - 1, 1)):
        places = output.transpose(0, axis).flatten(1)
        if torch.allclose(places, places[:, :1].expand_as(places), rtol=_SAME, atol=_SAME):
            return (output.shape[axis], *(1,) * (output.ndim - 1 - axis))
    return None
