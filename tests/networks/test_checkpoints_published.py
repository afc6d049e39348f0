"""Checkpoints as the authors of DNA saved them, made here from timm's EfficientNet and the published block strings."""

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.networks.checkpoints import create_published, load_published
from distilnas.networks.zoo import create

# Li et al., CVPR 2020: stages 1 to 5 as published, in timm's notation (every string with squeeze and excite 0.25).
STAGES = {
    "dna-a": [
        "ir_r1_k5_s2_e3_c24 ir_r1_k3_s1_e3_c24 ir_r1_k3_s1_e6_c24",
        "ir_r2_k3_s2_e3_c40 ir_r1_k5_s1_e3_c40 ir_r1_k3_s1_e6_c40",
        "ir_r1_k7_s2_e6_c80 ir_r1_k3_s1_e3_c80 ir_r1_k5_s1_e3_c80 ir_r1_k3_s1_e6_c80",
        "ir_r1_k5_s1_e6_c96 ir_r2_k5_s1_e3_c96 ir_r1_k5_s1_e6_c96",
        "ir_r1_k5_s2_e6_c160 ir_r3_k5_s1_e3_c160 ir_r1_k5_s1_e6_c160",
    ],
    "dna-b": [
        "ir_r1_k3_s2_e3_c24 ir_r1_k5_s1_e3_c24 ir_r1_k7_s1_e6_c24",
        "ir_r1_k7_s2_e6_c40 ir_r1_k5_s1_e3_c40 ir_r1_k7_s1_e6_c40",
        "ir_r1_k5_s2_e6_c80 ir_r2_k5_s1_e3_c80 ir_r1_k3_s1_e6_c80",
        "ir_r1_k5_s1_e6_c96 ir_r2_k5_s1_e3_c96 ir_r1_k5_s1_e6_c96",
        "ir_r1_k7_s2_e6_c192 ir_r3_k5_s1_e3_c192 ir_r1_k7_s1_e6_c192",
    ],
    "dna-c": [
        "ir_r1_k5_s2_e6_c24 ir_r1_k3_s1_e6_c24",
        "ir_r2_k5_s2_e6_c40 ir_r1_k3_s1_e6_c40 ir_r1_k5_s1_e6_c40",
        "ir_r1_k5_s2_e6_c80 ir_r1_k3_s1_e6_c80 ir_r2_k5_s1_e6_c80",
        "ir_r1_k3_s1_e6_c112 ir_r2_k5_s1_e6_c112 ir_r1_k5_s1_e3_c112",
        "ir_r1_k5_s2_e6_c192 ir_r1_k5_s1_e3_c192 ir_r2_k5_s1_e6_c192",
    ],
    "dna-d": [
        "ir_r1_k7_s2_e6_c24 ir_r1_k5_s1_e6_c24 ir_r1_k7_s1_e6_c24",
        "ir_r4_k7_s2_e6_c40",
        "ir_r1_k7_s2_e6_c80 ir_r2_k5_s1_e6_c80 ir_r1_k7_s1_e6_c80",
        "ir_r1_k7_s1_e6_c112 ir_r1_k5_s1_e6_c112 ir_r1_k7_s1_e6_c112 ir_r1_k5_s1_e6_c112",
        "ir_r1_k7_s2_e6_c192 ir_r3_k5_s1_e6_c192 ir_r1_k7_s1_e6_c192",
    ],
}
ENTRIES = {"dna-a": 492, "dna-b": 470, "dna-c": 448, "dna-d": 492}  # counted in the authors' networks


def authors_network(name: str, num_classes: int = 1000) -> nn.Module:
    """The published definition, built by timm, with weights and statistics that are nobody's defaults."""
    stages = ["ds_r1_k3_s1_c16", *STAGES[name], "ir_r1_k3_s1_e6_c320"]
    strings = [[f"{part}_se0.25" for part in stage.split()] for stage in stages]
    definition = decode_arch_def(strings)
    torch.manual_seed(1)
    model = EfficientNet(
        definition, num_classes=num_classes, num_features=1280, stem_size=32, act_layer=torch.nn.SiLU
    ).eval()  # fmt: skip
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model


