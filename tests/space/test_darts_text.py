"""Genotypes as text: the short form and the published Python literals, both state orders, and what is refused."""

from types import SimpleNamespace
from typing import Any

import pytest
from darts_samples import cellwise, genotypes
from hypothesis import given, settings

from distilnas.errors import UsageError
from distilnas.space.darts import CellwiseGenotype, Genotype, parse_genotype, python_text, short_text

# The second-order genotype of Liu et al., as DARTS and its followers print it, and the same in the short form.
LITERAL = """DARTS_V2 = Genotype(
  normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1),
          ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)],
  normal_concat=range(2, 6),
  reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),
          ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],
  reduce_concat=[2, 3, 4, 5])"""
SHORT = "N: s3-0 s3-1 | s3-0 s3-1 | s3-1 sk-0 | sk-0 d3-2 ; R: mp-0 mp-1 | sk-2 mp-1 | mp-0 sk-2 | sk-2 mp-1"
SWAPPED = "N: s3-1 s3-0 | s3-1 s3-0 | s3-0 sk-1 | sk-1 d3-2 ; R: mp-1 mp-0 | sk-2 mp-0 | mp-1 sk-2 | sk-2 mp-0"


def test_the_short_form_reads_as_documented():
    genotype = parse_genotype(SHORT)
    assert isinstance(genotype, Genotype)
    assert str(genotype) == SHORT
    assert [(e.op, e.input) for e in genotype.normal.nodes[3]] == [("skip_connect", 0), ("dil_conv_3x3", 2)]
    assert genotype.reduce.concat == (2, 3, 4, 5)


@pytest.mark.parametrize(
    "text",
    [
        LITERAL,
        LITERAL.removeprefix("DARTS_V2 = "),
        LITERAL.replace("Genotype(", "genotypes.Genotype("),
        LITERAL.replace("normal_concat=", "")
        .replace("normal=", "")
        .replace("reduce_concat=", "")
        .replace("reduce=", ""),
        LITERAL.replace("range(2, 6)", "(2, 3, 4, 5)"),
        SHORT.removeprefix("N:"),
        SHORT.replace(" ", "\n  ").replace("N:", "N: "),
        SHORT.replace("s3-", "sep_conv_3x3-"),
        SHORT.replace(" ;", " > 2 3 4 5 ;"),
    ],
)
def test_the_same_genotype_in_other_clothes(text):
    assert parse_genotype(text) == parse_genotype(SHORT)


def test_the_two_state_orders():
    genotype = parse_genotype(SHORT)
    assert parse_genotype(SWAPPED, state_order="dnad") == genotype
    assert short_text(genotype, state_order="dnad") == SWAPPED
    assert parse_genotype(SWAPPED) != genotype


def test_per_cell_text():
    genotype = parse_genotype("s3-0 | sk-1 s3-1 ; sk-0 | s3-2 > 3 ; mp-0")
    assert isinstance(genotype, CellwiseGenotype)
    assert str(genotype) == "s3-0 | sk-1 s3-1 ; sk-0 | s3-2 > 3 ; mp-0"
    assert [cell.concat for cell in genotype.cells] == [(2, 3), (3,), (2,)]


@given(genotypes | cellwise(least=1))
@settings(max_examples=60)
def test_short_text_round_trip_in_both_orders(genotype):
    assert parse_genotype(str(genotype)) == genotype
    assert short_text(genotype) == str(genotype)
    other = short_text(genotype, state_order="dnad")
    assert parse_genotype(other, state_order="dnad") == genotype


@given(genotypes)
@settings(max_examples=30)
def test_the_python_literal_is_what_python_would_read(genotype):
    """Python itself is the reference: the printed text, executed with a namedtuple's stand-in, gives these pairs."""
    kinds: Any = eval(python_text(genotype), {"Genotype": SimpleNamespace})
    for cell, pairs, concat in (
        (genotype.normal, kinds.normal, kinds.normal_concat),
        (genotype.reduce, kinds.reduce, kinds.reduce_concat),
    ):
        assert pairs == [(e.op, e.input) for node in cell.nodes for e in node]
        assert tuple(concat) == cell.concat
    assert parse_genotype(python_text(genotype)) == genotype
    assert parse_genotype(python_text(genotype, state_order="dnad"), state_order="dnad") == genotype


