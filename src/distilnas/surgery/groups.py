"""Inner channels: those that a unit makes, passes on and reads again, without showing them to the rest of the network.

Which tensors share a channel is found by torch-pruning's dependency graph (Fang et al., CVPR 2023), on a copy of the
network. Of its groups those count that lie in one unit as a whole and end in linear layers, which can be refitted.
"""

import copy
import warnings
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError

MULTIPLE = 8  # of channels, as vector units like them


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Where the elements of a group lie in the module (or bare parameter) at ``path``.

    ``axis``: "out" what it writes, "in" what it reads. ``index`` (elements, r): the r positions of each element, of a
    bare tensor along its axis ``dim``.
    """

    path: str
    axis: str
    index: np.ndarray
    dim: int = -1


@dataclass(frozen=True, kw_only=True)
class Count:
    """A number that the module at ``path`` keeps under ``name``: ``each`` for every element of a group."""

    path: str
    name: str
    each: int


@dataclass(frozen=True, kw_only=True)
class Branch:
    """The module at ``path``, which gives the same vector everywhere once the elements of a group are gone.

    ``shape``: of that vector as it is added, (C,) or (C, 1, 1).
    """

    path: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class InnerGroup:
    """Channels that can leave a unit together: ``elements`` of them, each ``width`` channels of the layer ``name``.

    An element is a channel, all channels of one convolution group, or a head. ``made``: everything that writes or
    passes them; ``read``: the linear layers that read them, in the order in which they are called; the last one is the
    one whose output counts (an earlier one, as that of a squeeze-and-excite branch, feeds back into the channels).
    ``counts``: numbers that follow that of the elements. ``branch``: what is left out with all of them, where that can
    be.
    """

    name: str
    elements: int
    width: int
    made: tuple[Slice, ...]
    read: tuple[Slice, ...]
    counts: tuple[Count, ...] = ()
    branch: Branch | None = None

    @property
    def channels(self) -> int:
        return self.elements * self.width

    def options(self, ratios: Sequence[float], *, multiple: int = MULTIPLE) -> tuple[int, ...]:
        """Numbers of elements to keep, all first: ``ratios`` of all, rounded to ``multiple`` channels, each once.

        None of them (0) is the last where that leaves a branch out.
        """
        step = max(1, multiple // self.width)
        rounded = {max(step, step * round(ratio * self.elements / step)) for ratio in ratios if ratio < 1}
        fewer = sorted((number for number in rounded if number < self.elements), reverse=True)
        return (self.elements, *fewer, *((0,) if self.branch else ()))


def inner_groups(model: nn.Module, image: Tensor, units: Sequence[Iterable[str]]) -> tuple[tuple[InnerGroup, ...], ...]:
    """The inner groups of each of ``units``, given by the dotted names of all their modules.

    ``image`` (1, C, H, W) is what the network (unchanged) is traced with. Raises ``UsageError`` when it cannot be.
    """
    names = [frozenset(unit) for unit in units]
    inner: list[list[InnerGroup]] = [[] for _ in names]
    found, called = _all_groups(model, image, names)
    for group in _joined(found):
        home = _home({_module(part.path, called) for part in group}, names)
        if home is not None and (record := _record(group, called)):
            inner[home].append(record)
    return tuple(tuple(sorted(groups, key=lambda group: called[group.name])) for groups in inner)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """A ``Slice`` while groups are put together; ``groups`` of a grouped convolution, else 1."""

    path: str
    axis: str
    index: np.ndarray
    groups: int = 1


def _home(paths: Set[str], units: Sequence[Set[str]]) -> int | None:
    """Number of the unit that has all of ``paths``."""
    return next((i for i, unit in enumerate(units) if paths <= unit), None)


def _all_groups(model: nn.Module, image: Tensor, units: Sequence[Set[str]]) -> tuple[list[list[_Part]], dict[str, int]]:
    """torch-pruning's groups inside ``units`` that could be cut, and the place of each module in the order of calls."""
    import torch_pruning  # slow to import, and only needed here

    twin = copy.deepcopy(model).float().cpu().eval().requires_grad_(True)
    called: dict[str, int] = {}

    def note(name: str, *_: Any) -> None:
        called.setdefault(name, len(called))

    for name, module in twin.named_modules():
        module.register_forward_pre_hook(partial(note, name))
    graph = torch_pruning.DependencyGraph()
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph.build_dependency(twin, image.float().cpu(), verbose=False)
            names = {id(module): name for name, module in twin.named_modules()} | {
                id(parameter): name for name, parameter in twin.named_parameters()
            }
            raw = list(graph.get_all_groups(ignored_layers=_leading_out(graph, names, called, units)))
    except Exception as error:  # the tracer runs into whatever a network's code holds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(
            f"torch-pruning finds the inner channels of a teacher, but cannot trace {type(model).__name__}: {reason}. "
            "Choose another teacher, or leave out units only."
        ) from error
    groups = [_parts(group, names) for group in raw]
    return [group for group in groups if group], called


def _leading_out(
    graph: Any, names: dict[int, str], called: dict[str, int], units: Sequence[Set[str]]
) -> list[nn.Module]:
    """Layers whose channels reach more than one of ``units``, or what can't be cut.

    That is seen without following channel after channel, which takes long where a network reshapes its maps.
    """
    layers = [module for module in graph.module2node if isinstance(module, nn.Conv2d | nn.Linear)]
    found = []
    for layer in layers:
        reached = _reached(graph.module2node[layer], graph.get_pruner_of_module(layer).prune_out_channels)
        inside = [(node.module, handler) for node, handler in reached if id(node.module) in names]
        outputs = any(type(node.module).__name__ == "_OutputOp" for node, _ in reached)
        whole = all(_axis(module, handler.__name__) for module, handler in inside)
        paths = {_module(names[id(module)], called) for module, _ in inside}
        if outputs or not whole or _home(paths, units) is None:
            found.append(layer)
    return found


