import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from distilnas.errors import UsageError
from distilnas.solve import Position, tie_test


def two_candidates(a, b):
    """One block, one cell, two candidates with these ratings per batch."""
    return [[np.array([a, b])]]


A, B = [Position(0, 0)], [Position(0, 1)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.floats(0, 1))
def test_equals_scipys_paired_t_test(seed, batches, shift):
    rng = np.random.default_rng(seed)
    blocks = [[rng.normal(size=(3, batches)), rng.normal(size=(2, batches)) + shift] for _ in range(3)]
    a = [Position(0, 2), Position(1, 0), Position(0, 0)]
    b = [Position(1, 1), Position(1, 1), Position(0, 0)]
    sums = [sum(cells[c][j] for cells, (c, j) in zip(blocks, side, strict=True)) for side in (a, b)]
    expected = stats.ttest_rel(*sums)
    tie = tie_test(a, b, blocks)
    assert tie.p_value == pytest.approx(expected.pvalue, abs=1e-12)
    assert tie.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert tie.tied == (expected.pvalue >= 0.05)
    assert tie.num_batches == batches


def test_numbers_by_hand():
    tie = tie_test(A, B, two_candidates([1.0, 2.0, 3.0], [0.0, 2.0, 1.0]))  # differences 1, 0, 2
    assert (tie.difference, tie.standard_error) == (1.0, pytest.approx(1 / np.sqrt(3)))
    assert tie.tied


def test_no_noise():
    assert tie_test(A, A, two_candidates([1.0, 2.0], [0.0, 1.0])).tied
    clear = tie_test(A, B, two_candidates([1.0, 2.0], [0.0, 1.0]))
    assert (clear.tied, clear.p_value) == (False, 0.0)


def test_wrong_shapes():
    with pytest.raises(UsageError, match="at least 2"):
        tie_test(A, B, two_candidates([1.0], [0.0]))
    with pytest.raises(UsageError, match="same number of blocks"):
        tie_test(A, [*B, *B], two_candidates([1.0, 2.0], [0.0, 1.0]))
