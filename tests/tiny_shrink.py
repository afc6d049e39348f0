"""A shrinking run of some seconds: the images of ``tiny_run``, a ResNet of a few channels."""

from pathlib import Path
from typing import Any

import yaml

from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.shrink.settings import ShrinkSettings

CONFIG: dict[str, Any] = {
    "recipe": "shrink",
    "data": {"resolution": 32, "validation": 6},
    "teacher": {
        "model": "resnet10t",
        "model_kwargs": {"channels": [16, 16, 32, 32]},
        "fit": {"epochs": 1, "batch_size": 24},
    },
    "budgets": [{"macs": "70%"}],
    "library": {"ratios": [0.5, 0.25], "linear": True, "images": 24, "rating_images": 16},
    "choice": {"assembled": 2, "curve": 2, "explorer": 4},
    "recovery": {"epochs": 1, "batch_size": 24, "rates": [0.001]},
    "runtime": {"accelerator": "cpu", "threads": 1},
}


def write_shrink(folder: Path, images: Path) -> Path:
    """The configuration as a file."""
    path = folder / "shrink.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "data": {**CONFIG["data"], "path": str(images)}}))
    return path


def tiny_shrink(folder: Path, images: Path, *overrides: str) -> ShrinkSettings:
    """The configuration with ``overrides``, as settings."""
    return load_settings(str(write_shrink(folder, images)), overrides)
