"""Zero-cost scores: closed forms and hand-made cases; the network stays as it was."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distilnas.baselines.zerocost import ZERO_COST, jacob_cov, naswot, synflow
from distilnas.errors import UsageError
from distilnas.networks import StudentNet
from distilnas.space import Candidate, preset


def images(number: int = 4, side: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(number, 3, side, side, generator=torch.Generator().manual_seed(seed))


def student(digits: str = "12000000") -> StudentNet:
    """A network of NAS-Bench-Macro by its op indices."""
    space = preset("nas-bench-macro")
    path = tuple(map(int, digits))
    choice = tuple(Candidate(cell=0, path=part) for part in (path[:2], path[2:5], path[5:], ()))
    torch.manual_seed(0)
    return StudentNet(space.architecture(choice), num_classes=5)


def test_synflow_of_a_linear_network_is_its_number_of_layers_times_the_product_of_absolute_weights():
    """R = 1'|W3||W2||W1|1 is linear in each layer's weights, so each layer's sum of w * dR/dw is R itself."""
    torch.manual_seed(1)
    layers = [nn.Linear(12, 7, bias=False), nn.Linear(7, 5, bias=False), nn.Linear(5, 2, bias=False)]
    flow = np.ones(12)
    for layer in layers:
        flow = np.abs(layer.weight.detach().double().numpy()) @ flow
    network = nn.Sequential(nn.Flatten(), *layers)
    assert synflow(network, images(side=2)) == pytest.approx(3 * flow.sum(), rel=1e-12)


def test_synflow_takes_batch_norm_and_relu_as_nothing_and_counts_no_bias():
    """Positive flow passes ReLU; two layers, a bias b in the first: R = |w2|(|w1| + |b|), the score 2 R - |w2||b|."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.ReLU(), nn.Conv2d(1, 1, 1, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(-3)
        network[0].bias.fill_(-5)
        network[1].weight.fill_(7)
        network[1].bias.fill_(11)
        network[3].weight.fill_(-2)
    assert synflow(network, torch.zeros(9, 1, 1, 1)) == pytest.approx(2 * 2 * (3 + 5) - 2 * 5, rel=1e-9)


class Fixed(nn.Module):
    """Image i's output is its inner product with row i: the Jacobian is given."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) * self.rows).sum(1, keepdim=True)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_jacob_cov_of_two_images_whose_gradients_correlate_by_r(correlation):
    """The matrix ((1, r), (r, 1)) has the eigenvalues 1 - r and 1 + r."""
    u, v = np.array([1.0, -1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, -1.0])
    rows = torch.tensor(np.stack([u, correlation * u + math.sqrt(1 - correlation**2) * v]))
    values = np.array([1 - correlation, 1 + correlation]) + 1e-5
    expected = -(np.log(values) + 1 / values).sum()
    assert jacob_cov(Fixed(rows), torch.randn(2, 1, 2, 2)) == pytest.approx(expected, rel=1e-9)


def test_jacob_cov_against_one_image_at_a_time_and_corrcoef():
    """Without batch norm the gradients do not depend on the batch; numpy's corrcoef and eigenvalues."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.SiLU(), nn.Flatten(), nn.Linear(6 * 36, 4)).double()
    batch = images().double()
    rows = []
    for image in batch:
        x = image[None].clone().requires_grad_()
        network(x).sum().backward()
        rows.append(x.grad.flatten().numpy())  # type: ignore[union-attr]
    values = np.linalg.eigvalsh(np.corrcoef(rows)) + 1e-5
    assert jacob_cov(network, batch) == pytest.approx(-(np.log(values) + 1 / values).sum(), rel=1e-9)


def test_naswot_of_a_hand_made_case():
    """Codes 110, 100, 001 of three images: agreements 3 2 0 / 2 3 1 / 0 1 3, determinant 3 * 8 - 2 * 6 = 12."""
    codes = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    batch = (2 * codes - 1).reshape(3, 3, 1, 1)
    assert naswot(nn.Sequential(nn.Flatten(), nn.ReLU()), batch) == pytest.approx(math.log(12), rel=1e-12)
    twice = nn.Sequential(nn.Flatten(), nn.SiLU(inplace=True), nn.ReLU(inplace=True))  # SiLU keeps signs: K doubles
    assert naswot(twice, batch) == pytest.approx(math.log(12 * 2**3), rel=1e-12)


def test_naswot_is_lowest_when_two_images_are_alike():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 50), nn.ReLU())
    batch = images()
    assert naswot(network, torch.cat([batch[:3], batch[:1]])) < naswot(network, batch) - 10


def test_bigger_synflow_and_naswot_of_a_layer_more():
    """An op more adds weights to the flow and units to the codes."""
    for score in (synflow, naswot):
        assert score(student("12000000"), images(side=32)) > score(student("10000000"), images(side=32))


@pytest.mark.parametrize("name", ZERO_COST)
def test_scores_repeat_and_the_network_stays_as_it_was(name):
    network = student().train()
    before = copy.deepcopy(network.state_dict())
    score = ZERO_COST[name](network, images(side=32))
    assert math.isfinite(score)
    assert ZERO_COST[name](network, images(side=32)) == score
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_pre_hooks for module in network.modules())
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_what_cannot_be_scored():
    with pytest.raises(UsageError, match="at least 2, got 1"):
        naswot(student(), images(1))
    with pytest.raises(UsageError, match="at least 2, got 1"):
        jacob_cov(student(), images(1))
    with pytest.raises(UsageError, match="runs through none"):
        naswot(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), images())
    with pytest.raises(UsageError, match="running statistics"):
        synflow(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), images())
