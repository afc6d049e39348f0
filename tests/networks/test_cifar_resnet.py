"""The ResNet for small images: counts against formulas, the place of the last ReLU, timm's methods, as a teacher."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from distilnas.costing import profile
from distilnas.errors import UsageError
from distilnas.networks.cifar_resnet import CifarResNet
from distilnas.teachers import TeacherBlocks, create_teacher, propose

BLOCKS = [f"stages.{stage}.{block}" for stage in range(3) for block in range(2)]
SMALL: dict[str, Any] = {"widths": (4, 6), "depths": (2, 1), "stem_width": 3}


def _expected(widths: tuple[int, ...], depths: tuple[int, ...], stem: int, classes: int, side: int) -> tuple[int, int]:
    """Parameters and MACs by hand: 3x3 convolutions, a 1x1 shortcut a stage, two numbers for each channel of a norm."""
    params, macs = 27 * stem + 2 * stem, 27 * stem * side**2
    before = stem
    for width, depth in zip(widths, depths, strict=True):
        side //= 2
        convs = 9 * before * width + before * width + (2 * depth - 1) * 9 * width**2
        params += convs + 2 * width * (2 * depth + 1)
        macs += convs * side**2
        before = width
    return params + (before + 1) * classes, macs + before * classes


@pytest.mark.parametrize("linear_ends", [False, True])
@pytest.mark.parametrize(
    ("widths", "depths", "stem"), [((64, 128, 256), (2, 2, 2), 32), ((8, 16), (1, 3), 4), ((64, 64), (2, 1), 64)]
)
def test_counts(widths: tuple[int, ...], depths: tuple[int, ...], stem: int, linear_ends: bool) -> None:
    sizes: dict[str, Any] = {"widths": widths, "depths": depths, "stem_width": stem}
    model = timm.create_model("cifar_resnet", **sizes, linear_ends=linear_ends, num_classes=7)
    found = profile(model, 32)
    assert (found.params, found.macs) == _expected(widths, depths, stem, 7, 32)


def _awake(model: nn.Module) -> nn.Module:
    """With all norms away from their start, where every block passes on its shortcut alone."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(std=0.5, generator=generator)
    return model.eval()


def _pair() -> tuple[Any, Any]:
    """The same weights in both forms."""
    clipped, linear = (timm.create_model("cifar_resnet", **SMALL, linear_ends=ends) for ends in (False, True))
    linear.load_state_dict(_awake(clipped).state_dict())
    return clipped, linear.eval()


def test_linear_ends_are_the_sums_before_the_relu() -> None:
    """Same weights, same logits; a map after stem, block or stage is the other form's before its ReLU."""
    clipped, linear = _pair()
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(linear(images), clipped(images))
    paths = ["stages.0.0", "stages.0.1", "stages.1"]
    maps = [TeacherBlocks(model, propose(model, 16, paths)).features(images) for model in (clipped, linear)]
    for behind, before in zip(maps[0][1:], maps[1][1:], strict=True):
        assert before.min() < 0
        torch.testing.assert_close(before.relu(), behind)
    assert linear.forward_features(images).min() < 0


def test_a_map_that_was_taken_stays_as_it_is() -> None:
    """Nothing after a tap may work in place on it."""
    _, model = _pair()
    taken: list[tuple[torch.Tensor, torch.Tensor]] = []
    for module in (model.stem, *model.stages, *(block for stage in model.stages for block in stage)):
        module.register_forward_hook(lambda _, __, output: taken.append((output, output.clone())))
    model(torch.randn(2, 3, 16, 16))
    assert len(taken) == 6
    assert all(torch.equal(output, copy) for output, copy in taken)


def test_it_is_the_residual_network_of_the_paper() -> None:
    """y = relu(F(x) + shortcut(x)) with F = norm conv relu norm conv, written out (He et al., CVPR 2016)."""
    model, _ = _pair()
    x = images = torch.randn(2, 3, 16, 16)
    x = model.stem.bn(nn.functional.conv2d(x, model.stem.conv.weight, padding=1)).relu()
    for stage in model.stages:
        for number, block in enumerate(stage):
            inner = block.bn1(nn.functional.conv2d(x, block.conv1.weight, stride=1 if number else 2, padding=1)).relu()
            inner = block.bn2(nn.functional.conv2d(inner, block.conv2.weight, padding=1))
            x = (inner + (x if number else block.downsample(x))).relu()
    torch.testing.assert_close(model(images), model.classifier(x.mean((2, 3))))


