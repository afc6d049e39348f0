"""The rating table: how well every candidate imitates its teacher block, with its error; heads imitate none."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distilnas.errors import UsageError
from distilnas.space import Choice, SearchSpace
from distilnas.tables.files import read_arrays, write_arrays

SCHEMA = 2
_BODY = 1  # the schema without the head


@dataclass(frozen=True, kw_only=True, eq=False)
class CellRatings:
    """Ratings of one family; array shapes follow it: one axis per layer, one index per op. Lower is better.

    ``mean`` and ``stderr`` (over images): (ops of layer 1, ops of layer 2, ...). ``batches``: (K, ...) the same rating
    on each of the K batches of rating images, for paired comparisons of candidates.
    """

    mean: np.ndarray
    stderr: np.ndarray
    batches: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class RatingTable:
    """Ratings of ALL candidates of a search space: ``cells[block][family]``, the head's, which are 0, among them."""

    space: str
    metric: str
    num_images: int
    cells: tuple[tuple[CellRatings, ...], ...]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def num_rated(self) -> int:
        """Candidates of the body with a finite rating."""
        return sum(int(np.isfinite(cell.mean).sum()) for block in self.body for cell in block)

    @property
    def body(self) -> tuple[tuple[CellRatings, ...], ...]:
        """The blocks that were rated: all but the head."""
        return self.cells[:-1]

    def total(self, choice: Choice) -> float:
        """Sum over blocks: the predicted rating of an architecture (DNA, equation 8: sum of block losses)."""
        return float(sum(self.cells[b][c.cell].mean[c.path] for b, c in enumerate(choice)))

    def check(self, space: SearchSpace) -> None:
        """Raise ``UsageError`` when this table belongs to another space."""
        if self.space != space.fingerprint:
            raise UsageError(
                f"the rating table belongs to space {self.space}, not to {space.name!r} ({space.fingerprint})."
            )
        shapes = [[cell.mean.shape for cell in block] for block in self.cells]
        if shapes != [[family.shape for family in block.families] for block in space.blocks]:
            raise UsageError(f"the rating table is damaged: it does not have the candidates of space {space.name!r}.")

    def save(self, path: Path) -> None:
        """Write one .npz file; ``load`` reads it back."""
        arrays = {}
        for b, block in enumerate(self.cells):
            for c, cell in enumerate(block):
                arrays |= {f"{b}/{c}/mean": cell.mean, f"{b}/{c}/stderr": cell.stderr, f"{b}/{c}/batches": cell.batches}
        meta = {
            "kind": "ratings",
            "schema": SCHEMA,
            "space": self.space,
            "metric": self.metric,
            "num_images": self.num_images,
            "cells": [len(block) for block in self.cells],
            "settings": self.settings,
        }
        write_arrays(path, arrays, meta)

    @classmethod
    def load(cls, path: Path) -> "RatingTable":
        """Read ``save``'s file, or one of schema 1; raises ``UsageError`` for anything else."""
        arrays, meta = read_arrays(path, kind="ratings", schema=SCHEMA, older=(_BODY,))
        try:
            cells = tuple(
                tuple(
                    CellRatings(**{part: arrays[f"{b}/{c}/{part}"] for part in ("mean", "stderr", "batches")})
                    for c in range(number)
                )
                for b, number in enumerate(meta["cells"])
            )
            return cls(
                space=meta["space"],
                metric=meta["metric"],
                num_images=meta["num_images"],
                cells=cells if meta["schema"] == SCHEMA else (*cells, unrated([()], len(cells[0][0].batches))),
                settings=meta["settings"],
            )
        except (KeyError, TypeError, IndexError) as error:
            raise UsageError(f"{path} is damaged ({error} missing); delete it and rate again.") from error


def indifferent(space: SearchSpace) -> RatingTable:
    """A table in which all candidates are alike, to search by costs alone."""
    cells = tuple(unrated((family.shape for family in block.families), 1) for block in space.blocks)
    return RatingTable(space=space.fingerprint, metric="none", num_images=0, cells=cells)


def unrated(shapes: Iterable[tuple[int, ...]], batches: int) -> tuple[CellRatings, ...]:
    """A block of families of ``shapes`` whose candidates all have rating and error 0."""
    zeros = map(np.zeros, shapes)
    return tuple(CellRatings(mean=x, stderr=x, batches=np.zeros((batches, *x.shape))) for x in zeros)
