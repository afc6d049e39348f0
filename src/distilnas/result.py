"""What a run came to, for Python and notebooks."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilnas.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

_CELL = 'style="text-align:right;padding:2px 12px"'


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """A finished run.

    Attributes:
        folder: Where everything lies.
        summary: The content of its ``summary.json``.
        parent: The module whose parts the student is made of, where that was the user's own.
    """

    folder: Path
    summary: dict[str, Any]
    parent: nn.Module | None = None

    @property
    def student(self) -> nn.Module:
        """The (first) student with its weights, in eval mode; always the same object. ``student.student_config`` holds
        classes and preprocessing."""
        return self.students[0]

    @cached_property
    def students(self) -> list[nn.Module]:
        """The students of all budgets, in their order."""
        from distilnas.networks import load_student

        return [load_student(folder, parent=self.parent) for folder in self.exports]

    @property
    def exports(self) -> list[Path]:
        """The folders to hand over, one a student. Raises ``UsageError`` where the recipe makes no student."""
        rows = self.summary.get("students", [self.summary])
        found = [row["artefacts"]["weights"] for row in rows if "weights" in row.get("artefacts", {})]
        if not found:
            raise UsageError(f"the recipe {self.summary.get('recipe')!r} makes no student; see summary.")
        return [(self.folder / path).parent for path in found]

    def report(self, *, show: bool = False) -> Path:
        """The report, one HTML file that needs nothing else; ``show`` opens it in the browser."""
        path = self.folder / "report.html"
        if show:
            webbrowser.open(path.resolve().as_uri())
        return path

    def __repr__(self) -> str:
        rows = [f"{name}: {_percent(row)}, {_costs(row)}" for name, row in self._networks().items()]
        return "\n".join([f"Result({str(self.folder)!r})", *(f"  {row}" for row in rows)])

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        teacher = self.summary.get("teacher") or {}
        lines = [
            f"<tr><th style='text-align:left'>{escape(name)}</th><td {_CELL}>{_percent(row)}</td>"
            + "".join(f"<td {_CELL}>{_cost(row, teacher, cost)}</td>" for cost in ("macs", "params", "bytes"))
            + "</tr>"
            for name, row in self._networks().items()
        ]
        heads = "".join(f"<th {_CELL}>{head}</th>" for head in ("test top-1", "MACs", "parameters", "bytes"))
        report = self.report()
        return (
            f"<table><tr><th></th>{heads}</tr>{''.join(lines)}</table>"
            f'<a href="{escape(report.as_posix())}">{escape(str(report))}</a>'
        )

    def _networks(self) -> dict[str, Mapping[str, Any]]:
        """Teacher and students by what they are called."""
        teacher = self.summary.get("teacher")
        found = {f"teacher {teacher.get('name', '')}": teacher} if teacher else {}
        if "students" in self.summary:
            return found | {_budget(row["budget"]): row for row in self.summary["students"]}
        return found | ({"student": self.summary["student"]} if "student" in self.summary else {})


def _budget(budget: Mapping[str, Any]) -> str:
    return "student " + ", ".join(f"{name} {limit}" for name, limit in budget.items())


def _percent(row: Mapping[str, Any]) -> str:
    return "" if row.get("top1") is None else f"{row['top1']:.2f} %"


def _costs(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{row[cost]:,} {cost}" for cost in ("macs", "params", "bytes") if row.get(cost) is not None)


def _cost(row: Mapping[str, Any], teacher: Mapping[str, Any], cost: str) -> str:
    if row.get(cost) is None:
        return ""
    share = f" ({row[cost] / teacher[cost]:.0%})" if row is not teacher and teacher.get(cost) else ""
    return f"{row[cost]:,}{share}"
