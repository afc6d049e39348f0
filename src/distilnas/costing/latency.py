"""Latency of one image on the present CPU."""

import statistics
import time
from dataclasses import dataclass

import torch
from scipy.stats import binom
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds of a forward pass: the median, and an interval that holds the true one with 95 %.

    ``runtime`` and ``threads``: what computed it; another runtime may be many times faster.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    runtime: str
    threads: int


def measure_latency(
    model: nn.Module, resolution: int, *, in_chans: int = 3, repeats: int = 30, warmup: int = 5
) -> Latency:
    """A forward pass of one image on the CPU by PyTorch, in eval mode (the model's mode is restored).

    The interval is free of assumptions on how times are distributed: it lies between two of the sorted times, so chosen
    that the number below the median, which is binomial, is between them with 95 %.
    """
    times = sorted(_times(model, torch.rand(1, in_chans, resolution, resolution), warmup, repeats))
    below = max(0, int(binom.ppf(0.025, repeats, 0.5)) - 1)
    return Latency(
        median_ms=statistics.median(times),
        low_ms=times[below],
        high_ms=times[-1 - below],
        runtime=f"PyTorch {torch.__version__.partition('+')[0]}, eager, CPU",
        threads=torch.get_num_threads(),
    )


@torch.inference_mode()
def _times(model: nn.Module, image: torch.Tensor, warmup: int, repeats: int) -> list[float]:
    was_training = model.training
    model.eval()
    times = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        model(image)
        times.append(1000 * (time.perf_counter() - start))
    model.train(was_training)
    return times[warmup:]
