"""Distances of whole networks against the same in plain NumPy, double precision."""

import numpy as np
import pytest
import torch

from distilnas.recovery import logit_divergence, relative_error


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_divergence_of_logits() -> None:
    """The sum of p log(p / q) over the classes, p the teacher's; the mean over the images."""
    rng = np.random.default_rng(0)
    given, wanted = rng.normal(0, 3, (7, 5)), rng.normal(0, 3, (7, 5))
    p, q = _softmax(wanted), _softmax(given)
    expected = (p * np.log(p / q)).sum(1).mean()
    found = logit_divergence(torch.from_numpy(given), torch.from_numpy(wanted))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(logit_divergence(torch.from_numpy(wanted), torch.from_numpy(wanted))) == pytest.approx(0, abs=1e-7)


def test_its_gradient_is_the_difference_of_the_probabilities() -> None:
    rng = np.random.default_rng(1)
    given, wanted = rng.normal(0, 2, (6, 4)), rng.normal(0, 2, (6, 4))
    logits = torch.from_numpy(given).requires_grad_()
    logit_divergence(logits, torch.from_numpy(wanted)).backward()
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), (_softmax(given) - _softmax(wanted)) / 6, atol=1e-7)


@pytest.mark.parametrize("shape", [(3, 4, 5, 5), (3, 7, 4)])
def test_relative_error(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    output, target = rng.normal(1, 2, shape), rng.normal(3, 1, shape)
    expected = ((output - target) ** 2).mean() / (target**2).mean()
    assert float(relative_error(torch.from_numpy(output), torch.from_numpy(target))) == pytest.approx(expected)


def test_zeros_have_the_relative_error_one_at_any_scale() -> None:
    for scale in (1e-3, 1.0, 1e3):
        target = scale * torch.randn(2, 3, 4, 4)
        assert float(relative_error(torch.zeros_like(target), target)) == pytest.approx(1, rel=1e-5)


def test_a_dead_target_gives_no_infinity() -> None:
    assert torch.isfinite(relative_error(torch.ones(1, 2), torch.zeros(1, 2)))
