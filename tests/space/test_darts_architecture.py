"""Descriptions of DARTS networks: both forms there and back, what is refused, and the plan of the cells."""

import hashlib
import json

import pytest
from darts_samples import cells_of, cellwise, genotypes, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from distilnas.errors import UsageError
from distilnas.space import Architecture
from distilnas.space.darts import (
    CellwiseGenotype,
    DartsArchitecture,
    architecture_from_dict,
    auxiliary_cell,
    parse_architecture,
    parse_genotype,
    plan_cells,
)

TEXT = "darts cifar 36x20 ; N: s3-0 s3-1 | sk-0 d3-2 ; R: mp-0 mp-1 | sk-2 mp-1"
DNA = "stem 32/2 silu | 24/2 mb_k5_e3_silu id | head 1280 silu"


@st.composite
def architectures(draw: st.DrawFn) -> DartsArchitecture:
    genotype = draw(genotypes | cellwise())
    num_cells = len(genotype.cells) if isinstance(genotype, CellwiseGenotype) else draw(st.integers(3, 24))
    sizes = st.integers(1, 64).map(lambda n: 2 * n)
    stem, drop = draw(st.sampled_from(("cifar", "imagenet"))), draw(st.booleans())
    return DartsArchitecture(genotype=genotype, stem=stem, width=draw(sizes), num_cells=num_cells, drop_unused=drop)


@given(architectures())
@settings(max_examples=50)
def test_text_and_json_round_trip(architecture):
    assert DartsArchitecture.parse(str(architecture)) == architecture
    data = json.loads(json.dumps(architecture.to_dict()))
    assert DartsArchitecture.from_dict(data) == architecture
    assert DartsArchitecture.parse(json.dumps(data)) == architecture
    assert parse_architecture(str(architecture)) == parse_architecture(json.dumps(data)) == architecture


def test_text_form_reads_as_documented():
    architecture = DartsArchitecture.parse(TEXT)
    assert str(architecture) == TEXT
    assert (architecture.stem, architecture.width, architecture.num_cells) == ("cifar", 36, 20)
    assert not architecture.drop_unused
    assert architecture.genotype == parse_genotype(TEXT.partition(";")[2])
    assert architecture.fingerprint == hashlib.sha256(TEXT.encode()).hexdigest()[:12]
    assert DartsArchitecture.parse(TEXT.replace(" ", "\n ")) == architecture
    assert DartsArchitecture.parse(TEXT.replace("20", "20 drop_unused")).drop_unused


def test_the_two_kinds_of_architecture_are_told_apart():
    other, ours = Architecture.parse(DNA), DartsArchitecture.parse(TEXT)
    for architecture in (other, ours):
        assert parse_architecture(str(architecture)) == architecture
        assert parse_architecture(json.dumps(architecture.to_dict())) == architecture
        assert architecture_from_dict(architecture.to_dict()) == architecture
    with pytest.raises(UsageError, match="kind 'darts'"):
        DartsArchitecture.from_dict(other.to_dict())
    with pytest.raises(UsageError, match="kind 'darts'"):
        DartsArchitecture.parse(json.dumps(other.to_dict()))
    with pytest.raises(UsageError):
        Architecture.from_dict(ours.to_dict())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cifar", "cifer", "unknown DARTS stem 'cifer'; did you mean 'cifar'"),
        ("36x20", "0x20", "DARTS width must be a whole number from 1"),
        ("cifar 36", "imagenet 35", "must be even, got 35"),
        ("36x20", "36x2", "at least 3 cells"),
        ("36x20", "36", "not a DARTS architecture"),
        ("36x20", "36x20 drop", "not a DARTS architecture"),
        ("darts", "dart", "not an architecture"),
        (" ; N: ", " N: ", "not a DARTS architecture"),
        ("s3-0", "s4-0", "unknown DARTS op"),
        (TEXT, "", "not an architecture"),
        (TEXT, "{", "broken JSON"),
        (TEXT, "darts cifar 36x20 ; s3-0 ; s3-0 ; s3-0", "has 3 cells, the network asks for 20"),
    ],
)
def test_other_text_is_refused(old, new, message):
    with pytest.raises(UsageError, match=message):
        parse_architecture(TEXT.replace(old, new))


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"kind": "dna"},
        {"stem": ["cifar"]},
        {"width": "36"},
        {"width": 36.0},
        {"num_cells": True},
        {"drop_unused": 1},
        {"genotype": None},
        {"genotype": {}},
        {"colour": "red"},
    ],
)
def test_other_json_is_refused(change):
    with pytest.raises(UsageError):
        DartsArchitecture.from_dict(DartsArchitecture.parse(TEXT).to_dict() | change)


