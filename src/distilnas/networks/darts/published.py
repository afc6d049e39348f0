"""Published genotypes by name (``published.yaml`` beside this file) and the two networks each was published with."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from distilnas.errors import UsageError, nearest
from distilnas.space.darts import DartsArchitecture, Genotype, parse_genotype

_FILE = resources.files("distilnas.networks.darts") / "published.yaml"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The size in which derived networks are evaluated on a data set (DARTS, section 3)."""

    stem: str
    width: int
    num_cells: int
    num_classes: int
    resolution: int


VARIANTS = MappingProxyType(
    {
        "cifar10": Variant(stem="cifar", width=36, num_cells=20, num_classes=10, resolution=32),
        "imagenet": Variant(stem="imagenet", width=48, num_cells=14, num_classes=1000, resolution=224),
    }
)


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """What ``source`` reports: errors in percent, ``params`` and ``flops`` (as printed) in millions; None: not said."""

    source: str
    top1_error: float | None = None
    top1_error_std: float | None = None
    top5_error: float | None = None
    params: float | None = None
    flops: float | None = None
    gpu_days: float | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedGenotype:
    """A genotype, where it comes from, and results by variant."""

    genotype: Genotype
    source: str
    published: MappingProxyType[str, PublishedResult]


def genotype_names() -> tuple[str, ...]:
    """Names that ``published_genotype`` knows."""
    return tuple(_entries())


def published_genotype(name: str) -> PublishedGenotype:
    """The entry ``name``; raises ``UsageError`` with the nearest names."""
    if name not in _entries():
        raise UsageError(f"unknown genotype {name!r}; {nearest(name, _entries())}")
    return _entries()[name]


def variant_of(name: str) -> Variant:
    """The variant ``name``; raises ``UsageError`` with the valid names."""
    if name not in VARIANTS:
        raise UsageError(f"unknown variant {name!r}; {nearest(name, VARIANTS)}")
    return VARIANTS[name]


def published_architecture(
    name: str, variant: str = "imagenet", *, width: int | None = None, num_cells: int | None = None
) -> DartsArchitecture:
    """The network of a published genotype in the size of ``variant``, or in another ``width`` or ``num_cells``."""
    size = variant_of(variant)
    return DartsArchitecture(
        genotype=published_genotype(name).genotype,
        stem=size.stem,
        width=size.width if width is None else width,
        num_cells=size.num_cells if num_cells is None else num_cells,
    )


@cache
def _entries() -> dict[str, PublishedGenotype]:
    data: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: _read(**entry) for name, entry in data.items()}


def _read(genotype: str, source: str, published: dict[str, dict[str, Any]]) -> PublishedGenotype:
    parsed = parse_genotype(genotype)
    assert isinstance(parsed, Genotype)
    results = {variant: PublishedResult(**result) for variant, result in published.items()}
    return PublishedGenotype(genotype=parsed, source=source, published=MappingProxyType(results))
