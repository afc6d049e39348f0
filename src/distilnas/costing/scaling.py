"""Scaling a network to a target: the largest network on a compound scaling's path that keeps it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from distilnas.costing.measures import MEASURES, Part
from distilnas.costing.profiles import Profile, profile
from distilnas.errors import InfeasibleError
from distilnas.networks import StudentNet
from distilnas.space import Architecture
from distilnas.space.scaling import Scaling, scale
from distilnas.tables.measures import Number

_SPAN = 24.0  # steps of EfficientNet's scaling; B7 is about 6 from B0
_EXACT = 2.0**-10


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """A scaled architecture at its resolution, and its counts."""

    architecture: Architecture
    counts: Profile


def scale_to(
    architecture: Architecture, *, cost: str, target: int, resolution: int, num_classes: int, scaling: Scaling
) -> Scaled:
    """The largest scaled network with ``cost`` (a measure, e.g. ``params``) at most ``target``, up or down.

    Depth, width and resolution grow with one exponent (EfficientNet, equation 3). Depths are whole numbers, so that
    path climbs in large jumps; what is then left below the target is filled with width alone. Resolutions are multiples
    of 32 where the scaling changes them. Raises ``InfeasibleError`` when the smallest network on the path is too large.
    """

    def at(steps: float, extra: float = 0.0) -> tuple[Architecture, int]:
        scaled = scale(architecture, width=scaling.width ** (steps + extra), depth=scaling.depth**steps)
        pixels = resolution if scaling.resolution == 1 else _pixels(resolution * scaling.resolution**steps)
        return scaled, pixels

    @cache
    def cost_of(scaled: Architecture, pixels: int) -> Number:
        return MEASURES[cost](Part(_on_meta(scaled, num_classes), (3, pixels, pixels)))

    def keeps(steps: float, extra: float = 0.0) -> bool:
        return cost_of(*at(steps, extra)) <= target

    if not keeps(-_SPAN):
        raise InfeasibleError(
            f"the network cannot be scaled down to {target:,} {cost}: the smallest on this path has "
            f"{cost_of(*at(-_SPAN)):,}; give a larger target."
        )
    steps = _largest(keeps, -_SPAN, _SPAN)
    extra = _largest(lambda extra: keeps(steps, extra), 0.0, _SPAN) if scaling.width > 1 else 0.0
    scaled, pixels = at(steps, extra)
    return Scaled(architecture=scaled, counts=profile(_on_meta(scaled, num_classes), pixels))


def _on_meta(architecture: Architecture, num_classes: int) -> StudentNet:
    with torch.device("meta"):
        return StudentNet(architecture, num_classes=num_classes)


def _largest(fits: Callable[[float], bool], low: float, high: float) -> float:
    """The largest value in [low, high], up to rounding, that fits, where ``low`` does and larger is harder."""
    while high - low > _EXACT:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _pixels(value: float) -> int:
    return max(32, round(value / 32) * 32)
