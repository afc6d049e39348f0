"""Which channels a linear map can do without: greedy elimination with exact compensation by those that stay.

The optimal brain surgeon's rule (Hassibi and Stork, 1993) for a map W of inputs x with covariance C: without the
columns c, and with all others refitted by least squares, the squared error grows by W_c inv((inv C)_cc) W_c^T. Removing
them changes W and inv C by terms of low rank, so that one run gives the order of all channels and the error after each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from distilnas.surgery.moments import Moment, ridged_factor

RIDGE = 1e-4  # of the mean diagonal of C: inputs that hardly vary, or depend on each other, count as noise
_PENDING = 48  # columns whose effect on the big matrices is put off, so that it is one product of matrices


@dataclass(frozen=True, kw_only=True, eq=False)
class Elimination:
    """``order`` (n,): channels in the order in which they are best left out; those never reached come last.

    ``errors`` (n + 1,): share of the map's output (its mean square about the mean, 0 to 1) lost after leaving out the
    first 0, 1, ..., n of them, the others refitted; NaN where the run had stopped.
    """

    order: np.ndarray
    errors: np.ndarray

    def kept(self, number: int) -> np.ndarray:
        """The ``number`` channels that stay, in their own order."""
        return np.sort(self.order[len(self.order) - number :])

    def error(self, number: int) -> float:
        """Share of the output lost when ``number`` channels stay."""
        return float(self.errors[len(self.order) - number])


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """One linear map that reads the channels: ``weight`` (outputs, columns), ``moment`` of its (columns,) inputs.

    ``columns`` (n, b): which b columns belong to each of the n channels; all columns once.
    """

    weight: np.ndarray
    moment: Moment
    columns: np.ndarray


def eliminate(readers: Sequence[Reader], *, keep: int = 1, ridge: float = RIDGE, at_once: int = 1) -> Elimination:
    """Order the channels that ``readers`` share until ``keep`` are left; their errors add up, each as a share.

    ``at_once`` channels leave in a step where many are left (their joint effect on the others is exact, their choice
    is by single scores); 1 is the greedy rule. Calculates in float64; the same input gives the same bits.
    """
    states = [_State(reader, ridge) for reader in readers]
    number = len(readers[0].columns)
    order: list[int] = []
    errors = np.full(number + 1, np.nan)
    errors[0] = total = 0.0
    while number - len(order) > keep:
        scores = np.sum([state.scores() for state in states], axis=0)
        scores[order] = np.inf
        group = np.argsort(scores, kind="stable")[: min(at_once, number - len(order) - keep)]
        for channel in group:
            total += sum(state.remove(int(channel)) for state in states)
            order.append(int(channel))
            errors[len(order)] = total
    rest = np.setdiff1d(np.arange(number), order)
    return Elimination(order=np.concatenate([order, rest]).astype(np.int64), errors=errors)


class _State:
    """inv C and the refitted W of one reader as channels leave.

    Both stay as they were at the last ``_flush``; what later removals did to them is held as factors of low rank. Kept
    up to date at every step are only the n blocks on the diagonals of inv C and W^T W, which are all that scores need.
    """

    def __init__(self, reader: Reader, ridge: float) -> None:
        covariance = reader.moment.covariance()
        number, b = reader.columns.shape
        order = reader.columns.ravel()
        covariance = covariance[np.ix_(order, order)]
        weight = np.asarray(reader.weight, dtype=np.float64)[:, order]
        self._total = float(np.einsum("oi,ij,oj->", weight, covariance, weight, optimize=True)) or 1.0
        self._b = b
        self._inverse = _inverse(covariance, ridge)
        self._weight = weight
        self._at = np.arange(number)  # where a channel stands in the big matrices, which lose rows now and then
        self._left = np.ones(number, dtype=bool)
        self._blocks = _diagonal_blocks(self._inverse, b)  # (n, b, b) of inv C
        per_channel = weight.T.reshape(number, b, -1)
        self._gram = per_channel @ per_channel.transpose(0, 2, 1)  # (n, b, b) of W^T W
        self._clear()

    def scores(self) -> np.ndarray:
        """(n,) share of the output that is lost if this channel leaves next; junk for those that have left."""
        if self._b == 1:
            return self._gram[:, 0, 0] / self._blocks[:, 0, 0] / self._total
        return np.einsum("nab,nba->n", np.linalg.inv(self._blocks), self._gram) / self._total

    def remove(self, channel: int) -> float:
        """Leave ``channel`` out; what that costs."""
        b, rows = self._b, self._rows(channel)
        block = np.linalg.inv(self._blocks[channel])
        cost = float(np.sum(block * self._gram[channel].T)) / self._total
        done = self._done
        column = self._inverse[rows] - self._factor[:done, rows].T @ self._scaled[:done]  # (b, columns) of inv C
        scaled = block @ column
        out = self._weight[:, rows] - self._out[:done].T @ self._scaled[:done, rows]  # (outputs, b), refitted so far
        product = out.T @ self._weight - (out.T @ self._out[:done].T) @ self._scaled[:done]  # (b, columns) of W^T W
        self._update_blocks(column, scaled, product, out.T @ out)
        self._left[channel] = False
        self._blocks[channel], self._gram[channel] = np.eye(b), 0.0
        self._factor[done : done + b], self._scaled[done : done + b], self._out[done : done + b] = column, scaled, out.T
        self._done += b
        if self._done + b > len(self._factor):
            self._flush()
        return cost

    def _update_blocks(self, column: np.ndarray, scaled: np.ndarray, product: np.ndarray, gram: np.ndarray) -> None:
        b = self._b
        at = np.flatnonzero(self._left)
        where = (self._at[at][:, None] * b + np.arange(b)).ravel()

        def per_channel(matrix: np.ndarray) -> np.ndarray:
            return matrix[:, where].reshape(b, len(at), b).transpose(1, 0, 2)  # (n, b of the channel removed, b)

        p, s, g = per_channel(column), per_channel(scaled), per_channel(product)
        self._blocks[at] -= np.einsum("nca,ncd->nad", p, s)
        cross = np.einsum("nca,ncd->nad", s, g)
        self._gram[at] += np.einsum("nca,ce,ned->nad", s, gram, s, optimize=True) - cross - cross.transpose(0, 2, 1)

    def _rows(self, channel: int) -> slice:
        return slice(self._at[channel] * self._b, (self._at[channel] + 1) * self._b)

    def _flush(self) -> None:
        """Apply what was put off, and drop the rows of the channels that have left."""
        b = self._b
        channels = np.flatnonzero(self._left)
        where = (self._at[channels][:, None] * b + np.arange(b)).ravel()
        scaled = self._scaled[: self._done, where]
        inverse = self._inverse[np.ix_(where, where)]
        inverse -= self._factor[: self._done, where].T @ scaled
        self._inverse = inverse
        self._weight = self._weight[:, where] - self._out[: self._done].T @ scaled
        self._at[channels] = np.arange(len(channels))
        self._clear()

    def _clear(self) -> None:
        columns, rows = len(self._inverse), max(_PENDING, _PENDING // 2 * self._b)
        self._done = 0
        self._factor, self._scaled = np.zeros((rows, columns)), np.zeros((rows, columns))
        self._out = np.zeros((rows, len(self._weight)))


def _inverse(matrix: np.ndarray, ridge: float) -> np.ndarray:
    """Of the symmetric ``matrix`` with ``ridge`` of its mean diagonal, more where rounding made it indefinite."""
    (invert,) = linalg.get_lapack_funcs(("potri",), (matrix,))
    inverse, failed = invert(ridged_factor(matrix, ridge), lower=1, overwrite_c=1)
    assert not failed
    return np.tril(inverse) + np.tril(inverse, -1).T


def _diagonal_blocks(matrix: np.ndarray, b: int) -> np.ndarray:
    number = len(matrix) // b
    blocks = matrix.reshape(number, b, number, b)
    return blocks[np.arange(number), :, np.arange(number), :].copy()
