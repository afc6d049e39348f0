"""What a result was made with."""

import platform
from importlib import metadata
from typing import Any

import torch

from distilnas.version import __version__

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "lightning-fabric", "onnx", "onnxruntime")


def provenance(*, seed: int, config_hash: str, device: str) -> dict[str, Any]:
    """Versions, seed, config hash and device, as JSON values."""
    return {
        "distilnas": __version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "device": device,
        "threads": torch.get_num_threads(),
        "seed": seed,
        "config_hash": config_hash,
    }
