"""What may stand in a part of a network that is made of its parent's, and how each is written down and built again.

A new kind is a function that tells its modules, two that write and build them, and a line in ``PARTS``. In between
parts, features have the parent's own layout.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from distilnas.errors import UsageError, nearest
from distilnas.networks.layouts import Layout
from distilnas.networks.new_parts import LinearMap, NewCell, PooledClassifier
from distilnas.networks.plan import Plan, Skip, apply_plan, plan_of
from distilnas.space import Cell


@dataclass(frozen=True, kw_only=True)
class PartKind:
    """``owns``: whether a module is of this kind. ``write``: it as data, given the parent's own part; ``build``: back,
    from the parent's part, which it may change. ``word``: for people, from the data."""

    owns: Callable[[nn.Module], bool]
    write: Callable[[nn.Module, nn.Module], dict[str, Any]]
    build: Callable[[Mapping[str, Any], nn.Module], nn.Module]
    word: Callable[[Mapping[str, Any]], str]


def write_part(module: nn.Module, parents: nn.Module) -> dict[str, Any]:
    """``module``, which stands where the parent has ``parents``, as data for JSON, without weights."""
    for name, kind in PARTS.items():
        if kind.owns(module):
            return {"kind": name, **kind.write(module, parents)}
    raise UsageError(f"a part of a student is one of {', '.join(PARTS)}; a {type(module).__name__} can't be stored.")


def build_part(data: Any, parents: nn.Module) -> nn.Module:
    """The module that ``data`` tells, without values; raises ``UsageError`` for what ``write_part`` never gives."""
    name = data.get("kind") if isinstance(data, Mapping) else None
    if name not in PARTS:
        raise UsageError(f"a student's part has a known kind, got {name!r}: {nearest(str(name), PARTS)}")
    try:
        return PARTS[name].build(data, parents)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UsageError(f"a student's part of kind {name} is not described as it should be: {error!r}.") from error


def part_word(data: Mapping[str, Any]) -> str:
    """One word about a stored part."""
    return PARTS[data["kind"]].word(data)


def _write_parents(module: nn.Module, parents: nn.Module) -> dict[str, Any]:
    return plan_of(parents, module).to_dict()


def _build_parents(data: Mapping[str, Any], parents: nn.Module) -> nn.Module:
    apply_plan(parents, _plan(data))
    return parents


def _plan(data: Mapping[str, Any]) -> Plan:
    return Plan.from_dict({key: value for key, value in data.items() if key != "kind"})


def _write_linear(module: nn.Module, _parents: nn.Module) -> dict[str, Any]:
    assert isinstance(module, LinearMap)
    return {
        "in_channels": module.in_channels,
        "out_channels": module.out_channels,
        "stride": module.stride,
        "grid": list(module.grid),
        "layout": _layout(module.layout),
    }


def _build_linear(data: Mapping[str, Any], _parents: nn.Module) -> nn.Module:
    layout, grid = Layout(**data["layout"]), tuple(data["grid"])
    with torch.device("meta"):
        return LinearMap(data["in_channels"], data["out_channels"], stride=data["stride"], layout=layout, grid=grid)


def _write_cell(module: nn.Module, _parents: nn.Module) -> dict[str, Any]:
    assert isinstance(module, NewCell)
    return {"cell": str(module.cell), "in_channels": module.in_channels, "out_channels": module.out_channels}


def _build_cell(data: Mapping[str, Any], _parents: nn.Module) -> nn.Module:
    cell = Cell.parse(data["cell"])
    with torch.device("meta"):
        return NewCell(cell, data["in_channels"], data["out_channels"])


def _write_pooled(module: nn.Module, _parents: nn.Module) -> dict[str, Any]:
    assert isinstance(module, PooledClassifier)
    sizes = {"in_channels": module.fc.in_features, "num_classes": module.fc.out_features}
    return {**sizes, "layout": _layout(module.layout)}


def _build_pooled(data: Mapping[str, Any], _parents: nn.Module) -> nn.Module:
    with torch.device("meta"):
        return PooledClassifier(data["in_channels"], data["num_classes"], layout=Layout(**data["layout"]))


def _layout(layout: Layout) -> dict[str, Any]:
    return {"kind": layout.kind, "prefix": layout.prefix}


PARTS: dict[str, PartKind] = {
    "parent": PartKind(
        owns=lambda module: isinstance(module, fx.GraphModule),
        write=_write_parents,
        build=_build_parents,
        word=lambda data: "cut" if _plan(data) else "kept",
    ),
    "linear": PartKind(
        owns=lambda module: isinstance(module, LinearMap),
        write=_write_linear,
        build=_build_linear,
        word=lambda _data: "linear",
    ),
    "cell": PartKind(
        owns=lambda module: isinstance(module, NewCell),
        write=_write_cell,
        build=_build_cell,
        word=lambda _data: "cell",
    ),
    "skip": PartKind(
        owns=lambda module: isinstance(module, Skip | nn.Identity),
        write=lambda _module, _parents: {},
        build=lambda _data, _parents: Skip(),
        word=lambda _data: "skip",
    ),
    "pooled": PartKind(
        owns=lambda module: isinstance(module, PooledClassifier),
        write=_write_pooled,
        build=_build_pooled,
        word=lambda _data: "pooled",
    ),
}
