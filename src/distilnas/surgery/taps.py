"""What the layers inside a unit read and write: the few looks into a forward that refits need."""

from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class _ReachedError(Exception):
    """Ends a forward at the layer that was asked for."""


def input_of(module: nn.Module, path: str, x: Tensor) -> Tensor:
    """What the layer at ``path`` reads when ``module`` is given ``x``; nothing after it runs."""
    read: list[Tensor] = []

    def note(_layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        read.append(inputs[0])
        raise _ReachedError

    with module.get_submodule(path).register_forward_pre_hook(note), suppress(_ReachedError):
        module(x)
    return read[0]


def output_of(module: nn.Module, path: str, x: Tensor) -> Tensor:
    """What the layer at ``path`` writes when ``module`` is given ``x``; nothing after it runs."""
    written: list[Tensor] = []

    def note(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        written.append(output)
        raise _ReachedError

    with module.get_submodule(path).register_forward_hook(note), suppress(_ReachedError):
        module(x)
    return written[0]


def with_output(module: nn.Module, path: str, x: Tensor, value: Tensor) -> Tensor:
    """What ``module`` gives for ``x`` when the layer at ``path`` writes ``value``."""
    with module.get_submodule(path).register_forward_hook(lambda *_: value):
        return module(x)


def call_order(module: nn.Module, x: Tensor) -> list[str]:
    """Paths of linear layers, convolutions and batch norms, each in the order of its (first) call."""
    order: list[str] = []

    def note(path: str, *_: Any) -> None:
        order.append(path)

    hooks = [
        part.register_forward_pre_hook(partial(note, path))
        for path, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d | nn.modules.batchnorm._BatchNorm)
    ]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(order))


def convolved_norms(module: nn.Module, x: Tensor) -> dict[str, str]:
    """For each convolution or linear layer whose output a batch norm reads, as it is or flat: the paths of both."""
    written: dict[tuple[int, int], str] = {}
    alive: list[Tensor] = []  # so that no other tensor gets the address of one that is gone
    pairs: dict[str, str] = {}

    def wrote(path: str, _layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        written[output.data_ptr(), output.numel()] = path
        alive.append(output)

    def reads(path: str, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        source = inputs[0]
        if (place := (source.data_ptr(), source.numel())) in written:
            pairs[written.pop(place)] = path

    hooks = []
    for path, part in module.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            hooks.append(part.register_forward_hook(partial(wrote, path)))
        elif isinstance(part, nn.modules.batchnorm._BatchNorm):
            hooks.append(part.register_forward_pre_hook(partial(reads, path)))
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()
    return pairs


@torch.no_grad()
def slopes(module: nn.Module, path: str, x: Tensor) -> Tensor | None:
    """How much what ``module`` gives out rises with what the layer at ``path`` writes, (C, 1, 1) or (C,) as it writes.

    Where an activation follows, it is the slope where that is open. None where the two maps do not correspond.
    """
    layer = module.get_submodule(path)
    before, written = module(x), output_of(module, path, x)
    axes = axes_to(before, written)
    if axes is None:
        return None

    def raised(_layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return output + 1

    with layer.register_forward_hook(raised):
        rise = (module(x) - before).permute(axes)
    channels = 1 if isinstance(layer, nn.Conv2d) else rise.ndim - 1
    flat = rise.transpose(0, channels).flatten(1)
    steepest = flat.gather(1, flat.abs().argmax(1, keepdim=True))[:, 0]
    return steepest[:, None, None] if isinstance(layer, nn.Conv2d) else steepest


def axes_to(output: Tensor, written: Tensor) -> tuple[int, ...] | None:
    """Order of the axes of a unit's ``output`` in which it has the shape of what a layer has ``written``, or None."""
    orders = ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)) if output.ndim == 4 else (tuple(range(output.ndim)),)
    return next((order for order in orders if output.permute(order).shape == written.shape), None)
