"""Interleaved timing of alternatives and the record that is kept of it."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from distilnas.runtime.provenance import provenance

RESULTS = Path(__file__).parent / "results"


def interleave(alternatives: dict[str, Callable[[], object]], *, repeats: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each alternative; they take turns, so that a slow minute of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for turn in range(warmup + repeats):
        for name, work in alternatives.items():
            start = time.perf_counter()
            work()
            if turn >= warmup:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def keep(name: str, record: dict[str, Any]) -> None:
    """Write ``results/NAME.json`` with device and versions, and show it."""
    made = provenance(
        seed=0, config_hash="", device="cpu" if not torch.cuda.is_available() else torch.cuda.get_device_name()
    )
    record = {"benchmark": name, **record, "provenance": {**made, "processor": platform.processor()}}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))
