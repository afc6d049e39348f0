"""Shrinking finds a structure that was planted: 3 of up to 15 candidates at each of 32 nodes, without a network.

A node's candidates are random vectors, its target is the sum of three of them with weights 0.5, 0.3 and 0.2, and noise
of 0.05 on it in every step. The loss is the mean square of what the weighted sum of candidates lacks.
"""

from dataclasses import dataclass

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from distilnas.methods.dnad import PressureSettings
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.pressure import Pressure
from distilnas.methods.dnad.sparsity import log_sparsity, objective
from distilnas.space.darts.space import DartsSpace

PLANTED = (0.5, 0.3, 0.2)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """At each event: candidates left, and whether all planted ones are among them."""

    left: list[int]
    whole: list[bool]
    steps: int
    left_at_end: int


def _search(seed: int, pressure: PressureSettings, *, lr: float, size: int, events: int | None = None) -> Outcome:
    """Until S < 250, or so many events."""
    generator = torch.Generator().manual_seed(seed)
    choices, controller = Choices(DartsSpace()), Pressure(pressure)
    rows, columns = choices.a.shape
    vectors = torch.randn(rows, columns, size, generator=generator)
    drawn = torch.rand(rows, columns, generator=generator).masked_fill(~choices.exists, -1).topk(3, dim=1).indices
    weights = torch.zeros(rows, columns).scatter_(1, drawn, torch.tensor(PLANTED).expand(rows, 3))
    target, planted = torch.bmm(weights[:, None], vectors)[:, 0], weights > 0
    optimizer = torch.optim.SGD([choices.a], lr=lr)
    left, whole, costs = [], [], torch.zeros(())
    for step in range(1, 20_001):
        noise = 0.05 * torch.randn(rows, size, generator=generator)
        lack = torch.bmm(choices.weights()[:, None], vectors)[:, 0] - target - noise
        sparsity = log_sparsity(choices, costs)
        optimizer.zero_grad()
        objective(lack.square().mean(), sparsity, controller.gamma, controller.mu).backward()
        clip_grad_norm_([choices.a], 5)
        optimizer.step()
        if controller.update(len(choices.delete())):
            left.append(int(choices.alive.sum()))
            whole.append(bool(choices.alive[planted].all()))
        if float(sparsity.detach()) < 250 or len(left) == events:
            return Outcome(left=left, whole=whole, steps=step, left_at_end=int(choices.alive.sum()))
    raise AssertionError("no end within 20,000 steps")


def test_planted_candidates_survive() -> None:
    """With a rate and a rise of the pressure that take half as many steps as the authors'; at the first two events."""
    hasty = PressureSettings(phi=1.03, k=0.97)
    outcome = _search(0, hasty, lr=8.0, size=64, events=2)
    assert outcome.whole == [True, True]
    assert outcome.left == [96, 96]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_candidates_survive_the_authors_constants(seed: int) -> None:
    """All at every event, 96 of 96 left from the third on; then mu is too strong, and S < 250 ends it below 96."""
    outcome = _search(seed, PressureSettings(), lr=0.2, size=32)
    assert all(outcome.whole)
    assert len(outcome.left) >= 4
    assert outcome.left[0] <= 101
    assert outcome.left[3:] == [96] * len(outcome.left[3:])
    assert 85 <= outcome.left_at_end < 96
    assert 10_000 < outcome.steps < 12_500
