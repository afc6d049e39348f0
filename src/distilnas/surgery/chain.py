"""A frozen teacher as a chain of units, and copies of its units that are quick to run."""

import copy
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from distilnas.errors import UsageError
from distilnas.networks.cut import as_module, between, trace
from distilnas.networks.layouts import Layout
from distilnas.networks.parent import Border
from distilnas.surgery.branches import with_branches
from distilnas.surgery.cut import cut, put
from distilnas.surgery.groups import InnerGroup, inner_groups
from distilnas.surgery.heads import head_groups
from distilnas.surgery.taps import convolved_norms
from distilnas.teachers.units import Units

_log = logging.getLogger(__name__)

_SAME = 1e-3  # relative difference of a fused unit's output, from rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """One part of the teacher that may be cut inside, or left out where ``droppable``.

    ``name``: path of the module at its end, "head" for what follows the last. ``block``: number of the block it is in.
    ``module``: the teacher's own modules under their dotted names, frozen; it must not be changed. ``in_shape``,
    ``out_shape``: of one image, without batch. ``border``: where it ends; None for the head.
    """

    name: str
    block: int
    module: nn.Module
    groups: tuple[InnerGroup, ...]
    droppable: bool
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    border: Border | None

    @property
    def layout(self) -> Layout:
        """Of what it gives out."""
        return self.border.layout if self.border else Layout()

    def example(self) -> Tensor:
        """An input of zeros for two images, to see by it how the unit computes."""
        parameter = next(self.module.parameters(), torch.empty(0))
        return torch.zeros(2, *self.in_shape, device=parameter.device, dtype=parameter.dtype)

    @cached_property
    def norms(self) -> dict[str, str]:
        """`taps.convolved_norms` of the module."""
        return convolved_norms(self.module, self.example())

    def copy(self) -> nn.Module:
        """The unit as a module of its own, free to be changed; still in eval mode and without gradients."""
        return copy.deepcopy(self.module)


@dataclass(frozen=True, kw_only=True)
class End:
    """The ``border`` at which a unit ends, in block number ``block``, which ends with module ``tap``.

    ``droppable``: the unit adds to its input.
    """

    border: Border
    block: int
    tap: str
    droppable: bool

    def of_block(self) -> "End":
        """That of the whole block as one unit."""
        return replace(self, border=replace(self.border, path=self.tap), droppable=False)


def ends_of(units: Units) -> tuple[End, ...]:
    """The units of a proposed partition one by one; its tail is left to the head."""
    ends: list[End] = []
    for number, (block, tap) in enumerate(zip(units.blocks, units.partition.taps, strict=True)):
        if block.role == "tail":
            continue
        border = Border(path=tap.path, channels=tap.channels, height=tap.height, width=tap.width, layout=tap.layout)
        if block.role == "stem":
            ends.append(End(border=border, block=number, tap=tap.path, droppable=False))
            continue
        for unit in block.units:
            beside = unit is block.units[-1] and not unit.path.startswith(f"{tap.path}.")
            path = tap.path if beside else unit.path
            border = replace(border, path=path)
            ends.append(End(border=border, block=number, tap=tap.path, droppable=unit.removable))
    return tuple(ends)


def chain_of(model: nn.Module, ends: Sequence[End], image_shape: tuple[int, int, int]) -> tuple[Unit, ...]:
    """``model`` (set to eval mode and frozen) as units that end at ``ends``, and the head behind them, its own block.

    The first unit and the head are never left out, others only where they give out the shape that they take. A block
    that can't be cut inside is one unit. Raises ``UsageError`` where the network can't be cut or traced between
    blocks.
    """
    model = model.eval().requires_grad_(False)
    ends = _possible(model, ends, image_shape)
    paths = [end.border.path for end in ends]
    graph = trace(model, paths, image_shape)
    modules = [as_module(model, between(graph, a, b)).eval() for a, b in pairwise([None, *paths, None])]
    names = [[name for name, _ in module.named_modules()] for module in modules]
    channels = inner_groups(model, torch.zeros(1, *image_shape), names)
    x = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()).device)
    units = []
    for i, (end, module) in enumerate(zip((*ends, None), modules, strict=True)):
        with torch.no_grad():
            y = module(x)
        if not isinstance(y, Tensor):
            name = end.border.path if end else "the head"
            raise UsageError(
                f"{name} of {type(model).__name__} gives out a {type(y).__name__} where a unit has to give out one "
                "tensor: this teacher can't be cut into units."
            )
        droppable = i > 0 and end is not None and end.droppable and x.shape == y.shape
        heads = head_groups(module, x)
        others = [group for group in channels[i] if not any(_overlap(group, one) for one in heads)]
        groups = [*heads, *(group for group in others if _can_be_thinner(module, group, x, y))]
        units.append(
            Unit(
                name=end.border.path if end else "head",
                block=end.block if end else ends[-1].block + 1,
                module=module,
                groups=tuple(with_branches(module, groups, x, droppable=droppable)),
                droppable=droppable,
                in_shape=tuple(x.shape[1:]),
                out_shape=tuple(y.shape[1:]),
                border=end.border if end else None,
            )
        )
        x = y
    return tuple(units)


def _possible(model: nn.Module, ends: Sequence[End], image_shape: tuple[int, int, int]) -> list[End]:
    """``ends``, but one alone for each block inside which the network can't be cut."""

    def possible(some: Sequence[End]) -> bool:
        paths = [end.border.path for end in some]
        with suppress(UsageError):
            graph = trace(model, paths, image_shape)
            return all(between(graph, a, b) for a, b in pairwise([None, *paths, None]))
        return False

    if possible(ends):
        return list(ends)
    blocks = [list(block) for _, block in groupby(ends, key=lambda end: end.block)]
    return [end for block in blocks for end in (block if possible(block) else [block[-1].of_block()])]


