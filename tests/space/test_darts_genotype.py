"""Genotypes as records: what is refused, state orders, expansion, JSON, identity."""

import hashlib
import json

import pytest
from darts_samples import cells, cells_of, cellwise, genotypes
from hypothesis import given, settings

from distilnas.errors import UsageError
from distilnas.space.darts import (
    OPS,
    PRIMITIVES,
    CellwiseGenotype,
    DartsCell,
    Edge,
    Genotype,
    genotype_from_dict,
    parse_genotype,
    reduction_cells,
)
from distilnas.space.darts.ops import SHORT_NAMES, op_of

SMALL = "N: s3-0 sk-1 | d5-2 mp-0 ; R: ap-0 s7-1 | c7-1 s5-0"


def test_ops_are_those_of_darts_in_its_order():
    """Order of the released code; short names are unambiguous."""
    darts = "none max_pool_3x3 avg_pool_3x3 skip_connect sep_conv_3x3 sep_conv_5x5 dil_conv_3x3 dil_conv_5x5"
    assert " ".join(PRIMITIVES) == darts
    assert set(OPS) - set(PRIMITIVES) == {"sep_conv_7x7", "conv_7x1_1x7"}
    assert len(set(SHORT_NAMES.values())) == len(OPS)
    assert [op_of(short) for short in SHORT_NAMES.values()] == [op_of(name) for name in OPS] == list(OPS)


@pytest.mark.parametrize(
    ("op", "state", "message"),
    [
        ("sep_conv_4x4", 0, "unknown DARTS op 'sep_conv_4x4'; did you mean .*'sep_conv_3x3'"),
        ("s3", 0, "unknown DARTS op 's3'"),
        (None, 0, "unknown DARTS op"),
        ("none", -1, "from 0, got -1"),
        ("none", True, "from 0, got True"),
        ("none", 1.0, "from 0, got 1.0"),
    ],
)
def test_edges_are_checked(op, state, message):
    with pytest.raises(UsageError, match=message):
        Edge(op=op, input=state)


E0, E1, E2 = (Edge(op="skip_connect", input=i) for i in range(3))


@pytest.mark.parametrize(
    ("nodes", "concat", "message"),
    [
        ((), (2,), "at least one node"),
        (((E0,), ()), (2, 3), "at least one edge, got none for state 3"),
        (((E2,),), (2,), r"state 2 may read states 0 to 1, got sk-2 \(skip_connect\)"),
        (((E0, E1, E0),), (2,), "pair once, state 2 has sk-0 sk-1 sk-0"),
        (((E0,),), (), r"\(2 to 2\), ascending and each once, got \[\]"),
        (((E0,),), (1, 2), "states of nodes"),
        (((E0,), (E1,)), (3, 2), "ascending"),
        (((E0,), (E1,)), (2, 2, 3), "each once"),
        (((E0,),), (2.0,), "states of nodes"),
        (((E0,), (E1,)), (3,), "no later node reads state 2 .* add it to concat"),
    ],
)
def test_cells_are_checked(nodes, concat, message):
    with pytest.raises(UsageError, match=message):
        DartsCell(nodes=nodes, concat=concat)


def test_what_a_cell_reads():
    assert [sorted(cell.reads) for cell in cells_of("s3-0 ; sk-1 ; s3-0 | sk-1 ; s3-1 | sk-2")] == [
        [0],
        [1],
        [0, 1],
        [1],
    ]
    assert cells_of("s3-0 s5-0 | sk-1")[0].num_edges == 3


@given(cells())
@settings(max_examples=30)
def test_swapping_exchanges_the_two_inputs_only(cell):
    swapped = cell.swapped()
    assert swapped.swapped() == cell
    assert swapped.concat == cell.concat
    for node, other in zip(cell.nodes, swapped.nodes, strict=True):
        assert [e.op for e in node] == [e.op for e in other]
        assert [{0: 1, 1: 0}.get(e.input, e.input) for e in node] == [e.input for e in other]


