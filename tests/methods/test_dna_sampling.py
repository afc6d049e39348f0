"""The samplers' promises: strict fairness for any shape (hypothesis), uniform frequencies (chi-square)."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from distilnas.methods.dna.sampling import SAMPLERS, fair, uniform

SHAPES = st.lists(st.integers(1, 7), min_size=1, max_size=5).map(tuple)
SEEDS = st.integers(0, 2**32 - 1)


@given(SHAPES, SEEDS)
def test_fair_counts_differ_by_at_most_one(shape: tuple[int, ...], seed: int) -> None:
    paths = fair(shape, np.random.default_rng(seed))
    assert len(paths) == max(shape)
    for layer, n in enumerate(shape):
        counts = Counter(path[layer] for path in paths)
        assert set(counts) == set(range(n))
        assert max(counts.values()) - min(counts.values()) <= 1


@given(SHAPES, SEEDS)
def test_paths_belong_to_the_shape_and_follow_the_seed(shape: tuple[int, ...], seed: int) -> None:
    for sampler in SAMPLERS.values():
        paths = sampler(shape, np.random.default_rng(seed))
        assert paths == sampler(shape, np.random.default_rng(seed))
        for path in paths:
            assert len(path) == len(shape)
            assert all(0 <= op < n for op, n in zip(path, shape, strict=True))


def _p_values(paths: list[tuple[int, ...]], shape: tuple[int, ...]) -> tuple[float, ...]:
    """Chi-square of all paths being equally likely, and of each layer's ops."""
    every = Counter(paths)
    all_paths = [every[path] for path in np.ndindex(*shape)]
    layers = [np.bincount([path[i] for path in paths], minlength=n) for i, n in enumerate(shape)]
    return tuple(float(chisquare(counts).pvalue) for counts in (all_paths, *layers))


def test_uniform_frequencies() -> None:
    shape, rng = (3, 4, 2), np.random.default_rng(7)
    paths = [path for _ in range(4800) for path in uniform(shape, rng)]
    assert len(paths) == 4800
    assert min(_p_values(paths, shape)) > 1e-3


def test_fair_paths_are_uniform_too() -> None:
    """Position by position every path of equally long layers is equally likely."""
    shape, rng = (3, 3), np.random.default_rng(7)
    firsts = [fair(shape, rng)[0] for _ in range(1800)]
    assert min(_p_values(firsts, shape)) > 1e-3
