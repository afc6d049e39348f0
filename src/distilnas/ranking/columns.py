"""Numbers by network name, from the CSV and JSON files that users bring.

CSV: a header with a column ``architecture``; JSON: ``{name: number}`` or ``{name: {column: number, ...}}``.
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilnas.errors import UsageError, nearest

NAME = "architecture"
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a file holds: ``rows[network][column]``, values as they stand there; ``source`` names it in messages."""

    source: str
    rows: dict[str, dict[str, Any]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, apart from the networks' names, in order of appearance."""
        return tuple(dict.fromkeys(column for row in self.rows.values() for column in row))

    def pick(self, *wanted: str) -> str:
        """The first of the ``wanted`` columns that is there; raises ``UsageError`` when none is."""
        found = [column for column in wanted if column in self.columns]
        if not found:
            shown = [repr(column) for column in self.columns[:_SHOWN]]
            more = ["..."] * (len(self.columns) > _SHOWN)
            raise UsageError(
                f"{self.source} needs a column {' or '.join(map(repr, wanted))}, it has "
                f"{', '.join(shown + more) or 'none'}; {nearest(wanted[0], self.columns)}"
            )
        return found[0]

    def numbers(self, column: str) -> dict[str, float]:
        """A column as numbers by network; raises ``UsageError`` for what is no finite number."""
        return {name: self._number(name, column) for name in self.rows}

    def _number(self, name: str, column: str) -> float:
        value = self.rows[name].get(column)
        try:
            number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{self.source}: {column} of {name!r} must be a finite number, got {value!r}.")
        return number


def read_columns(path: Path, *, plain: str) -> Columns:
    """Read a CSV or JSON file; ``plain`` names the column of a JSON file that has bare numbers.

    Raises ``UsageError`` when the file cannot be read, is of another form, or names a network twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _from_json(text, plain) if text.lstrip().startswith(("{", "[")) else _from_csv(text)
    except (OSError, ValueError, csv.Error, RecursionError) as error:  # ValueError: no UTF-8, no JSON, endless integers
        raise UsageError(f"cannot read {path}: {error}.") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return Columns(source=str(path), rows=rows)


def _from_csv(text: str) -> dict[str, dict[str, Any]]:
    reader = csv.reader(text.splitlines(), strict=True)
    header = [column.strip() for column in next(reader, [])]
    if NAME not in header or len(set(header)) != len(header):
        raise UsageError(
            f"the first line must name the columns, each once, one of them {NAME!r}, got {','.join(header)!r}."
        )
    rows: dict[str, dict[str, Any]] = {}
    for line, fields in enumerate(reader, start=2):
        if not fields:
            continue
        if len(fields) != len(header):
            raise UsageError(f"row {line} must have {len(header)} fields as the header has, got {len(fields)}.")
        row = dict(zip(header, (field.strip() for field in fields), strict=True))
        name = row.pop(NAME)
        if name in rows:
            raise UsageError(f"row {line} names {name!r} again; every network may stand there once.")
        rows[name] = row
    return rows


def _from_json(text: str, plain: str) -> dict[str, dict[str, Any]]:
    data = json.loads(text, object_pairs_hook=_distinct)
    if not isinstance(data, dict):
        raise UsageError("the JSON must be a mapping from networks to numbers or records, got a list.")
    return {name: value if isinstance(value, dict) else {plain: value} for name, value in data.items()}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UsageError(f"{key!r} stands there twice; every network may stand there once.")
        found[key] = value
    return found
