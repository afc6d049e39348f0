"""Attention heads as elements of a group: what writes, biases and reads each head, found by what depends on what.

A module that keeps a number of heads is run once, and each head's input to its last linear layer is followed back by
its gradients: a weight that only this head depends on is the head's. So the layout of queries, keys and values, tables
of positions and scales need not be known. What is found is cut on a copy and held against the original with the same
heads silenced; a module whose code has the width written into it fails there, and its heads are left as they are.
"""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.surgery.cut import cut, forget
from distilnas.surgery.groups import Count, InnerGroup, Slice

_log = logging.getLogger(__name__)

HEADS = ("num_heads", "heads", "n_heads")
WIDTHS = ("attn_dim", "key_attn_dim", "val_attn_dim", "out_dim", "dim_out", "dim_attn", "inner_dim")
_TOLERANCE = 1e-4
_LAYERS = (nn.Linear, nn.Conv2d)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def head_groups(unit: nn.Module, x: Tensor) -> list[InnerGroup]:
    """A group for each attention inside ``unit`` whose heads can be cut; ``x`` is an input of random values."""
    found: list[InnerGroup] = []
    done: list[str] = []
    for path, (module, args, named) in _attentions(unit, x).items():
        if any(path.startswith(f"{around}.") for around in done):
            continue
        with torch.enable_grad():
            group = _group(module, args, named)
        if group is None:
            _log.info("heads of %s stay: its weights do not belong to single heads", path)
        elif not _can_be_cut(module, args, named, group):
            _log.info("heads of %s stay: its code does not allow other widths", path)
        else:
            found.append(_below(path, group))
            done.append(path)
    return found


