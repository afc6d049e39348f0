"""Numbers with units, as people write budgets: 40M, 1.2M, 500k, 45%, 5MB, 2.5ms."""

import re
from fractions import Fraction

from distilnas.errors import UsageError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_NUMBER = re.compile(r"((?:\d+(?:\.\d+)?|\.\d+)(?:e\+?\d{1,2}(?!\s*[kmgb%]))?)\s*([kmgb%]?)", re.IGNORECASE)


def parse_amount(value: str | int | float, *, whole: int | None = None) -> int:
    """A whole number from ``40M``, ``1.2m``, ``350000``, ``4e7`` or, with ``whole``, ``45%`` of it (rounded down).

    Exact: no floating point is involved in text forms.
    """
    return int(_fraction(value, whole, ""))


def parse_quantity(
    value: str | int | float, *, unit: str, exact: bool, whole: int | float | None = None
) -> int | float:
    """``parse_amount`` of a measure whose ``unit`` may stand behind the number: ``5MB``, ``2.5ms``.

    A measure that is not ``exact`` keeps its fraction.
    """
    found = _fraction(value, whole, unit)
    return int(found) if exact else float(found)


def _fraction(value: str | int | float, whole: int | float | None, unit: str) -> Fraction:
    text = str(value).strip().replace("_", "")
    match = _NUMBER.fullmatch(_bare(text, unit))
    if match is None:
        example = f"5M{unit}" if unit == "B" else f"5{unit}" if unit else "40M"
        raise UsageError(
            f"not an amount: {value!r}; valid: a number, with k, M, G or % behind it, e.g. {example} or 45%."
        )
    number, scale = Fraction(match[1]), match[2].lower()
    if scale != "%":
        return number * _UNITS[scale]
    if whole is None:
        raise UsageError(f"{value!r} is a share, but there is nothing here that it could be a share of; give a number.")
    return number * Fraction(whole) / 100


def _bare(text: str, unit: str) -> str:
    """``text`` without the unit at its end."""
    return text[: -len(unit)].rstrip() if unit and text.lower().endswith(unit.lower()) else text
