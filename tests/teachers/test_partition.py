"""Partition into blocks: the paper's for EfficientNet, other families' stages by their papers' tables."""

import json
from dataclasses import asdict, replace
from typing import NamedTuple

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.layouts import Layout
from distilnas.teachers.partition import Partition, Tap, possible_taps, propose


class Branchy(nn.Module):
    """stem -> left + right -> tail -> classifier; the activation is shared and works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.act = nn.ReLU(inplace=True)
        self.left = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6))
        self.right = nn.Conv2d(4, 6, 1, 2)
        self.tail = nn.Conv2d(6, 8, 3, 2, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.unused = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = self.act(self.left(x) + self.right(x))
        return self.fc(self.pool(self.tail(x)).flatten(1))


class Expected(NamedTuple):
    size: int
    policy: str
    paths: list[str]
    channels: list[int]
    strides: tuple[int, ...]  # first from the image on: EfficientNet's 2 2 2 1 2 1 after a stem of stride 2


SIX = [f"blocks.{i}" for i in range(1, 7)]
FAMILIES = {
    "resnet10t": Expected(64, "stage", ["layer1", "layer2", "layer3", "layer4"], [64, 128, 256, 512], (4, 2, 2, 2)),
    "efficientnet_b0": Expected(64, "stage", SIX, [24, 40, 80, 112, 192, 320], (4, 2, 2, 1, 2, 1)),
    "tf_efficientnet_b7": Expected(64, "stage", SIX, [48, 80, 160, 224, 384, 640], (4, 2, 2, 1, 2, 1)),
    "mobilenetv3_small_050": Expected(
        64, "stage", ["blocks.0", "blocks.1", "blocks.3", "blocks.4"], [8, 16, 24, 48], (4, 2, 2, 2)
    ),
    "convnext_atto": Expected(64, "stage", [f"stages.{i}" for i in range(4)], [40, 80, 160, 320], (4, 2, 2, 2)),
    "regnetx_002": Expected(64, "stage", ["s1", "s2", "s3", "s4"], [24, 56, 152, 368], (4, 2, 2, 2)),
    "densenet121": Expected(
        64, "stage", [f"features.denseblock{i}" for i in range(1, 5)], [256, 512, 1024, 1024], (4, 2, 2, 2)
    ),
    "vgg11": Expected(
        64, "resolution", [f"features.{i}" for i in (1, 4, 9, 14, 19)], [64, 128, 256, 512, 512], (1, 2, 2, 2, 2)
    ),
    "torchvision:mobilenet_v2": Expected(
        64,
        "stage",
        [f"features.{i}" for i in (3, 6, 10, 13, 16, 17)],
        [24, 32, 64, 96, 160, 320],
        (4, 2, 2, 1, 2, 1),
    ),
}


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("torchvision:"):
        return torchvision.models.get_model(name.removeprefix("torchvision:"), weights=None)
    return timm.create_model(name, num_classes=10)


def paths(partition: Partition) -> list[str]:
    return [tap.path for tap in partition.taps]


@pytest.mark.parametrize("name", FAMILIES)
def test_known_families_are_cut_at_their_stages(name: str) -> None:
    expected = FAMILIES[name]
    partition = propose(make(name), expected.size)
    assert partition.policy == expected.policy
    assert paths(partition) == expected.paths
    assert [tap.channels for tap in partition.taps] == expected.channels
    assert partition.strides == expected.strides
    reduction = 1
    for tap, stride in zip(partition.taps, expected.strides, strict=True):
        reduction *= stride
        assert (tap.reduction, tap.height, tap.width) == (reduction, expected.size // reduction, tap.height)


def test_stage_blocks_may_end_at_one_pixel_but_not_before_their_last_stride() -> None:
    model = make("efficientnet_b0")
    partition = propose(model, 32)
    assert paths(partition) == SIX
    assert [tap.height for tap in partition.taps] == [8, 4, 2, 2, 1, 1]
    with pytest.raises(UsageError, match=r"16 x 16 .*take larger images"):
        propose(model, 16)


def test_images_on_which_the_model_fails_are_too_small_for_it() -> None:
    with pytest.raises(UsageError, match="larger images"):
        propose(nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.MaxPool2d(2)) for _ in range(4))), 8)
    with pytest.raises(UsageError, match="input channels"):
        propose(make("resnet10t"), 64, in_channels=1)


def test_sizes_need_not_be_square_and_channels_need_not_be_three() -> None:
    model = timm.create_model("resnet10t", num_classes=10, in_chans=1)
    partition = propose(model, (64, 96), in_channels=1)
    assert partition.image_shape == (1, 64, 96)
    assert [(tap.height, tap.width) for tap in partition.taps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_resolution_policy_takes_the_last_map_before_each_reduction() -> None:
    partition = propose(make("resnet10t"), 64, "resolution")
    assert paths(partition) == ["act1", "layer1", "layer2", "layer3", "layer4"]
    assert partition.strides == (2, 2, 2, 2, 2)
    # in an EfficientNet that is behind the expansion of the first layer of the next stage, which has no shortcut
    assert paths(propose(make("efficientnet_b0"), 64, "resolution"))[0] == "blocks.1.0.bn1"


def test_a_wrapped_teacher_has_the_blocks_of_the_inner_one() -> None:
    inner = make("resnet10t")
    wrapped = nn.Sequential(nn.Identity(), inner)
    assert paths(propose(wrapped, 64)) == [f"1.{path}" for path in paths(propose(inner, 64))]


class Separable(nn.Sequential):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__(nn.Conv2d(before, before, 3, stride, 1, groups=before), nn.Conv2d(before, after, 1))


class Residual(nn.Module):
    """Two separable convolutions with a shortcut, of which the second halves the resolution (as in Xception)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = Separable(before, before, 1)
        self.second = Separable(before, after, 2)
        self.shortcut = nn.Conv2d(before, after, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) + self.shortcut(x)


