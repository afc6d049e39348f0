"""What the benchmarks compare must agree on a GPU, too."""

import numpy as np
import pytest
import torch

from distilnas.bench import BENCHMARKS, BenchSettings, benchmark
from distilnas.bench.rate import QUICK, Setup

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CUDA = BenchSettings(accelerator="cuda", quick=True)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_runs(name: str):
    assert benchmark(name, CUDA).ratio > 0


def test_ratings_agree_on_the_gpu():
    setup = Setup(QUICK, 4, CUDA)
    np.testing.assert_allclose(setup.ours("32-true")(), setup.naive(share=1)(), rtol=1e-3)
