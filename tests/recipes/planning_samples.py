"""Forecasts with measurements that are known, and what tests read in them."""

import dataclasses

import pytest

from distilnas.recipes.planning import bench
from distilnas.recipes.planning.forecast import Forecast, StepForecast
from distilnas.recipes.planning.meter import Probed, Sample
from distilnas.runtime.device import Device

CPU = Device("cpu")


def probed(seconds: float = 2.0, *, batch: int, memory_mb: float | None = 100.0) -> Probed:
    """A measurement in which every part takes so long at every size, at 1 MB an image."""
    values: dict[str, float] = dict.fromkeys(("step", "pass", "targets", "rate", "path"), seconds)
    sample = Sample(images=batch, steps=3, seconds=values, memory_mb=memory_mb)
    half = dataclasses.replace(sample, images=batch // 2, memory_mb=memory_mb and memory_mb - batch / 2)
    return Probed(samples=(half, sample), wanted=batch)


def fix_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """All measurements replaced: a step of anything takes 2 s, loading and building nothing."""
    monkeypatch.setattr(bench, "grow", lambda measure, wanted, **_: probed(batch=wanted))
    monkeypatch.setattr(bench, "at_sizes", lambda measure, sizes, wanted: probed(batch=wanted))
    nothing = bench.Loading(seconds=0.0, start=0.0, images=1)
    monkeypatch.setattr(bench, "measure_loading", lambda *_, **__: nothing)
    monkeypatch.setattr(bench.Plan, "timed", staticmethod(lambda work: (work(), 0.0)))


def seconds(forecast: Forecast) -> dict[str, float]:
    """Seconds of the steps whose time is forecast."""
    return {step.name: found for step in forecast.steps if (found := forecast.seconds(step)) is not None}


def step(forecast: Forecast, name: str) -> StepForecast:
    """The step of this name."""
    return next(step for step in forecast.steps if step.name == name)
