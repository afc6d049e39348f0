"""Latency: the median of the timed passes, and the model as it was."""

import time

import pytest
import torch
from torch import nn

from distilnas.costing import measure_latency


class Sleeper(nn.Module):
    """Takes the given milliseconds, one entry after the other."""

    def __init__(self, times_ms: list[float]) -> None:
        super().__init__()
        self.times_ms = times_ms

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape == (1, 1, 8, 8)
        assert not self.training
        time.sleep(self.times_ms.pop(0) / 1000)
        return x


def test_median_after_warm_up():
    model = Sleeper([100, 10, 200, 10]).train()
    latency = measure_latency(model, 8, in_chans=1, repeats=3, warmup=1)
    assert latency.median_ms == pytest.approx(10, rel=0.8)
    assert latency.median_ms >= 10
    assert (latency.low_ms <= latency.median_ms, latency.high_ms >= 200) == (True, True)  # three are too few
    assert latency.threads == torch.get_num_threads()
    assert "PyTorch" in latency.runtime
    assert not model.times_ms
    assert model.training


def test_the_interval_is_that_of_a_binomial_count():
    """Of 30 times the 10th and the 21st: P(10 <= number below the median <= 20) is 0.957 (Conover, table of n = 30)."""
    times = [float(n) for n in range(1, 31)]
    latency = measure_latency(Sleeper([0, *(2 * t for t in reversed(times))]), 8, in_chans=1, warmup=1)
    assert latency.low_ms == pytest.approx(20, rel=0.2)
    assert latency.high_ms == pytest.approx(42, rel=0.2)
