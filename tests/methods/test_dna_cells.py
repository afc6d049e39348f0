"""So many cells of a block a step: the others get no gradient, and each op has its turn equally often."""

from collections import Counter

import pytest
from tiny_distill import labelled, training_of
from tiny_dna import tiny_supernet

from distilnas.errors import UsageError
from distilnas.methods.dna import DistillSettings
from distilnas.methods.dna.distill import cell_shares
from distilnas.space import BlockSpec, CellSpec, Head, Identity, MBConv, Stem, separate_depths, space_of_cells
from distilnas.supernet import build_supernet

HEAD = Head(width=16, act="relu")


def test_only_the_drawn_cells_train() -> None:
    supernet = tiny_supernet(trained=True)
    training = training_of(supernet, cells_per_step=1)
    training.step(labelled()[0], 0, 0)
    for block in supernet.blocks:
        moved = [any(p.grad is not None for p in cell.parameters()) for cell in block.cells]  # type: ignore[union-attr]
        assert sum(moved) == 1


def test_cells_are_drawn_equally_often() -> None:
    """Of n draws a cell of two gets n / 2, with a standard deviation of sqrt(n) / 2."""
    training = training_of(tiny_supernet(trained=True), cells_per_step=1)
    drawn: Counter[int] = Counter()
    for step in range(400):
        drawn.update(training.chosen_cells(0, 0, step))
    assert sum(drawn.values()) == 400
    assert abs(drawn[0] - 200) < 40


@pytest.mark.parametrize(("stride", "shares"), [(1, [0, 2 / 6, 2 / 6, 2 / 6]), (2, [1 / 7, 2 / 7, 2 / 7, 2 / 7])])
def test_cells_by_their_ops(stride: int, shares: list[float]) -> None:
    """Two layers of an identity and two ops, every pattern a cell: an identity of stride 2 is a convolution."""
    ops = (Identity(), MBConv(kernel=3, expansion=2, act="relu"), MBConv(kernel=5, expansion=2, act="relu"))
    block = BlockSpec(stride=stride, families=(CellSpec(width=8, layers=(ops, ops)),))
    space = space_of_cells(name="ids", stem=Stem(width=8, stride=1, act="relu"), blocks=(block, block), head=HEAD)
    supernet = build_supernet(separate_depths(space), (8, 8), adapters="project", seed=0)
    assert cell_shares(supernet.blocks[1]).tolist() == pytest.approx(shares)  # type: ignore[arg-type]


def test_the_running_path_is_one_that_trains() -> None:
    """What enters the next block with ``feed=student`` is a path of a cell that was drawn."""
    training = training_of(tiny_supernet(trained=True), cells_per_step=1, feed="student")
    for step in range(10):
        cell, path = training.candidate(0, 0, step)
        assert training.paths(0, 0, step)[cell] == [path]


def test_none_means_all() -> None:
    training = training_of(tiny_supernet(trained=True))
    assert training.chosen_cells(0, 0, 0) == {0, 1}
    with pytest.raises(UsageError, match="cells_per_step"):
        DistillSettings(cells_per_step=0)