def _attentions(unit: nn.Module, x: Tensor) -> dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]]:
    """Copies of the modules that keep a number of heads and are called once, with what they are called with."""
    calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}

    def note(path: str, _module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls[path].append((args, named))

    handles = []
    for path, module in unit.named_modules():
        if path and _heads(module):
            calls[path] = []
            handles.append(module.register_forward_pre_hook(partial(note, path), with_kwargs=True))
    with torch.no_grad():
        unit(x)
    for handle in handles:
        handle.remove()
    return {path: (_free(unit.get_submodule(path)), *found[0]) for path, found in calls.items() if len(found) == 1}


def _heads(module: nn.Module) -> int:
    counts = [value for name in HEADS if type(value := getattr(module, name, None)) is int and value > 1]
    return counts[0] if counts else 0


def _free(module: nn.Module) -> nn.Module:
    """A copy whose weights and tables have gradients."""
    free = copy.deepcopy(module).requires_grad_(True)
    for part in free.modules():
        forget(part)
        for table in part.buffers(recurse=False):
            table.requires_grad_(table.is_floating_point() and not isinstance(part, _NORMS))
    return free


def _group(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> InnerGroup | None:
    heads = _heads(module)
    read = _last_layer(module, args, named)
    if read is None:
        return None
    path, inputs = read
    reader = module.get_submodule(path)
    axis = 1 if isinstance(reader, nn.Conv2d) else inputs.ndim - 1
    channels = inputs.shape[axis]
    if channels % heads:
        return None
    tensors = _tensors(module, path)
    direction = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
    touched: dict[str, list[Tensor]] = {name: [] for name in tensors}
    for part in (inputs * direction).split(channels // heads, axis):
        grads = torch.autograd.grad(part.sum(), list(tensors.values()), retain_graph=True, allow_unused=True)
        for (name, tensor), grad in zip(tensors.items(), grads, strict=True):
            touched[name].append(torch.zeros_like(tensor) if grad is None else grad.detach().abs())
    made = tuple(_made(module, {name: grads for name, grads in touched.items() if sum(g.sum() for g in grads) > 0}))
    writer = next((part.path for part in made if part.axis == "out"), None)
    if writer is None:
        return None
    columns = np.arange(channels).reshape(heads, -1)
    return InnerGroup(
        name=writer,
        elements=heads,
        width=channels // heads,
        made=made,
        read=(Slice(path=path, axis="in", index=columns),),
        counts=tuple(_counts(module, heads, {len(part.index.ravel()) for part in made} | {channels})),
    )


def _last_layer(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, Tensor] | None:
    """The last linear layer that is called, and what it reads, with its history."""
    called: list[tuple[str, Tensor]] = []

    def note(path: str, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        called.append((path, inputs[0]))

    layers = {path: part for path, part in module.named_modules() if path and isinstance(part, _LAYERS)}
    handles = [part.register_forward_pre_hook(partial(note, path)) for path, part in layers.items()]
    module(*args, **named)
    for handle in handles:
        handle.remove()
    path, inputs = called[-1] if called else ("", None)
    whole = not isinstance(layers.get(path), nn.Conv2d) or layers[path].groups == 1
    return (path, inputs) if inputs is not None and inputs.requires_grad and whole else None


def _tensors(module: nn.Module, reader: str) -> dict[str, Tensor]:
    """Parameters besides those of the layer at ``reader``, and tables of real numbers."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor for name, tensor in named if tensor.requires_grad and name.rpartition(".")[0] != reader}


def _made(module: nn.Module, touched: Mapping[str, list[Tensor]]) -> Iterator[Slice]:
    """Rows of layers, channels of normalisations and entries of tables that belong to single heads."""
    for name, grads in touched.items():
        owner, _, own = name.rpartition(".")
        part = module.get_submodule(owner)
        whole = isinstance(part, (*_LAYERS, *_NORMS)) and own in ("weight", "bias")
        if whole and own == "bias":
            continue
        for axis in range(1 if whole else grads[0].ndim):
            index = _partition([grad.movedim(axis, 0).reshape(grad.shape[axis], -1).sum(1) for grad in grads])
            if index is not None:
                at = Slice(path=name, axis="pass", index=index, dim=axis)
                yield replace(at, path=owner, axis=_kind(part)) if whole else at
                break


def _kind(part: nn.Module) -> str:
    passes = isinstance(part, nn.Conv2d) and part.groups == part.out_channels > 1
    return "out" if isinstance(part, _LAYERS) and not passes else "pass"


def _partition(rows: list[Tensor]) -> np.ndarray | None:
    """(heads, r) the positions that each head alone depends on; None unless that is all of them, equally many each."""
    marks = torch.stack(rows) > 0
    counts = marks.sum(1)
    if bool((marks.sum(0) != 1).any()) or int(counts.min()) != int(counts.max()):
        return None
    return np.stack([np.flatnonzero(mark.numpy()) for mark in marks])


def _counts(module: nn.Module, heads: int, widths: set[int]) -> Iterator[Count]:
    for path, part in module.named_modules():
        for name in (*HEADS, *WIDTHS):
            value = getattr(part, name, None)
            if type(value) is int and (value == heads if name in HEADS else value in widths):
                yield Count(path=path, name=name, each=value // heads)


def _can_be_cut(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], group: InnerGroup) -> bool:
    """Whether ``module`` without every second head gives what it gives with their part of the last layer at zero."""
    gone, kept = np.arange(1, group.elements, 2), np.arange(0, group.elements, 2)
    with torch.no_grad():
        for read in group.read:
            layer = module.get_submodule(read.path)
            layer.weight[:, read.index[gone].ravel()] = 0  # type: ignore[operator,index]
        expected = module(*args, **named)
        cut(module, group, kept)
        with suppress(Exception):  # the module's own code, on sizes that it was not written for
            output = module(*args, **named)
            return output.shape == expected.shape and bool(torch.allclose(output, expected, atol=_TOLERANCE))
    return False


def _below(path: str, group: InnerGroup) -> InnerGroup:
    """The group as it is seen from the unit, in which the module stands at ``path``."""
    return replace(
        group,
        name=f"{path}.{group.name}",
        made=tuple(replace(part, path=f"{path}.{part.path}") for part in group.made),
        read=tuple(replace(part, path=f"{path}.{part.path}") for part in group.read),
        counts=tuple(replace(one, path=f"{path}.{one.path}".removesuffix(".")) for one in group.counts),
    )
