"""DNA's cells in the library of the recipe ``shrink``."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_run import write_images
from tiny_shrink import CONFIG, tiny_shrink

from distilnas.errors import UsageError
from distilnas.recipes.catalogue import settings_from
from distilnas.recipes.planner import plan
from distilnas.recipes.shrink.recipe import library_of

CELLS = "library.cells={space: {width_ratios: [0.5], expansions: [3]}, distill: {epochs: 2, batch_size: 24}}"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


def test_cells_are_trained_once_and_stand_in_the_library(photos: Path, tmp_path: Path) -> None:
    """ResNet-10 has four blocks that cells may stand for, and a cell of two kernels has two candidates."""
    settings = tiny_shrink(tmp_path, photos, CELLS, "library.linear=false")
    library = library_of(settings, tmp_path / "run")
    assert len(library.replacements) == 4 * 2
    trained = tmp_path / "run" / "cells" / "supernet.safetensors"
    losses = json.loads((trained.parent / "step.json").read_text())["result"]["losses"]
    assert [name for name in losses if name.startswith("block")] == [f"block {i}" for i in (2, 3, 4, 5)]
    before = trained.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "run" / "library")
    again = library_of(settings, tmp_path / "run")
    assert list(again.replacements) == list(library.replacements)
    assert trained.stat().st_mtime_ns == before


def test_a_forecast_counts_the_training_of_cells(photos: Path, tmp_path: Path) -> None:
    settings = tiny_shrink(tmp_path, photos, CELLS, "choice.curve=0", "choice.assembled=1")
    steps = {step.name: step for step in plan(settings, seconds=0.5).steps}
    assert any(work.compute for work in steps["cells"].works)


def test_a_teacher_without_maps_is_refused(photos: Path, tmp_path: Path) -> None:
    teacher = {"model": "vit_tiny_patch16_224", "fit": {"epochs": 1}}
    teacher["model_kwargs"] = {"img_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2}
    settings = settings_from({**CONFIG, "data": {**CONFIG["data"], "path": str(photos)}, "teacher": teacher}, (CELLS,))
    with pytest.raises(UsageError, match="this teacher has none"):
        library_of(settings, tmp_path / "run")
