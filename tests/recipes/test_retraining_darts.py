"""A genotype is an architecture file like any other: trained, tested, exported, counted, and a teacher of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_run import write_images

from distilnas.cli.profile import profile as profile_verb
from distilnas.costing import profile
from distilnas.errors import UsageError
from distilnas.networks import DartsNet, load_student
from distilnas.recipes.catalogue import load_settings, run_recipe
from distilnas.space.darts import DartsArchitecture

CELL = "s3-0 sk-1 | sk-2 | mp-0 | sk-3"
TEXT = f"darts cifar 4x3 ; {CELL} ; {CELL} ; {CELL}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), number=20)


def _run(folder: Path, images: Path, network: dict[str, Any], until: str | None = None) -> Any:
    config = {
        "recipe": "retrain",
        "data": {"path": str(images), "resolution": 16, "validation": 6},
        "network": network,
        "retrain": {"epochs": 1, "batch_size": 24, "drop_path_rate": 0.2},
        "runtime": {"accelerator": "cpu", "threads": 1},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return run_recipe(load_settings(str(path)), folder / "run", until=until)


def _architecture(folder: Path) -> str:
    path = folder / "architecture.json"
    path.write_text(json.dumps(DartsArchitecture.parse(TEXT).to_dict()))
    return str(path)


def test_from_a_genotype_to_a_tested_student(tmp_path: Path, images: Path) -> None:
    """Its counts are those of the network without auxiliary head, and the report draws it."""
    summary = _run(tmp_path, images, {"file": _architecture(tmp_path)})
    run, student = tmp_path / "run", summary["student"]
    counts = profile(DartsNet(DartsArchitecture.parse(TEXT), num_classes=3), 16)
    assert (student["architecture"], student["params"], student["macs"]) == (TEXT, counts.params, counts.macs)
    assert summary["onnx"]["relative_difference"] < 1e-3
    for artefact in summary["artefacts"].values():
        assert (run / artefact).is_file(), artefact
    loaded = load_student((run / summary["artefacts"]["weights"]).parent)
    assert loaded.auxiliary is None
    assert "cell 1" in (run / "report.html").read_text()


def test_profile_reads_the_architecture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile_verb(_architecture(tmp_path), resolution=16, num_classes=3, latency=False, json=True)
    record = json.loads(capsys.readouterr().out)
    counts = profile(DartsNet(DartsArchitecture.parse(TEXT), num_classes=3), 16)
    assert (record["params"], record["macs"], record["resolution"]) == (counts.params, counts.macs, 16)


def test_another_width(tmp_path: Path, images: Path) -> None:
    result = _run(tmp_path, images, {"file": _architecture(tmp_path), "width": 8}, until="retrain")
    assert result["architecture"] == TEXT.replace("4x3", "8x3")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"file": "FILE", "num_cells": 4}, "has 3 cells"),
        ({"file": "FILE", "scale": {"params": 9}}, "of the DNA kind"),
        ({"zoo": "dna-a", "width": 4}, "of the DARTS kind"),
        ({"zoo": "darts-v2", "variant": "cifar100"}, "no variant"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, images: Path, network: dict[str, Any], words: str) -> None:
    given = {key: _architecture(tmp_path) if value == "FILE" else value for key, value in network.items()}
    with pytest.raises(UsageError, match=words):
        _run(tmp_path, images, given)
    assert not (tmp_path / "run" / "run.json").exists()