def _overlap(group: InnerGroup, other: InnerGroup) -> bool:
    """Whether both cut the same module."""
    paths = {part.path for part in (*other.made, *other.read)}
    return any(part.path in paths for part in (*group.made, *group.read))


def _can_be_thinner(module: nn.Module, group: InnerGroup, x: Tensor, y: Tensor) -> bool:
    """Whether ``module``, which gives ``y`` for ``x``, runs with half of ``group``: its code may have a width in it."""
    thin = copy.deepcopy(module)
    cut(thin, group, range(group.elements // 2))
    with suppress(Exception), torch.no_grad():  # the network's own code, on sizes that it was not written for
        return thin(x).shape == y.shape
    _log.info("channels of %s stay: the code around them does not allow fewer", group.name)
    return False


def run(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    """``x`` through all of ``modules``."""
    for module in modules:
        x = module(x)
    return x


def quick(module: nn.Module, sample: Tensor, dtype: torch.dtype) -> nn.Module:
    """A copy of ``module`` (eval mode) for many forwards: batch norms folded, channels last, in ``dtype``.

    ``sample`` (float32) is an input to find out by which batch norms follow convolutions, and to check the result.
    """
    module = copy.deepcopy(module).requires_grad_(False)
    with torch.no_grad():
        expected = module(sample)
        folded = _folded(copy.deepcopy(module), sample)
        same = (folded(sample) - expected).norm() <= _SAME * expected.norm()
    return _channels_last(folded if same else module).to(dtype)


def _folded(module: nn.Module, sample: Tensor) -> nn.Module:
    """``module`` with each batch norm whose input is a convolution's output folded into that convolution."""
    for convolution, norm in convolved_norms(module, sample).items():
        at = module.get_submodule(norm)
        rest: Any = at.act if isinstance(at, BatchNormAct2d) else nn.Identity()
        fused = fuse_conv_bn_eval(module.get_submodule(convolution), at)  # type: ignore[arg-type]
        put(module, convolution, fused)
        put(module, norm, rest)
    return module


def _channels_last(module: nn.Module) -> nn.Module:
    """Weights of convolutions in the layout that processors like; linear layers as they are."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
