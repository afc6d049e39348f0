"""From millions of candidates to the few that can matter: one pass over the tables with good prices.

The prices come from a trellis of sampled candidates that grows by the cheapest ones of each pass (column generation).
A pass gives every candidate the weighted value of the cheapest path through it, hence a proof for those it drops.
"""

from dataclasses import dataclass

import numpy as np

from distilnas.solve.chain import Chain, ChainCell
from distilnas.solve.dominance import undominated
from distilnas.solve.dual import Planes, best_prices
from distilnas.solve.trellis import Trellis, gather

_SAMPLED = 64  # candidates of each cell in the first trellis
_CORE = 3_000  # arcs of each block, about, that a pass adds
_QUANTILE_SAMPLE = 512  # candidates of each cell from which the core's threshold is read
_CROWDED = 2_000  # arcs of a cell and state from which dominance between them pays
_PASSES = 6
_SETTLED = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Offers:
    """The result of a pass: ``totals[block][cell]`` (n_in, n_c), the weighted value of the cheapest path through each
    candidate; the weights (1 + m,), and the lower bound on the goal that they prove."""

    totals: list[list[np.ndarray]]
    weights: np.ndarray
    bound: float


def everything(chain: Chain, k: int | None = None) -> Trellis:
    """All arcs of the chain; with ``k`` without those that k or more of the same cell and state dominate."""
    masks = [[np.ones((n, _size(cell)), dtype=bool) for cell in block] for block, n in _with_states(chain)]
    return _select(chain, masks, k)


def price_out(chain: Chain) -> tuple[Trellis, Offers | None]:
    """A core of the chain's most promising arcs, and the offers of the last pass.

    The offers are None when the prices prove that no path keeps the limits.
    """
    samples = [[_sample(cell) for cell in block] for block in chain.blocks]
    masks = [
        [_column_mask(n, cell, columns) for cell, columns in zip(block, block_samples, strict=True)]
        for (block, n), block_samples in zip(_with_states(chain), samples, strict=True)
    ]
    trellis, planes, ceiling = _select(chain, masks, None), Planes(), _ceiling(chain)
    offers = None
    for _ in range(_PASSES):
        prices = best_prices(trellis, planes, enough=ceiling)
        offers = make_offers(chain, prices.weights)
        slack = trellis.tolerance(prices.weights)
        if offers.bound > ceiling + slack:
            return trellis, None
        thresholds = [_threshold(totals) for totals in offers.totals]
        masks = [
            [(t <= threshold) | m for t, m in zip(totals, block_masks, strict=True)]
            for totals, threshold, block_masks in zip(offers.totals, thresholds, masks, strict=True)
        ]
        trellis = _select(chain, masks, None)
        lowest = offers.bound + offers.weights[1:] @ chain.limits
        if prices.bound - offers.bound <= _SETTLED * (float(np.mean(thresholds)) - lowest) + slack:
            break
    return trellis, offers


def make_offers(chain: Chain, weights: np.ndarray) -> Offers:
    """One pass over all tables of the chain."""
    totals = [[_weighted(cell, n, weights) for cell in block] for block, n in _with_states(chain)]
    least = [[table.min(axis=1) for table in block] for block in totals]
    ahead = [np.zeros(chain.states[-1])]
    for block, mins in zip(reversed(chain.blocks), reversed(least), strict=True):
        onward = [low + ahead[0][cell.head] for cell, low in zip(block, mins, strict=True)]
        ahead.insert(0, np.min(onward, axis=0))
    behind = np.zeros(1)
    for i, (block, mins) in enumerate(zip(chain.blocks, least, strict=True)):
        reached = np.full(chain.states[i + 1], np.inf)
        for cell, low, table in zip(block, mins, totals[i], strict=True):
            reached[cell.head] = min(reached[cell.head], (behind + low).min())
            table += (behind + ahead[i + 1][cell.head])[:, None]
        behind = reached
    return Offers(totals=totals, weights=weights, bound=float(ahead[0][0] - weights[1:] @ chain.limits))


def reduce_to(chain: Chain, offers: Offers, cutoff: float, k: int, slack: float) -> Trellis:
    """The arcs on paths with a goal up to ``cutoff`` within the limits, where crowded only those that fewer than ``k``
    dominate; loses none of the k best paths up to the cutoff."""
    end = cutoff + offers.weights[1:] @ chain.limits + slack
    return _select(chain, [[table <= end for table in block] for block in offers.totals], k)


def _with_states(chain: Chain) -> list[tuple[tuple[ChainCell, ...], int]]:
    return list(zip(chain.blocks, chain.states, strict=False))


def _size(cell: ChainCell) -> int:
    return cell.values[0].shape[1]


def _ceiling(chain: Chain) -> float:
    """A goal that no path exceeds."""
    return sum(max(float(c.values[0].max()) for c in block) for block in chain.blocks)


def _spread_out(size: int, count: int) -> np.ndarray:
    """About ``count`` distinct columns out of ``size``, evenly but without a period (golden ratio)."""
    if size <= count:
        return np.arange(size)
    return np.unique((np.arange(count) * 0.6180339887498949 % 1 * size).astype(np.int64))


def _sample(cell: ChainCell) -> np.ndarray:
    """Columns of the cell: spread out ones, and those with the smallest goal and loads in each state."""
    smallest = [table.argmin(axis=1) for table in cell.values]
    return np.unique(np.concatenate([_spread_out(_size(cell), _SAMPLED), *smallest]))


def _column_mask(n_states: int, cell: ChainCell, columns: np.ndarray) -> np.ndarray:
    mask = np.zeros((n_states, _size(cell)), dtype=bool)
    mask[:, columns] = True
    return mask


def _weighted(cell: ChainCell, n_states: int, weights: np.ndarray) -> np.ndarray:
    total = np.empty((n_states, _size(cell)))
    total[:] = cell.values[0] * weights[0]
    for weight, table in zip(weights[1:], cell.values[1:], strict=True):
        if weight:
            total += weight * table
    return total


def _threshold(totals: list[np.ndarray]) -> float:
    """A value that about `_CORE` of a block's totals stay below."""
    sample = np.concatenate([t[:, _spread_out(t.shape[1], _QUANTILE_SAMPLE)].ravel() for t in totals])
    place = min(len(sample) - 1, int(len(sample) * _CORE / sum(t.size for t in totals)))
    return float(np.partition(sample, place)[place])


def _select(chain: Chain, masks: list[list[np.ndarray]], k: int | None) -> Trellis:
    picks = [
        [_pick(cell, mask, k) for cell, mask in zip(block, block_masks, strict=True)]
        for block, block_masks in zip(chain.blocks, masks, strict=True)
    ]
    return gather(chain, picks)


def _pick(cell: ChainCell, mask: np.ndarray, k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """States and columns where the mask is set, without the dominated ones of crowded states when ``k`` is given."""
    if k is None or mask.sum() <= _CROWDED:
        rows, found = np.nonzero(mask)
        return rows, found
    states, columns = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for state, row in enumerate(mask):
        found = np.flatnonzero(row)
        values = np.array([table[min(state, len(table) - 1), found] for table in cell.values])
        columns.append(found[undominated(values, found, k)])
        states.append(np.full(len(columns[-1]), state))
    return np.concatenate(states), np.concatenate(columns)
