"""Heads and branches: a cut attention is that of the heads that stay; a branch that is left out, its mean."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import SIZE, SMALL, chain, images, teacher

from distilnas.costing.counters import count, count_params
from distilnas.errors import UsageError
from distilnas.export.onnx import export_onnx
from distilnas.networks import load_student, save_student
from distilnas.networks.plan import Constant
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import run
from distilnas.surgery.cut import cut
from distilnas.surgery.grafts import cut_unit
from distilnas.surgery.library import Choice
from distilnas.surgery.stored import load_library, save_library
from distilnas.surgery.students import parent_of, student_net
from distilnas.teachers import create_teacher

VIT, SWIN, BEIT = SMALL
CALIBRATION = [images(24, seed=seed) for seed in (1, 2)]
HELD_OUT = [images(8, seed=seed) for seed in (5, 6)]


def lively(name):
    """A transformer whose attention looks somewhere, which with fresh weights it does not."""
    model = teacher(name, **SMALL[name])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model


@pytest.fixture(scope="module")
def library():
    return build_library(chain(lively(VIT)), CALIBRATION, HELD_OUT, ratios=(1.0, 0.5))


def attention_of(unit):
    return next(group for group in unit.groups if group.name.endswith("attn.qkv"))


def test_a_cut_attention_is_that_of_the_heads_that_stay():
    """softmax(q k^T / sqrt(d)) v of the first and the last head alone, by hand, with the whole network's d."""
    unit = chain(lively(VIT))[1]
    group, module = attention_of(unit), unit.copy()
    whole = module.get_submodule("blocks.0.attn")
    qkv, proj = whole.qkv.weight.reshape(3, 3, 16, 48), whole.proj.weight.reshape(48, 3, 16)
    x, expected = torch.randn(2, 5, 48), whole.proj.bias
    for head in (0, 2):
        q, k, v = (x @ part[head].T for part in qkv)
        q, k, v = (y + b for y, b in zip((q, k, v), whole.qkv.bias.reshape(3, 3, 16)[:, head], strict=True))
        weights = torch.softmax(q @ k.transpose(1, 2) / 16**0.5, -1)
        expected = expected + (weights @ v) @ proj[:, head].T
    cut(module, group, [0, 2])
    attention = module.get_submodule("blocks.0.attn")
    for fused in (True, False):
        attention.fused_attn = fused
        torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-4)
    assert (attention.num_heads, attention.qkv.weight.shape[0]) == (2, 96)


def test_a_window_s_head_takes_its_column_of_the_table_of_positions():
    unit = chain(lively(SWIN))[1]
    module = unit.copy()
    table = module.get_submodule("layers.0.blocks.0.attn").relative_position_bias_table
    cut(module, attention_of(unit), [1])
    assert torch.equal(module.get_submodule("layers.0.blocks.0.attn").relative_position_bias_table, table[:, 1:2])


def branches(name, **arguments):
    return [
        {g.branch and g.branch.path.split(".")[-1] for g in unit.groups} for unit in chain(teacher(name, **arguments))
    ]


@pytest.mark.parametrize("name", SMALL)
def test_attention_and_mlp_of_a_transformer_s_layer_are_branches(name):
    """BEiT's heads can't be cut (its code has the width in it), its attention as a whole can be left out."""
    assert branches(name, **SMALL[name])[1] == {"attn", "mlp"}


@pytest.mark.parametrize("name", ["mobilenetv2_035", "convnext_atto"])
def test_a_unit_that_is_one_branch_has_none(name):
    assert set().union(*branches(name)) <= {None}


def test_nothing_of_a_branch_is_its_mean(library):
    """Without heads the attention gives what it gives the teacher on average over calibration images and tokens."""
    unit, parts = library.units[1], library.parts[1]
    given = []
    model = unit.module.get_submodule("blocks.0.attn")
    handle = model.register_forward_hook(lambda _module, _inputs, output: given.append(output))
    with torch.no_grad():
        run([one.module for one in library.units], torch.cat(CALIBRATION))
    handle.remove()
    none = cut_unit(unit, parts, [0, *(part.options[0] for part in parts[1:])])
    constant = none.get_submodule("blocks.0.attn")
    assert isinstance(constant, Constant)
    torch.testing.assert_close(constant.value, given[0].mean((0, 1)), rtol=1e-3, atol=1e-4)


