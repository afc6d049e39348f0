"""Losses against NumPy formulas."""

import numpy as np
import pytest
import torch

from distilnas.methods.dna.losses import LOSSES

RNG = np.random.default_rng(3)
OUTPUT, TARGET = (RNG.normal(size=(4, 3, 5, 5)) * 2 + 1 for _ in range(2))


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Of the channel vectors, with the floor of 1/10,000 of the target's mean squared length."""
    return np.sqrt((vectors**2).sum(1) + 1e-4 * np.mean((TARGET**2).sum(1)))


FORMULAS = {
    "mse": np.mean((OUTPUT - TARGET) ** 2),
    "relative_mse": np.mean((OUTPUT - TARGET) ** 2) / np.var(TARGET),
    "relative_l1": np.mean(np.abs(OUTPUT - TARGET)) / np.std(TARGET),
    "cosine": 1 - np.mean((OUTPUT * TARGET).sum(1) / (_lengths(OUTPUT) * _lengths(TARGET))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    value = LOSSES[name](torch.from_numpy(OUTPUT), torch.from_numpy(TARGET))
    assert float(value) == pytest.approx(FORMULAS[name], rel=1e-12)


def test_the_constant_mean_has_relative_mse_one() -> None:
    target = torch.from_numpy(TARGET)
    assert float(LOSSES["relative_mse"](torch.full_like(target, float(target.mean())), target)) == pytest.approx(1)


def test_cosine_is_torch_s_up_to_the_floor_and_blind_to_scale() -> None:
    output, target = torch.from_numpy(OUTPUT), torch.from_numpy(TARGET)
    similarity = torch.nn.functional.cosine_similarity(output, target, dim=1).mean()
    for scale in (0.5, 1, 20):
        assert float(LOSSES["cosine"](scale * output, target)) == pytest.approx(float(1 - similarity), abs=2e-3)
    assert float(LOSSES["cosine"](3 * target, target)) == pytest.approx(0, abs=5e-4)
    assert float(LOSSES["cosine"](-target, target)) == pytest.approx(2, abs=5e-4)


def test_cosine_has_a_moderate_gradient_where_outputs_start() -> None:
    """At zero it is -y / (|y| floor's root) over the number of pixels: at most a hundred over the mean length of y."""
    output, target = torch.zeros(OUTPUT.shape, dtype=torch.float64, requires_grad=True), torch.from_numpy(TARGET)
    LOSSES["cosine"](output, target).backward()
    assert output.grad is not None
    steepest = float(output.grad.square().sum(1).sqrt().max()) * 4 * 5 * 5
    root = float(np.sqrt(np.mean((TARGET**2).sum(1))))
    assert steepest == pytest.approx(100 / root, rel=0.02)


def test_cosine_in_half_precision_is_computed_in_full() -> None:
    output, target = (torch.from_numpy(x).bfloat16() for x in (OUTPUT, TARGET))
    assert float(LOSSES["cosine"](output, target)) == float(LOSSES["cosine"](output.float(), target.float()))
