"""What every kind of layer must keep: a subclass names the kind and some of its ops, and has these tests.

::

    class TestMBConv(LayerContract):
        kind = "mb"
        ops = (MBConv(kernel=3, expansion=6, act="relu"), ...)
"""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from distilnas.blocks import LAYERS, make_layer
from distilnas.costing import ADDITIVE, cost_table, profile
from distilnas.export import export_onnx
from distilnas.methods.dna import RateSettings, rate
from distilnas.networks import StudentNet
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space import LAYER_KINDS, FittedSpace, Op, SearchSpace, parse_op
from distilnas.supernet import build_supernet
from distilnas.teachers import TeacherBlocks, propose

SIDE = 16
SIZES = [(16, 16, 1), (16, 24, 1), (24, 40, 2), (24, 24, 3)]  # in width, out width, stride


class LayerContract:
    """``ops`` should differ in every field that an op of the kind has."""

    kind: str
    ops: tuple[Op, ...]

    def space(self) -> SearchSpace:
        """Two blocks in which all ops may stand where widths change, where they stay, and where the map shrinks."""
        cells = [{"width": 16, "depth": 2}, {"width": 24, "depth": 1}]
        return SearchSpace.from_dict(
            {
                "schema": 1,
                "name": "contract",
                "stem": {"width": 16, "act": "relu"},
                "ops": list(map(str, self.ops)),
                "blocks": [{"stride": 1, "cells": cells}, {"stride": 2, "cells": cells}],
                "head": {"width": 16, "act": "relu"},
            }
        )

    def test_both_tables_know_the_kind(self):
        assert self.kind in LAYER_KINDS
        assert self.kind in LAYERS
        assert {op.kind for op in self.ops} == {self.kind}

    def test_text_there_and_back(self):
        assert [parse_op(str(op)) for op in self.ops] == list(self.ops)
        assert len(set(map(str, self.ops))) == len(set(self.ops)) == len(self.ops)
        assert all(str(op).split("_")[0] == self.kind for op in self.ops)
        assert not any(re.search(r"[\s|:/;]", str(op)) for op in self.ops)  # these part the words of an architecture

    def test_text_of_another_form_is_none_of_its_own(self):
        assert LAYER_KINDS[self.kind].parse(f"{self.kind}_k3_what") is None

    def test_a_fitted_space_offers_it(self):
        options = FittedSpace(kinds=(self.kind,), kernels=(3, 5), expansions=(2, 4), act="relu").ops()
        assert options
        assert len(set(options)) == len(options)
        assert [parse_op(str(op)) for op in options] == list(options)

    def test_words_for_people(self):
        for op in self.ops:
            assert op.words
            assert all(0 < len(word) <= 4 for word in op.words)
        assert all(": " in key for key in LAYER_KINDS[self.kind].keys)

    @pytest.mark.parametrize(("in_width", "out_width", "stride"), SIZES)
    def test_what_comes_out(self, in_width: int, out_width: int, stride: int):
        """(B, out_width, H / stride, W / stride), rounded up, also for maps that the stride does not divide."""
        for op in self.ops:
            layer = make_layer(op, in_width, out_width, stride).eval()
            for height, width in ((8, 8), (7, 13)):
                out = layer(torch.rand(2, in_width, height, width))
                assert out.shape == (2, out_width, -(-height // stride), -(-width // stride)), op

    def test_an_identity_is_one(self):
        x = torch.randn(2, 8, 5, 5)
        same = [torch.equal(make_layer(op, 8, 8, 1).eval()(x), x) for op in self.ops]
        assert same == [op.identity for op in self.ops]

    def test_costs_add_up_to_those_of_the_network(self):
        space = self.space()
        table = cost_table(space, resolution=SIDE + 3, num_classes=5)
        for choice in list(space.choices())[:: max(1, space.num_architectures // 20)]:
            with torch.device("meta"):
                counts = profile(StudentNet(space.architecture(choice), num_classes=5), SIDE + 3)
            assert table.total(space, choice) == {name: counts.costs[name] for name in ADDITIVE}

    def test_onnx_computes_the_same(self, tmp_path: Path):
        torch.manual_seed(0)
        *_, last = self.space().choices()
        model = StudentNet(self.space().architecture(last), num_classes=3)
        images = torch.randn(3, 3, SIDE, SIDE)
        model(images)  # so that running statistics are not the initial ones
        assert export_onnx(model.eval(), tmp_path / "model.onnx", images).relative_difference < 1e-4

    def test_rating_changes_no_weight_and_no_buffer(self):
        """Rated on CPU, bit for bit the same before and after; every rating is a number."""
        torch.manual_seed(0)
        stages = [nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.Tanh()) for i, o in ((3, 6), (6, 8))]
        model = nn.Sequential(*stages)
        space = self.space()
        supernet = build_supernet(space, (6, 8), adapters="linear", seed=0)
        before = {name: value.clone() for name, value in supernet.state_dict().items()}
        images = [(torch.randn(4, 3, SIDE, SIDE), torch.zeros(4, dtype=torch.int64)) for _ in range(2)]
        table = rate(
            supernet,
            TeacherBlocks(model, propose(model, SIDE, ["0", "1"])),
            lambda: images,
            RateSettings(images=8, batch_size=4),
            device=Device("cpu"),
            progress=SilentProgress(),
        )
        assert table.num_rated == space.num_candidates
        after = supernet.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
