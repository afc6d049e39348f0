"""Latency of one image on the present CPU."""

import statistics
import time

import torch
from torch import nn


@torch.inference_mode()
def measure_latency(
    model: nn.Module, resolution: int, *, in_chans: int = 3, repeats: int = 30, warmup: int = 5
) -> float:
    """Median milliseconds of a forward pass of one image on the CPU, in eval mode (the model's mode is restored)."""
    was_training = model.training
    model.eval()
    image = torch.rand(1, in_chans, resolution, resolution)
    times = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        model(image)
        times.append(time.perf_counter() - start)
    model.train(was_training)
    return 1000 * statistics.median(times[warmup:])
