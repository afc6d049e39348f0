"""Top-k accuracy against counting by hand in NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distilnas.runtime.device import Device
from distilnas.training import accuracies, accuracy

DEVICE = Device("cpu")


class Spread(nn.Module):
    """(B, 3, 1, 1) images whose first value is the number of a row of logits."""

    def __init__(self, logits: np.ndarray) -> None:
        super().__init__()
        self.logits = torch.from_numpy(logits)
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.logits[x[:, 0, 0, 0].long()]


def _batches(labels: np.ndarray, sizes: list[int]) -> list[tuple[Tensor, Tensor]]:
    images = torch.arange(len(labels)).float().reshape(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    return list(zip(images.split(sizes), torch.from_numpy(labels).split(sizes), strict=True))


def test_top_k() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 5)), rng.integers(5, size=20)
    ranks = (logits > logits[np.arange(20), labels][:, None]).sum(1)
    ks = (1, 2, 9)
    found = accuracies(Spread(logits), _batches(labels, [8, 8, 4]), DEVICE, ks=ks)
    assert found == pytest.approx([100 * (ranks < k).mean() for k in ks])


@pytest.mark.parametrize("training", [True, False])
def test_eval_mode_within_and_every_mode_as_before(training: bool) -> None:
    model = Spread(np.eye(3)).train(training)
    model.frozen = nn.BatchNorm2d(2).eval()
    assert accuracy(model, _batches(np.arange(3), [3]), DEVICE) == 100
    assert model.modes == [False]
    assert (model.training, model.frozen.training) == (training, False)


def test_no_images() -> None:
    assert math.isnan(accuracy(Spread(np.eye(3)), [], DEVICE))
