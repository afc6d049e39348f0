"""Retraining: a function of architecture, images and seed, without teacher or supernet."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distilnas.data import Augmentation, ImageSet, Preprocessing
from distilnas.networks import StudentNet
from distilnas.retrain import retrain
from distilnas.retrain.taught import TaughtTask
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space import Architecture
from distilnas.training import ClassifierSettings, Trained

ARCHITECTURE = Architecture.parse("stem 8/2 relu | 8/2 mb_k3_e2_relu mb_k3_e2_relu | head 16 relu")
SETTINGS = ClassifierSettings(epochs=1, batch_size=4, augment=Augmentation(), drop_rate=0.2, drop_path_rate=0.5)


def _images(seed: int) -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    return ImageSet(name="noise", classes=("a", "b"), labels=np.arange(8) % 2, images=pixels)


def _retrain(folder: Path, seed: int, **changes: Any) -> Trained:
    training: dict[str, Any] = {
        "name": "retrain",
        "images": _images(0),
        "validation": _images(1),
        "device": Device("cpu"),
    }
    training |= {"preprocessing": Preprocessing(resolution=16), "progress": SilentProgress()}
    return retrain(
        ARCHITECTURE, SETTINGS, num_classes=2, seed=seed, checkpoint=folder / "checkpoint", **(training | changes)
    )


def test_seed_decides_and_nothing_else(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = _retrain(tmp_path / "a", 0).model.state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = _retrain(tmp_path / "b", 0).model.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    other = _retrain(tmp_path / "c", 1).model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in first.items())
    assert not torch.equal(other["classifier.weight"], first["classifier.weight"])


def test_gives_the_network_of_the_architecture(tmp_path: Path) -> None:
    model = _retrain(tmp_path, 0).model
    assert isinstance(model, StudentNet)
    assert str(model.architecture) == str(ARCHITECTURE)
    assert (model.num_classes, model.drop_rate) == (2, 0.2)
    rates = [getattr(layer.drop_path, "drop_prob", 0.0) for stage in model.blocks for layer in stage]  # type: ignore[union-attr]
    assert rates == pytest.approx([0.0, 0.25])


def test_a_teacher_adds_the_divergence_from_its_answers(tmp_path: Path) -> None:
    """The labels' loss + sum of p log(p / q); a step leads elsewhere, the teacher stays as it is."""
    torch.manual_seed(0)
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 2)).eval()
    before = copy.deepcopy(teacher.state_dict())
    model, x, labels = torch.nn.Flatten(), torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    task = TaughtTask(teacher=torch.nn.Linear(2, 2))
    p, q = task.teacher(x).softmax(1).detach(), x.softmax(1)
    expected = -q.log()[range(5), labels].mean() + (p * (p / q).log()).sum(1).mean()
    found = task.loss(model, x, labels, torch.nn.CrossEntropyLoss())
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    taught = _retrain(tmp_path / "a", 0, teacher=teacher).model.state_dict()
    alone = _retrain(tmp_path / "b", 0).model.state_dict()
    assert not torch.equal(taught["classifier.weight"], alone["classifier.weight"])
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_needs_neither_teacher_nor_supernet() -> None:
    code = (
        "import json, sys, distilnas.retrain; print(json.dumps([m for m in sys.modules if m.startswith('distilnas.')]))"
    )
    modules = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    assert "distilnas.training.loop" in modules
    assert not [m for m in modules if m.split(".")[1] in ("teachers", "supernet", "methods", "recipes")]
