"""Training the one-shot supernet: sampled paths alone move, gradients are means, resume is exact, it learns."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, assert_same, states
from tiny_distill import NO_CHECKPOINT, labelled
from tiny_dna import DEVICE, tiny_loop, tiny_space
from torch import Tensor
from torch.nn.functional import cross_entropy

from distilnas.baselines.spos import OneShot, OneShotTraining, SposSettings, build_one_shot, score, train_one_shot
from distilnas.baselines.spos.supernet import steps
from distilnas.errors import UsageError
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space import frame_of, preset, separate_depths
from distilnas.training import Loop, OptimSettings, TrainingLog


def _net() -> OneShot:
    return build_one_shot(tiny_space(), 2, seed=1)


def _training(net: OneShot, **changes: Any) -> OneShotTraining:
    return OneShotTraining(net, SposSettings(**changes), tiny_loop(NO_CHECKPOINT), device=DEVICE, seed=3)


def _trained(checkpoint: Path, *, killed_after: int | None = None, **changes: Any) -> tuple[OneShot, TrainingLog]:
    """Two epochs of three batches; a checkpoint is written after every step."""
    net = _net()
    loop = tiny_loop(checkpoint, killed_after=killed_after, checkpoint_seconds=0.0)
    log = train_one_shot(net, SposSettings(**changes), loop, device=DEVICE, seed=3)
    return net, log


def test_only_the_sampled_path_moves() -> None:
    """With weight decay and momentum too; the stem, one head and the classifier belong to every path."""
    net = _net()
    training = _training(net, optim=OptimSettings(optimizer="momentum", lr=0.1, weight_decay=0.1))
    for step in range(3):
        before = states(net)
        training.step(labelled()[0], 0, step)
        (choice,) = training.choices(0, step)
        moved = {name for name, value in states(net).items() if not torch.equal(value, before[name])}
        passed, width = ["stem.", "classifier."], frame_of(net.space, "this")[0].out_width
        for b, c, index, op in steps(choice):
            passed.append(f"blocks.{b}.{c}." + (f"rest.{index - 1}.{op}." if index else f"first.{width}.{op}."))
            width = net.space.body[b].cells[c].width
        passed.append(f"heads.{width}.")
        assert {name for name, p in net.named_parameters() if p.grad is not None} == {
            name for name in before if name.startswith(tuple(passed))
        }
        assert moved
        assert all(name.startswith(tuple(passed)) for name in moved), moved


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_are_the_mean_over_paths(smoothing: float) -> None:
    """Against torch's own label smoothing, all paths in one graph."""
    net, plain = _net().double(), _net().double()
    training = _training(net, paths_per_step=3, label_smoothing=smoothing)
    images, labels = labelled()[0]
    losses = training.step((images.double(), labels), 0, 1)
    choices = training.choices(0, 1)
    assert len(set(choices)) > 1
    expected = torch.stack(
        [cross_entropy(plain(images.double(), choice), labels, label_smoothing=smoothing) for choice in choices]
    ).mean()
    expected.backward()
    torch.testing.assert_close(losses, expected.detach().reshape(1))
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-8, atol=1e-12)


def test_every_step_draws_anew() -> None:
    training = _training(_net(), paths_per_step=2, sampling="fair")
    seen = [choice for epoch in range(2) for step in range(3) for choice in training.choices(epoch, step)]
    assert len(seen) == 12
    assert len(set(seen)) > 6


@pytest.mark.parametrize("killed_after", range(6))
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, killed_after: int) -> None:
    changes: dict[str, Any] = {"paths_per_step": 2, "sampling": "fair"}
    expected, log = _trained(tmp_path / "whole", **changes)
    with pytest.raises(Killed):
        _trained(tmp_path / "checkpoint", killed_after=killed_after, **changes)
    resumed, its_log = _trained(tmp_path / "checkpoint", killed_after=6 - killed_after, **changes)
    assert_same(states(resumed), states(expected))
    assert its_log.epochs == log.epochs


def _bright(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of class 1 are brighter than those of class 0."""
    labels = torch.arange(number) % 2
    noise = torch.randn(number, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return noise + labels[:, None, None, None], labels


def test_it_learns(tmp_path: Path) -> None:
    def batches(epoch: int, start: int) -> Iterable[tuple[Tensor, Tensor]]:
        return [_bright(16, 100 * epoch + step) for step in range(start, 20)]

    net = build_one_shot(tiny_space(), 2, seed=1)
    settings = SposSettings(optim=OptimSettings(optimizer="adam", lr=5e-2), label_smoothing=0.0)
    loop = Loop(
        name="one-shot",
        epochs=4,
        steps_per_epoch=20,
        batches=batches,
        checkpoint=tmp_path / "c",
        progress=SilentProgress(),
        checkpoint_seconds=None,
    )
    log = train_one_shot(net, settings, loop, device=DEVICE, seed=0)
    losses = [record["loss"] for record in log.epochs]
    assert losses[-1] < 0.5 * losses[0]
    held_out = [_bright(32, 9999), _bright(32, 9998)]
    scores = score(net, lambda: held_out, device=DEVICE, progress=SilentProgress())
    assert len(scores.choices) == net.space.num_architectures == 11**2
    assert scores.accuracy.mean() > 0.9


@pytest.mark.parametrize("apart", [False, True])
def test_both_forms_of_nas_bench_macro_train(apart: bool) -> None:
    space = preset("nas-bench-macro")
    net = build_one_shot(separate_depths(space) if apart else space, 2, seed=0)
    training = _training(net)
    before = states(net)
    images, labels = _bright(2, 0)
    loss = training.step((images, labels), 0, 0)
    assert torch.isfinite(loss).all()
    assert any(not torch.equal(value, before[name]) for name, value in states(net).items())


def test_the_rate_is_the_batchs_and_falls_to_zero() -> None:
    """0.5 x 128 / 1024, linearly to 0 over the steps."""
    training = _training(_net())
    rates = []
    for t in range(6):
        training.step(labelled()[0], t // 3, t % 3)
        rates += {group["lr"] for group in training.optimizer.param_groups}
    assert rates == pytest.approx([0.0625 * (1 - t / 6) for t in range(6)])


def test_mixed_precision_trains() -> None:
    net = _net()
    training = OneShotTraining(
        net, SposSettings(), tiny_loop(NO_CHECKPOINT), device=Device("cpu", "bf16-mixed"), seed=3
    )
    assert torch.isfinite(training.step(labelled()[0], 0, 0)).all()
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": "unifrom"}, "did you mean 'uniform'"),
        ({"epochs": -1}, "epochs must not be negative"),
        ({"batch_size": 1}, "batch_size at least 2"),
        ({"paths_per_step": 0}, "paths_per_step"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 up to 1"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SposSettings(**changes)
