"""What may stand in a part of a network that is made of its parent's, and how each is written down and built again.

A new kind is a function that tells its modules, two that write and build them, and a line in ``PARTS``. In between
parts, features have the parent's own layout.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from distilnas.errors import UsageError, nearest
from distilnas.networks.layouts import Layout
from distilnas.networks.plan import Plan, Skip, apply_plan, plan_of


class LinearMap(nn.Module):
    """One linear map of the channels at every place, after average pooling by ``stride``: the cheapest block.

    (B, ..., in) -> (B, ..., out) in ``layout``; prefix tokens are mapped like the others. Of tokens, ``grid`` is the
    input's (height, width). A last window that is not full is averaged over what it has, so that sizes are rounded up.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        layout: Layout | None = None,
        grid: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels, stride, *grid)
        if len(sizes) != 5 or not all(type(size) is int and size > 0 for size in sizes):
            raise UsageError(f"a linear part has positive whole channels, stride and grid, got {sizes}.")
        self.layout, self.grid, self.stride = layout or Layout(), grid, stride
        if self.layout.kind == "nchw":
            self.map: nn.Conv2d | nn.Linear = nn.Conv2d(in_channels, out_channels, 1)
        else:
            self.map = nn.Linear(in_channels, out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.map(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """What the map reads: ``x`` averaged over places, in its layout."""
        if self.stride == 1:
            return x
        if self.layout.kind == "nchw":
            return self._pool(x)
        if self.layout.kind == "nhwc":
            return self._pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        prefix = x[:, : self.layout.prefix]
        grid = self._pool(x[:, self.layout.prefix :].transpose(1, 2).unflatten(2, self.grid))
        return torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)

    def _pool(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)


class PooledClassifier(nn.Module):
    """A new head: the average over all places, prefix tokens left out, and one linear layer."""

    def __init__(self, in_channels: int, num_classes: int, *, layout: Layout | None = None) -> None:
        super().__init__()
        if not all(type(size) is int and size > 0 for size in (in_channels, num_classes)):
            raise UsageError(f"a classifier has positive whole sizes, got {in_channels} and {num_classes}.")
        self.layout = layout or Layout()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_classes) logits of what the last part gives out."""
        return self.fc(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """(B, in_channels)"""
        if self.layout.kind == "tokens":
            return x[:, self.layout.prefix :].mean(1)
        return x.mean((2, 3) if self.layout.kind == "nchw" else (1, 2))


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
