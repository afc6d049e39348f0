"""Search spaces: exact sizes, choices and architectures, identity, reading."""

import dataclasses
import itertools
import json
import math
import random

import pytest
from hypothesis import given, settings
from space_strategies import spaces

from distilnas.errors import UsageError
from distilnas.space import Architecture, BlockSpec, Candidate, CellSpec, SearchSpace, Stem, parse_op, preset

SHORT = {
    "schema": 1,
    "name": "short",
    "stem": {"width": 8, "act": "relu"},
    "ops": ["id", "mb_k3_e3_relu"],
    "blocks": [
        {"stride": 2, "cells": [{"width": 8, "depth": 2}, {"width": 16, "depth": 1}]},
        {"stride": 1, "ops": ["mb_k5_e3_relu"], "cells": [{"width": 24, "layers": [["id"], ["id", "mb_k7_e1_relu"]]}]},
    ],
    "head": {"width": 32, "act": "relu"},
}


def random_choice(space: SearchSpace, rng: random.Random) -> tuple[Candidate, ...]:
    cells = [rng.randrange(len(block.families)) for block in space.blocks]
    return tuple(
        Candidate(cell=c, path=tuple(rng.randrange(n) for n in block.families[c].shape))
        for block, c in zip(space.blocks, cells, strict=True)
    )


