"""Training a published or own network: from scratch, from weights, scaled; resumed, summed up, refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_run import CLASSES, write_images

from distilnas.cli.zoo_runs import read_networks
from distilnas.errors import InfeasibleError, UsageError
from distilnas.networks import StudentNet, load_student, save_student
from distilnas.recipes.catalogue import load_settings, run_recipe
from distilnas.space import Architecture

TEXT = "stem 8/2 relu | 8/2 mb_k3_e2_relu | 16/2 mb_k5_e2_relu | head 16 relu"
TRAINING = {"epochs": 1, "batch_size": 24, "micro_batch": 12}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def _run(folder: Path, images: Path, network: dict[str, Any], *overrides: str, until: str | None = None) -> Any:
    config = {
        "recipe": "retrain",
        "data": {"path": str(images), "resolution": 32, "validation": 6},
        "network": network,
        "retrain": TRAINING,
        "runtime": {"accelerator": "cpu", "threads": 1},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return run_recipe(load_settings(str(path), overrides), folder / "run", until=until)


def _architecture(folder: Path) -> str:
    path = folder / "architecture.json"
    path.write_text(json.dumps(Architecture.parse(TEXT).to_dict()))
    return str(path)


def test_from_an_architecture_to_a_tested_student(tmp_path: Path, images: Path) -> None:
    """And called again, nothing is done twice."""
    summary = _run(tmp_path, images, {"file": _architecture(tmp_path)})
    run = tmp_path / "run"
    assert summary["student"]["architecture"] == TEXT
    assert summary["student"]["params"] == sum(p.numel() for p in StudentNet(Architecture.parse(TEXT), 3).parameters())
    assert 0 <= summary["student"]["top1"] <= 100
    assert summary == json.loads((run / "summary.json").read_text())
    for artefact in summary["artefacts"].values():
        assert (run / artefact).is_file(), artefact
    assert load_student((run / summary["artefacts"]["weights"]).parent).student_config["classes"] == list(CLASSES)
    (listed,) = read_networks([run], fronts=False)
    assert (listed.top1, listed.resolution, listed.num_classes) == (summary["student"]["top1"], 32, 3)
    again = _run(tmp_path, images, {"file": _architecture(tmp_path)}, until="retrain")
    assert again["skipped"]


def test_transfer_starts_from_the_students_weights(tmp_path: Path, images: Path) -> None:
    """With a rate of almost nothing the body stays; of seven classes the classifier is new."""
    torch.manual_seed(0)
    trained = StudentNet(Architecture.parse(TEXT), num_classes=7)
    save_student(tmp_path / "student", trained, classes=tuple("abcdefg"), preprocessing={"resolution": 32})
    result = _run(tmp_path, images, {"student": str(tmp_path / "student")}, "retrain.optim.lr=1e-12", until="retrain")
    state = load_file(Path(result["folder"]) / "model.safetensors")
    assert state["classifier.weight"].shape == (3, 16)
    torch.testing.assert_close(state["blocks.1.0.conv_pw.weight"], trained.state_dict()["blocks.1.0.conv_pw.weight"])


def test_scaled_from_scratch(tmp_path: Path, images: Path) -> None:
    scale = {"params": 20_000, "classes": 3}
    result = _run(tmp_path, images, {"file": _architecture(tmp_path), "scale": scale}, until="retrain")
    assert 12_000 < result["params"] <= 20_000


def test_a_published_network_is_named(tmp_path: Path, images: Path) -> None:
    """Nothing is trained here: the network is known before."""
    settings = load_settings(_yaml(tmp_path, {"recipe": "retrain", "data": {"path": "x"}, "network": {"zoo": "dna_a"}}))
    assert settings.network.zoo == "dna_a"
    with pytest.raises(UsageError, match="no such path"):
        run_recipe(settings, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def _yaml(folder: Path, data: dict[str, Any]) -> str:
    path = folder / "given.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.mark.parametrize(
    ("network", "kind", "words"),
    [
        ({}, UsageError, "exactly one of network.zoo"),
        ({"zoo": "dna-a", "file": "x"}, UsageError, "exactly one of network.zoo"),
        ({"zoo": "dna-x"}, UsageError, "did you mean .dna-"),
        ({"zoo": "efficientnet-b0"}, UsageError, "for reference"),
        ({"file": "nowhere.json"}, UsageError, "cannot read the architecture"),
        ({"student": "nowhere"}, UsageError, "a student folder holds"),
        ({"file": "x", "weights": "y"}, UsageError, "needs network.zoo"),
        ({"zoo": "dna-a", "weights": "y", "scale": {"params": 9}}, UsageError, "starts from scratch"),
        ({"zoo": "dna-a", "weights": "nowhere.pth.tar"}, UsageError, "nowhere.pth.tar"),
        ({"zoo": "dna-a", "scale": {}}, UsageError, "exactly one of scale.params"),
        ({"zoo": "dna-a", "scale": {"params": "50%"}}, UsageError, "share"),
        ({"zoo": "dna-a", "scale": {"params": 10}}, InfeasibleError, "smallest on this path"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, images: Path, network: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        _run(tmp_path, images, network)
    assert not (tmp_path / "run" / "run.json").exists()


def test_steps_of_other_recipes_are_named(tmp_path: Path, images: Path) -> None:
    with pytest.raises(UsageError, match="no step 'solve'"):
        _run(tmp_path, images, {"file": _architecture(tmp_path)}, until="solve")