def test_json_with_a_part_missing_is_refused():
    for part in DartsArchitecture.parse(TEXT).to_dict():
        data = DartsArchitecture.parse(TEXT).to_dict()
        del data[part]
        if part == "drop_unused":  # has a default
            assert DartsArchitecture.from_dict(data) == DartsArchitecture.parse(TEXT)
        else:
            with pytest.raises(UsageError):
                DartsArchitecture.from_dict(data)


def plans_of(genotype, stem="cifar", width=6, **kwargs):
    count = len(genotype.cells)
    return plan_cells(DartsArchitecture(genotype=genotype, stem=stem, width=width, num_cells=count, **kwargs))


def test_schedule_of_widths_and_resolutions():
    """DARTS, released code: widths C, 2C, 4C; the input before a reduction is reduced on entry."""
    plans = plans_of(repeated("s3-0 s3-1 | s3-2", 8))
    assert [p.index for p in plans] == list(range(8))
    assert [p.width for p in plans] == [6, 6, 12, 12, 12, 24, 24, 24]
    assert [p.out_width for p in plans] == [2 * p.width for p in plans]
    assert [p.in_widths for p in plans] == [
        (18, 18), (18, 12), (12, 12), (12, 24), (24, 24), (24, 24), (24, 48), (48, 48)
    ]  # fmt: skip
    assert [p.index for p in plans if p.reduces] == [2, 5]
    assert [p.index for p in plans if p.after_reduction] == [3, 6]
    assert [p.reduction for p in plans] == [1, 1, 2, 2, 2, 4, 4, 4]
    large = plans_of(repeated("s3-0 s3-1 | s3-2", 8), stem="imagenet")
    assert [p.in_widths for p in large][:3] == [(6, 6), (6, 12), (12, 12)]
    assert [p.index for p in large if p.after_reduction] == [0, 3, 6]
    assert [p.reduction for p in large] == [8, 8, 16, 16, 16, 32, 32, 32]


def test_a_cell_that_nothing_reads_goes_and_its_place_stays():
    """Cell 4 reads cell 2 and cell 5 reads cell 4, so cell 3 is dead; it lives if cell 5 reads its c_{k-2} too."""
    dead = plans_of(CellwiseGenotype(cells=cells_of("s3-0 s3-1;s3-0 s3-1;s3-1;s3-1;s3-0;s3-1;s3-0 s3-1;s3-0 s3-1")))
    assert [p.index for p in dead] == [0, 1, 2, 4, 5, 6, 7]
    by_index = {p.index: p for p in dead}
    assert by_index[4].in_widths == (12, None)
    assert by_index[5].in_widths == (None, 12)
    assert [p.width for p in dead] == [6, 6, 12, 12, 24, 24, 24]
    assert [p.reduction for p in dead] == [1, 1, 2, 2, 4, 4, 4]
    alive = plans_of(
        CellwiseGenotype(cells=cells_of("s3-0 s3-1;s3-0 s3-1;s3-1;s3-1;s3-0;s3-0 s3-1;s3-0 s3-1;s3-0 s3-1"))
    )
    assert [p.index for p in alive] == list(range(8))


def test_a_dead_reduction_cell_keeps_the_schedule():
    """Cell 2 (a reduction) is read by no one: cell 3 takes cell 1 at twice its resolution, cell 4 takes cell 3."""
    plans = {p.index: p for p in plans_of(CellwiseGenotype(cells=cells_of("s3-1;s3-1;s3-1;s3-0;s3-1;s3-1;s3-1;s3-1")))}
    assert set(plans) == {0, 1, 3, 4, 5, 6, 7}
    assert plans[3].after_reduction
    assert (plans[3].width, plans[3].reduction) == (12, 2)
    assert plans[3].in_widths == (6, None)
    assert plans[4].in_widths == (None, 12)


def test_the_dead_take_those_with_them_that_only_they_read():
    """All read c_{k-2} only: of six cells the last, the fourth and the second live."""
    assert [p.index for p in plans_of(repeated("s3-0", 6))] == [1, 3, 5]


def test_unread_inputs_go_only_on_request():
    genotype = repeated("s3-1", 4)
    assert [p.in_widths for p in plans_of(genotype)] == [(18, 18), (18, 6), (6, 12), (12, 24)]
    dropped = plans_of(genotype, drop_unused=True)
    assert [p.in_widths for p in dropped] == [(None, 18), (None, 6), (None, 12), (None, 24)]


@given(cellwise())
@settings(max_examples=50)
def test_the_living_are_those_that_the_last_cell_can_reach(genotype):
    """Reference: walk from the last cell along the inputs that are read."""

    def reach(k):
        return {k}.union(*(reach(k - 2 + i) for i in genotype.cells[k].reads if k - 2 + i >= 0))

    living = reach(len(genotype.cells) - 1)
    plans = plans_of(genotype)
    assert {p.index for p in plans} == living
    inner = auxiliary_cell(plans, len(genotype.cells)).index
    assert inner == min(k for k in living if k >= 2 * len(genotype.cells) // 3)
