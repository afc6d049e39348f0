"""A run of some seconds: 120 generated images of three classes, a ResNet of a few channels, one epoch of everything."""

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.settings import Settings

CLASSES = ("blue", "green", "red")
CONFIG = {
    "data": {"resolution": 32, "validation": 6},
    "teacher": {
        "model": "resnet10t",
        "model_kwargs": {"channels": [8, 16, 16, 32]},
        "fit": {"epochs": 1, "batch_size": 24},
    },
    "space": {"fitted": {"depths": [1, 2], "kernels": [3], "expansions": [2, 3], "stem_width": 8, "head_width": 16}},
    "distill": {"epochs": 2, "batch_size": 16},
    "rate": {"images": 16, "batch_size": 8},
    "solve": {"max_macs": "80%", "alternatives": 1},
    "retrain": {"epochs": 1, "batch_size": 24},
    "runtime": {"accelerator": "cpu", "threads": 1},
}


def write_images(root: Path, *, number: int = 40, side: int = 32) -> Path:
    """``number`` images a class: noise, brighter in the class's channel."""
    rng = np.random.default_rng(0)
    for channel, name in enumerate(reversed(CLASSES)):
        (root / name).mkdir(parents=True)
        for i in range(number):
            pixels = rng.integers(0, 200, (side, side, 3))
            pixels[:, :, channel] += 55
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i:03d}.png")
    return root


def write_config(folder: Path, images: Path) -> Path:
    """The configuration as a YAML file for the command line."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "data": {**CONFIG["data"], "path": str(images)}}))
    return path


def tiny_settings(folder: Path, images: Path, *overrides: str) -> Settings:
    """The configuration with ``overrides``, as settings."""
    return load_settings(str(write_config(folder, images)), overrides)


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a table's file."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
