"""Cells for every identity pattern: same networks, one candidate for one candidate, patterns apart."""

import itertools

from hypothesis import given
from space_strategies import spaces

from distilnas.space import (
    BlockSpec,
    CellSpec,
    Head,
    Identity,
    MBConv,
    SearchSpace,
    Stem,
    preset,
    separate_depths,
    space_of_cells,
    split_blocks,
)

MACRO = preset("nas-bench-macro")
A, B = (MBConv(kernel=k, expansion=1, act="relu") for k in (3, 5))


def _texts(space: SearchSpace) -> list[str]:
    return [str(space.architecture(choice)) for choice in space.choices()]


def test_nas_bench_macro_becomes_4_8_and_8_cells():
    space = separate_depths(MACRO)
    assert [len(block.cells) for block in space.body] == [4, 8, 8]
    assert space.num_architectures == 6561
    texts = _texts(space)
    assert len(set(texts)) == 6561
    assert set(texts) == set(_texts(MACRO))


def test_every_architecture_of_nas_bench_macro_maps_there_and_back():
    space = separate_depths(MACRO)
    choices = [space.choice_of(MACRO.architecture(choice)) for choice in MACRO.choices()]
    assert len(set(choices)) == 6561
    for choice, new in zip(MACRO.choices(), choices, strict=True):
        assert space.architecture(new) == MACRO.architecture(choice)
        assert MACRO.choice_of(space.architecture(new)) == choice


def test_a_cell_holds_one_identity_pattern_and_each_pattern_has_one_cell():
    for block in separate_depths(MACRO).body:
        patterns = []
        for cell in block.cells:
            paths = itertools.product(*map(range, cell.shape))
            skips = {tuple(op == Identity() for op in cell.ops(path)) for path in paths}
            assert len(skips) == 1
            patterns.extend(skips)
        assert len(set(patterns)) == len(patterns) == 2 ** block.cells[0].depth


def test_a_first_layer_that_only_projects_keeps_stride_and_width():
    """An identity in a layer of stride 2 is a convolution: it stays a layer, with one op."""
    block = separate_depths(MACRO).body[1]
    assert block.stride == 2
    assert {cell.name for cell in block.cells} == {"128x3"}
    assert block.cells[0].layers == ((Identity(),),) * 3
    assert all(len(layer) == (1 if layer == (Identity(),) else 2) for cell in block.cells for layer in cell.layers)


def test_a_pattern_that_two_cells_share_is_kept_once():
    cells = (CellSpec(width=8, layers=((Identity(), A),)), CellSpec(width=8, layers=((Identity(), B),)))
    stem, head = Stem(width=32, act="relu"), Head(width=8, act="relu")
    space = space_of_cells(name="x", stem=stem, blocks=(BlockSpec(stride=1, families=cells),), head=head)
    found = separate_depths(space).body[0].cells
    assert [cell.layers for cell in found] == [((Identity(),),), ((A,),), ((B,),)]


@given(spaces)
def test_the_networks_stay_and_a_second_time_changes_nothing(space: SearchSpace):
    separate = separate_depths(space)
    assert separate_depths(separate) == separate
    assert separate.num_architectures == space.num_architectures
    assert separate.name == space.name
    for choice in itertools.islice(space.choices(), 50):
        architecture = space.architecture(choice)
        assert separate.architecture(separate.choice_of(architecture)) == architecture


def test_a_space_without_identities_stays():
    assert separate_depths(preset("dna")) == preset("dna")


def test_split_then_separated():
    space = separate_depths(split_blocks(MACRO, (1, 1, 1, 2, 1, 2)))
    assert [len(block.cells) for block in space.body] == [2, 2, 2, 4, 2, 4]
    assert space.num_architectures == 6561
