"""Other block borders, same network: NAS-Bench-Macro as 2|3|3 and as 1|1|1|2|1|2."""

import itertools

import pytest
from hypothesis import given
from space_strategies import architectures

from distilnas.errors import UsageError
from distilnas.space import Architecture, Head, merged, op_key, preset, regroup, separate_depths, split_blocks

MACRO = preset("nas-bench-macro")
FINE = (1, 1, 1, 2, 1, 2)
SPLIT = split_blocks(MACRO, FINE)


def test_the_first_layer_of_a_stage_keeps_its_stride():
    assert [block.stride for block in SPLIT.body] == [2, 1, 2, 1, 2, 1]
    assert [block.cells[0].name for block in SPLIT.body] == ["64x1", "64x1", "128x1", "128x2", "256x1", "256x2"]
    assert SPLIT.reductions == (2, 2, 4, 4, 8, 8)


def test_all_architectures_of_both_forms_are_the_same_networks_under_the_same_keys():
    """Lexicographic order of choices is that of the keys: all numbers of eight digits in base 3."""
    keys = ("".join(digits) for digits in itertools.product("012", repeat=8))
    for coarse, fine, key in zip(MACRO.choices(), SPLIT.choices(), keys, strict=True):
        one, other = MACRO.architecture(coarse), SPLIT.architecture(fine)
        assert regroup(other, (2, 3, 3)) == one == merged(other)
        assert regroup(one, FINE) == other
        assert op_key(one, MACRO) == op_key(other, MACRO) == op_key(one, SPLIT) == key


def test_a_key_of_the_benchmark():
    """Key 02012100 of Su et al.: op indices of the layers in order, 0 identity, 1 kernel 3, 2 kernel 5."""
    text = (
        "stem 32/1 relu | 64/2 id mb_k5_e6_relu | 128/2 id mb_k3_e3_relu mb_k5_e6_relu | "
        "256/2 mb_k3_e3_relu id id | head 1280 relu"
    )
    assert op_key(Architecture.parse(text), MACRO) == "02012100"


@given(architectures)
def test_merging_keeps_layers_widths_and_strides(architecture: Architecture):
    def layers(of: Architecture) -> list[tuple[str, int, int]]:
        return [(str(op), b.width, b.stride if i == 0 else 1) for b in of.body for i, op in enumerate(b.ops)]

    found = merged(architecture)
    assert layers(found) == layers(architecture)
    assert merged(found) == found
    assert all(after.stride > 1 or after.width != before.width for before, after in itertools.pairwise(found.body))
    assert regroup(found, [len(block.ops) for block in architecture.body]) == architecture


@pytest.mark.parametrize("sizes", [(), (2, 3, 2), (2, 3, 3, 1), (3, 2, 3), (2, 0, 3, 3), (2, -1, 4, 3)])
def test_sizes_that_do_not_fit_are_refused(sizes: tuple[int, ...]):
    with pytest.raises(UsageError, match=r"2\|3\|3; got"):
        split_blocks(MACRO, sizes)
    architecture = MACRO.architecture(next(MACRO.choices()))
    with pytest.raises(UsageError):
        regroup(architecture, sizes)


def test_only_single_cells_can_be_split_or_have_keys():
    space = separate_depths(MACRO)
    with pytest.raises(UsageError, match="block 1 of space 'nas-bench-macro' has 4"):
        split_blocks(space, FINE)
    architecture = space.architecture(next(space.choices()))
    with pytest.raises(UsageError, match="one cell a block"):
        op_key(architecture, space)
    other = Architecture(blocks=(*architecture.body, Head(width=1280, act="silu")))
    with pytest.raises(UsageError, match=r"block 4 \(head 1280 silu\) is none of the space's"):
        op_key(merged(other), MACRO)