def test_initial_weights() -> None:
    """Blocks start as their shortcuts; convolutions with variance 2 / fan-out."""
    model: Any = CifarResNet()
    for stage in model.stages:
        for block in stage:
            assert torch.count_nonzero(block.bn2.weight) == 0
            weight = block.conv2.weight.detach()
            assert float(weight.std()) == pytest.approx((2 / (9 * len(weight))) ** 0.5, rel=0.05)


@pytest.mark.parametrize("linear_ends", [False, True])
def test_partitions(linear_ends: bool) -> None:
    model = create_teacher("cifar_resnet", num_classes=10, model_kwargs={"linear_ends": linear_ends})
    stages = propose(model, 32)
    assert stages.policy == "stage"
    assert [(t.path, t.channels, t.height) for t in stages.taps] == [
        ("stages.0", 64, 16), ("stages.1", 128, 8), ("stages.2", 256, 4)
    ]  # fmt: skip
    blocks = propose(model, 32, BLOCKS)
    assert [(t.path, t.channels, t.height) for t in blocks.taps] == [
        (path, c, h) for path, (c, h) in zip(BLOCKS, [(64, 16)] * 2 + [(128, 8)] * 2 + [(256, 4)] * 2, strict=True)
    ]
    assert blocks.strides == (2, 1, 2, 1, 2, 1)


@pytest.mark.parametrize("linear_ends", [False, True])
def test_the_rest_runs_from_every_block(linear_ends: bool) -> None:
    model = _awake(timm.create_model("cifar_resnet", linear_ends=linear_ends))
    teacher = TeacherBlocks(model, propose(model, 32, BLOCKS))
    images = torch.randn(2, 3, 32, 32)
    features = teacher.features(images)
    for i in range(1, 7):
        torch.testing.assert_close(teacher.forward_from(i, features[i], images), teacher.logits(images))


def test_timms_methods() -> None:
    model: Any = timm.create_model("cifar_resnet", **SMALL, num_classes=5, in_chans=1, drop_rate=0.5).double().eval()
    images = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    features = model.forward_features(images)
    assert features.shape == (2, model.num_features, 8, 8)
    torch.testing.assert_close(model.forward_head(features), model(images))
    assert model.forward_head(features, pre_logits=True).shape == (2, 6)
    assert model.get_classifier() is model.classifier
    model.train()
    assert not torch.equal(model.forward_head(features), model.forward_head(features))  # dropout
    model.eval().reset_classifier(7)
    assert (model.num_classes, model(images).shape) == (7, (2, 7))
    model.reset_classifier(0)
    assert torch.equal(model(images), model.forward_head(features, pre_logits=True))
    model.reset_classifier(4, global_pool="max")
    torch.testing.assert_close(model.forward_head(features, pre_logits=True), features.amax(dim=(2, 3)))


def test_registry_and_features() -> None:
    model: Any = timm.create_model("cifar_resnet")
    assert model.num_classes == 10
    cfg = model.pretrained_cfg
    assert cfg["input_size"] == (3, 32, 32)
    assert cfg["mean"] == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4)
    assert cfg["std"] == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-4)
    assert dict(model.named_modules())[cfg["first_conv"]].in_channels == 3
    maps: Any = timm.create_model("cifar_resnet", **SMALL, features_only=True).eval()
    assert maps.feature_info.channels() == [3, 4, 6]
    assert maps.feature_info.reduction() == [1, 2, 4]
    assert [tuple(m.shape[1:]) for m in maps(torch.rand(1, 3, 16, 16))] == [(3, 16, 16), (4, 8, 8), (6, 4, 4)]
    assert timm.list_pretrained("cifar_resnet*") == []
    with pytest.raises(UsageError, match="cifar_resnet has no weights to download"):
        timm.create_model("cifar_resnet", pretrained=True)


@pytest.mark.parametrize(
    "sizes", [{"widths": (4, 8), "depths": (1,)}, {"widths": ()}, {"depths": (2, 0, 2)}, {"stem_width": 0}]
)
def test_sizes_are_checked(sizes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a width and a depth for every stage"):
        CifarResNet(**sizes)
