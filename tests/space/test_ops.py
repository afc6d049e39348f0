"""Ops: text form there and back, and what is refused."""

import pytest
from hypothesis import given
from space_strategies import ops

from distilnas.errors import UsageError
from distilnas.space import Identity, MBConv, parse_op


@given(ops)
def test_text_round_trip(op):
    assert parse_op(str(op)) == op


def test_published_text_forms():
    assert parse_op("mb_k5_e6_se0.25_silu") == MBConv(kernel=5, expansion=6, se=0.25, act="silu")
    assert parse_op("mb_k3_e3_hard_swish") == MBConv(kernel=3, expansion=3, act="hard_swish")
    assert parse_op("id") == Identity()
    assert str(MBConv(kernel=7, expansion=3, se=1, act="relu")) == "mb_k7_e3_se1_relu"


@pytest.mark.parametrize("se", [1e-5, 0.12345678901, 1 / 3])
def test_the_ratio_keeps_all_its_digits(se):
    op = MBConv(kernel=3, expansion=1, se=se, act="relu")
    assert "e-" not in str(op)
    assert parse_op(str(op)) == op


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mb_k4_e3_silu", "odd"),
        ("mb_k3_e0_silu", "expansion must be a whole number from 1, got 0"),
        ("mb_k3_e3_se1.5_silu", "between 0 and 1, got 1.5"),
        ("mb_k3_e3_swish", "'swish'; valid: relu,"),
        ("mb_k3_e3", "unknown op 'mb_k3_e3'; valid: 'id'"),
        (" id", "unknown op"),
        ("", "unknown op"),
    ],
)
def test_other_text_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_op(text)
