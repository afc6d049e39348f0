"""Which values of a computation depend on which: the graph that one run of a network leaves behind.

Works with real tensors as well as with fake ones (shapes only, no arithmetic, no memory), and whatever Python code the
network runs between its tensor operations.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

IMAGE = 0  # the value everything starts from


class Flow(TorchDispatchMode):
    """Records, while it is entered, every tensor operation whose operands depend on the image.

    Values are numbered in the order in which they are computed; ``sources[v]`` are the values that v was computed from.
    A value is what a storage holds: a view is the same value, writing in place makes a new one. Of a number that leaves
    the tensors (``item()``) all later values depend, as it may steer the Python code.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.sources: list[tuple[int, ...]] = [()]
        self._escaped: list[int] = []
        self._values = {_storage(image): IMAGE}

    def value(self, tensor: Tensor) -> int | None:
        """The value that ``tensor`` holds now, or None if it does not depend on the image."""
        return self._values.get(_storage(tensor))

    def cuts(self, output: Tensor) -> set[int]:
        """Values that everything ``output`` owes to the image passes through (cut vertices), both ends included."""
        last = self.value(output)
        if last is None:
            return set()
        alive = {last}
        for value in range(last, IMAGE, -1):
            if value in alive:
                alive.update(self.sources[value])
        opened = [0] * (last + 2)  # numbers of dependences that begin to (or cease to) pass by at a value
        for value in alive - {IMAGE}:
            opened[min(self.sources[value]) + 1] += 1
            opened[value] -= 1
        return {value for value, passing in enumerate(accumulate(opened[:-1])) if value in alive and not passing}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if _takes_shape_only(func):
            return output
        operands = [_storage(tensor) for tensor in _tensors((args, kwargs))]
        sources = {self._values[storage] for storage in operands if storage in self._values}
        if not sources:
            return output
        if func is torch.ops.aten._local_scalar_dense.default:
            self._escaped.extend(sources)
            return output
        written = {_storage(tensor) for tensor in _written(func, args, kwargs)}
        results = {_storage(tensor) for tensor in _tensors(output)} - set(operands)
        if new := written | results:
            self.sources.append(tuple(sources.union(self._escaped)))
            self._values.update(dict.fromkeys(new, len(self.sources) - 1))
        return output


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _takes_shape_only(func: Any) -> bool:
    name = func.overloadpacket.__name__
    return name.endswith("_like") or name.startswith("new_")


def _written(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Operands that ``func`` changes in place."""
    schema: Any = func._schema  # type: ignore[attr-defined]
    for place, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            yield from _tensors(given)
