"""What the kinds of block give to those who assemble or count networks."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The modules of a filling, by their places in a network: images -> stem -> stages -> head -> pooling, classifier.

    ``stem``: convolution and norm, where it has one. ``stages``: maps to maps. ``head``: convolution and norm before
    pooling, of a head.
    """

    stem: tuple[nn.Module, nn.Module] | None = None
    stages: tuple[nn.Sequential, ...] = ()
    head: tuple[nn.Module, nn.Module] | None = None


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A module to be counted: pieces of equal ``key`` count alike on equal maps."""

    key: Hashable
    build: Callable[[], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A family taken apart so that a candidate costs the sum of its pieces, one after the other.

    ``fixed``: always there, first. ``axes``: one piece for each option of each axis; those of an axis take and give
    maps of one size.
    """

    fixed: tuple[Piece, ...] = ()
    axes: tuple[tuple[Piece, ...], ...] = ()
