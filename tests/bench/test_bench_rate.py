"""Ratings by shared prefixes against candidates one by one, each with its own batch-norm statistics."""

import numpy as np
import pytest

from distilnas.bench import BenchSettings
from distilnas.bench.rate import QUICK, Setup

CPU = BenchSettings(accelerator="cpu", quick=True)


def test_all_candidates_are_rated_alike():
    setup = Setup(QUICK, 4, CPU)
    ours, naive = setup.ours("32-true")(), setup.naive(share=1)()
    assert len(ours) == len(naive) == 36
    np.testing.assert_allclose(ours, naive, rtol=1e-5)
    assert np.ptp(naive) > 0.01  # there is something to tell apart


def test_mixed_precision_rates_nearly_alike():
    setup = Setup(QUICK, 4, CPU)
    assert setup.ours("bf16-mixed")() == pytest.approx(setup.ours("32-true")(), rel=1e-2)
