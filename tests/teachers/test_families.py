"""Every row of the guide's table of teachers, and every network that it says cannot be cut, with random weights.

Expected values are the table's; that features and the rest are right is checked against plain forward hooks and the
whole network, that layouts are, by the definition of each, element by element.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from benchmarks import identity
from distilnas.errors import UsageError
from distilnas.teachers.blocks import TeacherBlocks
from distilnas.teachers.partition import Tap, propose

GUIDE = Path(__file__).parents[2] / "docs/guide/teachers.md"
SLOW = {
    "convmixer_1024_20_ks9_p14",
    "csatv2",
    "cspdarknet53",
    "davit_tiny",
    "dm_nfnet_f0",
    "efficientformer_l1",
    "efficientnetv2_rw_t",
    "focalnet_tiny_srf",
    "inception_resnet_v2",
    "inception_v4",
    "legacy_xception",
    "mobilenetv4_hybrid_medium",
    "mvitv2_tiny",
    "nest_tiny",
    "repghostnet_050",
    "res2net50_14w_8s",
    "rexnet_100",
    "selecsls42",
    "sequencer2d_s",
    "tiny_vit_5m_224",
    "tresnet_m",
    "twins_svt_small",
    "vit_small_r26_s32_224",
    "volo_d1_224",
    "xception41",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table; ``whole`` are the blocks (from 1) behind which the whole teacher must run.

    ``unread``: the classifier does not read the last map. ``kept``: the blocks in a row are the teacher. ``units``: how
    many of them the fine partition has, in how many blocks ("no": it has none).
    """

    family: str
    model: str
    pixels: int
    arguments: dict[str, Any]
    blocks: int
    policy: str
    taps: list[str]
    strides: tuple[int, ...]
    layouts: list[str]
    whole: set[int]
    unread: bool
    kept: bool
    units: str


def table() -> list[Row]:
    lines = re.findall(r"^\| [^|]+ \| `\w+` \| \d+ \|.*\|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    rows = []
    for line in lines:
        family, model, pixels, arguments, blocks, policy, taps, strides, layouts, whole, kept, units, _ = (
            cell.strip().replace("`", "") for cell in line.strip("|").split("|")
        )
        named = (argument.split("=") for argument in arguments.split(", ") if argument)
        every = layouts.split()
        rows.append(
            Row(
                family=family,
                model=model,
                pixels=int(pixels),
                arguments={name: ast.literal_eval(value) for name, value in named},
                blocks=int(blocks),
                policy=policy,
                taps=taps.split(", "),
                strides=tuple(map(int, strides.split())),
                layouts=every * int(blocks) if len(every) == 1 else every,
                whole=set(map(int, whole.replace("unread", "").split())),
                unread="unread" in whole,
                kept=kept == "yes",
                units=units,
            )
        )
    return rows


ROWS = table()


def make(model: str, **arguments: Any) -> nn.Module:
    """In eval mode; what starts at zero (heads, last norms) is random too, so that all of the network counts."""
    torch.manual_seed(0)
    network = timm.create_model(model, num_classes=10, **arguments)
    for parameter in network.parameters():
        if parameter.abs().max() < 1e-4:
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def images(pixels: int, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed))


def test_the_table_is_as_long_as_promised() -> None:
    assert len({row.model for row in ROWS}) == len(ROWS) >= 80
    assert len({row.family for row in ROWS}) >= 60
    assert {row.model for row in ROWS} >= SLOW


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.model, marks=[pytest.mark.slow] * (row.model in SLOW)) for row in ROWS]
)
@torch.no_grad()
def test_features_are_the_forward_pass_block_by_block(row: Row) -> None:
    network = make(row.model, **row.arguments)
    partition = propose(network, row.pixels)
    assert (partition.policy, [tap.path for tap in partition.taps]) == (row.policy, row.taps)
    assert (len(partition.taps), partition.strides) == (row.blocks, row.strides)
    assert [in_words(tap) for tap in partition.taps] == row.layouts

    x = images(row.pixels)
    raw: dict[str, Tensor] = {}
    hooks = [network.get_submodule(path).register_forward_hook(keeper(raw, path)) for path in row.taps]
    logits = network(x)
    for hook in hooks:
        hook.remove()

    blocks = TeacherBlocks(network, partition)
    features = blocks.features(x)
    for i, tap in enumerate(partition.taps, start=1):
        assert features[i].shape == (1, tap.channels, tap.height, tap.width)
        assert torch.equal(features[i], as_map(raw[tap.path], tap))
        if row.unread and i == row.blocks:
            with pytest.raises(UsageError, match="prefix tokens alone"):
                blocks.forward_from(i, features[i], x)
            continue
        like = x if tap.layout.prefix else images(row.pixels, seed=1)
        for _ in range(2):  # the first time by the whole teacher
            difference = (blocks.forward_from(i, features[i], like) - logits).norm() / logits.norm()
            assert difference < 1e-4, f"what follows {tap.path}"
    assert {i for i, rest in blocks._rests.items() if rest is None} == row.whole


