"""From data to modules: the one place where an op or a block becomes a module. Library, cost tables, students, zoo and
export all build through here.

The modules are timm's own, so that a found network is a timm-style network with timm's parameter names.

A new kind of **op** is a file here with a line in ``layers.LAYERS`` under the kind's name (``distilnas.space.kinds``);
the file must provide what ``layers.LayerKind`` lists. A new kind of **block** is a file here with a line in ``KINDS``
under the kind's name (``distilnas.space.families``); the file must provide what ``BlockKind`` lists. A kind that is
missing in a table is an error for whoever asks for its module.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from distilnas.blocks import cell, head
from distilnas.blocks.cell import make_stem
from distilnas.blocks.common import NormLayer, conv_norm_act
from distilnas.blocks.head import head_convolution
from distilnas.blocks.layers import LAYERS, LayerKind, absorb, make_layer
from distilnas.blocks.parts import Parts, Piece, Pieces
from distilnas.errors import UsageError

__all__ = [
    "KINDS",
    "LAYERS",
    "BlockKind",
    "LayerKind",
    "NormLayer",
    "Parts",
    "Piece",
    "Pieces",
    "absorb",
    "block_kind",
    "conv_norm_act",
    "head_convolution",
    "make_layer",
    "make_stem",
]


class BlockKind(Protocol):
    """The torch half of a kind of block."""

    def build(self, filling: Any, in_width: int, /, *, norm_layer: NormLayer, drop_paths: Iterator[float]) -> Parts:
        """The modules of ``filling``, with new weights, after a block that hands on ``in_width`` channels.

        ``drop_paths``: a probability of stochastic depth for each of the filling's ``droppable`` layers in turn.
        """
        ...

    def pieces(self, family: Any, in_width: int, /, *, stride: int, num_classes: int) -> Pieces:
        """What the candidates of ``family`` are made of, to be counted."""
        ...


KINDS: dict[str, BlockKind] = {
    "cell": cell,
    "head": head,
}


def block_kind(name: str) -> BlockKind:
    """The kind of a name; raises ``UsageError`` for one that has no modules."""
    if name not in KINDS:
        raise UsageError(f"there are no modules for blocks of kind {name!r}; valid: {', '.join(KINDS)}.")
    return KINDS[name]
