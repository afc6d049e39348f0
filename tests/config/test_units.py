"""Amounts with units: exact, rounded down."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilnas.config import parse_amount
from distilnas.config.units import parse_quantity
from distilnas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40M", 40_000_000),
        ("1.2m", 1_200_000),
        (" 500 k ", 500_000),
        ("2G", 2 * 10**9),
        ("2B", 2 * 10**9),
        ("350_000", 350_000),
        (350000, 350000),
        (2.5e6, 2_500_000),
        ("2.5e6", 2_500_000),
        ("3E+6", 3_000_000),
        (1e20, 10**20),
        (".5k", 500),
        ("0", 0),
        ("1.9", 1),
        ("4.35M", 4_350_000),  # 4.35 * 10**6 is 4349999.999... in floating point
        ("0.000000001G", 1),
    ],
)
def test_amounts(text, expected):
    assert parse_amount(text) == expected


@pytest.mark.parametrize(
    ("text", "whole", "expected"),
    [("45%", 1000, 450), ("33.3 %", 1000, 333), ("0.1%", 999, 0), ("100%", 7, 7), ("29%", 10**18, 29 * 10**16)],
)
def test_shares_are_rounded_down(text, whole, expected):
    assert parse_amount(text, whole=whole) == expected


@given(st.integers(0, 10**6), st.integers(0, 999_999), st.sampled_from("kMG"))
def test_text_amounts_against_decimal_arithmetic(whole, fraction, unit):
    text = f"{whole}.{fraction:06d}"
    assert parse_amount(text + unit) == int(Decimal(text) * 10 ** {"k": 3, "M": 6, "G": 9}[unit])


@pytest.mark.parametrize(
    "value",
    ["", "M", "-4M", "4 M M", "1.2.3", "4e6x", "4e", "4e-6", "4e123", "4e7M", "1e1%", "nan", True, "4T", "1,5M", "%"],
)
def test_other_text_is_refused(value):
    with pytest.raises(UsageError, match="not an amount"):
        parse_amount(value)


def test_a_share_needs_a_whole():
    with pytest.raises(UsageError, match="is a share"):
        parse_amount("45%")


@pytest.mark.parametrize(
    ("text", "unit", "exact", "whole", "expected"),
    [
        ("5MB", "B", True, None, 5 * 10**6),
        ("5 mb", "B", True, None, 5 * 10**6),
        ("5B", "B", True, None, 5),  # bytes, not billions
        ("5B", "", True, None, 5 * 10**9),
        ("5M", "B", True, None, 5 * 10**6),
        ("2.5ms", "ms", False, None, 2.5),
        (1.2, "ms", False, None, 1.2),
        ("50%", "ms", False, 2.5, 1.25),
        ("50%", "B", True, 7, 3),
    ],
)
def test_quantities_with_their_unit(text, unit, exact, whole, expected):
    found = parse_quantity(text, unit=unit, exact=exact, whole=whole)
    assert (found, type(found)) == (expected, int if exact else float)


@pytest.mark.parametrize(("text", "unit"), [("5MB", ""), ("5ms", "B"), ("MB", "B")])
def test_units_of_something_else_are_refused(text, unit):
    with pytest.raises(UsageError, match="not an amount"):
        parse_quantity(text, unit=unit, exact=True)
