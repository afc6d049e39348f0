"""The architecture vectors of a shrinking supernet: weights, deletion, and that a node never loses all its inputs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilnas.errors import UsageError
from distilnas.methods.dnad.choices import Choices, threshold
from distilnas.space.darts.space import PRIMITIVE_SETS, DartsSpace

SPACE = DartsSpace(num_cells=3)


def _choices(seed: int, *, low: float = 0.0, high: float = 2.0, space: DartsSpace = SPACE) -> Choices:
    """With entries drawn uniformly."""
    choices = Choices(space)
    generator = torch.Generator().manual_seed(seed)
    choices.a.data = low + (high - low) * torch.rand(choices.a.shape, generator=generator)
    return choices


def test_the_start_is_uniform() -> None:
    choices = Choices(SPACE)
    sizes = torch.tensor([6, 9, 12, 15] * 3)
    assert torch.equal(choices.alive.sum(1), sizes)
    expected = choices.exists / sizes[:, None]
    torch.testing.assert_close(choices.weights(), expected)


def test_weights_row_by_row() -> None:
    """Against a plain loop over the nodes."""
    choices = _choices(0, low=-1.0)
    choices.alive &= torch.rand(choices.alive.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    for a, alive, row in zip(choices.a.tolist(), choices.alive.tolist(), choices.weights().tolist(), strict=True):
        gates = [max(value, 0.0) if living else 0.0 for value, living in zip(a, alive, strict=True)]
        assert row == pytest.approx([gate / max(sum(gates), 1e-8) for gate in gates], abs=1e-6)


def test_thresholds() -> None:
    """0.01 up to 15 candidates, 0.15 / n above: 40 candidates have 0.00375."""
    expected = torch.tensor([0.01, 0.01, 0.0075, 0.00375])
    torch.testing.assert_close(threshold(torch.tensor([1, 15, 20, 40])), expected)
    darts7 = Choices(DartsSpace(num_cells=3, primitives=PRIMITIVE_SETS["darts7"]))
    torch.testing.assert_close(darts7.thresholds[:4, 0], threshold(torch.tensor([14, 21, 28, 35])))


def test_scaling_a_node_does_nothing() -> None:
    """So that <a_v, gradient> is 0, and gradient descent makes every a_v longer."""
    choices = _choices(2)
    target = torch.rand(choices.a.shape, generator=torch.Generator().manual_seed(3))
    loss = (choices.weights() * target).square().sum()
    (gradient,) = torch.autograd.grad(loss, choices.a)
    assert float(gradient.abs().max()) > 1e-3
    assert float((choices.a.detach() * gradient * choices.exists).sum(1).abs().max()) < 1e-6
    before = choices.weights().detach()
    choices.a.data *= torch.arange(1.0, 13.0)[:, None]
    torch.testing.assert_close(choices.weights(), before)


def test_what_is_small_is_deleted_for_good() -> None:
    choices = Choices(SPACE)
    choices.a.data[0, 2] = 2.0 * 0.05 * 0.99  # w = 0.099 / (5 * 2 + 0.099) = 0.0098
    choices.a.data[4, 1] = 2.0 * 0.05 * 1.02  # w = 0.102 / (5 * 2 + 0.102) = 0.0101
    assert choices.delete() == [[0, 2]]
    assert choices.deleted() == [[0, 2]]
    torch.testing.assert_close(choices.weights()[0, [0, 1, 3]], torch.full((3,), 0.2))
    choices.a.data[0, 2] = 100.0
    assert choices.delete() == []
    weights = choices.weights()
    assert weights[0, 2] == 0
    weights.square().sum().backward()
    assert choices.a.grad is not None
    assert choices.a.grad[0, 2] == 0


def test_columns_without_candidates_never_live() -> None:
    choices = _choices(4, low=1.0)
    assert float(choices.weights().detach()[~choices.exists].abs().max()) == 0
    choices.delete()
    assert not choices.alive[~choices.exists].any()
    assert choices.deleted() == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([-3.0, -1.0, 0.0]), st.integers(1, 12))
def test_a_node_never_loses_all_inputs(seed: int, low: float, rounds: int) -> None:
    """Whatever is done to the vectors between deletions, all negative included; weights sum to 1 afterwards."""
    choices = Choices(SPACE)
    generator = torch.Generator().manual_seed(seed)
    alive = choices.alive.clone()
    for _ in range(rounds):
        choices.a.data += (low + torch.rand(choices.a.shape, generator=generator)) * 2
        deleted = choices.delete()
        assert len(deleted) == int(alive.sum() - choices.alive.sum())
        assert not (choices.alive & ~alive).any()
        alive = choices.alive.clone()
        assert (alive.sum(1) >= 1).all()
        torch.testing.assert_close(choices.weights().sum(1), torch.ones(SPACE.rows))


def test_the_largest_stays_even_if_all_are_equal() -> None:
    choices = Choices(SPACE)
    choices.a.data.fill_(-5.0)
    assert len(choices.delete()) == SPACE.num_candidates - SPACE.rows
    assert choices.exhausted
    assert not Choices(SPACE).exhausted


def test_proximal_step() -> None:
    """max(0, a - t)."""
    choices = _choices(5)
    before = choices.a.detach().clone()
    choices.soften(0.5)
    torch.testing.assert_close(choices.a.detach(), (before - 0.5).clamp_min(0))


def test_none_is_refused() -> None:
    with pytest.raises(UsageError, match="darts7"):
        Choices(DartsSpace(primitives=PRIMITIVE_SETS["darts8"]))
