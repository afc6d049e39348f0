"""Which modules of a network add something to their input, so that the network without them is still one.

Decided by what they compute: with all their weighted layers and normalisations at zero, what is left is the shortcut.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

_SILENT = ("norm", "layerscale")  # in the names of the types that normalise or scale what is added
_LOW, _HIGH = 3.0, 6.0  # where an activation after the addition, if there is one, is next to the identity
_CLOSE = 0.06  # SiLU of 3 is 2.86


@torch.no_grad()
def removable_units(model: nn.Module, paths: Sequence[str], image_shape: tuple[int, int, int]) -> set[str]:
    """Those of ``paths`` whose module, its weighted layers silenced, hands its first input on.

    ``model`` runs once, on one image of ``image_shape`` (C, H, W), and is left as it was. An activation after the
    addition is allowed for, since it changes next to nothing of values from 3 to 6.
    """
    device = next(model.parameters()).device
    image = torch.randn(1, *image_shape, generator=torch.Generator().manual_seed(0)).to(device)
    found: set[str] = set()

    def look(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            tensors = bool(inputs) and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
            if tensors and inputs[0].shape == output.shape and _hands_on(module, inputs, named):
                found.add(path)

        return hook

    modes = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        for path in paths:
            module = model.get_submodule(path)
            stack.enter_context(module.register_forward_hook(look(path), with_kwargs=True))
        model.eval()(image)
    for module, training in modes.items():
        module.training = training
    return found


def _hands_on(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> bool:
    silent = copy.deepcopy(module)
    silent._forward_hooks.clear()
    for part in silent.modules():
        named_so = any(word in type(part).__name__.lower() for word in _SILENT)
        if named_so or isinstance(part, nn.Linear | nn.modules.conv._ConvNd):
            for parameter in part.parameters(recurse=False):
                parameter.zero_()
    given = inputs[0]
    places = torch.linspace(_LOW, _HIGH, given.numel(), dtype=given.dtype, device=given.device)
    value = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(0))].reshape(given.shape)
    output = silent(value.clone(), *inputs[1:], **named)
    return bool(torch.allclose(output, value, rtol=_CLOSE))
