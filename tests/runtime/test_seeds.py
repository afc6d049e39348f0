"""Seeds are functions of their keys, and global generators stay as they were."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distilnas.runtime.seeds import derive_rng, derive_seed, torch_seed

NUMBERS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6)


@given(NUMBERS)
def test_equal_keys_equal_seeds(keys: list[int]) -> None:
    assert derive_seed(*keys) == derive_seed(*keys)
    assert 0 <= derive_seed(*keys) < 2**63
    assert derive_rng(*keys).integers(2**60) == derive_rng(*keys).integers(2**60)


def test_different_keys_different_seeds() -> None:
    """By the birthday bound, a collision among 4,096 random 63-bit numbers has probability 1e-12."""
    keys = list(itertools.product(range(8), repeat=4))
    assert len({derive_seed(*key) for key in keys}) == len(keys)
    assert len({int(derive_rng(*key).integers(2**62)) for key in keys}) == len(keys)


def test_torch_seed_sets_and_restores() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    with torch_seed(2**63 - 1):
        inside = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    with pytest.raises(KeyError), torch_seed(5):
        raise KeyError
    with torch_seed(2**63 - 1):
        again = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    after = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    for one, other in ((inside, again), (after, expected)):
        assert torch.equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])
    assert not torch.equal(inside[0], after[0])
