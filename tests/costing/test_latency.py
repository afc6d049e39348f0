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
    latency_ms = measure_latency(model, 8, in_chans=1, repeats=3, warmup=1)
    assert latency_ms == pytest.approx(10, rel=0.8)
    assert latency_ms >= 10
    assert not model.times_ms
    assert model.training
