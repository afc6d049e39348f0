"""What was done to a network's sizes, read off by comparing it with what it was, and done again to another copy.

A plan holds no weights: it makes of a parent's module one into which a smaller student's weights fit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from distilnas.errors import UsageError

_LARGEST = 2**31
_MOST_AXES = 8


class Skip(nn.Module):
    """Hands its first argument on, whatever else it is called with."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """``x``"""
        return x


class Constant(nn.Module):
    """The same ``value``, (C,) or (C, 1, 1), at every place of its first argument."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value, requires_grad=False)

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """The shape of ``x``."""
        return self.value.expand_as(x)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Differences by dotted path. Empty: nothing was changed.

    ``sizes``: plain numbers and tuples of whole numbers that modules keep (``out_channels``, ``num_heads``, ...), by
    module, then attribute. ``tensors``: shapes of parameters and buffers, None where there is none any more. ``skips``:
    modules that hand their input on. ``constants``: shapes of what others give, whatever they are given.
    """

    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tensors: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    skips: tuple[str, ...] = ()
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sizes or self.tensors or self.skips or self.constants)

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON; ``from_dict`` reads it back."""
        return {
            "sizes": {path: {key: _plain(value) for key, value in own.items()} for path, own in self.sizes.items()},
            "tensors": {name: None if shape is None else list(shape) for name, shape in self.tensors.items()},
            "skips": list(self.skips),
            **({"constants": {path: list(shape) for path, shape in self.constants.items()}} if self.constants else {}),
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Plan":
        """Raises ``UsageError`` for anything that ``to_dict`` does not write."""
        if not isinstance(data, Mapping) or not set(data) <= {"sizes", "tensors", "skips", "constants"}:
            raise _damaged("a part has sizes, tensors, skips and constants")
        sizes, tensors, skips = data.get("sizes", {}), data.get("tensors", {}), data.get("skips", [])
        if not isinstance(sizes, Mapping) or not all(isinstance(own, Mapping) for own in sizes.values()):
            raise _damaged("sizes are numbers by module and attribute")
        if not isinstance(tensors, Mapping) or not _are_shapes(tensors):
            raise _damaged("tensors have a shape, whole numbers from 0, or null")
        if not isinstance(skips, list) or not all(isinstance(path, str) and path for path in skips):
            raise _damaged("skips are paths of modules")
        constants = data.get("constants", {})
        if not isinstance(constants, Mapping) or None in constants.values() or not _are_shapes(constants):
            raise _damaged("constants have a shape, whole numbers from 0")
        shapes = {name: None if shape is None else tuple(shape) for name, shape in tensors.items()}
        return cls(
            sizes={path: dict(own) for path, own in sizes.items()},
            tensors=shapes,
            skips=tuple(skips),
            constants={path: tuple(shape) for path, shape in constants.items()},
        )


def plan_of(before: nn.Module, after: nn.Module) -> Plan:
    """What makes ``after`` of ``before``, of the same modules under the same names.

    Of ``after`` a module may be smaller or larger than it was, have a bias that it had not, or be ``Skip``,
    ``nn.Identity`` or ``Constant``. Raises ``UsageError`` where it is anything else: a module of another type or a new
    one.
    """
    replaced = _replaced(before, after)
    own = dict(after.named_modules())
    sizes: dict[str, dict[str, Any]] = {}
    tensors: dict[str, tuple[int, ...] | None] = {}
    for path, module in before.named_modules():
        if _inside(path, replaced):
            continue
        sizes[path] = _changed_sizes(module, own[path])
        shapes, wanted = _shapes(module), _shapes(own[path])
        changed = {name: wanted.get(name) for name in {**shapes, **wanted} if shapes.get(name) != wanted.get(name)}
        if lost := sorted(set(changed) & module._non_persistent_buffers_set):
            raise _foreign(f"table {path}.{lost[0]}, which is in no file of weights, has another shape")
        tensors |= {f"{path}.{name}".removeprefix("."): shape for name, shape in changed.items()}
    constants = {path: tuple(new.value.shape) for path in replaced if isinstance(new := own[path], Constant)}
    return Plan(
        sizes={path: found for path, found in sizes.items() if found},
        tensors=tensors,
        skips=tuple(path for path in replaced if path not in constants),
        constants=constants,
    )


def apply_plan(module: nn.Module, plan: Plan) -> None:
    """Give ``module`` the sizes of ``plan``, in place; tensors that change are without values (on the meta device).

    Raises ``UsageError`` for a plan of another module.
    """
    new = {path: Skip() for path in plan.skips}
    new |= {path: Constant(torch.empty(shape, device="meta")) for path, shape in plan.constants.items()}
    for path, part in new.items():
        owner, _, name = path.rpartition(".")
        setattr(_module(module, owner), _known(name, _module(module, owner)._modules, path), part)
    for path, sizes in plan.sizes.items():
        for key, value in sizes.items():
            _set_size(_module(module, path), path, key, value)
    for path, shape in plan.tensors.items():
        owner, _, name = path.rpartition(".")
        _set_shape(_module(module, owner), name, path, shape)


def _replaced(before: nn.Module, after: nn.Module) -> tuple[str, ...]:
    modules = dict(after.named_modules())
    replaced: list[str] = []
    for path, module in before.named_modules():
        if _inside(path, replaced):
            continue
        new = modules.get(path)
        if new is None:
            raise _foreign(f"module {path!r} is gone")
        if path and isinstance(new, nn.Identity | Skip | Constant) and not isinstance(module, nn.Identity | Skip):
            replaced.append(path)
        elif not _same_type(module, new):
            raise _foreign(f"module {path!r} is a {type(new).__name__}, was a {type(module).__name__}")
    added = [path for path in modules if path not in dict(before.named_modules()) and not _inside(path, replaced)]
    if added:
        raise _foreign(f"module {added[0]!r} is new")
    return tuple(replaced)


def _same_type(before: nn.Module, after: nn.Module) -> bool:
    """Cut-out parts have a type each; a layer may have become one that computes the same on its device."""
    return isinstance(after, type(before)) or (isinstance(after, fx.GraphModule) and isinstance(before, fx.GraphModule))


def _inside(path: str, around: list[str] | tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in around)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name: tuple(tensor.shape) for name, tensor in own}