def some_choices(library):
    """Every second option of each group, from several starts, none of them at all among them."""
    for start in range(3):
        yield Choice(
            kept=tuple(
                tuple(part.options[(start + i + g) % len(part.options)] for g, part in enumerate(parts))
                for i, parts in enumerate(library.parts)
            )
        )


@pytest.mark.parametrize("name", [SWIN, "resnetv2_18"])
def test_costs_are_those_of_the_student_where_layers_have_no_bias(name):
    """Swin's reductions and what ends a unit of ResNetV2 have neither bias nor batch norm behind them."""
    units = chain(teacher(name, **SMALL.get(name, {"channels": (16, 16, 32, 32)})))
    confirm_costs(build_library(units, CALIBRATION, HELD_OUT, ratios=(1.0, 0.5)))


def test_costs_are_those_of_the_student(library):
    confirm_costs(library)


def confirm_costs(library):
    (whole, *_), x = library.trunks(), images(1)
    for choice in some_choices(library):
        positions, rest = [], list(choice.kept)
        for family in whole.families:
            positions.append(family.position(rest[: family.num_units]))
            rest = rest[family.num_units :]
        _, costs = whole.problem.evaluate(positions)
        modules, feature, macs = assemble(library, choice, CALIBRATION), x, 0
        for module in modules:
            macs += count(module, tuple(feature.shape[1:]))[0]
            with torch.no_grad():
                feature = module(feature)
        assert (costs["macs"], costs["params"]) == (macs, sum(map(count_params, modules)))


def test_what_stays_makes_up_for_a_branch_that_is_gone(library):
    """Repaired, a unit without MLP is nearer to the teacher's than with the MLP's mean in its place alone."""
    whole = library.whole().kept
    kept = (whole[1][0], 0)
    repaired = assemble(library, Choice(kept=(whole[0], kept, *whole[2:])), CALIBRATION)[1]
    raw = cut_unit(library.units[1], library.parts[1], kept)
    with torch.no_grad():
        x = library.units[0].module(torch.cat(HELD_OUT))
        wanted = library.units[1].module(x)
        assert (repaired(x) - wanted).square().mean() < 0.9 * (raw(x) - wanted).square().mean()


@pytest.mark.parametrize("name", [VIT, pytest.param(SWIN, marks=pytest.mark.slow)])
def test_a_stored_student_is_built_again_from_its_parent_s_name(name, tmp_path: Path):
    units = chain(lively(name))
    library = build_library(units, CALIBRATION, HELD_OUT, ratios=(1.0, 0.5))
    save_library(tmp_path / "library.npz", library)
    again = load_library(tmp_path / "library.npz", units)
    assert [[part.group.branch for part in parts] for parts in again.parts] == [
        [part.group.branch for part in parts] for parts in library.parts
    ]
    _, choice, _ = some_choices(again)
    assert {0} < {number for numbers in choice.kept for number in numbers or ()}
    parent = parent_of(units, (3, SIZE, SIZE), model=name, num_classes=5, model_kwargs=SMALL[name])
    student = student_net(parent, assemble(again, choice, CALIBRATION))
    preprocessing = {"resolution": SIZE, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    save_student(tmp_path, student, classes=tuple("abcde"), preprocessing={**preprocessing, "crop_pct": 1.0})
    loaded = load_student(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(HELD_OUT[0]), student(HELD_OUT[0]))
    assert export_onnx(loaded, tmp_path / "model.onnx", HELD_OUT[0]).relative_difference < 1e-4


def test_heads_go_as_whole_elements(library):
    attention = library.parts[1][0]
    assert attention.options == (3, 2, 0)
    assert [graft.kept.tolist() for graft in attention.grafts][1] == []
    assert np.all(np.diff([graft.error for graft in attention.grafts]) > 0)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (VIT, {"embed_dim": 50}, "divisible by num_heads"),
        (VIT, {"img_size": 32}, "img_size"),
        (VIT, {"dynamic_img_size": True}, "without dynamic_img_size"),
        (SWIN, {"img_size": 60}, "img_size"),
    ],
)
def test_a_transformer_of_other_sizes_is_refused_in_one_line(name, arguments, message):
    with pytest.raises(UsageError, match=message) as refused:
        chain(create_teacher(name, num_classes=5, pretrained=False, model_kwargs={**SMALL[name], **arguments}))
    assert "\n" not in str(refused.value)
