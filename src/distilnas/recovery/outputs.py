"""What modules inside a network give out, beside the output of the whole."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from distilnas.errors import UsageError, nearest
from distilnas.training.evaluate import evaluating


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
    output, found = _outputs(model, paths, images)
    for path in paths:
        if not isinstance(found.get(path), Tensor):
            what = f"gives out a {type(found[path]).__name__}" if path in found else "is not used"
            raise UsageError(f"only tensors can be compared, but {path} of {type(model).__name__} {what}.")
    return output, [found[path] for path in paths]


@torch.no_grad()
def comparable(
    student: nn.Module, teacher: nn.Module, paths: Sequence[str], *, image: Tensor, teacher_image: Tensor | None = None
) -> tuple[tuple[str, str], ...]:
    """Pairs (path, path) of those modules of both networks whose outputs have one shape.

    ``image``: (1, C, H, W) for the student, and for the teacher unless there is ``teacher_image``.
    """
    shapes = []
    for model, x in ((student, image), (teacher, image if teacher_image is None else teacher_image)):
        names = dict(model.named_modules())
        with evaluating(model):
            _, found = _outputs(model, [path for path in paths if path in names], x)
        shapes.append({path: value.shape for path, value in found.items() if isinstance(value, Tensor)})
    ours, theirs = shapes
    return tuple((path, path) for path in paths if path in ours and ours[path] == theirs.get(path))


def _outputs(model: nn.Module, paths: Sequence[str], images: Tensor) -> tuple[Tensor, dict[str, Any]]:
    found: dict[str, Any] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found[path] = output.clone() if isinstance(output, Tensor) else output

        return hook

    with ExitStack() as hooks:
        for path in paths:
            hooks.enter_context(model.get_submodule(path).register_forward_hook(keep(path)))
        return model(images), found
