"""A network without its values: the same modules and shapes, next to no memory, no arithmetic."""

import copy

import torch
from torch import Tensor, nn


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of ``model`` whose weights and buffers are on the meta device; floating-point ones in float32.

    Weights ask for no gradient. ``model`` is neither run nor changed, and its values are not copied.
    """
    return copy.deepcopy(model, _hollow(model))


def _hollow(model: nn.Module) -> dict[int, Tensor]:
    """For ``deepcopy``: every weight and buffer of ``model`` by id, as one of its shape on the meta device."""
    hollow: dict[int, Tensor] = {}
    for tensor in model.parameters():
        values = torch.empty(tensor.shape, dtype=torch.float32, device="meta")
        hollow[id(tensor)] = nn.Parameter(values, requires_grad=False)
    for tensor in model.buffers():
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        hollow[id(tensor)] = torch.empty(tensor.shape, dtype=dtype, device="meta")
    return hollow
