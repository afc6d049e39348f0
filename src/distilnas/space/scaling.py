"""Compound scaling of an architecture's width and depth (Tan & Le, EfficientNet, ICML 2019, section 3.3).

DNA scales its winners so, e.g. to the size of its EfficientNet-B7 teacher (DNA-B7, 64.9 M parameters).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from distilnas.errors import UsageError
from distilnas.space.architecture import Architecture, Layered
from distilnas.space.families import Cell, FixedLayer, Stem

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What one step of scaling multiplies; the defaults are EfficientNet's. A resolution of 1 keeps the image size."""

    depth: float = 1.2
    width: float = 1.1
    resolution: float = 1.0

    def __post_init__(self) -> None:
        factors = (self.depth, self.width, self.resolution)
        if min(factors) < 1 or max(self.depth, self.width) == 1:
            raise UsageError(
                "scaling multiplies depth, width and resolution by at least 1, and depth or width by more, got "
                f"{' '.join(map(str, factors))}."
            )


def scale(architecture: Architecture, *, width: float, depth: float) -> Architecture:
    """The architecture with all widths times ``width`` and all depths times ``depth``.

    Widths become multiples of 8 and lose at most a tenth by rounding, depths are rounded up, as EfficientNet does. A
    block's sequence of ops is stretched evenly, so its first layer keeps its op and stride. (timm repeats the ops of a
    mixed block by another rule; for blocks of one op the two agree.)
    """
    parts = Layered.of(architecture)
    return Layered(
        stem=_scale_stem(parts.stem, width, depth),
        cells=tuple(_scale_cell(cell, width, depth) for cell in parts.cells),
        head=replace(parts.head, width=_round(parts.head.width * width)),
    ).architecture()


def _scale_stem(stem: Stem, width: float, depth: float) -> Stem:
    layers: list[FixedLayer] = []
    before: int | None = None
    for index in _stretch(range(len(stem.layers)), depth):
        layer = stem.layers[index]
        stride = 1 if index == before else layer.stride
        layers.append(replace(layer, width=_round(layer.width * width), stride=stride))
        before = index
    return replace(stem, width=_round(stem.width * width), layers=tuple(layers))


def _scale_cell(cell: Cell, width: float, depth: float) -> Cell:
    return replace(cell, width=_round(cell.width * width), ops=_stretch(cell.ops, depth))


def _stretch(items: Sequence[Item], factor: float) -> tuple[Item, ...]:
    """``items`` repeated (or dropped) evenly to the length ceil(factor x length)."""
    length = math.ceil(round(len(items) * factor, 9))
    return tuple(items[i * len(items) // length] for i in range(length))


def _round(width: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * width else rounded + divisor
