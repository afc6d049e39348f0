"""What the pressure pushes down: the sparsity measure S of the weights, and how it enters the objective.

With the loss L, the objective is J = L (1 + gamma S) + gamma mu S, so that

    grad_theta J = (1 + gamma S) grad_theta L
    grad_a J     = (1 + gamma S) grad_a L + gamma (L + mu) grad_a S

The pressure falls with the loss, and mu is what is left of it in the end. This is DNAD's objective after the public
code of its authors; the measures other than ``log`` are ours, for comparison.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from distilnas.methods.dnad.choices import Choices

_SLOPE = 50.0
_LEAST_COST = 0.05  # of an op without multiply-adds, relative to the mean op


def objective(loss: Tensor, sparsity: Tensor, gamma: float, mu: float) -> Tensor:
    """J = L (1 + gamma S) + gamma mu S."""
    return loss * (1 + gamma * sparsity) + gamma * mu * sparsity


def log_sparsity(choices: Choices, costs: Tensor) -> Tensor:
    """S = sum over all candidates of log(1 + 50 w): m equal survivors of a node add m log(1 + 50 / m)."""
    return torch.log1p(_SLOPE * choices.weights()).sum()


def cost_sparsity(choices: Choices, costs: Tensor) -> Tensor:
    """S_c = sum of c log(1 + 50 w), where c are the ``costs`` of the candidates."""
    return (costs * torch.log1p(_SLOPE * choices.weights())).sum()


def entropy(choices: Choices, costs: Tensor) -> Tensor:
    """Sum over nodes of the entropy of w, in nats."""
    weights = choices.weights()
    return -(weights * weights.clamp_min(1e-12).log()).sum()


def l1_norm(choices: Choices, costs: Tensor) -> Tensor:
    """Sum of relu(a) over the living."""
    return choices.gates().sum()


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """A sparsity measure of (choices, costs).

    ``proximal``: it acts by a proximal step after the architecture's instead of by its gradient (Huang and Wang 2018;
    DSO-NAS); the step's length is the learning rate times gamma (L + mu), the factor its gradient has in J.
    """

    measure: Callable[[Choices, Tensor], Tensor]
    proximal: bool = False


PENALTIES = {
    "log": Penalty(measure=log_sparsity),
    "cost": Penalty(measure=cost_sparsity),
    "entropy": Penalty(measure=entropy),
    "l1": Penalty(measure=l1_norm, proximal=True),
}


def relative_costs(macs: Tensor, exists: Tensor) -> Tensor:
    """c = multiply-adds over their mean over all candidates, at least 0.05; 0 where there is no candidate."""
    return (macs / macs[exists].mean()).clamp_min(_LEAST_COST) * exists
