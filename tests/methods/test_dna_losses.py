"""Losses and metrics against NumPy formulas of section 3.2 and 3.3."""

import numpy as np
import pytest
import torch

from distilnas.methods.dna.losses import LOSSES
from distilnas.methods.dna.rate import METRICS

RNG = np.random.default_rng(3)
OUTPUT, TARGET = (RNG.normal(size=(4, 3, 5, 5)) * 2 + 1 for _ in range(2))
FORMULAS = {
    "mse": np.mean((OUTPUT - TARGET) ** 2),
    "relative_mse": np.mean((OUTPUT - TARGET) ** 2) / np.var(TARGET),
    "relative_l1": np.mean(np.abs(OUTPUT - TARGET)) / np.std(TARGET),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    value = LOSSES[name](torch.from_numpy(OUTPUT), torch.from_numpy(TARGET))
    assert float(value) == pytest.approx(FORMULAS[name], rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_give_one_number_an_image_whose_mean_is_the_loss(name: str) -> None:
    values = METRICS[name](torch.from_numpy(OUTPUT), torch.from_numpy(TARGET), float(np.std(TARGET)))
    assert values.shape == (4,)
    assert float(values.mean()) == pytest.approx(FORMULAS[name], rel=1e-12)


def test_the_constant_mean_has_relative_mse_one() -> None:
    target = torch.from_numpy(TARGET)
    assert float(LOSSES["relative_mse"](torch.full_like(target, float(target.mean())), target)) == pytest.approx(1)
