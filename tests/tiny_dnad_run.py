"""A DNAD run of some seconds: generated images of three classes at 16 px, three cells of two ops, two epochs."""

from pathlib import Path
from typing import Any

import yaml

from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.dnad.settings import DnadSettings

PRESSURE = {"gamma": 0.5, "gamma_max": 0.6, "phi": 1.5, "q_max": 2, "n_max": 4.0}
CONFIG: dict[str, Any] = {
    "recipe": "dnad",
    "data": {"source": "synthetic", "images": 90, "classes": 3, "resolution": 16, "validation": 6},
    "teacher": {
        "model": "cifar_resnet",
        "model_kwargs": {"widths": [4, 8, 8], "depths": [1, 1, 1]},
        "partition": ["stages.0", "stages.1", "stages.2"],
        "fit": {"epochs": 1, "batch_size": 24},
    },
    "space": {"width": 2, "num_cells": 3, "primitives": "p2"},
    "search": {
        "held_out": 12,
        "shrink": {"epochs": 2, "batch_size": 8, "evaluation_width": 4, "min_sparsity": 20, "pressure": PRESSURE},
        "bilevel": {
            "epochs": 1,
            "batch_size": 8,
            "order": "first",
            "evaluation_width": 4,
            "evaluation_cells": 4,
        },
    },
    "retrain": {"epochs": 1, "batch_size": 24, "drop_path_rate": 0.1},
    "runtime": {"accelerator": "cpu", "threads": 1},
}


def write_dnad(folder: Path) -> Path:
    """The configuration as a YAML file."""
    path = folder / "tiny-dnad.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def dnad_settings(folder: Path, *overrides: str) -> DnadSettings:
    """The configuration with ``overrides``, as settings."""
    return load_settings(str(write_dnad(folder)), overrides)
