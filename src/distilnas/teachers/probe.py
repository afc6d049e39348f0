"""One look at how a network computes: which modules give feature maps, in which order, and which cut it in two.

The probe works on a copy of the network in float32 on the CPU, so that the network itself is never touched and equal
arithmetic gives bit-equal results. In the copy, parameters that are practically zero (zero-initialised last batch
norms, layer scales of 1e-6) become small random numbers: a branch that is switched off must still count as a
connection.
"""

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.teachers.hooks import capture, resume

_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_BATCH = 2  # images a forward; more would only cost time
_ASPECT = 2.0  # reductions in height and width differ by less, even in small maps with rounded sizes
_DEAD = 1e-4  # a parameter whose largest absolute value is below this is taken for switched off


@dataclass(frozen=True, kw_only=True)
class Call:
    """A module that was called in a forward.

    ``order`` is its (last) place in the order of completion, so that a module comes after everything inside it;
    ``shape`` is the (C, H, W) of its output, or None unless it was called exactly once and gave one (B, C, H, W)
    map; ``convs`` counts the convolutions inside it, itself included.
    """

    path: str
    order: int
    shape: tuple[int, int, int] | None
    convs: int
    leaf: bool

    @property
    def resolution(self) -> tuple[int, int] | None:
        return None if self.shape is None else self.shape[1:]

    @property
    def composite(self) -> bool:
        """Whether it is a unit of at least two convolutions that gives one feature map."""
        return self.shape is not None and not self.leaf and self.convs >= 2


class Probe:
    """What two small batches of random images of ``image_shape`` (C, H, W) show about ``model``; deterministic.

    ``calls`` holds the called modules by path in order of completion (the whole network under ""). Raises
    ``UsageError`` when the network cannot be run on such images or does not give one finite tensor that depends on
    them.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = image_shape
        self._model = _living_copy(model)
        self._images, self._others = (_random_images(image_shape, seed) for seed in (0, 1))
        self._is_cut: dict[str, bool] = {}
        self._events: list[tuple[str, nn.Module, tuple[int, ...], Any]] = []
        self._output = self._run()
        self.calls = self._collect_calls()

    def is_cut(self, path: str) -> bool:
        """Whether everything the network gives out passes through the output of the module at ``path`` (a cut vertex).

        Checked by computing: with this output taken from the first images, the network must give for the other images
        exactly what it gave for the first.
        """
        if path not in self._is_cut:
            with torch.no_grad():
                (feature,) = capture(self._model, [path], self._images)
                self._is_cut[path] = torch.equal(resume(self._model, path, feature, self._others), self._output)
        return self._is_cut[path]

    def convs_between(self, after: int, upto: int) -> int:
        """Convolution calls whose place in the order of completion is in (after, upto]."""
        return sum(isinstance(module, nn.Conv2d) for _, module, _, _ in self._events[after + 1 : upto + 1])

    def collapse(self, upto: int) -> str | None:
        """Path of the first strided layer, up to that place, with an input smaller than its stride, or None."""
        for path, module, in_shape, _ in self._events[: upto + 1]:
            if isinstance(module, _STRIDED) and in_shape and min(in_shape[-2:]) < _largest(module.stride):
                return path
        return None

    def _run(self) -> Tensor:
        with ExitStack() as stack, torch.no_grad():
            for path, module in self._model.named_modules():
                stack.enter_context(module.register_forward_hook(partial(self._record, path)))
            try:
                output = self._model(self._images)
            except Exception as error:
                raise UsageError(
                    f"the teacher must accept images of the given size, but {type(self._model).__name__} fails on "
                    f"{' x '.join(map(str, self.image_shape))} (channels x height x width): {error}. Such a size may "
                    "be too small for its strides: take larger images, or check the number of input channels."
                ) from error
        self._check_output(output)
        return output

    def _record(self, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        in_shape = tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()
        self._events.append((path, module, in_shape, tuple(output.shape) if isinstance(output, Tensor) else None))

    def _check_output(self, output: Any) -> None:
        name = type(self._model).__name__
        if not isinstance(output, Tensor):
            raise UsageError(f"a teacher must give one tensor, but {name} gives {type(output).__name__}: wrap it.")
        if not output.isfinite().all():
            raise UsageError(f"a teacher must give finite numbers, but {name} does not: check its weights.")
        with torch.no_grad():
            if torch.equal(self._model(self._others), output):
                raise UsageError(
                    f"a teacher's output must depend on the image, but {name}'s does not: check its weights."
                )

    def _is_map(self, shape: tuple[int, ...] | None) -> bool:
        """Whether (B, C, H, W) with the image's aspect: attention's (B, heads, tokens, width) and (B, H, W, C) not."""
        if shape is None or len(shape) != 4 or 0 in shape:
            return False
        vertical, horizontal = self.image_shape[1] / shape[2], self.image_shape[2] / shape[3]
        return max(vertical, horizontal) <= _ASPECT * min(vertical, horizontal)

    def _collect_calls(self) -> dict[str, Call]:
        times: dict[str, int] = {}
        calls: dict[str, Call] = {}
        for order, (path, module, _, shape) in enumerate(self._events):
            times[path] = times.get(path, 0) + 1
            calls.pop(path, None)
            calls[path] = Call(
                path=path,
                order=order,
                shape=shape[1:] if times[path] == 1 and self._is_map(shape) else None,
                convs=sum(isinstance(inner, nn.Conv2d) for inner in module.modules()),
                leaf=not any(True for _ in module.children()),
            )
        return calls


def _living_copy(model: nn.Module) -> nn.Module:
    alive = copy.deepcopy(model).to("cpu", torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in alive.parameters():
            if parameter.numel() and parameter.abs().max() < _DEAD:
                parameter.normal_(std=0.1, generator=generator)
    return alive


def _random_images(image_shape: tuple[int, int, int], seed: int) -> Tensor:
    return torch.randn(_BATCH, *image_shape, generator=torch.Generator().manual_seed(seed))


def _largest(stride: int | tuple[int, ...]) -> int:
    return stride if isinstance(stride, int) else max(stride)
