"""Cutting inner channels out of a module: tensors and the attributes that tell their sizes, nothing else."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.networks.plan import Constant
from distilnas.surgery.groups import InnerGroup, Slice


@torch.no_grad()
def cut(unit: nn.Module, group: InnerGroup, kept: Sequence[int] | np.ndarray) -> None:
    """Leave in ``unit`` (changed in place) only the elements ``kept`` of ``group``, in their order.

    Without any, a constant of zeros takes the place of the group's branch.
    """
    elements = np.asarray(kept, dtype=np.int64)
    if not len(elements):
        assert group.branch is not None, f"{group.name} must keep an element"
        like = unit.get_submodule(group.read[-1].path).weight
        put(unit, group.branch.path, Constant(torch.zeros(group.branch.shape).to(like)))  # type: ignore[arg-type]
        return
    for part in (*group.made, *group.read):
        _cut_part(unit, part, np.sort(part.index[elements].ravel()), len(elements) / group.elements)
    for count in group.counts:
        module = unit.get_submodule(count.path)
        setattr(module, count.name, count.each * len(elements))
        forget(module)


def put(unit: nn.Module, path: str, module: nn.Module) -> None:
    """Let ``module`` stand at ``path`` in ``unit``."""
    owner, _, name = path.rpartition(".")
    setattr(unit.get_submodule(owner), name, module)


def forget(module: nn.Module) -> None:
    """Tables that a module has computed of its weights and kept."""
    for name, kept in vars(module).items():
        if isinstance(kept, dict) and not name.startswith("_") and all(isinstance(x, Tensor) for x in kept.values()):
            kept.clear()


def _cut_part(unit: nn.Module, part: Slice, positions: np.ndarray, share: float) -> None:
    module = _find(unit, part.path)
    keep = torch.from_numpy(positions)
    if isinstance(module, Tensor):
        owner, _, name = part.path.rpartition(".")
        _select(unit.get_submodule(owner), name, part.dim % module.ndim, keep)
    elif isinstance(module, nn.Conv2d):
        _cut_convolution(module, part.axis, keep, share)
    elif isinstance(module, nn.Linear):
        _select(module, "weight", 0 if part.axis == "out" else 1, keep)
        if part.axis == "out":
            _select(module, "bias", 0, keep)
        module.out_features, module.in_features = module.weight.shape
    else:
        _cut_norm(module, keep)


def _cut_convolution(module: nn.Conv2d, axis: str, keep: Tensor, share: float) -> None:
    _select(module, "weight", 1 if axis == "in" else 0, keep)
    if axis != "in":
        _select(module, "bias", 0, keep)
    if axis in ("pass", "group"):
        module.groups = round(module.groups * share)
    module.out_channels = module.weight.shape[0]
    module.in_channels = module.weight.shape[1] * module.groups


def _cut_norm(module: nn.Module, keep: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        _select(module, name, 0, keep)
    for name in ("num_features", "num_parameters"):  # of batch norm, of PReLU
        if hasattr(module, name):
            setattr(module, name, len(keep))


def _select(module: nn.Module, name: str, dim: int, keep: Tensor) -> None:
    tensor = getattr(module, name, None)
    if tensor is None:
        return
    chosen = tensor.detach().index_select(dim, keep.to(tensor.device))
    if isinstance(tensor, nn.Parameter):
        chosen = nn.Parameter(chosen, requires_grad=tensor.requires_grad)
    setattr(module, name, chosen)


def _find(unit: nn.Module, path: str) -> nn.Module | Tensor:
    owner, _, name = path.rpartition(".")
    found = getattr(unit.get_submodule(owner), name)
    assert isinstance(found, nn.Module | Tensor)
    return found
