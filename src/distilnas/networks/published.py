"""What was published: names of networks, how timm's registry builds them, and the facts (``zoo.yaml``).

A name may have variants (one architecture for two data sets, say), each an entry with facts of its own. In the file,
``variants`` maps their names to the fields in which they differ; the first is the default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from distilnas.errors import UsageError, nearest
from distilnas.networks.darts.published import VARIANTS, genotype_names, published_architecture, published_genotype
from distilnas.space import Architecture
from distilnas.space.darts import AnyArchitecture

_FILE = Path(__file__).with_name("zoo.yaml")


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """A published network, or one variant of it.

    How to create it: ``timm.create_model(model, num_classes=num_classes, **model_kwargs)``. ``architecture`` is None
    where the network is one of timm's and has no text form of ours. Facts: accuracies in percent on the test images of
    ``dataset`` at ``resolution`` (pixels), as printed in ``source``; None is not published.
    """

    name: str
    variant: str = ""
    model: str
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    architecture: AnyArchitecture | None = None
    dataset: str = "ImageNet"
    resolution: int
    num_classes: int = 1000
    top1: float | None = None
    top5: float | None = None
    source: str


Entries = dict[str, dict[str, ZooEntry]]
"""By name, then by variant; the first variant is the default, the only one of a name without variants is ''."""


def zoo_names() -> tuple[str, ...]:
    """Names that ``zoo_entry`` knows, sorted."""
    return tuple(sorted(_entries()))


def zoo_entries() -> tuple[ZooEntry, ...]:
    """All networks in all their variants, by name."""
    return tuple(entry for name in zoo_names() for entry in _entries()[name].values())


def zoo_entry(name: str, variant: str | None = None) -> ZooEntry:
    """The entry ``name`` (``dna-a`` or ``dna_a``), by default its first variant.

    Raises ``UsageError`` with the nearest names, or the variants there are.
    """
    entries = _entries()
    variants = entries.get(name.replace("_", "-"))
    if variants is None:
        raise UsageError(f"unknown zoo network {name!r}; {nearest(name.replace('_', '-'), entries)}")
    if variant is None:
        return next(iter(variants.values()))
    if variant not in variants:
        valid = f"valid: {', '.join(variants)}." if any(variants) else "it has none: leave the variant out."
        raise UsageError(f"{name} has no variant {variant!r}; {valid}")
    return variants[variant]


def _entries() -> Entries:
    """All families of published networks; names have hyphens."""
    return published_entries() | _darts_entries()


@cache
def _darts_entries() -> Entries:
    """The published DARTS genotypes, each as the two networks it was evaluated in."""
    names = {name: name.replace("_", "-") for name in genotype_names()}
    return {zoo: {v: _darts_entry(name, zoo, v) for v in ("imagenet", *VARIANTS)} for name, zoo in names.items()}


def _darts_entry(name: str, zoo_name: str, variant: str) -> ZooEntry:
    published, size = published_genotype(name), VARIANTS[variant]
    result = published.published.get(variant)
    errors = (result.top1_error, result.top5_error) if result else (None, None)
    top1, top5 = (None if error is None else round(100 - error, 2) for error in errors)
    return ZooEntry(
        name=zoo_name,
        variant=variant,
        model=name,
        model_kwargs={"variant": variant},
        architecture=published_architecture(name, variant),
        dataset={"cifar10": "CIFAR-10", "imagenet": "ImageNet"}[variant],
        resolution=size.resolution,
        num_classes=size.num_classes,
        top1=top1,
        top5=top5,
        source=f"{published.source}; accuracy: {result.source}" if result else published.source,
    )


@cache
def published_entries() -> Entries:
    """The entries of ``zoo.yaml``."""
    return read_entries(_FILE.read_text(encoding="utf-8"))


def read_entries(text: str) -> Entries:
    """Entries from YAML like that of ``zoo.yaml``."""
    return {name: _variants(name, fields) for name, fields in yaml.safe_load(text).items()}


def _variants(name: str, fields: dict[str, Any]) -> dict[str, ZooEntry]:
    common = {key: value for key, value in fields.items() if key != "variants"}
    own = fields.get("variants", {"": {}})
    return {variant: _entry(name, variant, common | changes) for variant, changes in own.items()}


def _entry(name: str, variant: str, fields: dict[str, Any]) -> ZooEntry:
    text = fields.pop("architecture", None)
    return ZooEntry(name=name, variant=variant, architecture=Architecture.parse(text) if text else None, **fields)
