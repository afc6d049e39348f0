"""Budgets: what a network may cost in any measure, as people write it, and as limits for the solver."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from distilnas.config.units import parse_quantity
from distilnas.errors import UsageError, nearest
from distilnas.solve import Limit
from distilnas.tables.measures import ADDITIVE, MEASURES, Number, check_measure, measure_info

_ENDS = ("min", "max")
_RANGE = ".."
_OVERRIDE = re.compile(
    r"(?P<prefix>(\w+\.)*?)(budget\.(?P<name>\w+)|solve\.(max|min)_(?P<short>\w+))(\.\w+)*=(?P<value>.*)"
)
_SHORT = ("macs", "params")  # with forms of their own: solve.max_macs
_Ends = dict[str, str | int | float]
Budget = Mapping[str, Any]
"""By measure: ``40%`` (at most), ``1M..2M``, ``1M..`` (at least), or a mapping of ``min`` and ``max``."""


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """Short forms of ``budget``: numbers (40M, 1.2M, 350000) or shares of the teacher's value (45%)."""

    max_macs: str | int | None = None
    max_params: str | int | None = None
    min_macs: str | int | None = None
    min_params: str | int | None = None

    def ends(self, name: str) -> _Ends:
        """What is given for a measure."""
        given = {end: getattr(self, f"{end}_{name}") for end in _ENDS} if name in _SHORT else {}
        return {end: value for end, value in given.items() if value is not None}


class HasBudget(Protocol):
    """Settings of a run that solves."""

    @property
    def budget(self) -> dict[str, Any] | None: ...
    @property
    def solve(self) -> BudgetSettings: ...


def check_budgets(settings: HasBudget) -> None:
    """Raise ``UsageError`` for what is no budget, a measure that is none, and one given in both forms."""
    for name, ends in _given(settings.budget, settings.solve):
        if name not in ADDITIVE:
            raise UsageError(f"{name} is a budget of the recipe shrink alone; here one is on {', '.join(ADDITIVE)}.")
        for value in ends.values():
            _parse(name, value, whole=1)


def limits_of(settings: HasBudget, teacher: Mapping[str, Any] | None) -> tuple[Limit, ...]:
    """Budgets as limits, in the order of the measures; ``teacher`` has the values that shares (45%) refer to."""
    return to_limits(settings.budget, settings.solve, teacher)


def to_limits(budget: Budget | None, short: BudgetSettings, teacher: Mapping[str, Any] | None) -> tuple[Limit, ...]:
    """``limits_of`` of a ``budget`` and its ``short`` forms; without a teacher there are no shares."""
    found = []
    for name, ends in _given(budget, short):
        if teacher and name not in teacher and any(str(value).strip().endswith("%") for value in ends.values()):
            raise UsageError(
                f"the budget of {name} is a share of the teacher's, which this run has not measured (an older version "
                "began it): give a number, or begin a new run."
            )
        whole = (teacher or {}).get(name)
        parsed = {end: _parse(name, value, whole) for end, value in ends.items()}
        found.append(Limit(cost=name, min=parsed.get("min"), max=parsed.get("max")))
    return tuple(found)


def check_known(limits: Iterable[Limit], known: Iterable[str], *, remedy: str) -> None:
    """Raise ``UsageError`` for a limit on a measure that is not among the ``known`` ones."""
    names = tuple(known)
    if lost := [limit.cost for limit in limits if limit.cost not in names]:
        raise UsageError(f"a budget is on {lost[0]}, but this run knows {' and '.join(names)} only; {remedy}")


def read_budgets(texts: Iterable[str]) -> dict[str, str]:
    """By measure what the command line says: ``macs=40%``, ``params=1M..2M``."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and value):
            raise UsageError(f"a budget is MEASURE=AMOUNT, e.g. macs=40% or params=1M..2M, got {text!r}.")
        check_measure(name)
        if name in given:
            raise UsageError(f"the budget of {name} is given twice, {given[name]} and {value}: take one out.")
        given[name] = value
    return given


def overrides_of(budgets: Iterable[str], short: Mapping[str, str | None] = MappingProxyType({})) -> tuple[str, ...]:
    """Settings in place of all budgets of a run, from those of the command line and their ``short`` forms
    (``max_macs``); none where none is given."""
    given = read_budgets(budgets)
    if not given and not any(short.values()):
        return ()
    forms = dict.fromkeys(f"{end}_{name}" for end in _ENDS for name in _SHORT) | dict(short)
    plain = (f"budget.{name}={given.get(name, 'null')}" for name in MEASURES)
    return (*plain, *(f"solve.{form}={value or 'null'}" for form, value in forms.items()))


def completed(overrides: Iterable[str]) -> tuple[str, ...]:
    """``overrides`` (key.sub=value), and for each budget among them none in its other form, whatever the configuration
    that they change may say."""
    overrides = tuple(overrides)
    found = [match for text in overrides if (match := _OVERRIDE.match(text)) and match["value"] != "null"]
    short = {(match["prefix"], match["short"]) for match in found if match["short"]}
    plain = {(match["prefix"], match["name"]) for match in found if match["name"]}
    cleared = [f"{prefix}budget.{name}=null" for prefix, name in sorted(short - plain)]
    cleared += [f"{p}solve.{end}_{name}=null" for p, name in sorted(plain - short) if name in _SHORT for end in _ENDS]
    return (*overrides, *cleared)


def _given(budget: Budget | None, short: BudgetSettings) -> Iterator[tuple[str, _Ends]]:
    budget = budget or {}
    for name in budget:
        check_measure(name)
    for name in MEASURES:
        ends, shorts = _ends(name, budget.get(name)), short.ends(name)
        if ends and shorts:
            end = next(iter(shorts))
            raise UsageError(
                f"the budget of {name} is given twice, as budget.{name} and as solve.{end}_{name}: take one out."
            )
        if ends or shorts:
            yield name, ends or shorts


def _ends(name: str, value: Any) -> _Ends:
    """The ends of a budget in any of its forms."""
    if isinstance(value, str) and _RANGE in value:
        value = dict(zip(_ENDS, map(str.strip, value.split(_RANGE, 1)), strict=True))
    if not isinstance(value, Mapping):
        value = {"max": value}
    for key in value:
        if key not in _ENDS:
            raise UsageError(f"budget.{name} has min and max, not {key!r}; {nearest(str(key), _ENDS)}")
    return {end: given for end in _ENDS if (given := value.get(end)) not in (None, "")}


def _parse(name: str, value: Any, whole: Number | None) -> Number:
    info = measure_info(name)
    try:
        return parse_quantity(value, unit=info.unit, exact=info.exact, whole=whole)
    except UsageError as error:
        raise UsageError(f"budget of {name}: {error}") from error
