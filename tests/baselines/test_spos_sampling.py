"""The stream of networks: within the space, uniform or fair as promised, a function of seed and number."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_dna import OPS, tiny_space

from distilnas.baselines.spos.sampling import SAMPLERS, fair, fair_round, uniform
from distilnas.space import BlockSpec, CellSpec, Head, SearchSpace, Stem, preset, separate_depths, space_of_cells

ONE_CELL = preset("nas-bench-macro")
SPACES = {"shared": ONE_CELL, "separate": separate_depths(ONE_CELL), "widths": tiny_space()}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_stream_is_a_function_of_seed_and_number(name: str, space: SearchSpace) -> None:
    sampler = SAMPLERS[name]
    streams = [[sampler(space, seed, number) for number in range(20)] for seed in (1, 1, 2)]
    assert streams[0] == streams[1] != streams[2]
    for choice in streams[0]:
        space.architecture(choice)  # raises for a choice of another space


def test_uniform_draws_cells_and_then_ops_equally_often() -> None:
    """Of n draws with probability p, n p with a standard deviation of sqrt(n p (1 - p)) <= sqrt(n) / 2."""
    n = 2000
    drawn = [uniform(tiny_space(), 0, number)[1] for number in range(n)]
    cells = Counter(candidate.cell for candidate in drawn)
    ops = Counter((level, op) for c in drawn if c.cell == 0 for level, op in enumerate(c.path))
    assert abs(cells[0] - n / 2) < 4 * n**0.5 / 2
    assert len(ops) == 6
    for count in ops.values():
        assert abs(count - cells[0] / 3) < 4 * cells[0] ** 0.5 / 2


@given(seed=st.integers(0, 1000), index=st.integers(0, 50), ops=st.integers(1, 4), depth=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_one_cell_a_block_has_the_fairness_of_fairnas(seed: int, index: int, ops: int, depth: int) -> None:
    """Strict fairness: in every round every op of every layer occurs exactly once."""
    cell = CellSpec(width=4, layers=(OPS[:ops],) * depth)
    stem, head = Stem(width=4, act="relu"), Head(width=4, act="relu")
    space = space_of_cells(name="x", stem=stem, blocks=(BlockSpec(stride=1, families=(cell,)),) * 2, head=head)
    assert fair_round(space) == ops
    drawn = [fair(space, seed, index * ops + i) for i in range(ops)]
    for block in range(2):
        for layer in range(depth):
            assert sorted(choice[block].path[layer] for choice in drawn) == list(range(ops))


@pytest.mark.parametrize(("space", "length"), [(SPACES["separate"], 15), (SPACES["widths"], 5)])
def test_a_fair_round_has_all_ops_of_all_cells(space: SearchSpace, length: int) -> None:
    """Length by hand: seven cells with two ops in some layer, one of identities alone; three and two ops."""
    assert fair_round(space) == length
    for index in range(5):
        drawn = [fair(space, 3, index * length + i) for i in range(length)]
        for b, block in enumerate(space.body):
            seen = {(choice[b].cell, layer, op) for choice in drawn for layer, op in enumerate(choice[b].path)}
            shapes = [cell.shape for cell in block.cells]
            wanted = {(c, la, op) for c, shape in enumerate(shapes) for la, n in enumerate(shape) for op in range(n)}
            assert seen == wanted


def test_rounds_differ() -> None:
    rounds = {tuple(fair(ONE_CELL, 0, 3 * index + i) for i in range(3)) for index in range(10)}
    assert len(rounds) == 10
