"""The network that a student is made of, by name: built without its weights and cut into parts."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import timm
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from distilnas.errors import UsageError, nearest
from distilnas.networks.cut import as_module, between, trace
from distilnas.networks.layouts import Layout

_FETCHING = ("pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "scriptable")


@dataclass(frozen=True, kw_only=True)
class Border:
    """What passes from one part to the next: the (channels, height, width) map that the parent's module ``path`` gives.

    ``layout`` is how the parent lays it out; of tokens, height and width are those of their grid.
    """

    path: str
    channels: int
    height: int
    width: int
    layout: Layout = field(default_factory=Layout)

    def __post_init__(self) -> None:
        sizes = (self.channels, self.height, self.width)
        if not isinstance(self.path, str) or not self.path or not all(type(size) is int and size > 0 for size in sizes):
            raise UsageError(f"a border has a module path and positive whole sizes, got {self}.")

    def to_map(self, output: Tensor) -> Tensor:
        """The module's ``output`` as (B, C, H, W), without prefix tokens."""
        return self.layout.to_map(output, (self.height, self.width))


@dataclass(frozen=True, kw_only=True)
class Parent:
    """timm's ``model`` with ``model_kwargs``, for images of ``image_shape`` (C, H, W), cut at ``borders`` into parts.

    ``model`` is None for a network that is not timm's: it can be cut, but not be built again.
    """

    model: str | None
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int
    image_shape: tuple[int, int, int]
    borders: tuple[Border, ...]

    def __post_init__(self) -> None:
        _check_fields(self)

    @property
    def in_chans(self) -> int:
        """Channels of the images."""
        return self.image_shape[0]

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON; ``from_dict`` reads it back."""
        return {
            "model": self.model,
            "model_kwargs": dict(self.model_kwargs),
            "num_classes": self.num_classes,
            "image_shape": list(self.image_shape),
            "borders": [asdict(border) for border in self.borders],
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Parent":
        """Raises ``UsageError`` for missing, unknown and invalid entries."""
        try:
            borders = tuple(Border(**{**one, "layout": Layout(**one["layout"])}) for one in data["borders"])
            return cls(**{**data, "image_shape": tuple(data["image_shape"]), "borders": borders})
        except (TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"a student's parent is not described as it should be: {error!r}.") from error

    def build(self) -> nn.Module:
        """The network in eval mode, its parameters without values (on the meta device) or with random ones.

        Raises ``UsageError`` where the installed timm does not have it.
        """
        if self.model is None:
            raise UsageError(
                "a student is built again from its parent's name in timm, but this one's parent is a network of your "
                "own: give it (load_student(folder, parent=module)), or use the ONNX file."
            )
        if not timm.is_model(self.model):
            raise UsageError(
                f"a student needs its parent's code, but timm {timm.__version__} has no model {self.model!r}: install "
                f"the timm that the student was made with ({nearest(self.model, timm.list_models())})"
            )
        arguments = {"num_classes": self.num_classes, **self.model_kwargs}
        if self.in_chans != 3:
            arguments.setdefault("in_chans", self.in_chans)
        try:
            return _create(self.model, arguments).eval()
        except Exception as error:  # constructors raise almost anything
            raise UsageError(
                f"a student's parent must be built as it was, but {self.model} cannot be with {arguments} in timm "
                f"{timm.__version__}: {error}."
            ) from error

    def cut(self, model: nn.Module, *, share: bool = False) -> list[fx.GraphModule]:
        """``model``, this parent, in parts: one to each border, and the head behind the last; in eval mode.

        ``share``: they are made of the model's own modules; otherwise of copies. Raises ``UsageError`` as ``cut``'s.
        """
        paths = [border.path for border in self.borders]
        graph = trace(model, paths, self.image_shape)
        parts = [as_module(model, between(graph, *ends)).eval() for ends in pairwise([None, *paths, None])]
        return parts if share else [copy.deepcopy(part) for part in parts]


def _create(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Without values where the constructor allows it; tables that are in no file of weights must have them."""
    with suppress(NotImplementedError, RuntimeError), _without_values():  # some constructors ask for values
        model = timm.create_model(name, **arguments)
        stored = model.state_dict()
        if not any(buffer.is_meta and key not in stored for key, buffer in model.named_buffers()):
            return model
    with torch.random.fork_rng(devices=[]):
        return timm.create_model(name, **arguments)


@contextmanager
def _without_values() -> Iterator[None]:
    """Parameters made inside are on the meta device, so that initialising them costs nothing; buffers are real."""

    def hollow(_module: nn.Module, _name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None or parameter.is_meta:
            return parameter
        return nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)

    handle = register_module_parameter_registration_hook(hollow)  # type: ignore[arg-type] - it may return another
    try:
        yield
    finally:
        handle.remove()


def _check_fields(parent: Parent) -> None:
    if parent.model is not None and (not isinstance(parent.model, str) or ":" in parent.model):
        raise UsageError(f"a student's parent is a model of the installed timm by name, got {parent.model!r}.")
    keywords = parent.model_kwargs
    if not isinstance(keywords, Mapping) or not all(isinstance(key, str) for key in keywords):
        raise UsageError(f"a parent's model_kwargs are arguments by name, got {keywords!r}.")
    if fetching := sorted(set(keywords) & set(_FETCHING)):
        raise UsageError(f"a parent is built without weights: {fetching[0]} may not be among its model_kwargs.")
    shape = parent.image_shape
    if type(parent.num_classes) is not int or parent.num_classes < 1:
        raise UsageError(f"num_classes of a parent is a whole number from 1, got {parent.num_classes!r}.")
    if len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise UsageError(f"image_shape of a parent is (channels, height, width), got {shape!r}.")
    if not parent.borders:
        raise UsageError("a parent is cut at one module at least, got no border.")
