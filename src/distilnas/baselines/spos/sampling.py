"""Which networks are trained: an endless stream of choices, the n-th of which is a function of (space, seed, n)."""

from collections.abc import Callable

import numpy as np

from distilnas.runtime.seeds import derive_rng
from distilnas.space import BlockSpec, Candidate, Choice, Family, SearchSpace

Sampler = Callable[[SearchSpace, int, int], Choice]
_STREAM = 2


def uniform(space: SearchSpace, seed: int, number: int) -> Choice:
    """In every block a cell, all equally likely, and for every layer an op, all equally likely, as SPOS samples.

    The paper's spaces have one cell a block; there all networks are equally likely.
    """
    rng = derive_rng(seed, _STREAM, number)
    return tuple(_uniform_candidate(block, rng) for block in space.blocks)


def fair(space: SearchSpace, seed: int, number: int) -> Choice:
    """Out of rounds of ``fair_round(space)`` choices, in which all ops of all cells occur.

    Where every block has one cell, and every layer n ops, a round has n choices and every op occurs exactly once in it;
    a step that averages over a round then has the strict fairness of FairNAS (Chu et al., ICCV 2021). Elsewhere cells
    and layers with fewer ops repeat them to fill the round.
    """
    index, place = divmod(number, fair_round(space))
    rng = derive_rng(seed, _STREAM, index)
    return tuple(_fair_candidates(block, fair_round(space), rng)[place] for block in space.blocks)


SAMPLERS: dict[str, Sampler] = {"uniform": uniform, "fair": fair}


def fair_round(space: SearchSpace) -> int:
    """How many choices it takes until all ops of all cells have had their turn."""
    return max(map(_block_round, space.blocks))


def _block_round(block: BlockSpec) -> int:
    return sum(max(family.shape, default=1) for family in block.families)


def _uniform_candidate(block: BlockSpec, rng: np.random.Generator) -> Candidate:
    family = int(rng.integers(len(block.families)))
    return Candidate(cell=family, path=tuple(int(rng.integers(n)) for n in block.families[family].shape))


def _fair_candidates(block: BlockSpec, length: int, rng: np.random.Generator) -> list[Candidate]:
    """``length`` candidates: shuffled lists of those of all cells, one list after the other."""
    candidates: list[Candidate] = []
    while len(candidates) < length:
        turn = [candidate for f, family in enumerate(block.families) for candidate in _fair_paths(f, family, rng)]
        candidates.extend(turn[i] for i in rng.permutation(len(turn)))
    return candidates[:length]


def _fair_paths(index: int, family: Family, rng: np.random.Generator) -> list[Candidate]:
    """As many as the layer with most ops has; a layer with fewer goes through them again, in the same order."""
    columns = [np.resize(rng.permutation(n), max(family.shape)) for n in family.shape]
    if not columns:
        return [Candidate(cell=index, path=())]
    return [Candidate(cell=index, path=tuple(map(int, path))) for path in zip(*columns, strict=True)]
