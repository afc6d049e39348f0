"""One look at how a network computes: which modules give feature maps, in which order, and which cut it in two.

The network runs once, on a skeleton of itself: a copy whose weights have shapes but no values, so that the largest
teacher takes seconds and next to no memory, and the network itself is never touched. What depends on what is read off
the operations (``flow``), not off numbers: a branch that is switched off by zero weights still counts as a connection.
A network whose Python code asks for values cannot run so; of it, a true copy runs on random images.
"""

import copy
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.layouts import Layout
from distilnas.runtime.skeletons import skeleton
from distilnas.teachers.flow import Flow
from distilnas.teachers.hooks import tensor_of, with_tensor
from distilnas.teachers.layouts import Reading, read

_log = logging.getLogger(__name__)

_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_BATCH = 2  # so that a batch is told from one window or one head


@dataclass(frozen=True, kw_only=True)
class Call:
    """A module that was called in a forward.

    ``order`` is its (last) place in the order of completion, so that a module comes after everything inside it;
    ``shape`` and ``layout`` are those of the feature map that it gave out, with (C, H, W) whatever the layout, or None
    unless it was called exactly once and gave one. ``cut``: everything the network gives out passes through this
    output. ``weighted`` counts the layers inside it, itself included, that carry a map's weights: convolutions, and
    linear layers that act on every place.
    """

    path: str
    order: int
    shape: tuple[int, int, int] | None
    layout: Layout = field(default_factory=Layout)
    cut: bool
    weighted: int
    leaf: bool

    @property
    def resolution(self) -> tuple[int, int] | None:
        return None if self.shape is None else self.shape[1:]

    @property
    def composite(self) -> bool:
        """Whether it is a unit of at least two weighted layers that gives one feature map."""
        return self.shape is not None and not self.leaf and self.weighted >= 2


@dataclass(frozen=True, kw_only=True)
class _Event:
    """A module's return: the shapes of its first operand and of its output, and the output's place in the flow."""

    path: str
    module: nn.Module
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    value: int | None

    @property
    def weighted(self) -> bool:
        linear = isinstance(self.module, nn.Linear) and len(self.in_shape) > 2
        return self.value is not None and (linear or isinstance(self.module, nn.Conv2d))


