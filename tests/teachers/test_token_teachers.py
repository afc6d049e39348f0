"""Transformers as teachers: prefix tokens in the rest of the teacher, and a student's first step."""

import copy
from inspect import unwrap
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.methods.dna import DistillSettings, distill
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space import FittedSpace
from distilnas.supernet import build_supernet
from distilnas.teachers import Layout, TeacherBlocks, propose
from distilnas.training import Loop

SIZE = 32


def vit(**changes: Any) -> nn.Module:
    """2 x 2 tokens of width 24 after a class token and three registers."""
    torch.manual_seed(0)
    arguments: dict[str, Any] = {
        "img_size": SIZE,
        "embed_dim": 24,
        "num_heads": 2,
        "depth": 5,
        "reg_tokens": 3,
        "num_classes": 5,
    }
    return timm.create_model("vit_tiny_patch16_224", **arguments | changes).eval()


def swin() -> nn.Module:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"img_size": SIZE, "embed_dim": 12, "depths": (1, 1, 1), "num_heads": (1, 2, 4)}
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, **arguments).eval()


def images(number: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(number, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def count_calls(module: nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_only_the_tokens_of_the_grid_are_replaced() -> None:
    """Against a forward in which a hook writes the feature into the sequence, row by row, after the four others."""
    model = vit()
    blocks = TeacherBlocks(model, propose(model, SIZE))
    assert {tap.layout for tap in blocks.partition.taps} == {Layout(kind="tokens", prefix=4)}
    x = images()
    for i, feature in enumerate(blocks.features(x)[1:], start=1):
        other = feature + torch.randn_like(feature)

        def write(_module: nn.Module, _inputs: Any, output: Tensor, other: Tensor = other) -> Tensor:
            output = output.clone()
            for y in range(2):
                for x in range(2):
                    output[:, 4 + 2 * y + x] = other[:, :, y, x]
            return output

        reference = copy.deepcopy(model)
        reference.get_submodule(blocks.partition.taps[i - 1].path).register_forward_hook(write)
        with torch.no_grad():
            expected = reference(x)
        assert not torch.equal(expected, blocks.logits(x))
        for _ in range(2):
            torch.testing.assert_close(blocks.forward_from(i, other, x), expected)
    assert all(rest is not None for rest in blocks._rests.values())


def test_the_last_unit_belongs_to_a_classifier_of_the_class_token() -> None:
    for pool, last in (("token", "blocks.3"), ("avg", "blocks.4")):
        assert propose(vit(global_pool=pool), SIZE).taps[-1].path == last
    listed = propose(vit(), SIZE, ["blocks.1", "blocks.4"])
    blocks = TeacherBlocks(vit(), listed)
    features = blocks.features(images())
    for _ in range(2):
        with pytest.raises(UsageError, match=r"nothing after tap 'blocks\.4' reads it"):
            blocks.forward_from(2, features[2], images())
    torch.testing.assert_close(blocks.forward_from(1, features[1], images()), blocks.logits(images()))
    averaging = TeacherBlocks(vit(global_pool="avg"), listed)
    feature = averaging.features(images())[2]
    torch.testing.assert_close(averaging.forward_from(2, feature, images()), averaging.logits(images()))


def test_prefix_tokens_are_of_the_images_given_last_and_found_once() -> None:
    model = vit()
    blocks = TeacherBlocks(model, propose(model, SIZE))
    x, others = images(seed=0), images(seed=1)
    feature = blocks.features(x)[2]
    blocks.forward_from(2, feature, x)
    calls = count_calls(model.get_submodule("patch_embed"))
    assert torch.equal(blocks.forward_from(2, feature, x), blocks.forward_from(2, feature, x))
    assert not calls
    assert not torch.allclose(blocks.forward_from(2, feature, others), blocks.logits(x))
    assert len(calls) == 2  # others, and all of x for its logits
    torch.testing.assert_close(blocks.forward_from(2, feature, x), blocks.logits(x))
    x.copy_(others)  # the same tensor, other images
    torch.testing.assert_close(blocks.forward_from(2, blocks.features(x)[2], x), blocks.logits(others))


@pytest.mark.parametrize("make", [vit, swin])
def test_several_features_for_the_same_images_are_run_side_by_side(make: Any) -> None:
    model = make()
    blocks = TeacherBlocks(model, propose(model, SIZE))
    x = images()
    for i, feature in enumerate(blocks.features(x)[1:], start=1):
        several = [feature, feature * 0.5]
        expected = torch.cat([blocks.forward_from(i, one, x) for one in several])
        torch.testing.assert_close(blocks.forward_from(i, torch.cat(several), x), expected)
        blocks._rests[i] = None  # and by the whole teacher
        torch.testing.assert_close(blocks.forward_from(i, torch.cat(several), x), expected)
    with pytest.raises(ValueError, match="4 features do not belong to 3 images"):
        blocks.forward_from(1, blocks.features(images(4))[1], x)


@pytest.mark.parametrize("make", [vit, swin])
def test_the_rest_without_its_guard_has_a_gradient_for_the_feature_alone(make: Any) -> None:
    model = make()
    blocks = TeacherBlocks(model, propose(model, SIZE))
    x = images()
    feature = blocks.features(x)[1].requires_grad_()
    for _ in range(2):
        (gradient,) = torch.autograd.grad(unwrap(TeacherBlocks.forward_from)(blocks, 1, feature, x).sum(), feature)
        assert gradient.shape == feature.shape
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("make", "channels", "reductions"),
    [(vit, [24, 24, 24, 24], [16, 16, 16, 16]), (swin, [12, 24, 48], [4, 8, 16])],
)
def test_a_student_takes_a_step(make: Any, channels: list[int], reductions: list[int], tmp_path: Path) -> None:
    teacher = TeacherBlocks(make(), propose(make(), SIZE))
    taps = teacher.partition.taps
    assert ([tap.channels for tap in taps], [tap.reduction for tap in taps]) == (channels, reductions)
    space = FittedSpace(depths=(1,), kernels=(3,), stem_width=8).fit(channels, reductions)
    supernet = build_supernet(space, tuple(channels), adapters="project", seed=0)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    batch = (images(8), torch.zeros(8, dtype=torch.int64))
    loop = Loop(
        name="distill",
        epochs=1,
        steps_per_epoch=1,
        batches=lambda epoch, start: [batch][start:],
        checkpoint=tmp_path / "checkpoint",
        progress=SilentProgress(),
    )
    log = distill(supernet, teacher, DistillSettings(epochs=1, batch_size=8), loop, device=Device("cpu"), seed=0)
    (record,) = log.epochs
    for block in range(1, len(taps) + 1):
        assert 0 < record[f"block {block}"] < 10
        moved = [name for name, value in supernet.state_dict().items() if not torch.equal(value, before[name])]
        assert any(name.startswith(f"blocks.{block - 1}.") for name in moved)
