"""Reading the layout of a network's feature maps off their shapes."""

from collections.abc import Iterable
from typing import NamedTuple

from distilnas.networks.layouts import Layout

_ASPECT = 2.0  # reductions in height and width differ by less, even in small maps with rounded sizes
_MOST_PREFIXES = 16  # a class token, a distillation token, registers (4 or 8 in published models)


class Reading(NamedTuple):
    """A tensor taken for a feature map: (channels, height, width) and layout."""

    shape: tuple[int, int, int]
    layout: Layout


def read(
    shape: tuple[int, ...],
    batch: int,
    image: tuple[int, int],
    grids: Iterable[tuple[int, int]] = (),
    *,
    channels_last: bool = False,
) -> Reading | None:
    """Take a tensor of ``shape`` for a feature map of ``batch`` images of ``image`` (H, W) pixels, or None.

    A map has the aspect of the image, about. It is (B, C, H, W) unless (B, H, W, C) fits better, or equally well (H and
    W and C are about the same) and the network is known to work ``channels_last``. Tokens lie on one of the
    ``grids`` seen before (patch embeddings are convolutions), after as few prefix tokens as possible, or without prefix
    on a half of one; where none was seen, on a grid of exactly the image's aspect.
    """
    if not shape or shape[0] != batch or 0 in shape:
        return None
    if len(shape) == 4:
        return _read_map(shape[1:], image, channels_last)
    if len(shape) == 3:
        return _read_tokens(shape[1], shape[2], image, grids)
    return None


def _read_map(sizes: tuple[int, ...], image: tuple[int, int], channels_last: bool) -> Reading | None:
    first, second, third = sizes
    as_nchw, as_nhwc = _mismatch((second, third), image), _mismatch((first, second), image)
    if min(as_nchw, as_nhwc) > _ASPECT:
        return None
    if as_nhwc < as_nchw or (channels_last and as_nhwc == as_nchw):
        return Reading((third, first, second), Layout(kind="nhwc"))
    return Reading((first, second, third), Layout())


def _read_tokens(
    number: int, channels: int, image: tuple[int, int], grids: Iterable[tuple[int, int]]
) -> Reading | None:
    """Without prefix on a grid, half of one, or one of the image's aspect; else with a prefix on a grid."""
    grids = set(grids)
    bare = {grid for seen in grids for grid in _halvings(seen)} if grids else {_grid_of_aspect(number, image)}
    found = [(grid, 0) for grid in bare if grid[0] * grid[1] == number]
    found += [(grid, prefix) for grid in grids if 0 < (prefix := number - grid[0] * grid[1]) <= _MOST_PREFIXES]
    (height, width), prefix = max(found, key=lambda one: -one[1], default=((0, 0), 0))
    if height * width < 2:
        return None
    return Reading((channels, height, width), Layout(kind="tokens", prefix=prefix))


def _halvings(grid: tuple[int, int]) -> set[tuple[int, int]]:
    """``grid`` and what strides of 2 make of it."""
    found = {grid}
    while max(grid) > 1:
        grid = (-(-grid[0] // 2), -(-grid[1] // 2))
        found.add(grid)
    return found


def _grid_of_aspect(number: int, image: tuple[int, int]) -> tuple[int, int]:
    height = round((number * image[0] / image[1]) ** 0.5)
    width = number // max(1, height)
    exact = height * width == number and height * image[1] == width * image[0]
    return (height, width) if exact else (0, 0)


def _mismatch(grid: tuple[int, int], image: tuple[int, int]) -> float:
    """How much stronger the image is reduced in one direction than in the other, at least 1."""
    vertical, horizontal = image[0] / grid[0], image[1] / grid[1]
    return max(vertical, horizontal) / min(vertical, horizontal)
