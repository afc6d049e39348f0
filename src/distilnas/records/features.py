"""Artefacts of the features step: how alike student and teacher are, channel by channel, and maps to look at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilnas.records.files import damaged, read_part
from distilnas.tables.files import read_arrays

SCHEMA = 1
STUDENTS = ("block", "assembled")


@dataclass(frozen=True, kw_only=True)
class ShownImage:
    """An image whose maps are kept; its class where it is known."""

    name: str
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Mean and quartiles of the channels' Pearson correlations."""

    mean: float
    q1: float
    median: float
    q3: float


@dataclass(frozen=True, kw_only=True)
class Correlations:
    """Of the student block fed by the teacher (``block``) and by the student's own blocks before it (``assembled``)."""

    block: Similarity | None
    assembled: Similarity | None


@dataclass(frozen=True, kw_only=True)
class BlockFeatures:
    """Block ``block`` (from 1) with features (channels, height, width); ``compared`` channels vary in the teacher."""

    block: int
    channels: int
    height: int
    width: int
    compared: int
    correlation: Correlations


@dataclass(frozen=True, kw_only=True)
class ComparisonRecord:
    """``features.json``: compared over ``num_images`` images, of which ``images`` are shown."""

    schema: int = SCHEMA
    architecture: str
    num_images: int
    images: tuple[ShownImage, ...]
    blocks: tuple[BlockFeatures, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """The comparison with its arrays: ``inputs`` (n, R, R, 3) uint8 and for every block N, of n images and k channels,
    ``N/channels`` (k,), the maps ``N/teacher``, ``N/block`` and ``N/assembled`` (n, k, H, W), ``N/correlation/block``
    and ``N/correlation/assembled`` (C,).
    """

    comparison: ComparisonRecord
    arrays: dict[str, np.ndarray]


def read_features(folder: Path, architecture: str | None) -> Features | None:
    """None when there are none, or when they are those of another solution than ``architecture``."""
    comparison = read_part(folder / "features.json", ComparisonRecord)
    if comparison is None or comparison.architecture != architecture:
        return None
    path = folder / "features.npz"
    arrays, _ = read_arrays(path, kind="features", schema=SCHEMA)
    for name, shape in _shapes(comparison, arrays).items():
        found = arrays[name].shape if name in arrays else ()
        if len(found) != len(shape) or any(s not in (None, f) for s, f in zip(shape, found, strict=True)):
            raise damaged(path, f"{name} has shape {found}, {shape} was expected")
    return Features(comparison=comparison, arrays=arrays)


def _shapes(comparison: ComparisonRecord, arrays: dict[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
    """The shapes that the comparison implies; None is any size."""
    n = len(comparison.images)
    shapes: dict[str, tuple[Any, ...]] = {"inputs": (n, None, None, 3)}
    for block in comparison.blocks:
        b = block.block
        shapes |= {f"{b}/correlation/{name}": (block.channels,) for name in STUDENTS}
        k = arrays[f"{b}/channels"].size if f"{b}/channels" in arrays else None
        shapes |= {f"{b}/{name}": (n, k, block.height, block.width) for name in ("teacher", *STUDENTS)}
        shapes[f"{b}/channels"] = (k,)
    return shapes
