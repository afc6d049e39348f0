"""One finished tiny run for all tests of the recipe, to be read or copied."""

from pathlib import Path

import pytest
from tiny_run import tiny_settings, write_images

from distilnas.recipes.dna.recipe import run_dna


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="session")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_dna(tiny_settings(folder, images), folder / "run")
    return folder / "run"
