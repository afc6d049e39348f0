"""The frozen teacher's features against plain hooks and timm's own feature pass; the rest against the whole."""

import copy
import pickle

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.teachers.blocks import TeacherBlocks
from distilnas.teachers.partition import propose

TIMM = ["resnet10t", "efficientnet_b0", "mobilenetv3_small_050", "convnext_atto", "regnetx_002", "densenet121"]
MODELS = [*TIMM, "torchvision:mobilenet_v2", "plain"]
SIZE = 64


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    if (
        name == "plain"
    ):  # VGG style with in-place activations, so that later layers would overwrite taps on convolutions
        model = nn.Sequential(
            *(layer for i in range(4) for layer in (nn.Conv2d(8 if i else 3, 8, 3, 2, 1), nn.ReLU(inplace=True))),
            nn.Flatten(),
            nn.Linear(8 * 16, 10),
        )
    elif name.startswith("torchvision:"):
        model = torchvision.models.get_model(name.removeprefix("torchvision:"), weights=None, num_classes=10)
    else:
        model = timm.create_model(name, num_classes=10, drop_rate=0.2)
    for key, buffer in model.named_buffers():
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            buffer.normal_(std=0.01)
    return model


def teacher(name: str) -> TeacherBlocks:
    model = make(name)
    return TeacherBlocks(model, propose(model, SIZE, ["0", "3", "4"] if name == "plain" else "auto"))


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def hooked(model: nn.Module, paths: list[str], inputs: Tensor) -> list[Tensor]:
    """Outputs by plain hooks in a full forward of a copy, copied at once."""
    model = copy.deepcopy(model).eval()
    outputs: dict[str, Tensor] = {}
    for path in paths:
        model.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, output, path=path: outputs.__setitem__(path, output.clone())
        )
    model(inputs)
    return [outputs[path] for path in paths]


@pytest.mark.parametrize("name", MODELS)
def test_features_and_the_rest_agree_with_the_whole_network(name: str) -> None:
    blocks = teacher(name)
    state = {key: value.clone() for key, value in blocks.model.state_dict().items()}
    x = images()
    features = blocks.features(x)
    assert features[0] is x
    for tap, feature, expected in zip(
        blocks.partition.taps,
        features[1:],
        hooked(blocks.model, [t.path for t in blocks.partition.taps], x),
        strict=True,
    ):
        assert torch.equal(feature, expected)
        assert feature.shape == (2, tap.channels, tap.height, tap.width)
    expected = copy.deepcopy(blocks.model)(x)
    assert torch.equal(blocks.logits(x), expected)
    for _ in range(2):  # the second time only the rest is run
        for i, feature in enumerate(features):
            before = feature.clone()
            torch.testing.assert_close(blocks.forward_from(i, feature, torch.zeros_like(x)), expected)
            assert torch.equal(feature, before)
    assert all(rest is not None for rest in blocks._rests.values())
    assert all(torch.equal(value, state[key]) for key, value in blocks.model.state_dict().items())
    assert not any(module._forward_hooks for module in blocks.modules())


def test_the_last_stage_is_what_timm_calls_the_features() -> None:
    blocks = teacher("resnet10t")
    with torch.no_grad():
        expected = blocks.model.forward_features(images())  # type: ignore[operator]
    assert torch.equal(blocks.features(images())[-1], expected)


def test_blocks_are_functions_of_the_feature_before() -> None:
    """Block i's own modules, run on Y_(i-1) alone, give Y_i."""
    blocks = teacher("resnet10t")
    features = blocks.features(images())
    for i, path in enumerate(["layer2", "layer3", "layer4"], start=1):
        with torch.no_grad():
            assert torch.equal(blocks.model.get_submodule(path)(features[i]), features[i + 1])


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_atto"])
def test_a_changed_feature_changes_the_rest_as_in_a_whole_forward(name: str) -> None:
    blocks = teacher(name)
    x = images()
    for i, feature in enumerate(blocks.features(x)[1:], start=1):
        other = feature + torch.randn_like(feature)
        handle = blocks.model.get_submodule(blocks.partition.taps[i - 1].path).register_forward_hook(
            lambda *_, other=other: other.clone()
        )
        with torch.no_grad():
            expected = blocks.model(x)
        handle.remove()
        blocks.forward_from(i, feature, x)  # settles how the rest is run
        torch.testing.assert_close(blocks.forward_from(i, other, x), expected)
        assert not torch.equal(expected, blocks.logits(x))


