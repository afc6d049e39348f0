"""Answers to all combinations of budgets against brute force, on made-up trunks."""

import itertools
from typing import Any

import numpy as np
import pytest

from distilnas.errors import InfeasibleError
from distilnas.solve import BlockCandidates, CellCandidates, SearchProblem
from distilnas.surgery import choose
from distilnas.surgery.choose import Chosen
from distilnas.surgery.explore import TrunkSearch, explore
from distilnas.surgery.library import Trunk

BLOCKS, EACH = 3, 4


def trunk(seed: int) -> Trunk:
    """A chain of blocks of one width with random ratings and two costs."""
    rng = np.random.default_rng(seed)
    blocks = [
        BlockCandidates(
            name=str(i),
            in_widths=(1,),
            cells=(
                CellCandidates(
                    name="all",
                    width=1,
                    ratings=rng.random(EACH),
                    costs={name: rng.integers(1, 20, (1, EACH)) for name in ("macs", "params")},
                ),
            ),
        )
        for i in range(BLOCKS)
    ]
    return Trunk(last=None, families=(), problem=SearchProblem(blocks=tuple(blocks)))


@pytest.fixture(autouse=True)
def plain_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up trunks have no families to make choices of: numbers stand for them."""
    monkeypatch.setattr(choose, "choice_in", lambda trunk, candidates: (id(trunk), *candidates))


def everything(trunks: list[Trunk]) -> list[tuple[float, int, int]]:
    """Rating and costs of every student."""
    found = []
    for one in trunks:
        cells = [block.cells[0] for block in one.problem.blocks]
        for path in itertools.product(range(EACH), repeat=BLOCKS):
            pairs = list(zip(cells, path, strict=True))
            costs = [sum(int(cell.costs[name][0, at]) for cell, at in pairs) for name in ("macs", "params")]
            found.append((sum(float(cell.ratings[at]) for cell, at in pairs), *costs))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_best_that_fits_is_the_best_of_all(seed: int) -> None:
    trunks = [trunk(3 * seed + i) for i in range(3)]
    grid = {name: [12, 18, 24, 30, 40, 57] for name in ("macs", "params")}
    asked: list[Any] = []
    search = TrunkSearch(trunks)

    def counted(limits: Any) -> Chosen:
        asked.append(limits)
        return search(limits)

    answers, students = explore(counted, grid), everything(trunks)
    found = [answer.solution for answer in answers]
    for macs, params in itertools.product(*grid.values()):
        best = min((s[0] for s in students if s[1] <= macs and s[2] <= params), default=None)
        fits = [s for s in found if s.costs["macs"] <= macs and s.costs["params"] <= params]
        assert min((s.rating for s in fits), default=None) == (None if best is None else pytest.approx(best))
    assert len(asked) < 36
    assert len({one.choice for one in answers}) == len(answers)


def test_nothing_fits() -> None:
    with pytest.raises(InfeasibleError, match="no student keeps"):
        TrunkSearch([trunk(0)])({"macs": 1, "params": 100})
