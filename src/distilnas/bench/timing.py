"""Timing of alternatives that take turns, and the peak memory of one of them."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch.profiler import ProfilerActivity, profile

from distilnas.runtime.device import Device

Work = Callable[[], object]
Times = dict[str, list[float]]
"""Seconds of each timed turn, by alternative."""


def interleave(alternatives: Mapping[str, Work], *, turns: int, warmup: int = 1, lead: int = 0) -> Times:
    """Run all alternatives once a turn, ``warmup + turns`` times: a slow minute of the machine hits all of them.

    In its turn an alternative runs ``lead`` times before the run that counts: a training's step finds memory and caches
    as its own last step left them, not as another alternative did. A turn ends when the device has finished.
    """
    times: Times = {name: [] for name in alternatives}
    for turn in range(warmup + turns):
        for name, work in alternatives.items():
            seconds = [timed(work) for _ in range(lead + 1)][-1]
            if turn >= warmup:
                times[name].append(seconds)
    return times


def counting_runs(*, turns: int, warmup: int = 1, lead: int = 0) -> range:
    """Which of an alternative's runs count in ``interleave``, from 0."""
    return range((lead + 1) * (warmup + 1) - 1, (lead + 1) * (warmup + turns), lead + 1)


def timed(work: Work) -> float:
    """Wall seconds of ``work()`` until the device has finished."""
    _wait()
    start = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - start


def medians(times: Times) -> dict[str, float]:
    """Median seconds of each alternative."""
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(work: Work, device: Device) -> int:
    """The most memory that the tensors made in ``work()`` take at a time; of what was there before nothing counts."""
    if device.fabric.device.type == "cuda":
        _wait()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    held = peak = 0
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns()):  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()  # type: ignore[attr-defined]
            peak = max(peak, held)
    return peak


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
