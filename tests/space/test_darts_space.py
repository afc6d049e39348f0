"""The space of all candidates: order, counts by formula, genotypes from masks."""

import math

import pytest

from distilnas.errors import UsageError
from distilnas.space.darts import Edge
from distilnas.space.darts.space import NODES, PRIMITIVE_SETS, DartsSpace


def test_candidates_are_all_pairs_in_order() -> None:
    space = DartsSpace(primitives=("dil_conv_5x5", "skip_connect"))
    assert space.primitives == ("skip_connect", "dil_conv_5x5")
    assert [len(node) for node in space.candidates] == [4, 6, 8, 10]
    assert space.candidates[0] == tuple(Edge(op=op, input=i) for i in (0, 1) for op in space.primitives)
    assert (space.rows, space.columns) == (32, 10)


@pytest.mark.parametrize(("num_cells", "name", "expected"), [(8, "p3", 336), (14, "p3", 588), (8, "darts7", 784)])
def test_number_of_candidates(num_cells: int, name: str, expected: int) -> None:
    """14 P a cell."""
    assert DartsSpace(num_cells=num_cells, primitives=PRIMITIVE_SETS[name]).num_candidates == expected


def test_number_of_genotypes() -> None:
    """A node keeps any set but the empty one: prod (2^n - 1) a cell, about 2^(14 P)."""
    space = DartsSpace(num_cells=14)
    assert space.num_genotypes == ((2**6 - 1) * (2**9 - 1) * (2**12 - 1) * (2**15 - 1)) ** 14
    assert math.log2(space.num_genotypes) == pytest.approx(588, abs=0.5)


def test_genotype_of_a_mask() -> None:
    space = DartsSpace(num_cells=3)
    everything = [[True] * space.columns] * space.rows
    assert space.genotype(everything) == space.everything
    kept = [list(row) for row in everything]
    kept[NODES + 1] = [False] * space.columns
    kept[NODES + 1][4] = kept[NODES + 1][8] = True  # cell 1, node 1: (state 1, second op), (state 2, third op)
    node = space.genotype(kept).cells[1].nodes[1]
    assert node == (Edge(op="sep_conv_3x3", input=1), Edge(op="dil_conv_5x5", input=2))
    assert space.genotype(kept).num_edges == space.num_candidates - 9 + 2


def test_architecture_of_another_width() -> None:
    space = DartsSpace(stem="imagenet", width=20, num_cells=14)
    architecture = space.architecture(space.everything, width=48)
    assert (architecture.stem, architecture.width, architecture.num_cells) == ("imagenet", 48, 14)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"primitives": ("sep_conv_3x3", "sep_conv_3x3")}, "different ops"),
        ({"primitives": ()}, "at least one"),
        ({"primitives": ("sep_conv_3",)}, "sep_conv_3x3"),
        ({"num_cells": 2}, "at least 3 cells"),
        ({"width": 0}, "width"),
        ({"stem": "mnist"}, "stem"),
    ],
)
def test_what_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        DartsSpace(**changes)


def test_a_mask_of_another_space_is_refused() -> None:
    with pytest.raises(UsageError, match="12 nodes, got 8"):
        DartsSpace(num_cells=3).genotype([[True]] * 8)
