"""Running a network on the meta device, shapes alone, to see its operations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from distilnas.errors import UsageError
from distilnas.runtime.skeletons import skeleton

Watch = TypeVar("Watch", bound=TorchDispatchMode)


def hollow_of(model: nn.Module) -> nn.Module:
    """``model`` itself if it is on the meta device, else its skeleton."""
    return model if all(tensor.is_meta for tensor in chain(model.parameters(), model.buffers())) else skeleton(model)


def run_hollow(model: nn.Module, shape: tuple[int, ...], watch: Callable[[Tensor], Watch]) -> tuple[Tensor, Watch]:
    """The output for one input of ``shape`` (without batch) in eval mode, and what ``watch`` of this input saw.

    Raises ``UsageError`` where the model does not take such an input.
    """
    hollow, image = hollow_of(model), torch.empty(1, *shape, device="meta")
    try:
        with _evaluating(hollow), torch.inference_mode(False), torch.no_grad(), watch(image) as seen:
            return hollow(image), seen
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot count {type(model).__name__} for an input of {shape}: {error}") from error


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode, and afterwards every module in its own."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
