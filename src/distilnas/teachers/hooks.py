"""Reading and replacing what modules inside a network give out, by forward hooks that live for one call only."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from torch import Tensor, nn


class _AllCaptured(Exception):
    """Ends a forward whose remaining layers nobody asked for."""


def capture(model: nn.Module, paths: Sequence[str], images: Tensor) -> list[Tensor]:
    """Outputs of the modules at ``paths``, in the order of ``paths``, for ``images`` (B, C, H, W).

    The forward ends as soon as the last output is known. The tensors are the caller's own: where layers still follow,
    which might work in place, they are copies. Every module must be called exactly once in a forward.
    """
    captured: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if len(captured) + 1 == len(paths):
                captured[path] = output
                raise _AllCaptured
            captured[path] = output.clone()

        return hook

    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(model.get_submodule(path).register_forward_hook(keep(path)))
        with suppress(_AllCaptured):
            model(images)
    return [captured[path] for path in paths]


def resume(model: nn.Module, path: str, feature: Tensor, images: Tensor) -> Tensor:
    """Output of the whole network for ``images`` with the output of the module at ``path`` replaced by ``feature``."""

    def replace(_module: nn.Module, _inputs: Any, _output: Tensor) -> Tensor:
        return feature.clone()

    with model.get_submodule(path).register_forward_hook(replace):
        return model(images)
