"""Several processes at work on one run, started by ``torchrun`` or any launcher that sets its environment variables.

The first rank leads: it does every step and alone writes to the run folder. In a step that is shared (a training or a
rating) all ranks take part, each with its own part of every batch; for the result of any other step the ranks wait
until they find it in the run folder. Within a shared step ``world_size`` is the number of processes, elsewhere 1, so
that whatever is not shared works as in a single process.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from distilnas.errors import UsageError

_PATIENCE = timedelta(days=1)  # a rank may come to a shared step long before the others
_shared = False
T = TypeVar("T")


def join() -> None:
    """Join the processes started with this one; without such a launcher it does nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _joined():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    atexit.register(dist.destroy_process_group)


def processes() -> int:
    """How many processes are at work on the run."""
    return dist.get_world_size() if _joined() else 1


def check_shares(batch_size: int, micro_batch: int | None, *, even: bool = False) -> None:
    """Raise ``UsageError`` where the processes cannot share the images of an update equally.

    ``micro_batch``: images that a process passes at once; ``even``: their number must be.
    """
    share, left = divmod(batch_size, processes())
    piece = min(micro_batch or share, share)
    if processes() > 1 and (left or share < 2 or share % piece or (even and piece % 2)):
        raise UsageError(
            f"{processes()} processes cannot share batch_size={batch_size} (micro_batch={micro_batch}) equally: each "
            f"needs the same whole number of {'even ' if even else ''}micro-batches of at least two images."
        )


def local_rank() -> int:
    """This process's number on its machine, which is the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def leads() -> bool:
    """Whether this process is the first or the only one."""
    return not _joined() or dist.get_rank() == 0


@contextmanager
def shared(together: bool) -> Iterator[None]:
    """A step in which all ranks take part, or (``together=False``) which a rank does alone."""
    global _shared
    before, _shared = _shared, together and dist.is_initialized()
    try:
        yield
    finally:
        _shared = before


def rank() -> int:
    """This process's number among those that share the step at hand, from 0."""
    return dist.get_rank() if _shared else 0


def world_size() -> int:
    """How many processes share the step at hand."""
    return dist.get_world_size() if _shared else 1


def average_gradients(optimizers: Iterable[Optimizer], losses: Tensor) -> None:
    """Set the gradients of all weights that have one, and ``losses``, to their means over the ranks, in one message.

    The ranks have trained the same weights on equally many images each.
    """
    if world_size() == 1:
        return
    weights = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    tensors = [*(p.grad for p in weights if p.grad is not None), losses]
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    parts = (flat / world_size()).split([tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, parts, strict=True):
        tensor.copy_(mean.view(tensor.shape))


def gather(value: T) -> list[T]:
    """The values of all ranks, in their order."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], T]) -> T:
    """What the first rank makes, on all ranks; the others do not call ``make``."""
    values = [make() if rank() == 0 else None]
    if world_size() > 1:
        dist.broadcast_object_list(values)
    return values[0]  # type: ignore[return-value]


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()