def test_the_darts_form_has_two_edges_per_node():
    one, two = cells_of("s3-0 ; s3-0 s3-1")
    with pytest.raises(UsageError, match=r"two edges, got 1 for state 2 of the reduce cell.*per-cell form"):
        Genotype(normal=two, reduce=one)
    assert Genotype(normal=two, reduce=two).normal == two


def test_reductions_stand_where_darts_has_them():
    """DARTS: cells L // 3 and 2 L // 3; 6 and 13 of 20, 4 and 9 of 14, 2 and 5 of 8."""
    assert [reduction_cells(n) for n in (20, 14, 8, 3)] == [(6, 13), (4, 9), (2, 5), (1, 2)]
    for n in (2, 0, -3, True, 2.5):
        with pytest.raises(UsageError):
            reduction_cells(n)


def test_expansion_puts_each_cell_in_its_place():
    genotype = parse_genotype(SMALL)
    assert isinstance(genotype, Genotype)
    expanded = genotype.expand(8)
    kinds = ["R" if expanded.cells[k] == cells_of("ap-0 s7-1 | s5-0 c7-1")[0] else "N" for k in range(8)]
    assert "".join(kinds) == "NNRNNRNN"
    assert expanded.num_edges == 8 * 4
    assert expanded.expand(8) is expanded
    with pytest.raises(UsageError, match="has 8 cells, the network asks for 20"):
        expanded.expand(20)


@given(cellwise(least=1, most=3))
@settings(max_examples=30)
def test_a_per_cell_node_is_a_set(genotype):
    shuffled = tuple(
        DartsCell(nodes=tuple(tuple(reversed(node)) for node in c.nodes), concat=c.concat) for c in genotype.cells
    )
    again = CellwiseGenotype(cells=shuffled)
    assert again == genotype
    assert again.fingerprint == genotype.fingerprint


def test_a_per_cell_genotype_has_cells():
    with pytest.raises(UsageError, match="at least one cell"):
        CellwiseGenotype(cells=())


def test_fingerprint_is_the_hash_of_the_text():
    genotype = parse_genotype(SMALL)
    assert genotype.fingerprint == hashlib.sha256(SMALL.encode()).hexdigest()[:12]
    assert genotype.fingerprint != parse_genotype(SMALL.replace("s3", "s5")).fingerprint
    assert genotype.expand(3).fingerprint != genotype.expand(4).fingerprint


@given(genotypes | cellwise(least=1))
@settings(max_examples=50)
def test_json_round_trip(genotype):
    data = json.loads(json.dumps(genotype.to_dict()))
    assert genotype_from_dict(data) == genotype
    assert parse_genotype(json.dumps(data)) == genotype


def test_json_in_the_other_state_order():
    data = parse_genotype(SMALL).to_dict()
    swapped = json.loads(json.dumps(data | {"state_order": "dnad"}))
    assert genotype_from_dict(swapped) == parse_genotype("N: s3-1 sk-0 | d5-2 mp-1 ; R: ap-1 s7-0 | c7-0 s5-1")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"form": "nasnet"},
        {"state_order": None},
        {"state_order": "dart"},
        {"normal": None},
        {"normal": {"nodes": [[["skip_connect", 0]]]}},
        {"normal": {"nodes": [[["skip_connect"]]], "concat": [2]}},
        {"normal": {"nodes": [[["skip_connect", "0"], ["skip_connect", 1]]], "concat": [2]}},
        {"normal": {"nodes": [[["skip_connect", 0], ["skip_connect", 1]]], "concat": [[2]]}},
        {"normal": {"nodes": [[["skip_connect", 0], ["skip_connect", 1]]], "concat": 2}},
        {"form": "cellwise"},
        {"form": "cellwise", "cells": 3},
        {"form": "cellwise", "cells": []},
    ],
)
def test_other_json_is_refused(change):
    with pytest.raises(UsageError):
        genotype_from_dict(parse_genotype(SMALL).to_dict() | change)
    with pytest.raises(UsageError, match="a mapping is needed"):
        genotype_from_dict([change])
