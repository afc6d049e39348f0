"""Whether two architectures differ by more than the noise of their ratings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from distilnas.errors import UsageError
from distilnas.solve.problem import Position

_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Tie:
    """The paired comparison of architecture a with b over batches; ``difference`` is mean rating a minus b.

    ``interval`` is the two-sided 95 % confidence interval of the difference (Student's t), ``tied`` when it holds 0,
    ``p_value`` that of the paired t-test.
    """

    difference: float
    standard_error: float
    interval: tuple[float, float]
    p_value: float
    num_batches: int

    @property
    def tied(self) -> bool:
        return self.interval[0] <= 0.0 <= self.interval[1]


def tie_test(a: Sequence[Position], b: Sequence[Position], batch_ratings: Sequence[Sequence[np.ndarray]]) -> Tie:
    """Compare the summed ratings of two architectures batch by batch.

    ``batch_ratings[block][cell]`` is (n_candidates, K): every candidate's rating on the same K >= 2 batches. Pairing
    removes what makes a batch hard for both. Raises `UsageError` when the blocks or batches do not fit together.
    """
    if not len(a) == len(b) == len(batch_ratings):
        raise UsageError(f"both architectures and the batch ratings must have the same number of blocks; "
                         f"got {len(a)}, {len(b)} and {len(batch_ratings)}.")  # fmt: skip
    rows = [(cells[i][m], cells[j][n]) for cells, (i, m), (j, n) in zip(batch_ratings, a, b, strict=True)]
    counts = {len(row) for pair in rows for row in pair}
    if len(counts) != 1 or min(counts) < 2:
        raise UsageError(f"all candidates must be rated on the same batches, at least 2; got {sorted(counts)} batches.")
    differences = np.sum([np.subtract(*pair, dtype=np.float64) for pair in rows], axis=0)  # (K,)
    mean, n = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    margin = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    return Tie(
        difference=mean,
        standard_error=error,
        interval=(mean - margin, mean + margin),
        p_value=p_value,
        num_batches=n,
    )
