"""Refits against numpy's least squares."""

import numpy as np
import pytest
import torch
from torch import nn

from distilnas.surgery.moments import Moment
from distilnas.surgery.refit import RIDGES, fit_held_out, fit_map, own_cross, set_map


def sample(samples=500, columns=6, outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, columns)) @ rng.normal(size=(columns, columns)) + 1
    return x, x @ rng.normal(size=(columns, outputs)) + rng.normal(size=(samples, outputs)) - 2


def summed(x, t):
    x = np.column_stack([x, np.ones(len(x))])
    return Moment(second=x.T @ x / len(x), samples=len(x)), t.T @ x / len(x)


def test_without_a_ridge_it_is_least_squares_with_a_constant():
    x, t = sample()
    fit = fit_map(*summed(x, t), np.zeros((3, 6)), ridge=0)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), t, rcond=None)[0].T
    np.testing.assert_allclose(fit.weight, expected[:, :-1], rtol=1e-6)
    np.testing.assert_allclose(fit.constant, expected[:, -1], rtol=1e-6)


def test_without_a_constant_the_map_goes_through_the_origin():
    x, t = sample()
    fit = fit_map(*summed(x, t), np.zeros((3, 6)), ridge=0, constant=False)
    np.testing.assert_allclose(fit.weight, np.linalg.lstsq(x, t, rcond=None)[0].T, rtol=1e-6)
    assert not fit.constant.any()


def test_the_ridge_pulls_towards_the_present_map():
    """Ridge regression is least squares with rows sqrt(r) I whose targets are sqrt(r) times the present map."""
    x, t = sample()
    start = np.arange(18.0).reshape(3, 6)
    fit = fit_map(*summed(x, t), start, ridge=0.1)
    centred = x - x.mean(0)
    root = np.sqrt(0.1 * np.mean(centred.var(0)) * len(x))
    rows, targets = np.vstack([centred, root * np.eye(6)]), np.vstack([t - t.mean(0), root * start.T])
    np.testing.assert_allclose(fit.weight, np.linalg.lstsq(rows, targets, rcond=None)[0].T, rtol=1e-6)


def test_the_ridge_grows_where_samples_are_few():
    x, t = sample(samples=12)
    assert fit_map(*summed(x, t), np.zeros((3, 6)), ridge=0.01).ridge == pytest.approx(0.01 * 4 * 6 / 12)


def test_halves_choose_a_strong_ridge_for_noise_and_a_weak_one_for_a_law():
    x, _ = sample(samples=2000)
    law = x @ np.ones((6, 3))
    noise = np.random.default_rng(5).normal(size=law.shape)
    start = np.zeros((3, 6))
    assert fit_held_out([summed(x[:1000], law[:1000]), summed(x[1000:], law[1000:])], start).ridge == RIDGES[0]
    assert fit_held_out([summed(x[:1000], noise[:1000]), summed(x[1000:], noise[1000:])], start).ridge == RIDGES[-1]


def test_own_target_of_fewer_columns_is_the_regression_of_the_whole_map():
    x, _ = sample()
    weight = np.random.default_rng(1).normal(size=(3, 6))
    whole, _ = summed(x, x[:, :3])
    kept = np.array([0, 2, 5])
    moment, cross = own_cross(whole, weight, kept)
    again, expected = summed(x[:, kept], x @ weight.T)
    np.testing.assert_allclose(moment.second, again.second)
    np.testing.assert_allclose(cross, expected)


@pytest.mark.parametrize(("bias", "norm"), [(True, False), (False, True), (False, False)])
def test_the_constant_goes_to_the_bias_or_through_the_norm(bias, norm):
    x, t = sample()
    fit = fit_map(*summed(x, t), np.zeros((3, 6)))
    layer, behind = nn.Conv2d(6, 3, 1, bias=bias), nn.BatchNorm2d(3).eval()
    set_map(layer, fit, behind if norm else None)
    images = torch.from_numpy(x).float()[:, :, None, None]
    expected = torch.from_numpy(x @ fit.weight.T + fit.constant).float()
    with torch.no_grad():
        found = behind(layer(images)) if norm else layer(images)
    expected = expected / (1 + behind.eps) ** 0.5 if norm else expected
    torch.testing.assert_close(found[:, :, 0, 0], expected, rtol=1e-3, atol=1e-3)