# of each way to lie in memory and to be cut: shortcuts, in-place activations, gates, branches, dense features, tokens
# with and without prefix, channels last, sizes that pass by, constants of the forward, several tensors between stages
KEPT = {
    "efficientnet_b0",
    "resnet10t",
    "convnext_atto",
    "densenet121",
    "regnety_002",
    "vgg11",
    "hrnet_w18_small",
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "eva02_tiny_patch14_224",
    "pit_ti_224",
    "swinv2_tiny_window8_256",
}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.model, marks=[pytest.mark.slow] * (row.model not in KEPT)) for row in ROWS]
)
def test_kept_blocks_in_a_row_are_the_teacher(row: Row) -> None:
    network = identity.make(row.model, row.arguments)
    page = identity.check_page(network, row.model, row.arguments, row.pixels)
    assert (page.blocks, not page.failure) == (row.blocks, row.kept), page.failure
    fine = identity.check_units(network, row.model, row.arguments, row.pixels)
    assert (f"{fine.units} in {fine.blocks}" if not fine.failure else "no") == row.units, fine.failure


def keeper(raw: dict[str, Tensor], path: str) -> Any:
    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        raw[path] = (output[0] if isinstance(output, tuple) else output).clone()

    return keep


def in_words(tap: Tap) -> str:
    return tap.layout.kind + (f"+{tap.layout.prefix}" if tap.layout.prefix else "")


def as_map(raw: Tensor, tap: Tap) -> Tensor:
    """By definition: the value of channel c at (y, x)."""
    feature = torch.empty(1, tap.channels, tap.height, tap.width)
    for y in range(tap.height):
        for x in range(tap.width):
            if tap.layout.kind == "nchw":
                feature[:, :, y, x] = raw[:, :, y, x]
            elif tap.layout.kind == "nhwc":
                feature[:, :, y, x] = raw[:, y, x]
            else:
                feature[:, :, y, x] = raw[:, tap.layout.prefix + y * tap.width + x]
    return feature


@pytest.mark.parametrize(
    "model", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "levit_128s", "mixer_s32_224"]
)
@torch.no_grad()
def test_a_place_of_the_map_is_that_place_of_the_image(model: str) -> None:
    """With untrained weights a change of one corner of the image shows most in that corner of the first map."""
    row = next(row for row in ROWS if row.model == model)
    network = make(model, **row.arguments)
    blocks = TeacherBlocks(network, propose(network, row.pixels))
    plain = images(row.pixels)
    half = row.pixels // 2
    for top in (True, False):
        for left in (True, False):
            changed = plain.clone()
            rows, columns = (slice(0, half) if first else slice(half, None) for first in (top, left))
            changed[:, :, rows, columns] *= -1
            change = (blocks.features(changed)[1] - blocks.features(plain)[1]).square().sum((0, 1))
            middle = len(change) // 2
            corners = change.reshape(2, middle, 2, middle).sum((1, 3))
            assert corners.argmax() == 2 * (not top) + (not left)


REFUSED = {
    "crossvit_tiny_240": (240, r"finds 0 in CrossVit .*give several tensors or something passes by them"),
    "coat_tiny": (224, r"last cut at 'serial_blocks2\.1', after 34 of 212 weighted layers"),
    "efficientvim_m1": (224, r"last cut at 'patch_embed', after 4 of 48 weighted layers"),
    "tnt_s_legacy_patch16_224": (224, r"finds 1 in TNT \(pixel_embed\.proj\)"),
    "hiera_tiny_224": (224, r"tokens must lie row by row .* Hiera keeps them window by window"),
}


@pytest.mark.parametrize("model", REFUSED)
def test_networks_that_cannot_be_cut_are_refused_with_the_reason(model: str) -> None:
    pixels, message = REFUSED[model]
    with torch.device("meta"):
        network = timm.create_model(model, num_classes=10)
    with pytest.raises(UsageError, match=message):
        propose(network, pixels)
    assert f"| `{model}` |" in GUIDE.read_text(encoding="utf-8")
