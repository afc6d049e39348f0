"""The record of a benchmark: times, ratios, floors, and what they were measured with."""

import os
from dataclasses import dataclass, field
from typing import Any

from distilnas.bench.timing import Times, medians
from distilnas.runtime.device import Device
from distilnas.runtime.provenance import provenance

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """One benchmark's result.

    ``work``: (amount, unit) of one turn, for example (8, "images"). ``ours`` and ``baseline`` name alternatives in
    ``times``. ``floors``: seconds below which no implementation of the same work can be expected to come, by what sets
    them. ``equal``: how far the results of ours and the baseline differ. ``facts``: sizes and anything else.
    """

    name: str
    what: str
    times: Times
    work: tuple[float, str]
    ours: str
    baseline: str
    floors: dict[str, float] = field(default_factory=dict)
    equal: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times as fast as the baseline."""
        seconds = medians(self.times)
        return seconds[self.baseline] / seconds[self.ours]

    def to_dict(self, device: Device) -> dict[str, Any]:
        """JSON values, with device and versions."""
        seconds = medians(self.times)
        amount, unit = self.work
        return {
            "schema": SCHEMA,
            "benchmark": self.name,
            "what": self.what,
            "ours": self.ours,
            "baseline": self.baseline,
            "ratio": self.ratio,
            "seconds_median": seconds,
            f"{unit}_per_second": {name: amount / value for name, value in seconds.items()},
            "floors": {
                name: {"seconds": floor, "reached": floor / seconds[self.ours]} for name, floor in self.floors.items()
            },
            "equal": self.equal,
            **self.facts,
            "seconds": self.times,
            "load_average": os.getloadavg()[0],
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
            "provenance": provenance(seed=0, config_hash="", device=device.name) | {"processor": _processor()},
        }


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return ""
