"""What a network or a part of one costs, measure by measure; ``distilnas.tables.measures`` has their names.

A new measure is a line there and a file here that has its name and a function ``measure``.
"""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Protocol

from torch import nn

from distilnas.costing.counters import Counts, count
from distilnas.tables.measures import ADDITIVE, EXACT, Number

__all__ = ["ADDITIVE", "EXACT", "MEASURES", "Measure", "Part"]


@dataclass(frozen=True)
class Part:
    """A network or a part of one, and the ``shape`` of what goes in, without batch; it is counted once for all."""

    module: nn.Module
    shape: tuple[int, ...]

    @cached_property
    def counts(self) -> Counts:
        """Its products and the shape of what comes out."""
        return count(self.module, self.shape)


class Measure(Protocol):
    """One exact number for a part. That of a network is the sum over its parts, or the greatest of them."""

    def __call__(self, part: Part, /) -> Number: ...


MEASURES: dict[str, Measure] = {name: import_module(f"{__name__}.{name}").measure for name in EXACT}
