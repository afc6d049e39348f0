"""A small teacher, a student that has lost something of it, images, and a process that is killed."""

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from distilnas.data import Augmentation, ImageSet, Preprocessing
from distilnas.recovery import Lesson, RecoverySettings
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.training import OptimSettings

PREPROCESSING = Preprocessing(resolution=16)
DEVICE = Device("cpu")
PAIRS = (("stem", "stem"), ("body", "body"))
SETTINGS = RecoverySettings(
    epochs=2,
    batch_size=8,
    optim=OptimSettings(lr=0.01, warmup=0.2),
    rates=(),
    augment=Augmentation(crop="padded", padding=2, hflip=0.5),
    blocks=1.0,
    labels=0.5,
    frozen_norm=0.3,
    ema=0.9,
)


def images(number: int = 26, seed: int = 0, classes: tuple[str, ...] = ("a", "b", "c")) -> ImageSet:
    """Random pixels."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(number) % len(classes)).astype(np.int64)
    pixels = rng.integers(0, 256, (number, 16, 16, 3)).astype(np.uint8)
    return ImageSet(name="noise", classes=classes, labels=labels, images=pixels)


def teacher(classes: int = 3) -> nn.Module:
    """Stem, body and head; its statistics are not those of a new network, and it drops out in training."""
    torch.manual_seed(0)

    def block(before: int, after: int, stride: int) -> nn.Module:
        conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(after, momentum=1.0), nn.ReLU(inplace=True))

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(12, classes))
    model = nn.Sequential(OrderedDict(stem=block(3, 8, 2), body=block(8, 12, 2), head=head))
    with torch.no_grad():
        model.train()(torch.randn(32, 3, 16, 16))
        head[3].weight.mul_(5)
    return model.eval()


def student() -> nn.Module:
    """The teacher's weights with much of the body's cut away."""
    model = copy.deepcopy(teacher())
    with torch.no_grad():
        model.body[0].weight[:, 3:] = 0  # type: ignore[index,operator]
    return model


def lesson(folder: Path, **changes: Any) -> Lesson:
    """Everything on the CPU, a checkpoint after each step."""
    fixed: dict[str, Any] = {
        "teacher": teacher(),
        "images": images(),
        "validation": images(9, 1),
        "preprocessing": PREPROCESSING,
        "pairs": PAIRS,
        "device": DEVICE,
        "seed": 3,
        "checkpoint": folder / "checkpoint.safetensors",
        "progress": SilentProgress(),
        "checkpoint_seconds": 0.0,
    }
    return Lesson(**(fixed | changes))


def assert_same(one: nn.Module, other: nn.Module) -> None:
    """Bit for bit."""
    for (key, value), again in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, again), key
