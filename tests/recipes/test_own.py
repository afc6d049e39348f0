"""The user's own trained module as teacher."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import tiny_settings
from torch import nn

from distilnas.config import parse
from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.files import read_json
from distilnas.recipes.dna.recipe import run_dna
from distilnas.recipes.own import weights_key
from distilnas.recipes.settings import Settings

PREPROCESSING = Preprocessing(resolution=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


class OwnNet(nn.Module):
    """Two stages that halve the image; no timm conventions."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.second = nn.Sequential(
            nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1)
        )
        self.classify = nn.Linear(16, num_classes)

    def forward(self, images):
        return self.classify(self.second(self.first(images)).mean((2, 3)))


def own_net(num_classes: int = 3) -> OwnNet:
    torch.manual_seed(0)
    return OwnNet(num_classes)


def own_settings(folder: Path, images: Path, **teacher: Any) -> Settings:
    data = tiny_settings(folder, images).to_dict()
    return parse({**data, "teacher": {"model": "own", "partition": ["first", "second"], **teacher}}, Settings)


def test_own_teacher_works_untouched_and_resumes_in_another_process(images: Path, tmp_path: Path):
    net, settings = own_net(), own_settings(tmp_path, images)
    before = copy.deepcopy(net.state_dict())
    run_dna(settings, tmp_path / "run", teacher=net, preprocessing=PREPROCESSING, until="rate")
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())

    def again() -> OwnNet:  # what another process would build
        return own_net()

    rated = run_dna(settings, tmp_path / "run", teacher=again(), preprocessing=PREPROCESSING, until="rate")
    assert rated["skipped"]
    summary = run_dna(settings, tmp_path / "run", teacher=again(), preprocessing=PREPROCESSING)
    assert summary["teacher"]["name"] == "OwnNet"
    assert summary["teacher"]["params"] == sum(p.numel() for p in net.parameters())
    assert read_json(tmp_path / "run" / "teacher" / "step.json")["result"]["preprocessing"]["mean"] == [0.5, 0.5, 0.5]


def test_solving_again_needs_no_module(images: Path, tmp_path: Path):
    settings = own_settings(tmp_path, images)
    run_dna(settings, tmp_path / "run", teacher=own_net(), preprocessing=PREPROCESSING, until="rate")
    assert run_dna(settings, tmp_path / "run", until="solve")["optimal"]
    with pytest.raises(UsageError, match="own teacher"):
        run_dna(settings, tmp_path / "run")


def test_own_teacher_is_fitted_on_a_copy(images: Path, tmp_path: Path):
    net, settings = own_net(), own_settings(tmp_path, images, fit={"epochs": 1, "batch_size": 24})
    key = weights_key(net)
    run_dna(settings, tmp_path / "run", teacher=net, preprocessing=PREPROCESSING, until="cost")
    assert weights_key(net) == key
    taught = load_file(tmp_path / "run" / "teacher" / "teacher.safetensors")
    assert not torch.equal(taught["classify.weight"], net.classify.weight)


@pytest.mark.parametrize(
    ("teacher", "preprocessing", "message"),
    [
        (own_net(5), PREPROCESSING, "3 classes, OwnNet gives 5 outputs"),
        (None, None, "needs your PyTorch module"),
        (own_net(), None, "preprocessing=Preprocessing"),
    ],
)
def test_own_teacher_that_does_not_fit(
    images: Path, tmp_path: Path, teacher: OwnNet | None, preprocessing: Preprocessing | None, message: str
):
    with pytest.raises(UsageError, match=message):
        run_dna(own_settings(tmp_path, images), tmp_path / "run", teacher=teacher, preprocessing=preprocessing)
    assert not (tmp_path / "run" / "run.json").exists()


def test_two_teachers_are_refused(images: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="two teachers"):
        run_dna(tiny_settings(tmp_path, images), tmp_path / "run", teacher=own_net(), preprocessing=PREPROCESSING)


def test_own_teacher_takes_no_weights_from_elsewhere(images: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="leave out"):
        own_settings(tmp_path, images, pretrained=True)


def test_weights_key_sees_what_sums_do_not():
    net, swapped = own_net(), own_net()
    with torch.no_grad():
        swapped.classify.bias.copy_(net.classify.bias.flip(0))
    assert weights_key(net) == weights_key(own_net())
    assert weights_key(net) != weights_key(swapped)
