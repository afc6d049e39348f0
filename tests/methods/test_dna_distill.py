"""Block-wise training: independence of the blocks, gradients against plain autograd, resume, divergence."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, assert_same, states
from tiny_dna import CHANNELS, DEVICE, OPS, some_batches, tiny_loop, tiny_space, tiny_supernet, tiny_teacher
from torch import nn

from distilnas.errors import UsageError
from distilnas.methods.dna import DistillSettings, distill
from distilnas.methods.dna.distill import BlockwiseTraining, block_step
from distilnas.methods.dna.losses import relative_mse
from distilnas.methods.dna.sampling import Path as OpPath
from distilnas.runtime.device import Device
from distilnas.space import BlockSpec, CellSpec, Identity
from distilnas.supernet import SuperBlock, Supernet, build_supernet
from distilnas.training import OptimSettings, TrainingLog

SGD = OptimSettings(optimizer="sgd", lr=0.1, schedule="none")


def _trained(checkpoint: Path, *, killed_after: int | None = None, loop: Any = None, **changes: Any) -> Supernet:
    supernet = tiny_supernet()
    settings = DistillSettings(epochs=2, **changes)
    run = tiny_loop(checkpoint, killed_after=killed_after, **(loop or {}))
    distill(supernet, tiny_teacher(), settings, run, device=DEVICE, seed=3)
    return supernet


@pytest.mark.parametrize("sampling", ["uniform", "fair"])
def test_a_block_alone_trains_as_with_all(tmp_path: Path, sampling: str) -> None:
    together = _trained(tmp_path / "none", sampling=sampling, loop={"checkpoint_seconds": None})
    for b in (0, 1):
        alone = _trained(tmp_path / "none", sampling=sampling, blocks=(b + 1,), loop={"checkpoint_seconds": None})
        assert_same(states(alone.blocks[b]), states(together.blocks[b]))
        assert_same(states(alone.blocks[1 - b]), states(tiny_supernet().blocks[1 - b]))


@pytest.mark.parametrize("killed_after", range(6))
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, killed_after: int) -> None:
    expected = states(_trained(tmp_path / "none", loop={"checkpoint_seconds": None}))
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        _trained(checkpoint, killed_after=killed_after, loop={"checkpoint_seconds": 0.0})
    assert checkpoint.exists() == (killed_after > 0)
    resumed = _trained(checkpoint, killed_after=6 - killed_after, loop={"checkpoint_seconds": 0.0})
    assert_same(states(resumed), expected)


def _plain_gradients(block: SuperBlock, x: torch.Tensor, y: torch.Tensor, paths: list[list[OpPath]]) -> list[Any]:
    """Sum over cells of the mean over paths, everything evaluated anew in one graph."""
    block.zero_grad(set_to_none=True)
    losses = [
        sum(relative_mse(cell(block.entry(x), path), y) for path in some) / len(some)  # type: ignore[operator]
        for cell, some in zip(block.cells, paths, strict=True)
    ]
    total: Any = sum(losses)
    total.backward()
    return [total.detach() / len(losses), *(None if p.grad is None else p.grad.clone() for p in block.parameters())]


@pytest.mark.parametrize("b", [0, 1])
def test_gradients_are_those_of_plain_autograd(b: int) -> None:
    block: Any = tiny_supernet(trained=True).double().blocks[b]
    features = tiny_teacher().double().features(some_batches()[0][0].double())
    paths = [[(0, 1), (2, 2), (0, 0)], [(1,)]]
    expected = _plain_gradients(block, features[b], features[b + 1], paths)
    block.zero_grad(set_to_none=True)
    loss = block_step(block, features[b], features[b + 1], paths, relative_mse, DEVICE)
    found = [loss.double(), *(p.grad for p in block.parameters())]
    for got, want in zip(found, expected, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            torch.testing.assert_close(got, want, rtol=1e-10 if got.ndim else 1e-6, atol=1e-12)


def test_only_sampled_paths_get_gradients() -> None:
    block: Any = tiny_supernet(trained=True).blocks[1]
    features = tiny_teacher().features(some_batches()[0][0])
    block_step(block, features[1], features[2], [[(0, 2)], [(1,)]], relative_mse, DEVICE)
    sampled = {(0, 0, 0), (0, 1, 2), (1, 0, 1)}
    for c, cell in enumerate(block.cells):
        for level, layer in enumerate(cell.layers):
            for op, module in enumerate(layer):
                has = [parameter.grad is not None for parameter in module.parameters()]
                assert all(has) if (c, level, op) in sampled else not any(has), (c, level, op)


def test_a_path_without_parameters_is_measured_and_moves_nothing() -> None:
    ops = (Identity(), OPS[1])
    cell = CellSpec(width=CHANNELS[1], layers=(ops,))
    first, _, head = tiny_space().blocks
    first = replace(first, families=(replace(cell, stem=first.cells[0].stem),))
    space = replace(tiny_space(), blocks=(first, BlockSpec(stride=1, families=(cell,)), head))
    block: Any = build_supernet(space, (CHANNELS[1], CHANNELS[1]), adapters="project", seed=0).blocks[1]
    x, y = torch.randn(2, 2, CHANNELS[1], 4, 4)
    loss = block_step(block, x, y, [[(0,)]], relative_mse, DEVICE)
    assert float(loss) == pytest.approx(float(relative_mse(x, y)))
    assert all(p.grad is None for p in block.parameters())


def test_lr_per_block() -> None:
    """One plain SGD step moves weights by rate times gradient: three times the rate, three times the way."""
    moved = []
    for rates in ((0.1, 0.1), (0.3, 0.1)):
        supernet = tiny_supernet(trained=True)
        before = [states(block) for block in supernet.blocks]
        settings = DistillSettings(optim=replace(SGD, optimizer="momentum", momentum=0.0), lr_per_block=rates)
        training = BlockwiseTraining(supernet, tiny_teacher(), settings, tiny_loop(Path("none")), device=DEVICE, seed=0)
        training.step(some_batches()[0], 0, 0)
        moved.append(
            [
                torch.cat([(b.state_dict()[k] - v).flatten() for k, v in was.items()])
                for b, was in zip(supernet.blocks, before, strict=True)
            ]
        )
    assert moved[0][0].abs().max() > 1e-3
    torch.testing.assert_close(moved[1][0], 3 * moved[0][0], rtol=1e-3, atol=1e-6)
    assert torch.equal(moved[1][1], moved[0][1])


def test_rates_follow_the_schedule_over_all_epochs() -> None:
    """Cosine to zero over 2 epochs of 3 steps: step t has lr / 2 (1 + cos(pi t / 6))."""
    settings = DistillSettings(optim=replace(SGD, schedule="cosine", min_lr_ratio=0.0))
    loop = tiny_loop(Path("none"))
    training = BlockwiseTraining(tiny_supernet(), tiny_teacher(), settings, loop, device=DEVICE, seed=0)
    for t in range(6):
        training.step(some_batches()[0], t // 3, t % 3)
        (rate,) = {group["lr"] for optimizer in training.optimizers.values() for group in optimizer.param_groups}
        assert rate == pytest.approx(0.1 / 2 * (1 + math.cos(math.pi * t / 6)))


class _Breaking(BlockwiseTraining):
    """At step ``at`` of epoch 1 the teacher's last feature is NaN, or the second block's weights become so."""

    def __init__(self, *args: Any, at: int, what: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.at, self.what = at, what

    def step(self, batch: Any, epoch: int, step: int) -> torch.Tensor:
        now = (epoch, step) == (1, self.at)
        images = batch[0] * float("nan") if now and self.what == "teacher" else batch[0]
        losses = super().step((images, batch[1]), epoch, step)
        if now and self.what == "weights":
            next(self.blocks[1].parameters()).data.fill_(float("nan"))
        return losses


@pytest.mark.parametrize(("what", "named"), [("teacher", "the loss of block 1"), ("weights", "the weights are")])
def test_not_finite_stops_before_the_checkpoint_is_overwritten(tmp_path: Path, what: str, named: str) -> None:
    checkpoint = tmp_path / "checkpoint"
    loop = tiny_loop(checkpoint, checkpoint_seconds=0.0)
    args = (tiny_supernet(), tiny_teacher(), DistillSettings(), loop)
    with pytest.raises(UsageError) as error:
        loop.run(_Breaking(*args, at=1, what=what, device=DEVICE, seed=3))
    for part in (named, "epoch 1, step 1", str(checkpoint)):
        assert part in str(error.value)
    resumed = tiny_supernet()
    distill(resumed, tiny_teacher(), DistillSettings(), loop, device=DEVICE, seed=3)
    again = tiny_supernet()
    whole = tiny_loop(tmp_path / "none", checkpoint_seconds=None)
    distill(again, tiny_teacher(), DistillSettings(), whole, device=DEVICE, seed=3)
    assert_same(states(resumed), states(again))


def test_a_block_that_diverges_is_named(tmp_path: Path) -> None:
    """A huge rate in block 2 only: SGD explodes there within a few steps."""
    settings = DistillSettings(optim=SGD, lr_per_block=(0.1, 1e30))
    with pytest.raises(UsageError, match=r"the loss of block 2 is not finite at epoch 0, step \d.*no checkpoint"):
        distill(tiny_supernet(trained=True), tiny_teacher(), settings, tiny_loop(tmp_path / "c"), device=DEVICE, seed=0)


def test_log_and_learning(tmp_path: Path) -> None:
    """A zero exit gives its bias, 0, as output: relative MSE = E[Y^2] / Var[Y] of the first step; then it falls."""
    supernet, teacher = tiny_supernet(), tiny_teacher()
    nn.init.zeros_(supernet.blocks[1].cells[0].exit.bias)  # type: ignore[union-attr,index,arg-type]
    nn.init.zeros_(supernet.blocks[1].cells[1].exit.bias)  # type: ignore[union-attr,index,arg-type]
    loop = tiny_loop(tmp_path / "c", epochs=1, steps_per_epoch=3, checkpoint_seconds=None)
    training = BlockwiseTraining(supernet, teacher, DistillSettings(), loop, device=DEVICE, seed=0)
    batch = some_batches()[0]
    y = teacher.features(batch[0])[2]
    assert float(training.step(batch, 0, 0)[1]) == pytest.approx(float(y.square().mean() / y.var(correction=0)))
    log: TrainingLog = distill(
        tiny_supernet(), teacher, DistillSettings(), tiny_loop(tmp_path / "d", 8), device=DEVICE, seed=0
    )
    assert [set(record) for record in log.epochs] == [{"epoch", "block 1", "block 2"}] * 8
    assert log.epochs[-1]["block 1"] < log.epochs[0]["block 1"]


def test_mixed_precision_trains(tmp_path: Path) -> None:
    supernet = tiny_supernet()
    log = distill(
        supernet,
        tiny_teacher(),
        DistillSettings(),
        tiny_loop(tmp_path / "c"),
        device=Device("cpu", "bf16-mixed"),
        seed=0,
    )
    assert len(log.epochs) == 2
    assert all(parameter.dtype == torch.float32 for parameter in supernet.parameters())
