"""Numbers with units, as people write budgets: 40M, 1.2M, 500k, 45%."""

import re
from fractions import Fraction

from distilnas.errors import UsageError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_NUMBER = re.compile(r"((?:\d+(?:\.\d+)?|\.\d+)(?:e\+?\d{1,2}(?!\s*[kmgb%]))?)\s*([kmgb%]?)", re.IGNORECASE)


def parse_amount(value: str | int | float, *, whole: int | None = None) -> int:
    """A whole number from ``40M``, ``1.2m``, ``350000``, ``4e7`` or, with ``whole``, ``45%`` of it (rounded down).

    Exact: no floating point is involved in text forms.
    """
    text = str(value).strip().replace("_", "")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UsageError(f"not an amount: {value!r}; valid: a number, with k, M, G or % behind it, e.g. 40M or 45%.")
    number, unit = Fraction(match[1]), match[2].lower()
    if unit == "%":
        if whole is None:
            raise UsageError(
                f"{value!r} is a share, but there is nothing here that it could be a share of; give a number."
            )
        return int(number * whole / 100)
    return int(number * _UNITS[unit])
