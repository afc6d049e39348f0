import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilnas.solve import dominance
from distilnas.solve.dominance import undominated


def by_definition(values, rank, k):
    n = values.shape[1]
    kept = []
    for b in range(n):
        dominators = 0
        for a in range(n):
            equal = (values[:, a] == values[:, b]).all()
            dominators += a != b and (values[:, a] <= values[:, b]).all() and (not equal or rank[a] < rank[b])
        if dominators < k:
            kept.append(b)
    return kept


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 40), st.integers(1, 4), st.sampled_from([3, 256]))
def test_equals_definition(seed, d, n, k, chunk):
    rng = np.random.default_rng(seed)
    values, rank = rng.integers(0, 5, (d, n)).astype(float), rng.permutation(n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dominance, "_CHUNK", chunk)  # 3: thinning and several chunks already at these sizes
        assert undominated(values, rank, k).tolist() == by_definition(values, rank, k)
