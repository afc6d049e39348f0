"""``retrain.start=library``: the student begins with the weights that distillation gave its blocks."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny_run import CLASSES, tiny_settings
from torch import nn

from distilnas.data import Preprocessing, eval_transform
from distilnas.networks import StudentNet, load_student
from distilnas.recipes.dna.recipe import run_dna


def accuracy(model: nn.Module, root: Path, preprocessing: Preprocessing) -> float:
    """Over all images of the folder; those that the statistics were measured on are few of them."""
    transform = eval_transform(preprocessing)
    hits = []
    for label, name in enumerate(CLASSES):
        images = torch.stack([transform(Image.open(path)) for path in sorted((root / name).iterdir())])
        with torch.no_grad():
            hits.append((model.eval()(images).argmax(1) == label).float().mean().item())
    return float(np.mean(hits))


def test_it_beats_a_fresh_start_before_training(images: Path, finished: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    settings = tiny_settings(tmp_path, images, "retrain.start=library")
    summary = run_dna(settings, run)
    before = load_student(run / "library")
    fields = ("resolution", "mean", "std", "interpolation", "crop_pct")
    given = before.student_config["preprocessing"]
    preprocessing = Preprocessing(**{key: tuple(v) if isinstance(v := given[key], list) else v for key in fields})
    torch.manual_seed(0)
    fresh = StudentNet(before.architecture, num_classes=3)
    assert accuracy(before, images, preprocessing) > accuracy(fresh, images, preprocessing) + 0.1
    record = json.loads((run / "library" / "step.json").read_text())["result"]
    assert record["folded"] + record["dropped"] == len(before.architecture.body) - 1
    after = load_student(run / "students" / summary["student"]["hash"] / "export")
    assert after.architecture == before.architecture
    assert str(before.architecture) == summary["student"]["architecture"]


def test_it_is_recorded_where_it_is_asked_for(images: Path, tmp_path: Path):
    """Runs of versions without this setting keep their keys."""
    assert "start" not in tiny_settings(tmp_path, images).to_dict()["retrain"]
    assert tiny_settings(tmp_path, images, "retrain.start=library").to_dict()["retrain"]["start"] == "library"
