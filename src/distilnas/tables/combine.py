"""How the ratings of an architecture's blocks combine: their sum, or a weighted sum.

A weighted table is a rating table like any other, so that solver, tie test and report work on it unchanged.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distilnas.errors import UsageError
from distilnas.tables.ratings import CellRatings, RatingTable


def scaled(table: RatingTable, weights: Sequence[float] | np.ndarray) -> RatingTable:
    """The table with each rated block's ratings, errors and batch values times its weight.

    Its settings tell the product of all ``block_weights`` so far. Raises ``UsageError`` unless there is one finite
    weight from 0 for each block, not all 0.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if (
        weights.shape != (len(table.body),)
        or not np.isfinite(weights).all()
        or (weights < 0).any()
        or not weights.any()
    ):
        raise UsageError(
            f"block weights must be {len(table.body)} finite numbers from 0, one a block and not all 0, got "
            f"{weights.tolist()}."
        )
    cells = tuple(
        tuple(CellRatings(mean=w * cell.mean, stderr=w * cell.stderr, batches=w * cell.batches) for cell in block)
        for w, block in zip(weights, table.body, strict=True)
    )
    before = table.settings.get("block_weights", [1.0] * len(weights))
    settings = table.settings | {"block_weights": (weights * before).tolist()}
    return replace(table, cells=(*cells, table.cells[-1]), settings=settings)


def spread_weights(table: RatingTable) -> np.ndarray:
    """One over the standard deviation of a block's ratings over its candidates: sums z-scores, but for a constant.

    Raises ``UsageError`` for a block whose candidates are all rated equal.
    """
    spreads = np.array([np.concatenate([cell.mean.ravel() for cell in block]).std() for block in table.body])
    if not (spreads > 0).all():
        raise UsageError(
            f"the ratings of block {int(np.argmin(spreads > 0)) + 1} are all equal: they cannot be brought to one "
            "spread. Combine them as a plain sum."
        )
    return 1 / spreads
