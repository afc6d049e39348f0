"""Budgets of the recipe ``shrink``: one for each student."""

from collections.abc import Iterable, Mapping
from typing import Any

from distilnas.latency.keep import latency_limit
from distilnas.recipes.budgets import Budget, BudgetSettings, to_limits
from distilnas.solve import Limit
from distilnas.surgery.peaks import peak_limit
from distilnas.tables.measures import MEASURES

_NO_SHORT_FORMS = BudgetSettings()


def check_each(budgets: Iterable[Budget]) -> None:
    """Raise ``UsageError`` for a measure or an amount that is none, and for a lower limit on what has none."""
    for budget in budgets:
        limits = limits_in(budget, dict.fromkeys(MEASURES, 1))
        latency_limit(limits)
        peak_limit(limits)


def limits_in(budget: Budget, teacher: Mapping[str, Any]) -> tuple[Limit, ...]:
    """What is allowed of each measure; shares are of the ``teacher``'s value."""
    return to_limits(budget, _NO_SHORT_FORMS, teacher)


def slug(budget: Budget) -> str:
    """A folder's name: ``macs-40pct-params-2M``."""
    return "-".join(f"{name}-{str(value).replace('%', 'pct')}" for name, value in budget.items())


def in_words(budget: Budget) -> str:
    """``macs 40%, params 2M``."""
    return ", ".join(f"{name} {value}" for name, value in budget.items())
