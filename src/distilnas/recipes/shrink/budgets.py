"""Budgets of the recipe ``shrink``: as people write them, and as limits."""

from collections.abc import Mapping
from typing import Any

from distilnas.config import parse_amount
from distilnas.errors import UsageError, nearest
from distilnas.solve import Limit
from distilnas.surgery.library import MEASURES

Budget = Mapping[str, str | int]


def check_budgets(budgets: tuple[Budget, ...], teacher: Mapping[str, Any] | None = None) -> None:
    """Raise ``UsageError`` for a measure or an amount that is none."""
    for budget in budgets:
        limits_in(budget, teacher or dict.fromkeys(MEASURES, 1))


def limits_in(budget: Budget, teacher: Mapping[str, Any]) -> list[Limit]:
    """The most that is allowed of each measure; shares are of the ``teacher``'s value."""
    limits = []
    for name, value in budget.items():
        if name not in MEASURES:
            raise UsageError(f"a budget limits {', '.join(MEASURES)}, got {name!r}; {nearest(name, MEASURES)}")
        limits.append(Limit(cost=name, max=parse_amount(value, whole=teacher[name])))
    return limits


def slug(budget: Budget) -> str:
    """A folder's name: ``macs-40pct-params-2M``."""
    return "-".join(f"{name}-{str(value).replace('%', 'pct')}" for name, value in budget.items())


def in_words(budget: Budget) -> str:
    """``macs <= 40%, params <= 2M``."""
    return ", ".join(f"{name} <= {value}" for name, value in budget.items())
