"""Reading and replacing what modules inside a network give out, by forward hooks that live for one call only.

A module's output is a tensor, or a tuple that holds one tensor besides plain values such as its size.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class _AllCaptured(Exception):
    """Ends a forward whose remaining layers nobody asked for."""


def capture(model: nn.Module, paths: Sequence[str], images: Tensor) -> list[Tensor]:
    """Outputs of the modules at ``paths``, in the order of ``paths``, for ``images`` (B, C, H, W).

    The forward ends as soon as the last output is known. The tensors are the caller's own: where layers still follow,
    which might work in place, they are copies. Every module must be called exactly once in a forward.
    """
    captured: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = tensor_of(output)
            assert tensor is not None
            if len(captured) + 1 == len(paths):
                captured[path] = tensor
                raise _AllCaptured
            captured[path] = tensor.clone()

        return hook

    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(model.get_submodule(path).register_forward_hook(keep(path)))
        with suppress(_AllCaptured):
            model(images)
    return [captured[path] for path in paths]


def resume(model: nn.Module, path: str, replace: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Output of the whole network for ``images`` with the output of the module at ``path`` sent through ``replace``."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        tensor = tensor_of(output)
        assert tensor is not None
        return with_tensor(output, replace(tensor))

    with model.get_submodule(path).register_forward_hook(hook):
        return model(images)


def tensor_of(output: Any) -> Tensor | None:
    """The only tensor in a module's ``output``, or None if there is none or more than one."""
    parts = output if type(output) is tuple else (output,)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    inside = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    return tensors[0] if len(tensors) == len(inside) == 1 else None


def with_tensor(output: Any, tensor: Tensor) -> Any:
    """``output`` with its only tensor replaced."""
    if isinstance(output, Tensor):
        return tensor
    return tuple(tensor if isinstance(part, Tensor) else part for part in output)
