"""Training a whole student: what its loss is made of, who changes, exact resume, images without classes."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, KillingProgress
from recovery_samples import DEVICE, PREPROCESSING, SETTINGS, assert_same, images, lesson, student, teacher
from torch import nn
from torch.nn import functional as F

from distilnas.data import Augmentation
from distilnas.errors import UsageError
from distilnas.recovery import RecoverySettings, train_student
from distilnas.recovery.imitation import Imitation
from distilnas.recovery.student import Rounds
from distilnas.training import OptimSettings, Trained

UPDATES = 6  # two rounds of three: 26 images are three updates of eight


def _train(folder: Path, settings: RecoverySettings = SETTINGS, **changes: Any) -> Trained:
    return train_student(student(), lesson(folder, **changes), settings, updates=UPDATES)


def _imitation(folder: Path, settings: RecoverySettings = SETTINGS, **changes: Any) -> Imitation:
    return Imitation(student(), lesson(folder, **changes), settings, steps_per_epoch=3, frozen=0)


def test_the_loss_is_the_weighted_sum_of_its_parts(tmp_path: Path) -> None:
    """Each part by hand, block by block, from the networks' own modules."""
    settings = replace(SETTINGS, blocks=3.0, labels=0.5)
    imitation, model, master = _imitation(tmp_path, settings), student().eval(), teacher()
    x, labels = torch.randn(5, 3, 16, 16), torch.tensor([0, 2, 1, 1, 0])
    ours, theirs = (net.stem(x) for net in (model, master))
    errors = [(ours - theirs).square().mean() / theirs.square().mean()]
    ours, theirs = model.body(ours), master.body(theirs)
    errors.append((ours - theirs).square().mean() / theirs.square().mean())
    p, q = master.head(theirs).softmax(1), model.head(ours).softmax(1)
    logits = (p * (p / q).log()).sum(1).mean()
    right = F.nll_loss(q.log(), labels)
    expected = [logits + 3 * sum(errors) / 2 + right / 2, logits, sum(errors) / 2, right]
    assert imitation.loss_names == ("loss", "logits", "blocks", "labels")
    found = imitation.losses(model, x, labels)
    assert [loss.item() for loss in found] == pytest.approx([loss.item() for loss in expected], rel=1e-5)


def test_only_what_has_a_weight_is_computed(tmp_path: Path) -> None:
    settings = replace(SETTINGS, blocks=0.0, labels=0.0)
    assert _imitation(tmp_path, settings).loss_names == ("loss", "logits")
    assert _imitation(tmp_path, replace(settings, blocks=1.0), pairs=()).loss_names == ("loss", "logits")


def test_gradients_flow_to_the_student_only(tmp_path: Path) -> None:
    """To all its weights, also those that came frozen; the teacher keeps modes, weights and statistics."""
    master = teacher()
    before = copy.deepcopy(master)
    model = student().requires_grad_(False)
    start = copy.deepcopy(model)
    trained = train_student(
        model, lesson(tmp_path, teacher=master), replace(SETTINGS, frozen_norm=0.0, ema=None), updates=UPDATES
    )
    for (name, old), new in zip(start.named_parameters(), trained.model.parameters(), strict=True):
        assert not torch.equal(old, new), name
    assert all(weight.grad is None for weight in master.parameters())
    assert not any(module.training for module in master.modules())
    assert_same(master, before)


@pytest.mark.parametrize("killed_after", range(UPDATES))
def test_killed_and_resumed_is_uninterrupted(tmp_path: Path, killed_after: int) -> None:
    """Augmentation, dropout, warm-up, clipping, average, batch norm that thaws: bit for bit."""
    settings = replace(SETTINGS, micro_batch=4)
    whole = _train(tmp_path / "whole", settings, checkpoint_seconds=None)
    with pytest.raises(Killed):
        _train(tmp_path, settings, progress=KillingProgress(killed_after))
    torch.rand(3)
    resumed = _train(tmp_path, settings, progress=KillingProgress(UPDATES - killed_after))
    assert_same(resumed.model, whole.model)
    assert resumed.log.epochs == whole.log.epochs


