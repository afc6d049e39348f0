"""DARTS: relaxed weights, the genotype they mean, first and second order, resume."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, assert_same, states
from tiny_dnad import CLASSES, DEVICE, STEPS, labelled, tiny_loop
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.methods.dnad import (
    BilevelSettings,
    Relaxed,
    SearchNet,
    build_supernet,
    num_genotypes,
    search_bilevel,
)
from distilnas.methods.dnad.alphas import Alphas, strongest
from distilnas.methods.dnad.bilevel import BilevelTraining, unrolled_gradient
from distilnas.networks.darts import DartsNet
from distilnas.space.darts import CellwiseGenotype, DartsArchitecture, Edge, Genotype
from distilnas.space.darts.space import NODES, PRIMITIVE_SETS, DartsSpace
from distilnas.training import Loop

SPACE = DartsSpace(width=4, num_cells=3, primitives=("none", "skip_connect", "dil_conv_3x3"))


@pytest.mark.parametrize(("shared", "shape"), [(True, (2, 14, 8)), (False, (8, 14, 8))])
def test_relaxed_weights(shared: bool, shape: tuple[int, ...]) -> None:
    """Edge by edge a softmax, laid out as the candidates are; against plain loops."""
    space = DartsSpace(primitives=PRIMITIVE_SETS["darts8"])
    alphas = Alphas(space, shared=shared, seed=0)
    assert tuple(alphas.alpha.shape) == shape
    assert 0.0008 < float(alphas.alpha.detach().std()) < 0.0012
    alphas.alpha.data = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    weights = alphas.weights()
    assert weights.shape == (32, 40)
    for k in (0, 2, 5, 7):
        group = (k in (2, 5)) if shared else k
        edge = 0
        for node in range(NODES):
            for state in range(node + 2):
                expected = alphas.alpha[int(group), edge].softmax(0)
                torch.testing.assert_close(weights[k * NODES + node, 8 * state : 8 * state + 8], expected)
                edge += 1
            assert not weights[k * NODES + node, 8 * (node + 2) :].any()


def test_strongest_edges() -> None:
    """Two inputs, by their best op other than none, the strongest first; of equals the earlier."""
    ops = ("none", "max_pool_3x3", "skip_connect")
    weights = [[0.9, 0.04, 0.06], [0.1, 0.5, 0.4], [0.2, 0.3, 0.5]]
    assert strongest(weights, ops) == (Edge(op="max_pool_3x3", input=1), Edge(op="skip_connect", input=2))
    assert strongest([[0.0, 0.5, 0.5]] * 3, ops) == (Edge(op="max_pool_3x3", input=0), Edge(op="max_pool_3x3", input=1))


@pytest.mark.parametrize("shared", [True, False])
def test_genotype(shared: bool) -> None:
    """Of one-hot alphas on two edges a node, in the form that the alphas have; the network of it can be built."""
    alphas = Alphas(SPACE, shared=shared, seed=0)
    alphas.alpha.data.zero_()
    alphas.alpha.data[:, [0, 1, 3, 4, 6, 8, 9, 13], 2] = 5.0  # nodes: inputs 0 1 | 1 2 | 1 3 | 0 4
    found = alphas.genotype()
    assert isinstance(found, Genotype if shared else CellwiseGenotype)
    genotype = found.expand(3)
    inputs = [[0, 1], [1, 2], [1, 3], [0, 4]]
    assert [[edge.input for edge in node] for node in genotype.cells[1].nodes] == inputs
    assert {edge.op for cell in genotype.cells for node in cell.nodes for edge in node} == {"dil_conv_3x3"}
    DartsNet(DartsArchitecture(genotype=found, stem="cifar", width=4, num_cells=3), num_classes=2)


def test_second_order_is_the_gradient_through_the_step() -> None:
    """Against autograd through w' = w - rate (grad + decay w + momentum buffer), on functions far from linear."""
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.rand(shape, generator=generator, dtype=torch.float64)) for shape in ((4, 3), (3,))]
    alpha = nn.Parameter(torch.rand(3, generator=generator, dtype=torch.float64))
    kept = [torch.rand(w.shape, generator=generator, dtype=torch.float64) for w in weights]
    rate, decay, momentum = 0.3, 0.1, 0.9

    def loss_at(x: Tensor, w: list[Tensor]) -> Tensor:
        return ((x @ w[0] * alpha).tanh() @ w[1].exp() - 1).square().mean()

    def virtual_step(gradients: Any) -> list[Tensor]:
        return [
            -rate * (g + decay * w.detach() + momentum * m) for g, w, m in zip(gradients, weights, kept, strict=True)
        ]

    train, valid = (torch.rand(8, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    gradients = torch.autograd.grad(loss_at(train, list(weights)), weights, create_graph=True)
    moved = [w + step for w, step in zip(weights, virtual_step(gradients), strict=True)]
    (expected,) = torch.autograd.grad(
        loss_at(valid, [m - w + w.detach() for m, w in zip(moved, weights, strict=True)]), alpha
    )
    before = [w.detach().clone() for w in weights]
    valid_loss, found = unrolled_gradient(
        lambda x: loss_at(x, list(weights)), weights, alpha, train, valid, virtual_step=virtual_step, rate=rate
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    assert float(valid_loss) == pytest.approx(float(loss_at(valid, [m.detach() for m in moved]).detach()))
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
    (direct,) = torch.autograd.grad(loss_at(valid, [m.detach() for m in moved]), alpha)
    assert not torch.allclose(found, direct, rtol=1e-2)


def _pairs(loop: Loop) -> Loop:
    """The loop's batches, each with one for the alphas."""

    def batches(epoch: int, start: int) -> Iterable[Any]:
        valid = labelled(seed=90 + epoch)[start:]
        return zip(loop.batches(epoch, start), valid, strict=False)

    return replace(loop, batches=batches)


def _searched(loop: Loop | None = None, **changes: Any) -> tuple[SearchNet, Relaxed]:
    supernet = build_supernet(SPACE, num_classes=CLASSES, seed=0)
    settings = BilevelSettings(**({"alpha_lr": 0.1} | changes))
    return supernet, search_bilevel(supernet, settings, _pairs(loop or tiny_loop()), device=DEVICE, seed=3)


def _training(**changes: Any) -> BilevelTraining:
    supernet = build_supernet(SPACE, num_classes=CLASSES, seed=0)
    settings = BilevelSettings(**changes)
    return BilevelTraining(supernet, Alphas(SPACE, shared=True, seed=1), settings, tiny_loop(), device=DEVICE)


def test_first_order_uses_the_validation_loss() -> None:
    """At the present weights: plain autograd of that loss."""
    training = _training(order="first")
    train, valid = labelled(2)
    found_loss, found = training.alpha_gradient(train, valid)
    loss = training.loss(valid)
    (expected,) = torch.autograd.grad(loss, training.alphas.alpha)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found_loss, loss.detach())
    assert float(found.abs().max()) > 0


def test_second_order_takes_the_optimisers_step() -> None:
    """At rate 0 both orders agree; the virtual step is what SGD then does, momentum and decay included."""
    training = _training()
    train, valid = labelled(2)
    training.step((train, valid), 0, 0)
    training.optimizer.zero_grad()
    gradients = torch.autograd.grad(training.loss(train), training.weights)
    before = [weight.detach().clone() for weight in training.weights]
    expected = training._virtual_step(gradients)
    for weight, gradient in zip(training.weights, gradients, strict=True):
        weight.grad = gradient
    training.optimizer.step()
    for weight, was, step in zip(training.weights, before, expected, strict=True):
        torch.testing.assert_close(weight.detach() - was, step, rtol=1e-3, atol=1e-6)
    training.optimizer.param_groups[0]["lr"] = 0.0
    second = training.alpha_gradient(train, valid)[1]
    (first,) = torch.autograd.grad(training.loss(valid), training.alphas.alpha)
    torch.testing.assert_close(second, first, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("order", "shared"), [("first", False), ("second", True)])
def test_search(order: str, shared: bool) -> None:
    """Both losses fall, and alphas leave their start."""
    _, result = _searched(tiny_loop(epochs=3), order=order, shared=shared, lr=0.1)
    first, last = result.log.epochs[0], result.log.epochs[-1]
    assert last["loss"] < first["loss"]
    assert last["alpha_loss"] < first["alpha_loss"]
    assert float(result.alphas.alpha.detach().abs().max()) > 0.1
    assert isinstance(result.genotype, Genotype if shared else CellwiseGenotype)
    assert result.genotype == result.alphas.genotype()


def test_the_orders_differ() -> None:
    alphas = [_searched(tiny_loop(epochs=1), order=order)[1].alphas.alpha.detach() for order in ("first", "second")]
    assert not torch.allclose(alphas[0], alphas[1], atol=1e-4)


@pytest.mark.parametrize(("order", "killed_after"), [("first", STEPS + 1), ("second", 2)])
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, order: str, killed_after: int) -> None:
    epochs = 2 if order == "first" else 1
    expected, whole = _searched(tiny_loop(epochs=epochs), order=order)
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        _searched(tiny_loop(checkpoint, epochs, killed_after), order=order)
    resumed, result = _searched(tiny_loop(checkpoint, epochs), order=order)
    assert_same(states(resumed), states(expected))
    assert torch.equal(result.alphas.alpha, whole.alphas.alpha)
    assert result.log.epochs == whole.log.epochs


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"order": "third"}, "first or second"), ({"epochs": 0}, "epochs"), ({"min_lr": 0.1}, "min_lr")],
)
def test_settings_out_of_range(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BilevelSettings(**changes)


def test_a_space_of_none_is_refused() -> None:
    net = SearchNet(DartsSpace(num_cells=3, width=4, primitives=("none",)), num_classes=2)
    with pytest.raises(UsageError, match="no op 'none'"):
        search_bilevel(net, BilevelSettings(), tiny_loop(), device=DEVICE, seed=0)


def test_number_of_genotypes_is_that_of_the_paper() -> None:
    """Per cell 180 choices of two inputs a node, times 7 ops on each of 8 edges: (180 x 7^8)^2 (Liu et al., 2019)."""
    space = DartsSpace(num_cells=8, primitives=PRIMITIVE_SETS["darts8"])
    assert num_genotypes(space, shared=True) == (180 * 7**8) ** 2
    assert num_genotypes(space, shared=False) == (180 * 7**8) ** 8
