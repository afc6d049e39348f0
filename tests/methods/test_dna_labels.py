"""The labels' loss through the rest of the teacher, against plain chains and finite differences."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from killing import assert_same, states
from timm import create_model
from tiny_distill import NO_CHECKPOINT, gradients, labelled, training_of
from tiny_dna import DEVICE, SIZE, Pairs, tiny_loop, tiny_supernet, tiny_teacher
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.methods.dna import DistillSettings, distill
from distilnas.methods.dna.labels import LabelLoss
from distilnas.teachers import TeacherBlocks, propose

LABELS = torch.tensor([0, 1, 1, 0])


def _timm_teacher() -> TeacherBlocks:
    """Residual blocks whose activations work in place."""
    torch.manual_seed(0)
    model = create_model("resnet10t", num_classes=2, channels=[4, 6, 8, 10])
    return TeacherBlocks(model, propose(model, 32, "stage"))


@pytest.mark.parametrize("make", [tiny_teacher, _timm_teacher])
def test_the_gradient_is_that_of_finite_differences(make: Any) -> None:
    """Central differences along random directions, in double precision; and the value is the teacher's own."""
    teacher: TeacherBlocks = make()
    label_loss = LabelLoss(teacher, DEVICE)
    teacher.double()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, *teacher.partition.image_shape, generator=generator, dtype=torch.float64)
    own = F.cross_entropy(teacher.logits(images), LABELS)
    for i, feature in enumerate(teacher.features(images)[1:], start=1):
        output = feature.clone().requires_grad_()
        value = label_loss(i, output, images, LABELS)
        assert float(value.detach()) == pytest.approx(float(own), rel=1e-9)
        value.backward()
        direction = torch.randn(feature.shape, generator=generator, dtype=torch.float64)
        assert output.grad is not None
        along, h = float((output.grad * direction).sum()), 1e-6
        ahead, behind = (float(label_loss(i, feature + s * h * direction, images, LABELS)) for s in (1, -1))
        assert abs(along) > 1e-4
        assert along == pytest.approx((ahead - behind) / (2 * h), rel=1e-5)


@pytest.mark.parametrize("b", [0, 1])
def test_a_block_s_gradients_are_those_of_the_whole_chain(b: int) -> None:
    """Block, rest of the teacher and head written out as one chain: distance + 0.7 cross entropy, mean over cells."""
    supernet, teacher = tiny_supernet(trained=True), tiny_teacher()
    training = training_of(supernet, label_loss=0.7, loss="mse")
    images, labels = labelled()[0]
    losses = training.add_gradients(images, labels, 1.0, 0, 0)
    found = gradients(supernet, b)
    supernet.zero_grad(set_to_none=True)
    block: Any = supernet.blocks[b]
    features = teacher.features(images)
    rest: Any = teacher.model[b + 1 :]  # type: ignore[index]
    parts = []
    for cell, (path,) in zip(block.cells, training.paths(b, 0, 0), strict=True):
        output = cell(block.entry(features[b]), path)
        parts.append(F.mse_loss(output, features[b + 1]) + 0.7 * F.cross_entropy(rest(output), labels))
    torch.stack(parts).sum().backward()
    assert float(losses[b]) == pytest.approx(sum(float(p.detach()) for p in parts) / 2, rel=1e-5)
    for got, want in zip(found, gradients(supernet, b), strict=True):
        assert (got is None) == (want is None)
        if got is not None and want is not None:
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def _run(pairs: Pairs, teacher: TeacherBlocks, **changes: Any) -> dict[str, Tensor]:
    supernet = tiny_supernet(trained=True)
    loop = replace(tiny_loop(NO_CHECKPOINT, epochs=1), checkpoint_seconds=None, batches=lambda _, start: pairs[start:])
    distill(supernet, teacher, DistillSettings(**changes), loop, device=DEVICE, seed=3)
    return states(supernet)


def test_labels_count_only_with_a_weight() -> None:
    pairs = labelled()
    others = [(images, 1 - labels) for images, labels in pairs]
    nonsense = [(images, labels + 99) for images, labels in pairs]
    assert_same(_run(pairs, tiny_teacher()), _run(nonsense, tiny_teacher()))
    one, other = (_run(some, tiny_teacher(), label_loss=0.5) for some in (pairs, others))
    for b in ("0", "1"):
        assert any(not one[key].equal(other[key]) for key in one if key.startswith(f"blocks.{b}."))


@pytest.mark.parametrize("order", ["together", "reverse"])
def test_the_teacher_stays_bit_equal_and_without_gradients(order: str) -> None:
    teacher = tiny_teacher()
    before = states(teacher)
    _run(labelled(), teacher, label_loss=0.5, order=order)
    assert_same(states(teacher), before)
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not any(module.training for module in teacher.modules())


def test_a_teacher_of_other_classes_is_refused() -> None:
    pairs = [(images, labels + 1) for images, labels in labelled()]
    with pytest.raises(UsageError, match=r"teacher's, which are 0 to 1; an image has label 2\. Give a teacher fitted"):
        _run(pairs, tiny_teacher(), label_loss=0.5)


def test_a_teacher_that_is_no_classifier_is_refused() -> None:
    model = nn.Sequential(*list(tiny_teacher().model)[:2])  # type: ignore[call-overload]
    teacher = TeacherBlocks(model, propose(model, SIZE, ["0", "1"]))
    with pytest.raises(UsageError, match=r"has the shape \(2, 10, 4, 4\)"):
        _run(labelled(), teacher, label_loss=0.5)