def test_a_student_comes_nearer(tmp_path: Path) -> None:
    """Half of what the cut cost is back soon, on the images that it trains with."""
    settings = RecoverySettings(
        batch_size=12, optim=OptimSettings(lr=0.01), augment=Augmentation(crop="none"), ema=None, rates=()
    )
    seen = images(24)
    task = lesson(tmp_path, images=seen, validation=seen, checkpoint_seconds=None)
    before = task.measure(student())
    trained = train_student(student(), task, settings, updates=60)
    assert trained.log.epochs[-1]["val_kl"] < before["val_kl"] / 2
    assert trained.log.epochs[-1] | task.measure(trained.model) == trained.log.epochs[-1]


def test_images_without_classes(tmp_path: Path) -> None:
    """One class for all tells nothing: no label is used, agreement is measured, accuracy is not."""
    bare = {"images": images(classes=("all",)), "validation": images(9, 1, classes=("all",))}
    log = _train(tmp_path, replace(SETTINGS, labels=0.0), **bare).log.epochs[-1]
    assert set(log) == {"epoch", "loss", "logits", "blocks", "val_kl", "val_agreement"}
    labelled = _train(tmp_path / "labelled", replace(SETTINGS, labels=0.0)).log.epochs[-1]
    assert set(labelled) - set(log) == {"val_top1"}
    assert {name: labelled[name] for name in log} == log
    with pytest.raises(UsageError, match=r"labels=0\.5 needs images with the labels .* set labels=0"):
        _train(tmp_path / "refused", SETTINGS, **bare)


