"""Learning rates against closed formulas; which weights decay."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from distilnas.errors import UsageError
from distilnas.training.optim import OptimSettings, make_optimizer, make_scheduler

EPOCHS, STEPS, LR = 5, 8, 0.2
TOTAL = EPOCHS * STEPS


def _rates(**changes: Any) -> list[float]:
    """The rate of every step, asked for backwards: it depends on nothing but the step."""
    settings = OptimSettings(optimizer="sgd", lr=LR, **changes)
    optimizer = make_optimizer(nn.Linear(2, 2), settings)
    scheduler = make_scheduler(optimizer, settings, epochs=EPOCHS, steps_per_epoch=STEPS)
    rates = []
    for t in reversed(range(TOTAL)):
        scheduler.step_update(t)
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        rates.append(rate)
    return rates[::-1]


def test_cosine() -> None:
    low = 0.05 * LR
    expected = [low + (LR - low) / 2 * (1 + math.cos(math.pi * t / TOTAL)) for t in range(TOTAL)]
    assert _rates(schedule="cosine", min_lr_ratio=0.05) == pytest.approx(expected)


def test_step() -> None:
    """Times ``decay`` every ``decay_epochs`` epochs."""
    expected = [LR * 0.7 ** (t // 12) for t in range(TOTAL)]
    assert _rates(schedule="step", decay=0.7, decay_epochs=1.5) == pytest.approx(expected)


def test_linear() -> None:
    low = 0.05 * LR
    expected = [low + (LR - low) * (1 - t / TOTAL) for t in range(TOTAL)]
    assert _rates(schedule="linear", min_lr_ratio=0.05) == pytest.approx(expected)


@pytest.mark.parametrize(("scale", "expected"), [("linear", 0.256), ("sqrt", 0.128)])
def test_rate_for_another_batch(scale: str, expected: float) -> None:
    """DNA retrains with 0.064 per 1,024 images; Goyal et al. 2017: four times the batch, four times the rate."""
    settings = OptimSettings(lr=0.064, lr_base_size=1024, lr_base_scale=scale)
    assert settings.for_batch(4096).lr == pytest.approx(expected)
    assert settings.for_batch(4096).for_batch(4096).lr == pytest.approx(expected)
    assert OptimSettings(lr=0.064).for_batch(4096).lr == 0.064


def test_none() -> None:
    assert _rates(schedule="none") == pytest.approx([LR] * TOTAL)


def test_warmup_rises_linearly_from_a_thousandth() -> None:
    rates = _rates(schedule="none", warmup=0.25)
    assert rates == pytest.approx([LR * (0.001 + 0.999 * min(t / 10, 1)) for t in range(TOTAL)])


def test_no_epochs_at_all_still_have_a_rate() -> None:
    """Cosine starts at its full rate."""
    settings = OptimSettings(lr=LR)
    optimizer = make_optimizer(nn.Linear(2, 2), settings)
    make_scheduler(optimizer, settings, epochs=0, steps_per_epoch=0).step_update(0)
    assert {group["lr"] for group in optimizer.param_groups} == {LR}


def test_biases_and_norms_are_not_decayed() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = make_optimizer(module, OptimSettings(weight_decay=0.1, eps=1e-5))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in module.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0,
        "1.weight": 0,
        "1.bias": 0,
    }
    assert {group["eps"] for group in optimizer.param_groups} == {1e-5}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_restored_from_contiguous_state_in_channels_last_is_uninterrupted(name: str) -> None:
    """A fused optimiser walks through weight, gradient and averages as they lie in memory."""
    torch.manual_seed(0)
    convs = [nn.Conv2d(5, 6, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    convs[1].load_state_dict(convs[0].state_dict())
    whole, begun = (make_optimizer(conv, OptimSettings(optimizer=name, lr=0.1)) for conv in convs)
    gradients = torch.randn(3, 6, 5, 3, 3)
    for step, gradient in enumerate(gradients):
        if step == 1:
            state = begun.state_dict()
            state["state"] = {
                weight: {key: value.contiguous() for key, value in averages.items() if value is not None}
                for weight, averages in state["state"].items()
            }
            begun = make_optimizer(convs[1], OptimSettings(optimizer=name, lr=0.1))
            begun.load_state_dict(state)
        for conv, optimizer in zip(convs, (whole, begun), strict=True):
            assert conv.bias is not None
            conv.weight.grad = gradient.to(memory_format=torch.channels_last)
            conv.bias.grad = gradient[:, 0, 0, 0].clone()
            optimizer.step()
    assert torch.equal(convs[0].weight, convs[1].weight)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_weight_may_join_later(name: str) -> None:
    """As single paths do: its first update is lr in each direction (Adam), lr times the gradient (SGD)."""
    layers = [nn.Linear(3, 1, bias=False) for _ in range(2)]
    optimizer = make_optimizer(nn.ModuleList(layers), OptimSettings(optimizer=name, lr=0.1))
    before = layers[1].weight.detach().clone()
    for present in (layers[:1], layers):
        for layer in present:
            layer.weight.grad = torch.tensor([[1.0, -2.0, 4.0]])
        optimizer.step()
    update = [0.1, -0.2, 0.4] if name == "sgd" else [0.1, -0.1, 0.1]
    nesterov = 1.9 if name == "sgd" else 1  # of the first step: gradient + momentum * gradient
    assert (before - layers[1].weight)[0].tolist() == pytest.approx([nesterov * u for u in update], rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_weight_with_gaps_in_memory(name: str) -> None:
    """As a slice of another has them: the update is that of a copy without gaps."""
    torch.manual_seed(0)
    sliced = nn.Linear(3, 4, bias=False)
    dense = nn.Linear(3, 4, bias=False)
    sliced.weight = nn.Parameter(torch.randn(4, 6)[:, ::2])
    with torch.no_grad():
        dense.weight.copy_(sliced.weight)
    gradient = torch.randn(4, 3)
    for layer in (sliced, dense):
        layer.weight.grad = gradient.clone()
        make_optimizer(layer, OptimSettings(optimizer=name, lr=0.1)).step()
    assert torch.allclose(sliced.weight, dense.weight, rtol=1e-6)


def test_frozen_weights_are_left_out() -> None:
    module = nn.Linear(2, 2)
    module.weight.requires_grad_(False)
    optimizer = make_optimizer(module, OptimSettings(optimizer="momentum", momentum=0.5))
    assert [p.shape for group in optimizer.param_groups for p in group["params"]] == [torch.Size([2])]
    assert optimizer.param_groups[0]["momentum"] == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "adamww"}, "unknown optimizer 'adamww'; did you mean 'adamw'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"warmup": 1.0}, "warmup from 0 up to 1"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        OptimSettings(**changes)


def test_what_the_optimiser_refuses_is_said() -> None:
    with pytest.raises(UsageError, match="optimizer 'sgd' refuses its settings: Nesterov"):
        make_optimizer(nn.Linear(2, 2), OptimSettings(optimizer="sgd", momentum=0.0))
    with pytest.raises(UsageError, match=r"optimizer .fusedadam. refuses its settings: .*APEX"):
        make_optimizer(nn.Linear(2, 2), OptimSettings(optimizer="fusedadam"))


def test_nothing_to_train() -> None:
    with pytest.raises(UsageError, match="nothing to train: all weights are frozen"):
        make_optimizer(nn.Linear(2, 2).requires_grad_(False), OptimSettings())
