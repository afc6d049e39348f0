"""Published networks by name: DNA-a to d (``zoo.yaml`` beside this file) and EfficientNet-B0 to B7 as references."""

from dataclasses import dataclass
from importlib import resources
from typing import Any

import timm
import yaml
from torch import nn

from distilnas.errors import UsageError, nearest
from distilnas.networks.student import StudentNet
from distilnas.space import Architecture

_FILE = resources.files("distilnas.networks") / "zoo.yaml"


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """A published network. ``architecture`` is None for a timm model (``timm_name``); accuracies: ImageNet, percent."""

    resolution: int
    source: str
    top1: float | None = None
    top5: float | None = None
    architecture: Architecture | None = None
    timm_name: str | None = None


def _entries() -> dict[str, ZooEntry]:
    data = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    entries = {}
    for name, entry in data.items():
        text = entry.pop("architecture", None)
        entries[name] = ZooEntry(**entry, architecture=Architecture.parse(text) if text else None)
    return entries


def zoo_names() -> tuple[str, ...]:
    """Names that ``zoo_entry`` knows."""
    return tuple(sorted(_entries()))


def zoo_entry(name: str) -> ZooEntry:
    """The entry ``name``; raises ``UsageError`` with the nearest names."""
    entries = _entries()
    if name not in entries:
        raise UsageError(f"unknown zoo network {name!r}; {nearest(name, entries)}")
    return entries[name]


def create(name: str, *, num_classes: int = 1000) -> nn.Module:
    """The network of a zoo name or of any timm name, with random weights."""
    if name in zoo_names():
        entry = zoo_entry(name)
        if entry.architecture is not None:
            return StudentNet(entry.architecture, num_classes=num_classes)
        name = str(entry.timm_name)
    if not timm.is_model(name):
        raise UsageError(f"unknown model {name!r}; {nearest(name, [*zoo_names(), *timm.list_models()])}")
    return timm.create_model(name, num_classes=num_classes)


def default_resolution(name: str) -> int:
    """The resolution a network is meant for; 224 where it does not say."""
    if name in zoo_names():
        return zoo_entry(name).resolution
    config: Any = timm.models.get_pretrained_cfg(name)
    return config.input_size[-1] if config else 224
