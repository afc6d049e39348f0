"""Measures against files, formulas and each other; one more measure needs one line and one function."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from distilnas.costing import ADDITIVE, EXACT, MEASURES, Part, cost_table, profile
from distilnas.networks import StudentNet, save_student
from distilnas.networks.files import WEIGHTS
from distilnas.space import Architecture, preset
from distilnas.tables.measures import MEASURES as INFOS
from distilnas.tables.measures import costs_in, measure_info, shown

SMALL = Architecture.parse("stem 8/2 relu | 16/2 mb_k3_e3_relu mb_k5_e3_se0.25_relu | head 32 relu")


def measured(name: str, module: nn.Module, shape: tuple[int, ...]) -> int | float:
    return MEASURES[name](Part(module, shape))


def test_every_name_has_a_measure():
    assert set(MEASURES) == {name for name, info in INFOS.items() if info.exact}
    assert list(EXACT) == ["macs", "params", "bytes", "peak_memory"]
    assert list(ADDITIVE) == ["macs", "params", "bytes"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Linear(3, 5), {"macs": 15, "params": 20, "bytes": 80}),
        (nn.Linear(3, 5).half(), {"macs": 15, "params": 20, "bytes": 40}),
        (nn.BatchNorm1d(3), {"macs": 0, "params": 6, "bytes": 4 * 12 + 8}),  # mean, variance, and a counter of 8 bytes
        (nn.ReLU(), {"macs": 0, "params": 0, "bytes": 0}),
    ],
)
def test_layers_by_hand(module, expected):
    assert {name: measured(name, module.eval(), (3,)) for name in ADDITIVE} == expected


def test_bytes_are_the_weights_file_without_its_header(tmp_path):
    """A safetensors file: 8 bytes with the header's length, the header, the tensors."""
    model = StudentNet(SMALL, num_classes=7)
    save_student(tmp_path, model, classes=tuple("abcdefg"), preprocessing={})
    content = (tmp_path / WEIGHTS).read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert profile(model, 32).costs["bytes"] == len(content) - 8 - header
    assert len(json.loads(content[8 : 8 + header])) == len(model.state_dict()) + 1  # and what is said of the file


def test_a_shared_weight_is_one_parameter_and_two_entries_of_the_file():
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(layer, layer)
    assert measured("params", model, (3,)) == 9
    stored = save({key: value.clone() for key, value in model.state_dict().items()})
    assert measured("bytes", model, (3,)) == 2 * 36 == len(stored) - 8 - int.from_bytes(stored[:8], "little")


def test_one_more_measure_in_a_table(monkeypatch):
    """A float: what a network gives out, in thousands."""
    monkeypatch.setitem(MEASURES, "outputs", lambda part: part.counts.shape[0] / 1000)
    space = preset("nas-bench-macro")
    table = cost_table(space, resolution=32, num_classes=10, measures=("macs", "outputs"))
    assert table.floats == ("outputs",)
    choice = next(space.choices())
    total = table.total(space, choice)
    layers = sum(family.out * len(family.shape) for family in (block.families[0] for block in space.body))
    assert total["outputs"] > (layers + 10) / 1000  # and the stem and the head
    assert total["outputs"] % 0.001 == pytest.approx(0, abs=1e-9) or total["outputs"] % 0.001 == pytest.approx(0.001)
    with torch.device("meta"):
        model = StudentNet(space.architecture(choice), num_classes=10)
    assert (total["macs"], type(total["macs"])) == (profile(model, 32).macs, int)


def test_words():
    assert (measure_info("macs").label, measure_info("macs").axis) == ("MACs", "MACs (papers: FLOPs)")
    assert (measure_info("bytes").unit, measure_info("latency_on_phone").words) == ("B", "latency on phone")
    assert shown(("macs", "params", "bytes")) == ("macs", "params")
    assert shown(("macs", "bytes"), {"bytes": 1}) == ("macs", "bytes")
    assert costs_in({"params": 1, "macs": 2, "top1": 3}) == {"macs": 2, "params": 1}


def test_the_dtype_of_a_table():
    table = cost_table(preset("nas-bench-macro"), resolution=32, num_classes=10)
    assert table.costs == ("macs", "params", "bytes")
    assert table.floats == ()
    assert {array.dtype for array in (table.cells[0][0].first, table.cells[-1][0].first)} == {np.dtype(np.int64)}
