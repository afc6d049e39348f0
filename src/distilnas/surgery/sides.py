"""The side of the images as a choice for the whole network: smaller images, fewer multiply-adds, the same weights.

A cut hurts about as much at one side as at another, so that a student's rating is the sum of those of its cuts, taken
at the teacher's side, and of what the smaller side alone costs the teacher with a refitted classifier.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from distilnas.surgery.chain import Unit

_log = logging.getLogger(__name__)
_FINE, _COARSE = 8, 32  # sides are multiples of these, of small images and of large ones
_LARGE = 160


def smaller_sides(side: int, shares: Sequence[float]) -> tuple[int, ...]:
    """``shares`` of ``side`` in pixels, largest first, rounded to what strides divide; those below two steps go."""
    step = _COARSE if side >= _LARGE else _FINE
    found = {step * round(share * side / step) for share in shares}
    return tuple(sorted((one for one in found if 2 * step <= one < side), reverse=True))


def resized(images: Tensor, side: int | None) -> Tensor:
    """Images (B, C, H, W) with ``side`` pixels to a side; unchanged for None."""
    if side is None or side == images.shape[-1]:
        return images
    return functional.interpolate(images, (side, side), mode="bilinear", antialias=True)


@torch.no_grad()
def at_side(units: Sequence[Unit], side: int | None) -> tuple[Unit, ...]:
    """``units`` with the shapes that they have for images of ``side``; unchanged for None.

    Raises whatever the network raises where it does not take such images.
    """
    if side is None:
        return tuple(units)
    example = units[0].example()[:1]
    x = example.new_zeros(1, example.shape[1], side, side)
    found = []
    for unit in units:
        y = unit.module(x)
        border = unit.border
        if border is not None:
            height, width = unit.layout.grid(y.shape[1:])
            border = replace(border, height=height, width=width)
        shapes = {"in_shape": tuple(x.shape[1:]), "out_shape": tuple(y.shape[1:])}
        found.append(replace(unit, border=border, **shapes))
        x = y
    return tuple(found)


def possible_sides(units: Sequence[Unit], sides: Sequence[int]) -> tuple[int, ...]:
    """Those of ``sides`` at which the teacher works as it is; a network made for one side has none."""
    found = []
    for side in sides:
        try:
            at_side(units, side)
        except Exception as error:  # whatever a network's code says to a shape it was not made for
            _log.info("not at %d pixels: %s", side, str(error).partition("\n")[0])
        else:
            found.append(side)
    return tuple(found)
