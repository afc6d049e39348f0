"""The shrinking search as a whole: snapshots, deletion, resume, ablations, ends."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, assert_same, states
from tiny_dnad import DEVICE, FAST, SIZE, SPACE, STEPS, labelled, quick, shrunk, tiny_loop, tiny_supernet, tiny_teacher

from distilnas.costing import profile
from distilnas.errors import UsageError
from distilnas.methods.dnad import KINDS, PENALTIES, SHRINK_PROFILES, Archive, ImitationSettings, ShrinkSettings
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.recorder import Recorder, Weighted
from distilnas.methods.dnad.shrink import ShrinkTraining
from distilnas.methods.dnad.sparsity import objective
from distilnas.networks.darts import DartsNet
from distilnas.runtime.device import Device


def _training(settings: ShrinkSettings) -> ShrinkTraining:
    """To be stepped by hand."""
    model = Weighted(tiny_supernet(), Choices(SPACE))
    return ShrinkTraining(Recorder(model, settings, SIZE, None, DEVICE), None, settings, tiny_loop())


def test_from_dense_to_sparse() -> None:
    """At least two Pareto events with ever fewer MACs; every snapshot is the network that it says it is."""
    restless = replace(FAST, gamma_max=0.03, n_max=1.5, q_max=1, rho=4.0)
    settings = quick(architecture_lr=5.0, pressure=restless, min_sparsity=100.0)
    net, result = shrunk(tiny_loop(epochs=12), settings, held_out=lambda: labelled(2))
    archive = result.archive
    macs = [snapshot.macs for snapshot in archive.events]
    assert len(set(macs)) >= 2
    assert macs == sorted(macs, reverse=True)
    assert macs[-1] < macs[0]
    for before, after in zip(archive.snapshots, archive.snapshots[1:], strict=False):
        assert before.ops >= after.ops
        assert before.macs >= after.macs
        assert before.step < after.step
    last = archive.snapshots[-1]
    counts = profile(DartsNet(archive.architecture(last), num_classes=4), SIZE)
    assert (last.params, last.macs) == (counts.params, counts.macs)
    assert last.ops == sum(len(ops) for cell in net.cells for ops in cell.nodes)  # type: ignore[union-attr,arg-type,misc]
    assert last.accuracy is not None
    assert Archive.from_dict(archive.to_dict()) == archive
    assert 1 <= len(archive.front()) <= len(archive.snapshots)


@pytest.mark.parametrize(("killed_after", "imitate"), [(0, False), (1, True), (3, False), (6, True)])
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, killed_after: int, imitate: bool) -> None:
    """Weights, snapshots and log are the same bit for bit, with candidates deleted before and after the kill."""
    arguments: dict[str, Any] = {"held_out": lambda: labelled(1), "teacher": tiny_teacher() if imitate else None}
    settings = quick(snapshot_steps=3, architecture_momentum=0.9)
    expected, whole = shrunk(settings=settings, **arguments)
    assert whole.archive.snapshots[0].ops < SPACE.num_candidates
    assert whole.archive.snapshots[0].ops > whole.archive.snapshots[-1].ops
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        shrunk(tiny_loop(checkpoint, killed_after=killed_after), settings, **arguments)
    assert checkpoint.exists() == (killed_after > 0)
    resumed, result = shrunk(tiny_loop(checkpoint), settings, **arguments)
    assert_same(states(resumed), states(expected))
    assert result.archive == whole.archive
    assert result.log.epochs == whole.log.epochs


def test_deletion_frees_what_belongs_to_the_op() -> None:
    """Modules, parameters in the optimiser, and its moments; and the next step computes fewer ops."""
    training = _training(quick())
    batch = labelled(1)[0]
    training.step(batch, 0, 0)
    calls = []
    for cell in training.net.cells:
        for ops in cell.nodes:  # type: ignore[union-attr]
            for op in ops.values():  # type: ignore[operator]
                op.register_forward_hook(lambda *_: calls.append(1))
    alive = int(training.choices.alive.sum())
    training.choices.a.data[:, 1] = 1e-6  # a dilated convolution at every node
    training.step(batch, 0, 1)
    assert len(calls) == alive
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in training.net.parameters()}
    assert {id(p) for p in training.optimizer.state} == held
    calls.clear()
    training.step(batch, 0, 2)
    assert len(calls) <= alive - SPACE.rows
    dead = training.choices.deleted()
    assert {column for _, column in dead} >= {1}
    genotype = training.recorder.genotype
    assert genotype.num_edges == sum(p is not None for cell in training.net.cells for n in cell.nodes for p in n)  # type: ignore[union-attr,operator]


def test_a_step_follows_the_gradient_of_the_objective() -> None:
    """SGD without momentum and clipping: a moves by -lr grad_a J, with gamma and mu as they were before the step."""
    settings = quick(architecture_lr=0.1, clip_grad=1e9)
    training, other = _training(settings), _training(settings)
    for one in (training, other):
        one.choices.a.data += torch.rand(one.choices.a.shape, generator=torch.Generator().manual_seed(0))
    images, labels = labelled(1)[0]
    loss = other.losses(images, labels)[0]
    sparsity = other.penalty.measure(other.choices, other.costs)
    (gradient,) = torch.autograd.grad(objective(loss, sparsity, FAST.gamma, FAST.mu), other.choices.a)
    expected = other.choices.a.detach() - 0.1 * gradient
    training.step((images, labels), 0, 0)
    alive = training.choices.alive
    torch.testing.assert_close(training.choices.a.detach()[alive], expected[alive], rtol=1e-4, atol=1e-5)


def test_without_kappa_it_is_the_search_without_a_teacher() -> None:
    alone, one = shrunk()
    free, other = shrunk(settings=quick(imitation=ImitationSettings(kappa=0.0)), teacher=tiny_teacher())
    assert_same(states(alone), states(free))
    assert one.archive == other.archive
    taught, third = shrunk(teacher=tiny_teacher())
    assert third.log.epochs[0]["imitation"] > 0.5
    assert states(alone).keys() != states(taught).keys() or one.archive != third.archive


def test_held_out_images_change_nothing() -> None:
    measured, one = shrunk(held_out=lambda: labelled(2))
    blind, other = shrunk()
    assert_same(states(measured), states(blind))
    assert [replace(snapshot, accuracy=None) for snapshot in one.archive.snapshots] == list(other.archive.snapshots)


@pytest.mark.parametrize("penalty", sorted(PENALTIES))
def test_penalties(penalty: str) -> None:
    strong = replace(FAST, gamma=0.5, k=0.99)
    _, result = shrunk(settings=quick(penalty=penalty, architecture_lr=2.0, pressure=strong))
    start = _training(quick(penalty=penalty)).sparsity()
    last = result.log.epochs[-1]
    assert last["ops"] < SPACE.num_candidates
    assert last["sparsity"] < start


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_kinds_of_imitation(kind: str) -> None:
    """The distance falls, the teacher stays as it was."""
    teacher = tiny_teacher()
    teacher.model[-1].weight.data *= 50  # type: ignore[index,union-attr] # a decided teacher: there is much to imitate
    before = states(teacher)
    settings = quick(imitation=ImitationSettings(kind=kind, kappa=3.0, beta=1.0))
    _, result = shrunk(tiny_loop(epochs=3), settings, teacher=teacher)
    assert result.log.epochs[0]["imitation"] > result.log.epochs[-1]["imitation"]
    assert_same(states(teacher), before)
    record = result.log.epochs[0]
    assert record["loss"] == pytest.approx(record["cross_entropy"] + 3 * record["imitation"], rel=1e-5)


def test_warm_up_only_learns() -> None:
    """The objective is the loss, nothing is deleted, the pressure waits; then it begins."""
    _, result = shrunk(tiny_loop(epochs=2), quick(warmup_epochs=1, architecture_lr=40.0))
    warm, pressed = result.log.epochs
    assert (warm["ops"], warm["gamma"]) == (SPACE.num_candidates, FAST.gamma)
    assert pressed["ops"] < SPACE.num_candidates
    assert pressed["gamma"] != FAST.gamma
    nets = [
        shrunk(tiny_loop(epochs=1), quick(warmup_epochs=1, pressure=replace(FAST, gamma=gamma)))[0]
        for gamma in (0.01, 10.0)
    ]
    assert_same(states(nets[0]), states(nets[1]))


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({"min_sparsity": 150.0}, "S is below 150"),
        ({"max_macs": 1_900_000}, "the derived network has at most 1,900,000 MACs"),
        ({"pressure": replace(FAST, gamma=10.0), "architecture_lr": 200.0}, "every node has one candidate left"),
        ({}, "the last epoch is over"),
    ],
)
def test_ends(changes: dict[str, Any], ended: str, caplog: pytest.LogCaptureFixture) -> None:
    """The last snapshot is of the end; later epochs take no batches and leave no record."""
    epochs = 12 if changes else 2
    with caplog.at_level(logging.WARNING):
        _, result = shrunk(tiny_loop(epochs=epochs), quick(**changes))
    archive, last = result.archive, result.archive.snapshots[-1]
    assert archive.ended == ended
    assert len(result.log.epochs) == -(-last.step // STEPS)
    if changes:
        assert last.reason == "end"
        assert last.step < epochs * STEPS
    assert ("no Pareto event" in caplog.text) == (not archive.events)
    assert result.log.epochs[-1]["ops"] == last.ops
    if "max_macs" in changes:
        assert last.macs <= changes["max_macs"] < archive.snapshots[-2].macs


def test_resumed_after_its_end_it_stays_ended(tmp_path: Path) -> None:
    """The process died after the last step and before the result was kept."""
    settings, checkpoint = quick(min_sparsity=150.0), tmp_path / "checkpoint"
    _, first = shrunk(tiny_loop(checkpoint, epochs=6), settings)
    _, again = shrunk(tiny_loop(checkpoint, epochs=6, killed_after=0), settings)
    assert again.archive == first.archive
    assert again.log.epochs == first.log.epochs


def test_periodic_snapshots() -> None:
    rare = replace(FAST, q_max=100)
    _, by_epoch = shrunk(settings=quick(pressure=rare))
    _, by_steps = shrunk(settings=quick(pressure=rare, snapshot_steps=3))
    assert [(s.step, s.reason) for s in by_epoch.archive.snapshots] == [(4, "periodic"), (8, "periodic")]
    assert [(s.step, s.reason) for s in by_steps.archive.snapshots] == [(3, "periodic"), (6, "periodic"), (8, "end")]


def test_schedule() -> None:
    """Constant, or a cosine over all steps: half way it is half the rate and half the least."""
    for schedule, expected in (("none", 1e-2), ("cosine", 0.505e-2)):
        training = _training(quick(schedule=schedule))
        training.step(labelled(1)[0], 1, 0)
        assert training.optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-3)


def test_mixed_precision_shrinks() -> None:
    net, result = shrunk(device=Device("cpu", "bf16-mixed"), teacher=tiny_teacher())
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
    assert result.archive.snapshots[-1].ops < SPACE.num_candidates


def test_profiles() -> None:
    """The authors' constants that differ between the data sets."""
    cifar, imagenet = SHRINK_PROFILES["cifar"], SHRINK_PROFILES["imagenet"]
    assert cifar == ShrinkSettings()
    assert (cifar.lr, cifar.warmup_epochs, cifar.pressure.gamma_max) == (5e-4, 0, 0.1)
    assert (imagenet.lr, imagenet.warmup_epochs, imagenet.pressure.gamma_max) == (3e-4, 5, 1e-3)
    assert imagenet.architecture_momentum == 0.9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"penalty": "logg"}, "log"),
        ({"schedule": "cosin"}, "cosine"),
        ({"warmup_epochs": 121}, "warm up"),
        ({"batch_size": 1}, "two images"),
        ({"clip_grad": 0.0}, "clip_grad"),
        ({"betas": (0.5, 1.0)}, "betas"),
        ({"snapshot_steps": 0}, "snapshot_steps"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ShrinkSettings(**changes)