def _changed_sizes(before: nn.Module, after: nn.Module) -> dict[str, Any]:
    now = vars(after)
    return {
        key: _plain(now[key])
        for key, value in vars(before).items()
        if not key.startswith("_") and _is_size(value) and _is_size(now.get(key)) and now[key] != value
    }


def _is_size(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(isinstance(part, int) and not isinstance(part, bool) for part in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


def _are_shapes(shapes: Mapping[str, Any]) -> bool:
    return all(map(_is_shape_or_none, shapes.values()))


def _is_shape_or_none(shape: Any) -> bool:
    if shape is None:
        return True
    whole = isinstance(shape, list) and all(type(size) is int and 0 <= size < _LARGEST for size in shape)
    return whole and len(shape) <= _MOST_AXES and math.prod(shape) < _LARGEST * 8


def _set_size(module: nn.Module, path: str, key: str, value: Any) -> None:
    old = vars(module).get(key)
    alike = _is_size(value) and isinstance(value, list) == isinstance(old, tuple | list)
    if key.startswith("_") or not _is_size(old) or not alike or (isinstance(old, int) and not isinstance(value, int)):
        raise _damaged(f"{path}.{key} = {value!r} is no size of the parent's {type(module).__name__}")
    setattr(module, key, tuple(value) if isinstance(value, list) else value)


def _set_shape(module: nn.Module, name: str, path: str, shape: tuple[int, ...] | None) -> None:
    place: dict[str, Any] = module._buffers if name in module._buffers else module._parameters
    old = place[_known(name, place, path)]
    if shape is None:
        place[name] = None
        return
    like = old if old is not None else next(module.parameters(recurse=False), None)
    new = torch.empty(shape, dtype=None if like is None else like.dtype, device="meta")
    place[name] = nn.Parameter(new) if place is module._parameters else new


def _module(root: nn.Module, path: str) -> nn.Module:
    try:
        return root.get_submodule(path)
    except AttributeError as error:
        raise _damaged(f"the parent has no module {path!r}") from error


def _known(name: str, names: Mapping[str, Any], path: str) -> str:
    if name not in names:
        raise _damaged(f"the parent has no {path!r}")
    return name


def _damaged(reason: str) -> UsageError:
    return UsageError(f"a student's description must fit its parent, but {reason}: export the student again.")


def _foreign(reason: str) -> UsageError:
    return UsageError(
        "a student made of its parent's parts is stored by the sizes of their modules, which may be changed or handed "
        f"past (Skip, Constant), but {reason}: keep the parent's modules, or save the student's weights and ONNX file "
        "yourself."
    )
