"""Images without classes: named by the teacher, whose students are told by how far they agree with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny_run import write_images
from tiny_shrink import CONFIG

from distilnas.data import eval_transform, has_classes, read_image_data, read_unlabelled
from distilnas.errors import UsageError
from distilnas.networks import load_student
from distilnas.recipes.catalogue import run_recipe, settings_from
from distilnas.recipes.planner import plan
from distilnas.recipes.shrink.easy import shrink_settings
from distilnas.recipes.shrink.recipe import open_shrink

CHANNELS: dict[str, Any] = {"channels": [16, 16, 32, 32]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of ``tiny_run`` side by side, some of them deeper."""
    root = tmp_path_factory.mktemp("unlabelled")
    sorted_ones = write_images(root / "classes")
    flat = root / "photos"
    (flat).mkdir()
    for number, path in enumerate(sorted(sorted_ones.rglob("*.png")) or sorted(sorted_ones.rglob("*.jpg"))):
        path.rename(flat / f"{number:03d}{path.suffix}")
    return flat


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a teacher of seven classes, which says several of them."""
    torch.manual_seed(3)
    model = timm.create_model("resnet10t", num_classes=7, **CHANNELS)
    with torch.no_grad():
        model.fc.weight.mul_(20)  # type: ignore[union-attr]
    path = tmp_path_factory.mktemp("weights") / "teacher.safetensors"
    save_file(model.state_dict(), path)
    return path


def settings(photos: Path, weights: Path, *overrides: str):
    teacher = {"model": "resnet10t", "model_kwargs": CHANNELS, "weights": str(weights)}
    data = {"source": "unlabelled", "path": str(photos), "resolution": 32, "validation": 6}
    return settings_from({**CONFIG, "data": data, "teacher": teacher}, overrides)


def test_folders_are_told_apart(photos: Path, tmp_path: Path) -> None:
    assert not has_classes(photos)
    sorted_ones = write_images(tmp_path / "images")
    assert has_classes(sorted_ones)
    assert len(read_unlabelled(photos).train) == len(list(photos.iterdir()))
    every = read_image_data(sorted_ones)
    number = len(every.train) + (len(every.test) if every.test else 0)
    found = read_unlabelled(sorted_ones)
    assert len(found.train) + (len(found.test) if found.test else 0) == number
    assert shrink_settings("resnet10t", str(photos)).data.source == "unlabelled"
    of_classes = shrink_settings("resnet10t", str(sorted_ones))
    assert of_classes.data.source == "folder"
    assert of_classes.library.rating_images == int(0.3 * len(every.train))  # of few images, in place of 512
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        read_unlabelled(tmp_path / "none")


@torch.no_grad()
def test_the_classes_are_what_the_teacher_says(photos: Path, weights: Path, tmp_path: Path) -> None:
    """Against the network called by hand, image by image."""
    materials, _ = open_shrink(settings(photos, weights), tmp_path / "run")
    splits = materials.splits
    model = timm.create_model("resnet10t", num_classes=7, **CHANNELS).eval()
    model.load_state_dict(load_file(weights))
    prepare = eval_transform(materials.preprocessing)
    for part in (splits.train, splits.validation, splits.rating, splits.test):
        assert part.classes == tuple("0123456")
        said = [int(model(prepare(part.pil(i))[None]).argmax()) for i in range(len(part))]
        assert part.labels.tolist() == said
    assert len(np.unique(splits.train.labels)) > 1


def test_a_run_from_images_to_an_agreeing_student(photos: Path, weights: Path, tmp_path: Path) -> None:
    summary = run_recipe(settings(photos, weights, "choice.explorer=0", "choice.curve=0"), tmp_path / "run")
    assert summary["labels"] == "teacher"
    assert summary["teacher"]["top1"] == 100
    export = tmp_path / "run" / Path(summary["student"]["artefacts"]["weights"]).parent
    assert load_student(export).num_classes == 7
    assert "agreement with the parent" in (export / "README.md").read_text()
    assert "the student says what its teacher says" in (tmp_path / "run" / "report.html").read_text()
    again = run_recipe(settings(photos, weights, "choice.explorer=0", "choice.curve=0"), tmp_path / "run")
    assert again["student"] == summary["student"]


def test_a_forecast_takes_the_classes_that_timm_knows(photos: Path, weights: Path) -> None:
    found = plan(settings(photos, weights, "choice.curve=0", "choice.assembled=1"), seconds=0.3)
    assert found.images["classes"] == 1000


def test_a_teacher_that_is_to_be_fitted_is_refused(photos: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no folders of classes: to fine-tune a teacher"):
        run_recipe(settings(photos, weights, "teacher.fit={epochs: 1}"), tmp_path / "run")
    assert not (tmp_path / "run" / "teacher").exists()
