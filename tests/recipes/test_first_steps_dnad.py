"""Every configuration of the DARTS space takes its first steps at true size (networks, resolution) within 4 GB.

They are the run's own steps, on synthetic images of ten classes: one epoch of two steps.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from distilnas.files import read_json
from distilnas.methods.dnad import SHRINK_PROFILES
from distilnas.networks import DartsNet, save_student
from distilnas.recipes.catalogue import load_settings, run_recipe
from distilnas.recipes.planning.meter import Meter
from distilnas.recipes.planning.probes import settle
from distilnas.runtime.device import Device
from distilnas.space.darts.space import DartsSpace
from distilnas.teachers import create_teacher

CPU = Device("cpu")
LIMIT_MB = 4 * 1024
CLASSES, CIFAR, IMAGENET = 10, 32, 224
RUNTIME = "runtime={accelerator: cpu, threads: 1, workers: 0, precision: 32-true}"
SHRINK = ("search.shrink.epochs=1", "search.shrink.warmup_epochs=0", "search.shrink.batch_size=8")
BILEVEL = ("search.method=bilevel", "search.bilevel.epochs=1", "search.bilevel.batch_size=4")
HEAD = 990 * (768 + 1)  # parameters of the classes that ImageNet has more, for networks of 48 channels


def first_steps(name: str, folder: Path, until: str, resolution: int, *overrides: str) -> dict[str, Any]:
    data = f"data={{source: synthetic, images: 60, classes: {CLASSES}, resolution: {resolution}, validation: 8"
    words = (f"{data}, train_images: 20, check: auto, path: null}}", RUNTIME, *overrides)
    with Meter(CPU).peak() as peak:
        found = run_recipe(load_settings(name, words), folder, until=until)
        assert (peak() or 0) < LIMIT_MB
    return found


def search(name: str, folder: Path, resolution: int, *overrides: str) -> tuple[dict[str, float], dict[str, Any]]:
    """The losses of the epoch, and the network that the search hands over."""
    words = ("search.held_out=8", *overrides)
    assert first_steps(name, folder, "search", resolution, *words)["num_images"] == 8
    (epoch,) = read_json(folder / "search" / "history.json")["epochs"]
    assert all(math.isfinite(value) for value in epoch.values())
    (network,) = read_json(folder / "search" / "networks.json")
    assert 0 <= network["accuracy"] <= 100
    return epoch, network


@pytest.fixture(scope="module")
def cifar_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network of a topology in every cell, as the authors' CIFAR teacher: 36 channels, 8 cells."""
    folder, space = tmp_path_factory.mktemp("teacher"), DartsSpace()
    kept = [[column < 4 for column in range(space.columns)] for _ in range(space.rows)]
    network = DartsNet(space.architecture(space.genotype(kept), width=36), num_classes=CLASSES)
    settle(network, CIFAR, CPU)
    save_student(folder, network, classes=(), preprocessing={"resolution": CIFAR})
    return folder


def test_imagenet_has_the_authors_constants():
    assert load_settings("dnad-imagenet").search.shrink == SHRINK_PROFILES["imagenet"]


@pytest.mark.parametrize("kappa", [1.0, 0.0])
def test_shrinking_on_cifar(tmp_path: Path, cifar_teacher: Path, kappa: float):
    """DNAD and SNPS. In two steps nothing is deleted: the derived network is the full one of the authors' class."""
    words = (f"teacher.student={cifar_teacher}", f"search.shrink.imitation.kappa={kappa}")
    epoch, network = search("dnad-cifar10", tmp_path, CIFAR, *SHRINK, *words)
    assert (network["params"], network["macs"]) == (4_574_710, 661_327_488)
    assert epoch["sparsity"] == pytest.approx(576.2093, abs=1)  # S of the space, by formula
    assert epoch["imitation"] == (pytest.approx(2.0, abs=0.4) if kappa else 0.0)  # strangers: 2 times the ratios' sum
    assert epoch["loss"] == pytest.approx(epoch["cross_entropy"] + epoch["imitation"], rel=1e-5)


def test_bilevel_on_cifar(tmp_path: Path):
    """First order: a network of 20 cells with two ops a node."""
    words = ("teacher=null", "search.bilevel.order=first")
    epoch, network = search("dnad-cifar10", tmp_path, CIFAR, *BILEVEL, *words)
    assert epoch["alpha_loss"] == pytest.approx(math.log(CLASSES), abs=1.5)
    assert network["architecture"].startswith("darts cifar 36x20")
    assert 1e6 < network["params"] < 6e6


@pytest.mark.slow
def test_shrinking_on_imagenet(tmp_path: Path):
    """With EfficientNet-B0 as teacher, compared at 40, 112 and 1280 channels as the authors do."""
    teacher = settle(create_teacher("efficientnet_b0", num_classes=CLASSES), IMAGENET, CPU)
    torch.save(teacher.state_dict(), tmp_path / "b0.pth")
    words = ("teacher.pretrained=false", f"teacher.weights={tmp_path / 'b0.pth'}")
    epoch, network = search("dnad-imagenet", tmp_path / "run", IMAGENET, *SHRINK, *words)
    partition = read_json(tmp_path / "run" / "teacher" / "step.json")["result"]["partition"]
    taps = [(tap["channels"], tap["height"]) for tap in partition["taps"]]
    assert taps == [(40, 28), (112, 14), (1280, 7)]
    assert network["params"] + HEAD == 13_983_904
    assert network["macs"] / 1e6 == pytest.approx(1532.0 - 990 * 768 / 1e6, abs=0.05)
    assert epoch["sparsity"] == pytest.approx(1008.3662, abs=1)
    assert epoch["imitation"] == pytest.approx(6.0, abs=1.2)


@pytest.mark.parametrize(
    ("name", "resolution", "params"),
    [
        ("dnad-cifar10-retrain", CIFAR, 3_349_342),
        pytest.param("dnad-cifar100-retrain", CIFAR, 3_349_342, marks=pytest.mark.slow),
        ("dnad-imagenet-retrain", IMAGENET, 4_718_752 - HEAD),
    ],
)
def test_retraining(tmp_path: Path, name: str, resolution: int, params: int):
    """The published networks of DARTS with their auxiliary heads, which are not counted."""
    words = ("retrain.epochs=1", "retrain.batch_size=8")
    assert first_steps(name, tmp_path, "retrain", resolution, *words)["params"] == params
    (history,) = tmp_path.glob("students/*/retrain/history.json")
    assert math.isfinite(read_json(history)["epochs"][0]["loss"])