def test_a_unit_is_not_opened_for_resolutions_inside_a_branch() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Residual(4, 6), Residual(6, 8), nn.Flatten(), nn.Linear(128, 2))
    assert paths(propose(model, 32, "stage")) == ["1", "2"]


def test_branches_are_no_taps_and_the_shared_activation_is_none() -> None:
    model = Branchy()
    partition = propose(model, 32, ["stem", "tail"])
    assert partition.policy == "explicit"
    assert paths(partition) == ["stem", "tail"]
    assert paths(propose(model, 32, "resolution")) == ["stem", "tail"]
    for path in ("left", "left.0", "right"):
        with pytest.raises(UsageError, match=f"passes by '{path}'"):
            propose(model, 32, [path, "tail"])


def test_a_branch_whose_sibling_is_zero_initialised_is_still_no_tap() -> None:
    model = Branchy()
    nn.init.zeros_(model.left[1].weight)
    with pytest.raises(UsageError, match="passes by 'right'"):
        propose(model, 32, ["right", "tail"])
    with pytest.raises(UsageError, match="passes by"):  # layer scales of 1e-6 around the shortcut
        propose(make("convnext_atto"), 64, ["stages.0.blocks.0.shortcut", "stages.1"])


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (["stem", "tial"], "did you mean 'tail'"),
        (["tail", "stem"], "that order is stem, tail"),
        (["stem", "stem"], "must be different"),
        (["stem", "fc"], "'fc' does not"),
        (["act", "tail"], "'act' does not"),
        (["stem", "unused"], "'unused' does not"),
        (["tail"], "at least two blocks"),
        ("stage", "at least two blocks"),
        ("stages", "did you mean 'stage'"),
    ],
)
def test_partitions_that_cannot_be_are_refused_with_help(policy: str | list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        propose(Branchy(), 32, policy)


class Two(Branchy):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x, x


class Constant(Branchy):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.zeros_like(x))


def test_teachers_of_several_outputs_constant_or_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="one tensor"):
        propose(Two(), 32)
    with pytest.raises(UsageError, match="depend on the image"):
        propose(Constant(), 32)
    scripted = torch.jit.trace(Branchy().eval(), torch.zeros(1, 3, 32, 32))
    with pytest.raises(UsageError, match="TorchScript"):
        propose(scripted, 32)
    broken = Branchy()
    nn.init.constant_(broken.fc.bias, float("nan"))
    with pytest.raises(UsageError, match=r"finite numbers, but fc.bias"):
        propose(broken, 32)


