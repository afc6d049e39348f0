"""The most memory that activations take while a network answers for one image.

Taken from its operations in the order in which PyTorch's dispatcher sees them: a tensor is there from the operation
that makes it to the last one that reads it, and an operation has its inputs and outputs at once. Three things are as
runtimes do them and eager PyTorch does not: a pointwise operation or batch norm writes over an input of its size that
nothing reads later; zeros put around what convolutions alone read are theirs; outputs that nothing reads are not made.
What does not depend on the image (weights, tables made of them) is no activation. Attention is its plain products, with
the matrix of weights. Workspace of kernels, alignment and further fusions are not in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from distilnas.costing.operators import storage_of, takes_shape_only, tensors_in, without_values
from distilnas.costing.running import run_hollow

_Storage = StorageWeakRef
_IN_PLACE = {"batch_norm", "native_batch_norm", "native_batch_norm_legit_no_training", "hardswish", "prelu_kernel"}
_PAD, _CONVOLUTIONS = "constant_pad_nd", {"convolution"}


@dataclass(frozen=True)
class _Event:
    """An operation: its ``name``, the activations that it ``reads`` and ``makes``, and whether it may write ``over``
    one that it reads."""

    name: str
    reads: frozenset[_Storage]
    makes: frozenset[_Storage]
    over: bool


class _Activations(TorchDispatchMode):
    """The ``events`` of a forward, and the ``bytes`` of every activation; that of ``image`` is the first."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.bytes = {storage_of(image): image.untyped_storage().nbytes()}
        self.events: list[_Event] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = without_values(kwargs or {})
        output = func(*args, **kwargs)
        reads = {storage_of(tensor) for tensor in tensors_in((*args, *kwargs.values()))} & self.bytes.keys()
        if reads and not takes_shape_only(func):
            made = {storage_of(tensor): tensor.untyped_storage().nbytes() for tensor in tensors_in((output,))}
            new = made.keys() - self.bytes.keys()
            self.bytes.update((one, made[one]) for one in new)
            name = func.overloadpacket.__name__.strip("_")
            over = torch.Tag.pointwise in func.tags or name in _IN_PLACE
            self.events.append(_Event(name, frozenset(reads), frozenset(new), over))
        return output


def peak_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """The most bytes of activations at once for one input of ``shape`` (without batch), the input and the output among
    them; the model itself is neither run nor changed.

    Raises ``UsageError`` where the model does not take such an input.
    """
    output, seen = run_hollow(model, shape, _Activations)
    sizes, events = seen.bytes, list(_without_padding(seen.events))
    last = {one: at for at, event in enumerate(events) for one in event.reads}
    last |= {storage_of(tensor): len(events) for tensor in tensors_in((output,))}
    live = {next(iter(sizes))}
    peak = sum(sizes[one] for one in live)
    for at, event in enumerate(events):
        ending = {one for one in event.reads if last[one] == at}
        made = {one for one in event.makes if one in last}
        live |= made
        over = {sizes[one] for one in ending} & {sizes[one] for one in made} if event.over else set()
        peak = max(peak, sum(sizes[one] for one in live) - sum(over))
        live -= ending
    return peak


def _without_padding(events: Sequence[_Event]) -> Iterator[_Event]:
    """Convolutions read what was padded for them alone."""
    readers: dict[_Storage, set[str]] = {}
    for event in events:
        for one in event.reads:
            readers.setdefault(one, set()).add(event.name)
    padded: dict[_Storage, frozenset[_Storage]] = {}
    for event in events:
        if event.name == _PAD and all(readers.get(one, set()) <= _CONVOLUTIONS for one in event.makes):
            padded |= dict.fromkeys(event.makes, event.reads)
        else:
            reads = frozenset().union(*(padded.get(one, {one}) for one in event.reads))
            yield replace(event, reads=reads)