class Untraceable(nn.Module):
    """Its forward branches on values and is therefore no fixed graph; it counts how often its first layer runs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, 2, 1)
        self.b = nn.Conv2d(4, 4, 3, 2, 1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        if x.mean() > 1e6:
            x = -x
        return self.fc(x.mean((2, 3)))


def test_a_network_that_cannot_be_traced_is_run_whole() -> None:
    model = Untraceable()
    blocks = TeacherBlocks(model, propose(model, 16, ["a", "b"]))
    x = torch.randn(2, 3, 16, 16)
    for _ in range(2):
        for i, feature in enumerate(blocks.features(x)):
            assert torch.equal(blocks.forward_from(i, feature, torch.zeros_like(x)), model(x))
    assert blocks._rests == {1: None, 2: None}


def count_calls(module: nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_features_do_not_run_the_head_and_the_rest_does_not_run_the_trunk() -> None:
    blocks = teacher("efficientnet_b0")
    head = count_calls(blocks.model.get_submodule("conv_head"))
    stem = count_calls(blocks.model.get_submodule("conv_stem"))
    features = blocks.features(images())
    assert (len(stem), len(head)) == (1, 0)
    for _ in range(4):
        blocks.forward_from(3, features[3], images())
    assert (len(stem), len(head)) == (2, 5)  # the first time both ways are compared


def test_the_teacher_stays_frozen_whatever_is_called_around_it() -> None:
    blocks = teacher("efficientnet_b0")
    expected = blocks.logits(images())
    holder = nn.ModuleDict({"teacher": blocks, "student": nn.Conv2d(3, 3, 1)}).train()
    assert holder["student"].training
    assert not any(module.training for module in blocks.modules())
    assert not any(parameter.requires_grad for parameter in blocks.parameters())
    blocks.model.train()
    state = {key: value.clone() for key, value in blocks.state_dict().items()}
    assert torch.equal(blocks.logits(images()), expected)
    blocks.model.get_submodule("blocks.2").train()
    blocks.features(images())
    assert all(torch.equal(value, state[key]) for key, value in blocks.state_dict().items())


def test_features_feed_trainable_modules() -> None:
    blocks = teacher("resnet10t")
    feature = blocks.features(images())[1]
    assert not feature.requires_grad
    student = nn.Conv2d(feature.shape[1], 2, 1)
    student(feature).square().mean().backward()
    assert student.weight.grad is not None
    assert student.weight.grad.abs().sum() > 0


def test_a_copy_and_a_pickled_teacher_compute_the_same() -> None:
    blocks = teacher("mobilenetv3_small_050")
    x = images()
    features = blocks.features(x)
    blocks.forward_from(2, features[2], x)
    for other in (copy.deepcopy(blocks), pickle.loads(pickle.dumps(blocks))):
        assert all(torch.equal(a, b) for a, b in zip(other.features(x), features, strict=True))
        assert torch.equal(other.forward_from(2, features[2], x), blocks.logits(x))


def count_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-adds of convolutions and linear layers, by hooks."""
    macs: list[int] = []

    def add(module: nn.Module, _inputs: object, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        macs.append(output.numel() // len(module.weight) * module.weight.numel())

    handles = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    for handle in handles:
        handle.remove()
    return sum(macs)


def test_description_gives_each_block_its_share() -> None:
    model = make("plain")
    blocks = TeacherBlocks(model, propose(model, SIZE, ["0", "3", "4"]))
    assert [row["path"] for row in blocks.describe()] == ["0", "3", "4"]
    assert "macs" not in blocks.describe()[0]
    rows = blocks.describe(count_macs)
    # by hand: 3x3 convolutions 3 -> 8 on 32x32 outputs, 8 -> 8 on 16x16 and 8x8; the head: 8 -> 8 on 4x4, 128 -> 10
    macs = [9 * 3 * 8 * 32**2, 9 * 8 * 8 * 16**2, 9 * 8 * 8 * 8**2]
    total = sum(macs) + 9 * 8 * 8 * 4**2 + 128 * 10
    assert [row["macs"] for row in rows] == macs
    assert [row["macs_share"] for row in rows] == pytest.approx([m / total for m in macs])
    assert [(row["block"], row["stride"], row["reduction"]) for row in rows] == [(1, 2, 2), (2, 2, 4), (3, 2, 8)]


def test_wrong_partitions_and_taps_are_refused() -> None:
    blocks = teacher("resnet10t")
    with pytest.raises(UsageError, match="'layer1' is no module of EfficientNet"):
        TeacherBlocks(make("efficientnet_b0"), blocks.partition)
    for i in (-1, 5):
        with pytest.raises(IndexError, match="4 blocks"):
            blocks.forward_from(i, images(), images())


@pytest.mark.parametrize("name", MODELS)
def test_blocks_and_head_cut_out_are_the_teacher_bit_for_bit(name: str) -> None:
    blocks = teacher(name)
    parts = [*(blocks.block(i) for i in range(1, blocks.num_blocks + 1)), blocks.head()]
    for seed in (0, 1):
        x = images(seed)
        features = [*blocks.features(x), blocks.logits(x)]
        for part, before, after in zip(parts, features, features[1:], strict=False):
            given = before.clone()
            with torch.no_grad():
                assert torch.equal(part(before), after)
            assert torch.equal(before, given)


def test_cut_out_parts_keep_the_teachers_names_and_every_weight_is_in_one_of_them() -> None:
    blocks = teacher("resnet10t")
    parts = [*(blocks.block(i) for i in range(1, 5)), blocks.head()]
    states = [part.state_dict() for part in parts]
    assert set(states[1]) == {key for key in blocks.model.state_dict() if key.startswith("layer2.")}
    assert sorted(key for state in states for key in state) == sorted(blocks.model.state_dict())
    assert all(torch.equal(blocks.model.state_dict()[key], state[key]) for state in states for key in state)


def test_parts_are_copies_free_to_be_trained_or_the_teachers_own() -> None:
    blocks = teacher("efficientnet_b0")
    weight = blocks.model.get_parameter("blocks.1.0.conv_pw.weight")
    copied, shared = blocks.block(1), blocks.block(1, share=True)
    assert shared.get_parameter("blocks.1.0.conv_pw.weight") is weight
    assert not any(parameter.requires_grad for parameter in shared.parameters())
    assert all(parameter.requires_grad for parameter in copied.parameters())
    before = weight.clone()
    with torch.no_grad():
        copied.get_parameter("blocks.1.0.conv_pw.weight").zero_()
    assert torch.equal(weight, before)
    assert not copied.training
    assert not shared.training


class Passing(nn.Module):
    """Its last layer reads the number of values of the images, which no tap hands on."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, 2, 1)
        self.b = nn.Conv2d(4, 4, 3, 2, 1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        size = x.numel()
        return self.fc(self.b(self.a(x)).mean((2, 3)) * size)


def test_what_cannot_be_cut_out_is_refused_with_the_reason() -> None:
    blocks = TeacherBlocks(Untraceable(), propose(Untraceable(), 16, ["a", "b"]))
    with pytest.raises(UsageError, match=r"tracing its forward, but that of Untraceable is no fixed graph around a, b"):
        blocks.block(1)
    blocks = TeacherBlocks(Passing(), propose(Passing(), 16, ["a", "b"]))
    assert isinstance(blocks.block(2), nn.Module)
    with pytest.raises(UsageError, match=r"the images' shape or value is used between b and the output as well"):
        blocks.head()
    for i in (0, 3):
        with pytest.raises(IndexError, match="2 blocks: 1 to 2"):
            blocks.block(i)
