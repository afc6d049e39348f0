"""Architectures: both forms there and back, identity by text, and what is refused."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from space_strategies import architectures

from distilnas.errors import UsageError
from distilnas.space import Architecture, Cell, Head, Identity, Stem

TEXT = "stem 32/2 silu mb_k3_e1_se0.25_silu:16/1 | 24/2 mb_k5_e3_silu id | head 1280 silu"


@given(architectures)
@settings(max_examples=50)
def test_text_and_json_round_trip(architecture):
    assert Architecture.parse(str(architecture)) == architecture
    data = json.loads(json.dumps(architecture.to_dict()))
    assert Architecture.from_dict(data) == architecture
    assert Architecture.parse(json.dumps(data)) == architecture


def test_text_form_reads_as_documented():
    architecture = Architecture.parse(TEXT)
    assert str(architecture) == TEXT
    assert architecture.blocks[0].entry == (32, 2)
    assert architecture.blocks[0].stages[0] == (16, 1)
    assert architecture.depth == 2
    assert architecture.body[0].ops[1] == Identity()
    assert architecture.fingerprint == hashlib.sha256(TEXT.encode()).hexdigest()[:12]


def test_identities_that_keep_width_and_stride_do_not_act():
    """Of the four, the first changes the stride, the third the width."""
    ops = ["32/2 id id", "64/1 id", "64/1 mb_k3_e3_silu id mb_k5_e3_silu"]
    architecture = Architecture.parse(f"stem 32/2 silu | {' | '.join(ops)} | head 1280 silu")
    acting = [f"{layer.op} {layer.width}/{layer.stride}" for layer in architecture.acting_layers]
    assert acting == ["id 32/2", "id 64/1", "mb_k3_e3_silu 64/1", "mb_k5_e3_silu 64/1"]


def test_white_space_and_line_breaks_do_not_matter():
    assert Architecture.parse(TEXT.replace(" | ", "\n|\n ")) == Architecture.parse(TEXT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stem 32/2 silu | head 1280 silu",
        "24/2 id | stem 32/2 silu | head 1280 silu",
        "stem 32/2 silu | | head 1280 silu",
        "stem 32 silu | 24/2 id | head 1280 silu",
        "stem 32/2 | 24/2 id | head 1280 silu",
        "stem 32/2 silu | 24/2 | head 1280 silu",
        "stem 32/2 silu | 24/x id | head 1280 silu",
        "stem 32/2 silu | 24/2 id | head 1280",
        "stem 32/2 silu id | 24/2 id | head 1280 silu",
        "stem 0/2 silu | 24/2 id | head 1280 silu",
        "{",
        "{}",
        '{"schema": 1}',
        '{"schema": 2}',
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(UsageError):
        Architecture.parse(text)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("stem", 3),
        ("stem", {"width": 16, "act": "silu", "colour": "red"}),
        ("stem", {"width": 16, "act": "silu", "layers": ["id"]}),
        ("stem", {"width": "16", "act": "silu"}),
        ("blocks", [{"width": 24.5, "stride": 2, "ops": ["id"]}]),
        ("blocks", [{"width": 24, "stride": 2, "ops": []}]),
        ("blocks", [{"width": 24, "stride": 2, "ops": [1]}]),
        ("blocks", []),
        ("blocks", None),
        ("head", {"width": True, "act": "silu"}),
        ("head", {"width": 1280, "act": "sigmoid"}),
    ],
)
def test_json_with_a_wrong_part_is_refused(part, value):
    with pytest.raises(UsageError):
        Architecture.from_dict({**Architecture.parse(TEXT).to_dict(), part: value})


def test_records_say_what_is_wrong():
    with pytest.raises(UsageError, match="stem width must be a whole number from 1, got 0"):
        Stem(width=0, act="relu")
    with pytest.raises(UsageError, match="head width must be a whole number from 1, got -1"):
        Head(width=-1, act="relu")
    with pytest.raises(UsageError, match="at least one layer"):
        Cell(width=8, stride=1, ops=())
