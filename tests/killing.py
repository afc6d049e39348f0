"""A process that is ended in the middle, and whether two networks are the same afterwards."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from distilnas.runtime.progress import SilentProgress, Task


class Killed(Exception):
    """Stands for a process that was ended from outside."""


class KillingProgress(SilentProgress):
    """Ends the process when step ``after`` + 1 is reported."""

    def __init__(self, after: int) -> None:
        self.left = after

    def task(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Task]:
        return nullcontext(self)  # type: ignore[arg-type]

    def advance(self, steps: int = 1, note: str = "") -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


def states(module: nn.Module) -> dict[str, Tensor]:
    """A copy of weights and buffers."""
    return {key: value.clone() for key, value in module.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Bit-equal."""
    assert one.keys() == other.keys()
    different = [key for key in one if not torch.equal(one[key], other[key])]
    assert not different, different
