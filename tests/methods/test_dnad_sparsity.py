"""Sparsity measures and the objective, against closed forms and autograd's pieces."""

import math

import pytest
import torch

from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.sparsity import PENALTIES, cost_sparsity, entropy, log_sparsity, objective, relative_costs
from distilnas.space.darts.space import PRIMITIVE_SETS, DartsSpace

NO_COSTS = torch.zeros(())


@pytest.mark.parametrize(
    ("num_cells", "primitives", "expected"),
    [
        (8, PRIMITIVE_SETS["p3"], 576.2093),
        (8, PRIMITIVE_SETS["darts7"], 852.8048),
        (14, PRIMITIVE_SETS["p3"], 1008.3662),
        (14, PRIMITIVE_SETS["darts7"], 1492.4084),
        (8, PRIMITIVE_SETS["p2"], 460.6233),
        (14, PRIMITIVE_SETS["p2"], 806.0909),
    ],
)
def test_log_sparsity_at_the_start(num_cells: int, primitives: tuple[str, ...], expected: float) -> None:
    """Per cell the sum over nodes with n candidates of n log(1 + 50 / n)."""
    choices = Choices(DartsSpace(num_cells=num_cells, primitives=primitives))
    assert float(log_sparsity(choices, NO_COSTS).detach()) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("survivors", "expected"), [(1, 3.9318), (2, 6.5162), (3, 8.6150), (4, 10.4108)])
def test_log_sparsity_of_equal_survivors(survivors: int, expected: float) -> None:
    """m log(1 + 50 / m) a node; two at every node of eight cells give 208.5, the density of DARTS."""
    choices = Choices(DartsSpace())
    choices.alive &= torch.arange(15) < survivors
    assert float(log_sparsity(choices, NO_COSTS).detach()) == pytest.approx(32 * expected, abs=2e-3)


def test_entropy_of_equal_survivors() -> None:
    """ln m a node."""
    choices = Choices(DartsSpace())
    choices.alive &= torch.arange(15) < 4
    assert float(entropy(choices, NO_COSTS).detach()) == pytest.approx(32 * math.log(4), rel=1e-5)


def test_l1_is_the_sum_of_gates() -> None:
    """2 a candidate at the start."""
    assert float(PENALTIES["l1"].measure(Choices(DartsSpace()), NO_COSTS).detach()) == 2 * 336
    assert [name for name, penalty in PENALTIES.items() if penalty.proximal] == ["l1"]


def test_equal_costs_are_no_costs() -> None:
    choices = Choices(DartsSpace())
    choices.a.data = torch.rand(choices.a.shape, generator=torch.Generator().manual_seed(0))
    macs = 7.0 * choices.exists
    costs = relative_costs(macs, choices.exists)
    torch.testing.assert_close(cost_sparsity(choices, costs), log_sparsity(choices, NO_COSTS))


def test_relative_costs() -> None:
    """Over the mean of what exists, at least 0.05, 0 elsewhere: mean of (0, 4, 8) is 4."""
    macs, exists = torch.tensor([[0.0, 4.0, 8.0, 0.0]]), torch.tensor([[True, True, True, False]])
    torch.testing.assert_close(relative_costs(macs, exists), torch.tensor([[0.05, 1.0, 2.0, 0.0]]))


@pytest.mark.parametrize("name", ["log", "entropy"])
def test_equal_weights_feel_no_pressure(name: str) -> None:
    """The symmetric start: only the loss can break the tie, and then the smaller is pressed down."""
    choices = Choices(DartsSpace(num_cells=3))
    (gradient,) = torch.autograd.grad(PENALTIES[name].measure(choices, NO_COSTS), choices.a)
    assert float(gradient.abs().max()) < 1e-5
    choices.a.data[0, 0] = 1.0
    (gradient,) = torch.autograd.grad(PENALTIES[name].measure(choices, NO_COSTS), choices.a)
    assert float(gradient[0, 0]) > 1e-3  # descent makes it smaller still
    assert float(gradient[0, 1]) < 0


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_the_dead_get_no_gradient(name: str) -> None:
    choices = Choices(DartsSpace(num_cells=3))
    choices.a.data[0, 0] = 0.0
    choices.delete()
    choices.a.data[1, 1] = 1.0
    (gradient,) = torch.autograd.grad(PENALTIES[name].measure(choices, choices.exists.float()), choices.a)
    assert torch.isfinite(gradient).all()
    assert not gradient[~choices.alive].any()
    assert gradient[1].any()


def test_gradients_of_the_objective() -> None:
    """(1 + gamma S) grad L for the weights; besides for a, gamma (L + mu) grad S; pieces by separate autograd calls."""
    generator = torch.Generator().manual_seed(0)
    choices = Choices(DartsSpace(num_cells=3)).double()
    choices.a.data = torch.rand(choices.a.shape, generator=generator, dtype=torch.float64)
    theta = torch.rand(choices.a.shape, generator=generator, dtype=torch.float64, requires_grad=True)
    gamma, mu = 0.03, 0.4
    loss, sparsity = (theta * choices.weights()).square().sum(), log_sparsity(choices, NO_COSTS)
    both = [theta, choices.a]
    of_loss = torch.autograd.grad(loss, both, retain_graph=True)
    (of_sparsity,) = torch.autograd.grad(sparsity, choices.a, retain_graph=True)
    found = torch.autograd.grad(objective(loss, sparsity, gamma, mu), both)
    scale = 1 + gamma * float(sparsity.detach())
    torch.testing.assert_close(found[0], scale * of_loss[0])
    expected = scale * of_loss[1] + gamma * (float(loss.detach()) + mu) * of_sparsity
    torch.testing.assert_close(found[1], expected)