def _reached(node: Any, handler: Any) -> set[tuple[Any, Any]]:
    """All nodes of torch-pruning's graph that follow when ``handler`` cuts ``node``, each with what cuts it."""
    found, todo = {(node, handler)}, [(node, handler)]
    while todo:
        node, handler = todo.pop()
        following = {(dep.target, dep.handler) for dep in node.dependencies if dep.is_triggered_by(handler)}
        todo += following - found
        found |= following
    return found


def _parts(group: Any, names: dict[int, str]) -> list[_Part]:
    """The group's modules and parameters; none where it reaches the output or a layer that can't be cut."""
    parts = []
    for item in group:
        module, node = item.dep.target.module, item.dep.target
        if id(module) not in names:  # an operation
            if type(module).__name__ == "_OutputOp":
                return []
            continue
        axis = _axis(module, item.dep.handler.__name__)
        index = _by_element(item.root_idxs, item.idxs)
        if axis is None or index is None:
            return []
        if isinstance(module, nn.Parameter) and node.pruning_dim not in (module.ndim - 1, -1):
            return []
        if index.size != _length(module, axis):  # a part of a concatenation
            return []
        groups = module.groups if isinstance(module, nn.Conv2d) and axis != "pass" else 1
        parts.append(_Part(path=names[id(module)], axis=axis, index=index, groups=groups))
    return parts


def _axis(module: nn.Module | nn.Parameter, handler: str) -> str | None:
    if isinstance(module, nn.Conv2d):
        if module.groups == module.in_channels == module.out_channels > 1:
            return "pass"
        return "out" if "_out_" in handler else "in"
    if isinstance(module, nn.Linear):
        return "out" if "_out_" in handler else "in"
    passes = (nn.modules.batchnorm._BatchNorm, nn.PReLU, nn.Parameter)
    return "pass" if isinstance(module, passes) else None


def _length(module: nn.Module | nn.Parameter, axis: str) -> int:
    """How many channels the module has on that axis."""
    if isinstance(module, nn.Parameter):
        return module.shape[-1]
    if isinstance(module, nn.Conv2d):
        return module.in_channels if axis == "in" else module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features if axis == "in" else module.out_features
    return len(module.weight) if isinstance(module, nn.PReLU) else module.num_features  # type: ignore[return-value]


def _by_element(roots: Sequence[int], positions: Sequence[int]) -> np.ndarray | None:
    """(elements, r) positions, element by element; None unless each has equally many."""
    order = np.lexsort((np.asarray(positions), np.asarray(roots)))
    counts = np.bincount(np.asarray(roots))
    if len(set(counts.tolist())) != 1:
        return None
    return np.asarray(positions, dtype=np.int64)[order].reshape(len(counts), -1)


def _joined(found: list[list[_Part]]) -> list[list[_Part]]:
    """Groups before and after a grouped convolution as one, whose elements are the convolution's groups."""
    todo, done = list(found), []
    while todo:
        group = todo.pop(0)
        gate = next((part for part in group if part.groups > 1), None)
        if gate is None:
            done.append(group)
            continue
        other = next((g for g in todo if any(p.path == gate.path and p.axis != gate.axis for p in g)), None)
        if other is not None:
            todo.remove(other)
            todo.append(_coarse(group, gate) + _coarse(other, gate))
    return done


def _coarse(group: list[_Part], gate: _Part) -> list[_Part]:
    """The group with one element for each group of the convolution ``gate``, which then passes them whole."""
    parts = []
    for part in group:
        index = part.index.reshape(gate.groups, -1)
        passes = part.path == gate.path
        parts.append(replace(part, index=index, groups=1 if passes else part.groups))
    return parts


def _record(group: list[_Part], called: dict[str, int]) -> InnerGroup | None:
    """The group as a record, if linear layers write and read it."""
    group = _without_twins(group)
    read = sorted((part for part in group if part.axis == "in"), key=lambda part: called.get(part.path, 0))
    made = [part for part in group if part.axis != "in"]
    writers = sorted((part for part in made if part.axis == "out"), key=lambda part: called.get(part.path, 0))
    if not read or not writers or len(writers[0].index) < 2:
        return None
    slices = [Slice(path=part.path, axis=part.axis, index=part.index) for part in (*made, *read)]
    elements, width = writers[0].index.shape
    return InnerGroup(
        name=writers[0].path,
        elements=elements,
        width=width,
        made=tuple(slices[: len(made)]),
        read=tuple(slices[len(made) :]),
    )


def _without_twins(group: list[_Part]) -> list[_Part]:
    """A grouped convolution's two sides, once joined, are one part that passes."""
    paths = [part.path for part in group]
    twins = {path for path in paths if paths.count(path) == 2 and {"in", "out"} == _axes(group, path)}
    kept = [part for part in group if part.path not in twins or part.axis == "out"]
    return [replace(part, axis="group") if part.path in twins else part for part in kept]


def _axes(group: list[_Part], path: str) -> set[str]:
    return {part.axis for part in group if part.path == path}


def _module(path: str, called: dict[str, int]) -> str:
    """The module at ``path``, or that whose parameter is there."""
    return path if path in called else path.rpartition(".")[0]
