"""What modules inside a network give out, beside the output of the whole."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from distilnas.errors import UsageError, nearest


def check_paths(model: nn.Module, paths: Sequence[str]) -> None:
    """Raise ``UsageError`` unless every path is a module inside ``model``."""
    names = dict(model.named_modules())
    for path in paths:
        if path not in names:
            raise UsageError(f"{type(model).__name__} has no module {path!r} to compare; {nearest(path, names)}")


def with_outputs(model: nn.Module, paths: Sequence[str], images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output of ``model`` for ``images``, and those of the modules at ``paths``, with gradient where it has one.

    Copies, since later layers may work in place. Raises ``UsageError`` for a module that gives out no single tensor.
    """
    found: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise UsageError(f"only tensors can be compared, but {path} gives out a {type(output).__name__}.")
            found[path] = output.clone()

        return hook

    with ExitStack() as hooks:
        for path in paths:
            hooks.enter_context(model.get_submodule(path).register_forward_hook(keep(path)))
        output = model(images)
    return output, [found[path] for path in paths]
