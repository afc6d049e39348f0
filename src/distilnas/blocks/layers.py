"""The table of the kinds of layer, and the function that makes a module of any op."""

from typing import Any, Protocol

from torch import Tensor, nn

from distilnas.blocks import convnext, identity, mb, res
from distilnas.blocks.common import NormLayer
from distilnas.errors import UsageError
from distilnas.space import Op


class LayerKind(Protocol):
    """The torch half of a kind of op."""

    def build(
        self, op: Any, in_width: int, out_width: int, stride: int, *, norm_layer: NormLayer, drop_path: float
    ) -> nn.Module:
        """The module of ``op``, see ``make_layer``."""
        ...

    def absorb(self, op: Any, layer: Any, matrix: Tensor, out_width: int, stride: int) -> nn.Module | None:
        """``layer`` (a module of ``op``) behind the linear map ``matrix``, see ``absorb``."""
        ...


LAYERS: dict[str, LayerKind] = {
    "id": identity,
    "mb": mb,
    "res": res,
    "convnext": convnext,
}


def make_layer(
    op: Op,
    in_width: int,
    out_width: int,
    stride: int,
    *,
    norm_layer: NormLayer = nn.BatchNorm2d,
    drop_path: float = 0.0,
) -> nn.Module:
    """The module of ``op``: (B, in_width, H, W) -> (B, out_width, ceil(H / stride), ceil(W / stride)).

    Args:
        norm_layer: called with the number of channels; batch norm with timm's settings unless the supernet asks for
            another. Kinds with norms of their own kind leave it aside.
        drop_path: probability of dropping the residual branch (stochastic depth); only layers with a shortcut use it.

    Raises ``UsageError`` for a kind that has no module.
    """
    if op.kind not in LAYERS:
        raise UsageError(f"there is no module for layers of kind {op.kind!r} ({op}); valid: {', '.join(LAYERS)}.")
    return LAYERS[op.kind].build(op, in_width, out_width, stride, norm_layer=norm_layer, drop_path=drop_path)


def absorb(op: Op, layer: nn.Module, matrix: Tensor, out_width: int, stride: int) -> nn.Module | None:
    """A module of ``op`` for fewer or equally many channels that does what ``layer`` does behind a 1x1 map.

    Args:
        layer: a module of ``op`` with ``out_width`` and ``stride``, built for ``len(matrix)`` channels.
        matrix: (channels that ``layer`` was built for, channels that come in).

    A constant that the map adds is left to the batch norm that follows, which is to be measured anew, as are all. None
    where the map cannot be folded in, as through a shortcut or into a depthwise convolution. Exact but for hidden
    channels, whose number may follow that of the channels that come in: the most important ones are kept.
    """
    return LAYERS[op.kind].absorb(op, layer, matrix, out_width, stride)
