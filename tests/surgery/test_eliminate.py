"""Greedy elimination against an exact least-squares refit of every possible removal."""

import numpy as np
import pytest

from distilnas.surgery.eliminate import Reader, eliminate
from distilnas.surgery.moments import Moment


def inputs(samples, columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, columns)) @ rng.normal(size=(columns, columns)) + rng.normal(size=columns)


def moment(x):
    x = np.column_stack([x, np.ones(len(x))])
    return Moment(second=x.T @ x / len(x), samples=len(x))


def lost(x, weight, kept):
    """Share of the output that least squares on the columns ``kept`` and a constant can't give."""
    y = x @ weight.T
    y = y - y.mean(0)
    read = x[:, kept] - x[:, kept].mean(0)
    rest = y - read @ np.linalg.lstsq(read, y, rcond=None)[0]
    return (rest**2).sum() / (y**2).sum()


@pytest.mark.parametrize("width", [1, 3])
def test_each_step_is_the_best_single_removal(width):
    x, rng = inputs(400, 6 * width), np.random.default_rng(1)
    weight = rng.normal(size=(5, 6 * width))
    columns = rng.permutation(6 * width).reshape(6, width)
    found = eliminate([Reader(weight=weight, moment=moment(x), columns=columns)], ridge=0)
    left = list(range(6))
    for step in range(5):
        costs = {c: lost(x, weight, columns[[i for i in left if i != c]].ravel()) for c in left}
        best = min(left, key=costs.__getitem__)
        assert found.order[step] == best
        assert found.errors[step + 1] == pytest.approx(costs[best], rel=1e-6)
        left.remove(best)
    assert found.kept(2).tolist() == sorted(found.order[4:].tolist())


def test_more_channels_than_are_put_off_at_a_time():
    x = inputs(2000, 130)
    weight = np.random.default_rng(2).normal(size=(7, 130))
    found = eliminate([Reader(weight=weight, moment=moment(x), columns=np.arange(130)[:, None])], keep=20, ridge=0)
    assert found.error(20) == pytest.approx(lost(x, weight, found.kept(20)), rel=1e-6)
    assert np.isnan(found.error(19))


def test_two_readers_share_the_choice():
    """A channel that only the second map reads survives one that nobody reads."""
    x = np.random.default_rng(3).normal(size=(500, 4))
    one, two = np.array([[1.0, 0, 0, 0]]), np.array([[0, 0, 2.0, 0]])
    readers = [Reader(weight=w, moment=moment(x), columns=np.arange(4)[:, None]) for w in (one, two)]
    assert set(eliminate(readers, keep=2).kept(2).tolist()) == {0, 2}


def test_several_at_once_keep_the_joint_error_exact():
    x = inputs(600, 24)
    weight = np.random.default_rng(4).normal(size=(3, 24))
    found = eliminate([Reader(weight=weight, moment=moment(x), columns=np.arange(24)[:, None])], at_once=5, ridge=0)
    assert found.error(9) == pytest.approx(lost(x, weight, found.kept(9)), rel=1e-6)


def test_the_same_input_gives_the_same_bits():
    x = inputs(300, 40)
    reader = Reader(weight=np.eye(40)[:9], moment=moment(x), columns=np.arange(40)[:, None])
    first, second = eliminate([reader]), eliminate([reader])
    assert first.order.tobytes() == second.order.tobytes()
    assert first.errors.tobytes() == second.errors.tobytes()
