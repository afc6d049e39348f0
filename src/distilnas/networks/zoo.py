"""Networks by name: the published ones (DNA-a to d, EfficientNet-B0 to B7) and all of timm's."""

from typing import Any

import timm
from torch import nn

from distilnas.errors import UsageError, nearest
from distilnas.networks.published import ZooEntry, zoo_entries, zoo_entry, zoo_names

__all__ = ["ZooEntry", "create", "create_entry", "default_resolution", "zoo_entries", "zoo_entry", "zoo_names"]


def create_entry(entry: ZooEntry, *, num_classes: int | None = None, **kwargs: Any) -> nn.Module:
    """The network of ``entry`` with random weights, by default with as many classes as published.

    ``kwargs`` as for ``timm.create_model``: ``in_chans``, ``drop_rate``, ``drop_path_rate``, ``features_only``, ...
    """
    classes = entry.num_classes if num_classes is None else num_classes
    return timm.create_model(entry.model, num_classes=classes, **entry.model_kwargs, **kwargs)


def create(name: str, *, num_classes: int | None = None) -> nn.Module:
    """The network of a zoo name (its first variant) or of any timm name, with random weights.

    ``num_classes``: None is as many as published. Raises ``UsageError`` with the nearest names.
    """
    if name in zoo_names():
        return create_entry(zoo_entry(name), num_classes=num_classes)
    if not timm.is_model(name):
        raise UsageError(f"unknown model {name!r}; {nearest(name, [*zoo_names(), *timm.list_models()])}")
    return timm.create_model(name, num_classes=num_classes)


def default_resolution(name: str) -> int:
    """The resolution a network is meant for; 224 where it does not say."""
    if name in zoo_names():
        return zoo_entry(name).resolution
    config: Any = timm.models.get_pretrained_cfg(name)
    return config.input_size[-1] if config else 224