def test_batch_norm_keeps_what_the_student_came_with_while_frozen(tmp_path: Path) -> None:
    """Frozen to the end: the cut student's statistics stay, though all else learns."""
    start = student()
    trained = _train(tmp_path, replace(SETTINGS, frozen_norm=1.0, ema=None)).model
    for name, value in trained.named_buffers():
        assert torch.equal(value, start.get_buffer(name)), name
    assert not torch.equal(trained.stem[0].weight, start.stem[0].weight)  # type: ignore[index,union-attr]
    half = _imitation(tmp_path)
    half._frozen = 4
    model = student().train()
    modes = []
    for step in range(6):
        half.prepare(model, step // 3, step % 3)
        modes.append(model.stem[1].training)  # type: ignore[index,union-attr]
    assert modes == [False] * 4 + [True] * 2


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """With batch norm frozen and no dropout; not with blocks, each piece of which is relative to its own target."""
    settings = replace(SETTINGS, frozen_norm=1.0, blocks=0.0, optim=OptimSettings(optimizer="sgd", lr=0.01))

    def trained(folder: Path, micro_batch: int | None) -> nn.Module:
        model = student()
        model.head[2].p = 0.0  # type: ignore[index,union-attr]
        return train_student(model, lesson(folder), replace(settings, micro_batch=micro_batch), updates=UPDATES).model

    for a, b in zip(trained(tmp_path / "a", None).parameters(), trained(tmp_path / "b", 2).parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_teacher_with_other_statistics_and_resolution_sees_the_same_view(tmp_path: Path) -> None:
    """A teacher that undoes its own normalisation gives the targets of one that has the student's."""
    other = replace(PREPROCESSING, mean=(0.1, 0.2, 0.3), std=(0.5, 0.7, 0.9))

    class Renormalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = teacher()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            old, new = (
                [torch.tensor(getattr(p, k))[:, None, None] for k in ("mean", "std")] for p in (other, PREPROCESSING)
            )
            return self.inner((x * old[1] + old[0] - new[0]) / new[1])

    pairs = tuple((path, f"inner.{path}") for path, _ in lesson(tmp_path).pairs)
    changed = _train(tmp_path / "a", teacher=Renormalised(), teacher_preprocessing=other, pairs=pairs)
    for a, b in zip(changed.model.parameters(), _train(tmp_path / "b").model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_student_of_a_lower_resolution(tmp_path: Path) -> None:
    """It sees the teacher's view, smaller."""
    task = lesson(tmp_path, preprocessing=replace(PREPROCESSING, resolution=8), teacher_preprocessing=PREPROCESSING)
    flat = torch.arange(3.0)[None, :, None, None].expand(2, 3, 16, 16)
    assert task.views.for_teacher(flat).shape == flat.shape
    torch.testing.assert_close(task.views.for_student(flat), flat[:, :, :8, :8])
    log = train_student(student(), task, replace(SETTINGS, blocks=0.0), updates=3).log
    assert len(log.epochs) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairs": (("steam", "stem"),)}, "has no module 'steam' to compare; did you mean 'stem'"),
        ({"pairs": (("stem", "bodi"),)}, "has no module 'bodi' to compare; did you mean 'body'"),
        (
            {"pairs": (("stem", "body"),)},
            r"must have one shape, but stem of the student gives out \(8, 8, 8\) and body",
        ),
        ({"teacher": teacher(5)}, "a teacher of as many classes, got 3 and 5"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _train(tmp_path, **changes)


def test_a_student_that_holds_its_teachers_tensors_is_refused(tmp_path: Path) -> None:
    master = teacher()
    mixed = student()
    mixed.stem = master.stem
    with pytest.raises(UsageError, match=r"holds tensors of its teacher \(stem.0.weight"):
        train_student(mixed, lesson(tmp_path, teacher=master), SETTINGS, updates=2)


@pytest.mark.parametrize(
    ("updates", "number", "each"),
    [(1, 1, 1), (9, 1, 9), (14, 1, 14), (16, 2, 8), (20, 2, 10), (25, 2, 12), (40, 4, 10)],
)
def test_rounds_are_about_epochs(updates: int, number: int, each: int) -> None:
    """Of ten updates."""
    assert Rounds.of(updates, 10) == Rounds(number=number, updates=each)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 1, "minutes": 2}, "epochs or its minutes, not both"),
        ({"epochs": 0}, "epochs of a recovery must be positive"),
        ({"epochs": None, "minutes": -1.0}, "minutes of a recovery must be positive"),
        ({"clip_grad": 0.0}, "clip_grad of a recovery must be positive"),
        ({"blocks": -1.0}, "weights of losses must not be negative"),
        ({"frozen_norm": 1.5}, "frozen_norm is a share"),
        ({"probe": 0.0}, "probe one above 0"),
        ({"ema": 1.0}, "ema must be between 0 and 1"),
        ({"rates": (1e-3, 1e-3)}, "rates are distinct positive"),
        ({"rates": (0.0,)}, "rates are distinct positive"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"micro_batch": 3}, "multiple of micro_batch"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(SETTINGS, **changes)


def test_a_measurement_is_that_of_the_networks_by_hand(tmp_path: Path) -> None:
    task = lesson(tmp_path)
    held = task.validation
    pixels = torch.from_numpy(held.images.copy()).permute(0, 3, 1, 2) / 255  # type: ignore[union-attr]
    mean, std = (torch.tensor(v)[:, None, None] for v in (PREPROCESSING.mean, PREPROCESSING.std))
    model = student().train()
    with torch.no_grad():
        ours, theirs = (DEVICE.module(net).eval()((pixels - mean) / std) for net in (student(), teacher()))
    found = task.measure(model)
    assert model.training
    kl = F.kl_div(ours.log_softmax(1), theirs.log_softmax(1), reduction="batchmean", log_target=True)
    assert found["val_kl"] == pytest.approx(float(kl), rel=1e-4)
    assert found["val_agreement"] == pytest.approx(100 * float((ours.argmax(1) == theirs.argmax(1)).float().mean()))
    hits = (ours.argmax(1) == torch.from_numpy(held.labels.copy())).float().mean()
    assert found["val_top1"] == pytest.approx(100 * float(hits))