def call(normal="[('none', 0), ('none', 1)]", concat="[2]", tail=""):
    return (
        f"Genotype(normal={normal}, normal_concat={concat}, reduce=[('none', 0), ('none', 1)], reduce_concat=[2]{tail})"
    )


def test_the_template_of_the_refused_literals_is_fine():
    assert str(parse_genotype(call())) == "N: no-0 no-1 ; R: no-0 no-1"


@pytest.mark.parametrize(
    "text",
    [
        call(normal="[(__import__('os').getcwd(), 0), ('none', 1)]"),
        call(normal="[('none', 0), ('none', 1)] * 2"),
        call(normal="[x for x in y]"),
        call(normal="[('none', 0)]"),
        call(normal="{('none', 0), ('none', 1)}"),
        call(normal="'ab'"),
        call(normal="3"),
        call(normal="[('none', 0, 1), ('none', 1)]"),
        call(normal="[('none', 2), ('none', 1)]"),
        call(normal="[('nome', 0), ('none', 1)]"),
        call(normal="[([], 0), ('none', 1)]"),
        call(concat="range(2, 10 ** 12)"),
        call(concat="range(2, 1000000000000)"),
        call(concat="range(0, 3, 0)"),
        call(concat="range('a')"),
        call(concat="slice(2, 3)"),
        call(concat="range(2)"),
        call(concat="[]"),
        call(concat="['a']"),
        call(concat="2"),
        call(tail=", colour=3"),
        call(tail=", normal=[]"),
        call(tail=", **{}"),
        call().replace("Genotype", "eval"),
        call() + "; import os",
        call()[:-1],
        "lambda: Genotype()",
        "Genotype(" + "[" * 5000 + "]" * 5000 + ")",
        "Genotype(\0)",
    ],
)
def test_other_python_is_refused_and_never_run(text):
    with pytest.raises(UsageError):
        parse_genotype(text)


def test_only_the_start_of_a_range_is_looked_at():
    with pytest.raises(UsageError, match="65") as caught:
        parse_genotype(call(concat="range(2, 100000)"))
    assert "66" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one edge"),
        ("s3-0 | ; s3-0", "at least one edge, got none for state 3"),
        ("N: s3-0 s3-1 ; R: s3-0 | s3-1 s3-0", "two edges, got 1"),
        ("N: s3-0 s3-1", "one cell of each kind"),
        ("N: s3-0 s3-1 ; s3-0 s3-1", "one cell of each kind"),
        ("R: s3-0 s3-1 ; R: s3-0 s3-1", "one cell of each kind"),
        ("N: s3-0 s3-1 ; R: s3-0 s3-1 ; R: s3-0 s3-1", "one cell of each kind"),
        ("s3-0 s4-1", "unknown DARTS op 's4'; did you mean .*'s"),
        ("sep_conf_3x3-1", "did you mean 'sep_conv_3x3'"),
        ("s3-2", "may read states 0 to 1"),
        ("s3", "not an edge: 's3'; valid: op-input, such as s3-1"),
        ("s3-x", "not an edge"),
        ("s3--1", "unknown DARTS op 's3-'"),
        ("s3-٣", "not an edge"),
        ("s3-99999999999999999999", "not an edge"),
        ("s3-0 > ", "not a list of states"),
        ("s3-0 > two", "not a list of states"),
        ("s3-0 > 3", "states of nodes"),
        ("{", "broken JSON"),
        ("{" * 3, "broken JSON"),
    ],
)
def test_other_text_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_genotype(text)


def test_an_unknown_state_order_is_refused():
    order: Any = "dards"
    with pytest.raises(UsageError, match="unknown state order 'dards'; did you mean 'darts'"):
        parse_genotype(SHORT, state_order=order)