@given(spaces)
@settings(max_examples=40, deadline=None)
def test_size_and_inverse_by_enumeration(space):
    """The product formula against plain enumeration; every choice gives an architecture of its own and comes back."""
    choices = list(itertools.islice(space.choices(), 400))
    if space.num_architectures <= 400:
        assert len(choices) == space.num_architectures
    texts = {str(space.architecture(choice)) for choice in choices}
    assert len(texts) == len(choices)
    for choice in choices[:: max(1, len(choices) // 10)]:
        assert space.choice_of(space.architecture(choice)) == choice


@given(spaces)
@settings(max_examples=30, deadline=None)
def test_json_round_trip(space):
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert again.fingerprint == space.fingerprint


def test_published_sizes():
    """NAS-Bench-Macro (Su et al. 2021): three ops in eight layers. DNA (Li et al. 2020): six ops, sizes by hand."""
    assert preset("nas-bench-macro").num_architectures == 3**8 == 6561
    dna = preset("dna")
    depths = [(2, 3, 2, 3), (2, 3, 4), (3, 4), (4, 3, 4), (5, 4, 5), (1,)]
    assert dna.num_architectures == math.prod(sum(6**d for d in cells) for cells in depths)
    assert dna.num_architectures >= 2 * 10**17
    assert dna.num_candidates == sum(6**d for cells in depths for d in cells)
    assert dna.reductions == (4, 8, 16, 16, 32, 32)
    assert dna.in_widths(0) == (3,)
    assert dna.in_widths(1) == (24, 32)


def test_choices_of_a_large_space_come_back():
    dna, rng = preset("dna"), random.Random(0)
    for _ in range(200):
        choice = random_choice(dna, rng)
        assert dna.choice_of(dna.architecture(choice)) == choice


def test_a_single_cell_is_the_widest_and_then_the_deepest():
    """DNA's widest cells, by hand: 32x3 40x4 80x4 112x4 192x5 320x1."""
    single = preset("dna").single_cell()
    assert [[cell.name for cell in block.cells] for block in single.body] == [
        ["32x3"], ["40x4"], ["80x4"], ["112x4"], ["192x5"], ["320x1"]
    ]  # fmt: skip
    assert single.num_architectures == 6 ** (3 + 4 + 4 + 4 + 5 + 1)


@given(spaces)
@settings(max_examples=20, deadline=None)
def test_a_single_cell_space_lies_inside(space):
    single = space.single_cell()
    assert single.single_cell() == single
    assert space.contains(single.architecture(next(single.choices())))
    for block, one in zip(space.body, single.body, strict=True):
        assert one.cells[0] in block.cells
        assert one.widths == (block.widths[-1],)


def test_the_fingerprint_ignores_the_name_only():
    space = SearchSpace.from_dict(SHORT)
    assert dataclasses.replace(space, name="other").fingerprint == space.fingerprint
    other = SearchSpace.from_dict({**SHORT, "head": {"width": 33, "act": "relu"}})
    assert other.fingerprint != space.fingerprint


def test_short_form_of_preset_files():
    first, second = SearchSpace.from_dict(SHORT).body
    assert [cell.name for cell in first.cells] == ["8x2", "16x1"]
    assert first.cells[0].shape == (2, 2)
    assert second.cells[0].shape == (1, 2)
    assert first.widths == (8, 16)
    assert SearchSpace.from_dict(SHORT).num_architectures == (4 + 2) * 2


def test_an_architecture_of_another_space_is_named():
    space = SearchSpace.from_dict(SHORT)
    own = space.architecture(next(space.choices()))
    assert space.contains(own)
    first, second, head = own.blocks
    for changed, message in [
        (Architecture(blocks=(first, head)), "has 2 blocks, got 1"),
        (Architecture(blocks=(first, second, dataclasses.replace(head, act="silu"))), "block 3 .*head 32 silu"),
        (Architecture(blocks=(dataclasses.replace(first, stride=1), second, head)), "block 1 .* stride 4"),
        (Architecture(blocks=(dataclasses.replace(first, stem=Stem(width=9, act="relu")), second, head)), "block 1"),
        (Architecture(blocks=(dataclasses.replace(first, width=9), second, head)), "cells 8x2, 16x1"),
        (
            Architecture(blocks=(dataclasses.replace(first, ops=(parse_op("mb_k9_e1_relu"),) * 2), second, head)),
            "block 1",
        ),
    ]:
        assert not space.contains(changed)
        with pytest.raises(UsageError, match=message):
            space.choice_of(changed)
    assert not space.contains(Architecture.parse("stem 8/1 relu | 8/2 id id | 24/1 id id | head 32 relu"))


@pytest.mark.parametrize(("cell", "path"), [(2, (0, 0)), (0, (0,)), (0, (0, 2)), (0, (0, 0, 0))])
def test_a_choice_outside_the_space_is_refused(cell, path):
    with pytest.raises(UsageError, match="is not in space 'short'"):
        SearchSpace.from_dict(SHORT).architecture((Candidate(cell=cell, path=path), Candidate(cell=0, path=(0, 0))))


def test_negative_indices_do_not_count_from_the_end():
    with pytest.raises(UsageError, match="count from 0"):
        Candidate(cell=-1, path=(0,))
    with pytest.raises(UsageError, match="count from 0"):
        Candidate(cell=0, path=(0, -1))


def test_records_that_make_no_space_are_refused():
    op = parse_op("id")
    cell = CellSpec(width=8, layers=((op,),))
    for build, message in [
        (lambda: CellSpec(width=0, layers=((op,),)), "cell width"),
        (lambda: CellSpec(width=8, layers=()), "at least one layer"),
        (lambda: CellSpec(width=8, layers=((),)), "one op in every layer"),
        (lambda: CellSpec(width=8, layers=((op, op),)), "names an op twice"),
        (lambda: BlockSpec(stride=0, families=(cell,)), "block stride"),
        (lambda: BlockSpec(stride=1, families=()), "at least one cell"),
        (lambda: BlockSpec(stride=1, families=(cell, cell)), "names a cell twice"),
        (lambda: SearchSpace.from_dict({**SHORT, "blocks": []}), "has no blocks"),
        (lambda: SearchSpace.from_dict({**SHORT, "schema": 7}), "schema must be 1 or 2, got 7"),
        (lambda: SearchSpace.from_dict({**SHORT, "blocks": ["2 24x3"]}), "not a search space"),
        (lambda: SearchSpace.from_dict({**SHORT, "stem": 4}), "not a search space"),
        (lambda: SearchSpace.from_dict({k: v for k, v in SHORT.items() if k != "head"}), "not a search space: 'head'"),
        (lambda: SearchSpace.from_dict({k: v for k, v in SHORT.items() if k != "ops"}), "neither layers nor"),
    ]:
        with pytest.raises(UsageError, match=message):
            build()