def checkpoint(path: Path, last: dict[str, Tensor], *, averaged: dict[str, Tensor] | None = None) -> Path:
    """A file of timm 0.1's training script, which wrapped networks for several GPUs and used torch's first format."""
    content: dict[str, Any] = {
        "epoch": 499,
        "arch": "DNA",
        "state_dict": OrderedDict((f"module.{key}", value) for key, value in last.items()),
        "optimizer": {"state": {0: {"square_avg": torch.ones(3), "step": 7}}, "param_groups": [{"lr": 1e-5}]},
        "args": argparse.Namespace(model="DNA", lr=0.064, sched="step", img_size=None),
        "version": 2,
        "metric": 77.14,
    }
    if averaged is not None:
        content["state_dict_ema"] = OrderedDict(averaged)
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.zeros_like(value) for key, value in state.items()}


@pytest.mark.parametrize("name", list(STAGES))
def test_logits_are_those_of_the_authors_network(name: str, tmp_path: Path):
    theirs = authors_network(name)
    state = theirs.state_dict()
    assert len(state) == ENTRIES[name]
    ours = create_published(name, checkpoint(tmp_path / "x.pth.tar", zeros(state), averaged=state))
    assert not ours.training
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)


def test_averaged_or_last_weights(tmp_path: Path):
    state = authors_network("dna-a", 2).state_dict()
    both = checkpoint(tmp_path / "both.pth.tar", state, averaged=zeros(state))
    plain = checkpoint(tmp_path / "plain.pth.tar", state)
    model = create("dna-a", num_classes=2)
    for path, ema, loaded in ((both, True, False), (both, False, True), (plain, True, True), (plain, False, True)):
        load_published(model, path, ema=ema)
        assert all(torch.equal(value, state[key] * loaded) for key, value in model.state_dict().items()), (path, ema)


def test_classes_are_the_files(tmp_path: Path):
    state = authors_network("dna-c", 10).state_dict()
    path = checkpoint(tmp_path / "x.pth.tar", state)
    model: Any = create_published("dna_c", path)
    assert model.num_classes == 10
    assert torch.equal(model.classifier.bias, state["classifier.bias"])
    with pytest.raises(UsageError, match=r"2 of another shape \(classifier.weight \(10, 1280\) instead of \(1000, 128"):
        load_published(create("dna-c"), path)


def test_files_without_counters_load(tmp_path: Path):
    state = authors_network("dna-a", 2).state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    model = create_published("dna-a", checkpoint(tmp_path / "x.pth.tar", old))
    assert torch.equal(model.state_dict()["bn1.running_mean"], state["bn1.running_mean"])


def test_another_network_is_refused_and_nothing_changes(tmp_path: Path):
    """DNA-c has a layer less in its first searched stage than DNA-b, and other kernels."""
    path = checkpoint(tmp_path / "c.pth.tar", authors_network("dna-c").state_dict())
    model = create("dna-b")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = (
        r"StudentNet entry by entry, but .*c.pth.tar has \d+ missing \(blocks.1.2.conv_pw.weight, \S+, \S+, ...\); "
        r"\d+ unexpected \(blocks.2.3.\S+, .*\); \d+ of another shape \(blocks.1.0.conv_pw.weight .*Choose the network"
    )
    with pytest.raises(UsageError, match=expected):
        load_published(model, path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(UsageError, match="Choose the network"):
        create_published("dna-b", path)


def test_unknown_names_come_before_files(tmp_path: Path):
    with pytest.raises(UsageError, match="did you mean 'dna-a'"):
        create_published("dna-aa", tmp_path / "none.pth")
    with pytest.raises(UsageError, match="is none: check the path"):
        create_published("dna-a", tmp_path / "none.pth")
