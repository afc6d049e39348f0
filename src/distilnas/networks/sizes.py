"""Sizes that a traced network reads off one tensor and uses much later, after cuts that hand on another tensor.

A grid's height and width, say, that every transformer block is called with. For images of one size they are constants,
and the number of images every tensor tells; so no part needs to be told either.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from distilnas.runtime.skeletons import skeleton

_log = logging.getLogger(__name__)

_BATCHES = (3, 5)  # numbers of images that no other size is likely to follow
_NUMBER = "number of images"


def settle_sizes(model: nn.Module, graph: fx.Graph, image_shape: tuple[int, int, int]) -> None:
    """In the ``graph`` of ``model``, make what are the same numbers for images of ``image_shape`` constants.

    What is the number of images is marked (``is_batch``). A graph that does not run without values is left as it is.
    """
    hollow = skeleton(model)
    for name, value in vars(hollow).items():
        if isinstance(value, Tensor):  # constants of the graph
            setattr(hollow, name, value.to("meta"))
    try:
        few, many = (_numbers(hollow, graph, image_shape, batch) for batch in _BATCHES)
    except Exception as error:  # the network's own code, on tensors without values
        _log.debug("sizes of %s stay what they are computed from: %s", type(model).__name__, error)
        return
    for node, value in few.items():
        if value == many[node]:
            _replace(node, value)
        elif (value, many[node]) == _BATCHES:
            node.meta[_NUMBER] = True


def is_batch(node: fx.Node) -> bool:
    """Whether the node's value is the number of images."""
    return _NUMBER in node.meta


def _numbers(
    model: nn.Module, graph: fx.Graph, image_shape: tuple[int, int, int], batch: int
) -> dict[fx.Node, int | float | Sequence[Any]]:
    """Values of the nodes that are numbers, or tuples of such."""
    recorder = _Recorder(model, graph=graph)
    with torch.no_grad(), torch.device("meta"):
        recorder.run(torch.empty(batch, *image_shape, device="meta"))
    return {node: value for node, value in recorder.values.items() if _is_number(value)}


class _Recorder(fx.Interpreter):
    """Remembers what every node gave out."""

    def __init__(self, model: nn.Module, *, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """As an interpreter does."""
        value = self.values[n] = super().run_node(n)
        return value


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return bool(value) and all(map(_is_number, value))
    return isinstance(value, int | float)


def _replace(node: fx.Node, value: Any) -> None:
    for user in list(node.users):
        user.args = fx.map_arg(user.args, lambda one: value if one is node else one)
        user.kwargs = fx.map_arg(user.kwargs, lambda one: value if one is node else one)