class Probe:
    """What one forward of images of ``image_shape`` (C, H, W) shows about ``model``; deterministic.

    ``calls`` holds the called modules by path in order of completion (the whole network under ""). ``pools_grid``: the
    network says that its classifier reads the tokens of the grid, not prefix tokens alone.

    Raises ``UsageError`` when the network cannot be run on such images, has weights that are not finite, or does not
    give one tensor that depends on the images.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = image_shape
        _check_weights(model)
        self._channels_last = "NHWC" in _said(model, "output_fmt")
        self.pools_grid = bool(_said(model, "global_pool") - {"", "token"})
        self._events, cuts = _run(model, image_shape)
        self.calls = self._collect_calls(cuts)

    def weighted_between(self, after: int, upto: int) -> int:
        """Calls of weighted layers whose place in the order of completion is in (after, upto]."""
        return sum(event.weighted for event in self._events[after + 1 : upto + 1])

    def collapse(self, upto: int) -> str | None:
        """Path of the first strided layer, up to that place, with an input smaller than its stride, or None."""
        for event in self._events[: upto + 1]:
            module, sizes = event.module, event.in_shape[-2:]
            if isinstance(module, _STRIDED) and sizes and min(sizes) < _largest(module.stride):
                return event.path
        return None

    def _collect_calls(self, cuts: set[int]) -> dict[str, Call]:
        times: dict[str, int] = {}
        calls: dict[str, Call] = {}
        grids: list[tuple[int, int]] = []
        inside = _weighted_inside(self._events)
        for order, event in enumerate(self._events):
            times[event.path] = times.get(event.path, 0) + 1
            calls.pop(event.path, None)
            reading = self._read(event, grids) if times[event.path] == 1 else None
            if reading is not None and (isinstance(event.module, nn.Conv2d) or not grids):
                grids.append(reading.shape[1:])
            calls[event.path] = Call(
                path=event.path,
                order=order,
                shape=reading and reading.shape,
                layout=reading.layout if reading else Layout(),
                cut=event.value in cuts,
                weighted=inside.get(event.path, 0),
                leaf=not any(True for _ in event.module.children()),
            )
        return calls

    def _read(self, event: _Event, grids: list[tuple[int, int]]) -> Reading | None:
        channels_last = self._channels_last and not isinstance(event.module, nn.Conv2d)
        return read(event.out_shape, _BATCH, self.image_shape[1:], grids, channels_last=channels_last)


def _run(model: nn.Module, image_shape: tuple[int, int, int]) -> tuple[list[_Event], set[int]]:
    """Events and cut values of one forward, without arithmetic where the network lets itself be run so."""
    try:
        hollow, images = skeleton(model), torch.empty(_BATCH, *image_shape, device="meta")
        with torch.device("meta"):
            return _record(hollow, images)
    except UsageError:
        raise
    except Exception as error:  # the network's own code, on tensors without values: anything may be raised
        _log.debug("%s does not run without values: %s", type(model).__name__, error)
    try:
        alive = copy.deepcopy(model).to("cpu", torch.float32)
        return _record(alive, _random_images(image_shape))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"the teacher must accept images of the given size, but {type(model).__name__} fails on "
            f"{' x '.join(map(str, image_shape))} (channels x height x width): {error}. Such a size may be too small "
            "for its strides: take larger images (a model of fixed size is built for another with "
            "teacher.model_kwargs={img_size: ...}), or check the number of input channels."
        ) from error


def _record(model: nn.Module, images: Tensor) -> tuple[list[_Event], set[int]]:
    events: list[_Event] = []

    def note(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        in_shape = tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()
        given = tensor_of(output)
        own = given if given is None else given.clone()  # a value of its own: a tap replaces this output, not others
        out_shape, value = ((), None) if own is None else (tuple(own.shape), flow.value(own))
        events.append(_Event(path=path, module=module, in_shape=in_shape, out_shape=out_shape, value=value))
        return output if own is None else with_tensor(output, own)

    for path, module in model.eval().named_modules():
        module.register_forward_hook(partial(note, path))
    flow = Flow(images)
    with torch.no_grad(), flow:
        output = model(images)
    name = type(model).__name__
    if not isinstance(output, Tensor):
        raise UsageError(f"a teacher must give one tensor, but {name} gives {type(output).__name__}: wrap it.")
    cuts = flow.cuts(output)
    if not cuts:
        raise UsageError(f"a teacher's output must depend on the image, but {name}'s does not: check its forward.")
    return events, cuts


def _check_weights(model: nn.Module) -> None:
    """Buffers may be infinite (masks, limits), weights not; neither may hold what is no number."""
    broken = [name for name, tensor in model.named_parameters() if _has_values(tensor) and not tensor.isfinite().all()]
    broken += [name for name, tensor in model.named_buffers() if _has_values(tensor) and tensor.isnan().any()]
    if broken:
        raise UsageError(
            f"a teacher's weights must be finite numbers, but {broken[0]} of {type(model).__name__} are not: the file "
            "is damaged or the training diverged."
        )


def _has_values(tensor: Tensor) -> bool:
    return tensor.device.type != "meta"


def _weighted_inside(events: list[_Event]) -> dict[str, int]:
    inside: dict[str, int] = {}
    for path in {event.path for event in events if event.weighted}:
        parts = path.split(".") if path else []
        for depth in range(len(parts) + 1):
            around = ".".join(parts[:depth])
            inside[around] = inside.get(around, 0) + 1
    return inside


def _said(model: nn.Module, name: str) -> set[str]:
    """What timm's networks say of themselves under ``name``, wherever they are inside ``model``."""
    return {said for part in model.modules() if isinstance(said := getattr(part, name, None), str)}


def _random_images(image_shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(_BATCH, *image_shape, generator=torch.Generator().manual_seed(0))


def _largest(stride: int | tuple[int, ...]) -> int:
    return stride if isinstance(stride, int) else max(stride)
