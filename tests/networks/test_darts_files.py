"""DARTS networks on disk: the same bits come back through the one way of saving and loading."""

import json

import pytest
import torch

from distilnas.errors import UsageError
from distilnas.networks import DartsNet, build_network, load_student, save_student
from distilnas.space.darts import DartsArchitecture

CELL = "s3-0 sk-1 | sk-2 | mp-0 | sk-3"
TEXT = f"darts cifar 4x3 ; {CELL} ; {CELL} ; {CELL}"
PREPROCESSING = {"resolution": 16, "mean": [0.5], "std": [0.5]}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = build_network(DartsArchitecture.parse(TEXT), num_classes=3, in_chans=1)
    model(torch.rand(4, 1, 16, 16))  # moves the running statistics
    save_student(tmp_path / "s", model, classes=("a", "b", "c"), preprocessing=PREPROCESSING)
    return tmp_path / "s", model.eval()


def test_round_trip_is_bit_equal(saved):
    folder, model = saved
    again = load_student(folder)
    assert isinstance(again, DartsNet)
    assert not again.training
    assert again.architecture == model.architecture
    assert again.student_config["preprocessing"] == PREPROCESSING
    assert list(again.state_dict()) == list(model.state_dict())
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())


def test_features_are_the_last_maps_of_each_resolution(saved):
    folder, model = saved
    images = torch.rand(2, 1, 16, 16)
    maps = load_student(folder, features_only=True)(images)
    assert [tuple(map_.shape) for map_ in maps] == [(2, 4 * 4 * 2**n, 16 // 2**n, 16 // 2**n) for n in (0, 1, 2)]
    torch.testing.assert_close(maps[-1], model.forward_features(images))


def test_an_unknown_op_is_named(saved):
    folder, _ = saved
    config = json.loads((folder / "student.json").read_text())
    config["architecture"]["genotype"]["cells"][0]["nodes"][0][0][0] = "sep_conv_3"
    (folder / "student.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"did you mean .sep_conv_3x3"):
        load_student(folder)
