"""What networks may cost, by name: the words, unit and kind of every measure; how each is taken, ``costing`` knows.

A new exact measure is a line here and a file of its name in ``distilnas.costing.measures``; ``distilnas.latency`` has
those that are measured on a device.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distilnas.errors import UsageError, nearest

Number = int | float


@dataclass(frozen=True, kw_only=True)
class MeasureInfo:
    """``words``: in the middle of a sentence, ``long``: where there is room; ``unit``: as in 5 MB or 2.5 ms, none for
    plain numbers. ``exact``: whole numbers that follow from the network alone; else floats. ``adds``: that of a network
    is the sum over its parts; else the greatest of them. ``always``: shown also where nobody asked for it."""

    words: str
    long: str = ""
    unit: str = ""
    exact: bool = True
    adds: bool = True
    always: bool = False

    @property
    def label(self) -> str:
        """Over a number."""
        return self.words[:1].upper() + self.words[1:]

    @property
    def title(self) -> str:
        """Over a column of a table."""
        return self.long or self.label

    @property
    def axis(self) -> str:
        """Beside the axis of a plot."""
        return self.long or self.words


MEASURES: dict[str, MeasureInfo] = {
    "macs": MeasureInfo(words="MACs", long="MACs (papers: FLOPs)", always=True),
    "params": MeasureInfo(words="parameters", always=True),
    "bytes": MeasureInfo(words="bytes of weights", unit="B"),
    "peak_memory": MeasureInfo(words="peak memory of activations", unit="B", adds=False),
    "latency_ms": MeasureInfo(words="latency", unit="ms", exact=False),
}
EXACT = tuple(name for name, info in MEASURES.items() if info.exact)
ADDITIVE = tuple(name for name in EXACT if MEASURES[name].adds)


def measure_info(name: str) -> MeasureInfo:
    """The measure of this name, or for the cost of a table from elsewhere what its name says."""
    return MEASURES.get(name) or MeasureInfo(words=name.replace("_", " "), exact=False)


def shown(known: Iterable[str], asked: Iterable[str] = ()) -> tuple[str, ...]:
    """Those of the ``known`` costs that people see: the usual ones, those that were measured, and those that were
    ``asked`` for."""
    asked = set(asked)
    return tuple(name for name in known if name in asked or name not in EXACT or MEASURES[name].always)


def costs_in(record: Mapping[str, Any]) -> dict[str, Number]:
    """The exact measures that a record of a network has; older ones have fewer."""
    return {name: record[name] for name in EXACT if name in record}


def check_measure(name: str, known: Iterable[str] = MEASURES) -> None:
    """Raise ``UsageError`` unless ``name`` is one of the ``known`` measures."""
    if name not in known:
        raise UsageError(f"a budget is on a measure, but {name!r} is none; {nearest(name, known)}")
