"""The fine partition: expected groups are the networks' own stages, cut into at most four units, by hand."""

import pytest
import timm
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.teachers import TeacherBlocks
from distilnas.teachers.shortcuts import removable_units
from distilnas.teachers.units import propose_units

# model: (role, tap, units; * can be left out) of each block
EXPECTED = {
    "mobilenetv2_035": [
        ("stem", "bn1", "conv_stem"),
        ("body", "blocks.0", "blocks.0.0"),
        ("body", "blocks.1", "blocks.1.0 blocks.1.1*"),
        ("body", "blocks.2", "blocks.2.0 blocks.2.1* blocks.2.2*"),
        ("body", "blocks.3", "blocks.3.0 blocks.3.1* blocks.3.2* blocks.3.3*"),
        ("body", "blocks.4", "blocks.4.0 blocks.4.1* blocks.4.2*"),
        ("body", "blocks.5", "blocks.5.0 blocks.5.1* blocks.5.2*"),
        ("body", "blocks.6", "blocks.6.0"),
        ("tail", "bn2", "conv_head"),
    ],
    "resnet10t": [
        ("stem", "maxpool", "conv1"),
        ("body", "layer1", "layer1.0*"),
        ("body", "layer2", "layer2.0"),
        ("body", "layer3", "layer3.0"),
        ("body", "layer4", "layer4.0"),
    ],
    "vgg11": [
        ("stem", "features.2", "features.0"),
        ("body", "features.4", "features.3"),
        ("body", "features.9", "features.6 features.8"),
        ("body", "features.14", "features.11 features.13"),
        ("body", "features.19", "features.16 features.18"),
        ("body", "pre_logits", "pre_logits"),
    ],
    "convnext_atto": [
        ("stem", "stages.0.downsample", "stem.0"),
        ("body", "stages.0.blocks", "stages.0.blocks.0* stages.0.blocks.1*"),
        ("body", "stages.1", "stages.1.downsample.1 stages.1.blocks.0* stages.1.blocks.1*"),
        (
            "body",
            "stages.2.blocks.2",
            "stages.2.downsample.1 stages.2.blocks.0* stages.2.blocks.1* stages.2.blocks.2*",
        ),
        ("body", "stages.2.blocks.5", "stages.2.blocks.3* stages.2.blocks.4* stages.2.blocks.5*"),
        ("body", "stages.3", "stages.3.downsample.1 stages.3.blocks.0* stages.3.blocks.1*"),
    ],
    "vit_tiny_patch16_224": [
        ("stem", "norm_pre", "patch_embed.proj"),
        ("body", "blocks.3", "blocks.0* blocks.1* blocks.2* blocks.3*"),
        ("body", "blocks.7", "blocks.4* blocks.5* blocks.6* blocks.7*"),
        ("body", "blocks.11", "blocks.8* blocks.9* blocks.10* blocks.11*"),
    ],
}
ARGUMENTS = {"vgg11": {"mlp_ratio": 0.02}, "vit_tiny_patch16_224": {"img_size": 64}}


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10, **ARGUMENTS.get(name, {})).eval()


@pytest.mark.parametrize("name", EXPECTED)
@torch.no_grad()
def test_groups_are_the_stages_and_their_blocks_in_a_row_the_network(name: str) -> None:
    model = make(name)
    found = propose_units(model, 64)
    taps, blocks = found.partition.taps, found.blocks
    assert [
        (block.role, tap.path, " ".join(unit.path + "*" * unit.removable for unit in block.units))
        for tap, block in zip(taps, blocks, strict=True)
    ] == EXPECTED[name]
    cut = TeacherBlocks(model, found.partition)
    x = images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for part in [*(cut.block(i, share=True) for i in range(1, len(taps) + 1)), cut.head(share=True)]:
        x = part(x)
    assert torch.equal(x, model(images))


def test_the_model_is_left_as_it_was() -> None:
    model = make("resnet10t").train()
    model.get_submodule("layer1").eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    propose_units(model, 64)
    assert model.training
    assert [name for name, module in model.named_children() if not module.training] == ["layer1"]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


class Adding(nn.Module):
    """x + branch(x), the sum scaled or activated or neither."""

    def __init__(self, after: nn.Module | None = None, shortcut: float = 1.0) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.after = after or nn.Identity()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.shortcut * x + self.branch(x))


class Gate(Adding):
    """x * branch(x): of its input nothing is left where the branch is silent."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.branch(x)


def test_what_can_be_left_out_adds_to_its_input() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        Adding(),
        Adding(nn.ReLU()),
        Adding(nn.SiLU()),
        Adding(nn.BatchNorm2d(4)),
        Adding(shortcut=0.5),
        Gate(),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1)),
    )
    found = removable_units(model, [str(i) for i in range(1, 8)], (3, 8, 8))
    assert found == {"1", "2", "3"}


class Passing(nn.Module):
    """Its last layer reads a number that only the first knows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 1))
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.body[1](self.body[0](x))
        rows = first.numel()
        return self.fc(self.body[3](self.body[2](first)).mean((2, 3)) * rows)


def test_taps_that_do_not_hold_the_whole_state_are_left_out() -> None:
    with pytest.raises(UsageError, match="at least two blocks, but policy 'explicit' finds 0 in Passing"):
        propose_units(Passing(), 8, most=1)