class Tail(nn.Module):
    """Two early stages, then layers that pass two tensors on."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return self.left(pair[0]) + pair[1], self.right(pair[1])

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.down = nn.Conv2d(4, 4, 3, 2, 1)
        self.pairs = nn.Sequential(self.Pair(), self.Pair())

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.stem(x))
        left, right = self.pairs((x, -x))
        return (left * right).mean((2, 3))


def test_blocks_that_leave_most_of_the_teacher_out_are_refused_unless_listed() -> None:
    with pytest.raises(UsageError, match=r"last cut at 'down', after 2 of 6 weighted layers.*possible_taps"):
        propose(Tail(), 32)
    assert paths(propose(Tail(), 32, ["stem", "down"])) == ["stem", "down"]
    with pytest.raises(UsageError, match=r"'pairs\.0' does not"):
        propose(Tail(), 32, ["stem", "pairs.0"])


def test_possible_taps_are_those_that_a_list_may_hold() -> None:
    model = Branchy()

    def accepted(pair: list[str]) -> bool:
        try:
            return len(propose(model, 32, pair).taps) == 2
        except UsageError:
            return False

    listed = [p for p, _ in model.named_modules() if p and (accepted([p, "tail"]) or accepted(["stem", p]))]
    assert [tap.path for tap in possible_taps(model, 32)] == listed == ["stem", "tail", "pool"]


def test_units_of_equal_maps_are_cut_into_four_groups() -> None:
    """Ten residual units and a head: groups of 2, 3, 2, 3; below four units each is a block."""

    def isotropic(depth: int) -> nn.Module:
        units = (nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.GELU(), nn.Conv2d(4, 4, 1)) for _ in range(depth))
        return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Sequential(*units), nn.Flatten(), nn.Linear(256, 2))

    partition = propose(isotropic(10), 32)
    assert (partition.policy, partition.strides) == ("depth", (4, 1, 1, 1))
    assert paths(partition) == ["1.1", "1.4", "1.6", "1.9"]
    assert paths(propose(isotropic(3), 32)) == ["1.0", "1.1", "1.2"]
    with pytest.raises(UsageError, match="'depth' finds 1"):
        propose(isotropic(1), 32, "depth")


def test_networks_that_widen_at_every_layer_are_cut_by_resolution() -> None:
    partition = propose(timm.create_model("rexnet_100", num_classes=10), 64)
    assert paths(partition) == ["features.2", "features.4", "features.10", "features.15"]
    assert partition.strides == (4, 2, 2, 2)


@pytest.mark.parametrize("policy", ["auto", "resolution"])
def test_proposing_is_deterministic_and_leaves_the_model_as_it_was(policy: str) -> None:
    model = make("mobilenetv3_small_050").train()
    model.blocks[0].eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    assert propose(model, 64, policy) == propose(model, 64, policy)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == flags
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def tap(path: str, height: int) -> Tap:
    return Tap(path=path, channels=8, height=height, width=height, reduction=32 // height)


def test_a_partition_survives_json() -> None:
    partition = Partition(taps=(tap("a", 16), tap("b.0", 8)), policy="explicit", image_shape=(3, 32, 32))
    assert Partition.from_dict(json.loads(json.dumps(partition.to_dict()))) == partition


def test_a_partition_with_layouts_survives_json_and_one_without_is_read_as_maps() -> None:
    tokens = replace(tap("a", 16), layout=Layout(kind="tokens", prefix=2))
    partition = Partition(taps=(tokens, tap("b", 8)), policy="depth", image_shape=(3, 32, 32))
    data = json.loads(json.dumps(partition.to_dict()))
    assert [entry["layout"] for entry in data["taps"]] == [
        {"kind": "tokens", "prefix": 2},
        {"kind": "nchw", "prefix": 0},
    ]
    assert Partition.from_dict(data) == partition
    for entry in data["taps"]:
        del entry["layout"]
    assert Partition.from_dict(data).taps == (tap("a", 16), tap("b", 8))


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "auto"},
        {"taps": []},
        {"taps": [{"path": "a"}]},
        {"taps": ["a", "b"]},
        {"image_shape": [3, 32]},
        {"more": 1},
    ],
)
def test_a_stored_partition_that_is_wrong_is_refused(change: dict[str, object]) -> None:
    good = Partition(taps=(tap("a", 16), tap("b", 8)), policy="stage", image_shape=(3, 32, 32)).to_dict()
    with pytest.raises(UsageError):
        Partition.from_dict(good | change)


def test_records_check_themselves() -> None:
    with pytest.raises(UsageError, match="positive"):
        Tap(path="a", channels=0, height=1, width=1, reduction=1)
    for layout, message in (
        ({"kind": "nlc"}, "unknown"),
        ({"prefix": 1}, "only tokens"),
        ({"grid": 2}, "entries kind"),
    ):
        with pytest.raises(UsageError, match=message):
            Tap.from_dict(asdict(tap("a", 16)) | {"layout": layout})
    with pytest.raises(UsageError, match="two different taps"):
        Partition(taps=(tap("a", 16), tap("a", 8)), policy="stage", image_shape=(3, 32, 32))
    with pytest.raises(UsageError, match="positive"):
        propose(Branchy(), 0)
