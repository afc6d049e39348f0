"""Rating tables as CSV, one row per candidate, for tables made or read elsewhere.

Columns ``block,cell,path,rating,stderr``: block and cell count from 1 as everywhere the reader sees them, ``path`` is
one op index (from 0) per layer, ``0-2-1``; a lower rating is better, ``stderr`` may be left out or empty. The metric,
the number of images and the ratings batch by batch are only in the .npz form. Heads are not rated and have no rows.
"""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distilnas.errors import UsageError
from distilnas.files import write_text
from distilnas.space import SearchSpace
from distilnas.tables.ratings import CellRatings, RatingTable, unrated

HEADER = ("block", "cell", "path", "rating", "stderr")
_Row = dict[str, str]
_SHOWN = 3


def read_ratings(path: Path, space: SearchSpace) -> RatingTable:
    """A rating table of ``space`` from an .npz file or, by any other ending, from CSV; raises ``UsageError``."""
    table = RatingTable.load(path) if path.suffix == ".npz" else read_ratings_csv(path, space)
    table.check(space)
    return table


def write_ratings_csv(path: Path, table: RatingTable) -> None:
    """Write all candidates with all digits of their ratings; an unknown standard error stays empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for b, block in enumerate(table.body, start=1):
        for c, cell in enumerate(block, start=1):
            for index, rating in np.ndenumerate(cell.mean):
                error = float(cell.stderr[index])
                text = "" if math.isnan(error) else repr(error)
                writer.writerow((b, c, "-".join(map(str, index)), repr(float(rating)), text))
    write_text(path, buffer.getvalue())


def read_ratings_csv(path: Path, space: SearchSpace) -> RatingTable:
    """Read a table of ALL candidates of ``space``, in any order; standard errors that are not given are NaN.

    Blocks or cells that count from 0 are understood, since a complete table then has a 0. Raises ``UsageError`` for a
    table of other blocks, cells or paths than the space's (other ops do not show), missing or repeated candidates, and
    numbers that are none.
    """
    try:
        rows = list(_rows(path.read_text(encoding="utf-8-sig")))
        cells = _fill(rows, space)
    except (OSError, ValueError, csv.Error) as error:  # ValueError: no UTF-8, integers of thousands of digits
        raise UsageError(f"cannot read {path}: {error}.") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return RatingTable(space=space.fingerprint, metric="imported", num_images=0, cells=cells)


def _rows(text: str) -> Iterator[tuple[int, _Row]]:
    reader = csv.reader(text.splitlines(), strict=True)
    header = [column.strip() for column in next(reader, [])]
    if missing := [column for column in HEADER[:-1] if column not in header]:
        raise UsageError(
            f"the first line must be {','.join(HEADER)} (stderr may be left out), {', '.join(missing)} missing."
        )
    if len(set(header)) != len(header):
        raise UsageError(f"the first line must name each column once, got {','.join(header)!r}.")
    for fields in reader:
        if fields and len(fields) != len(header):
            raise UsageError(f"line {reader.line_num} must have {len(header)} fields, got {len(fields)}.")
        if fields:
            yield reader.line_num, dict(zip(header, (field.strip() for field in fields), strict=True))


def _fill(rows: list[tuple[int, _Row]], space: SearchSpace) -> tuple[tuple[CellRatings, ...], ...]:
    means = [[np.full(family.shape, np.nan) for family in block.families] for block in space.body]
    errors = [[np.full(family.shape, np.nan) for family in block.families] for block in space.body]
    blocks, cells = (_from_zero(rows, column) for column in ("block", "cell"))
    for (line, row), b, c in zip(rows, blocks, cells, strict=True):
        if b >= len(means) or c >= len(means[b]):
            raise UsageError(f"line {line}: space {space.name!r} has no block {b + 1} with a cell {c + 1}.")
        path = _path(line, row["path"], space.blocks[b].families[c].shape)
        if not math.isnan(means[b][c][path]):
            raise UsageError(f"line {line} repeats path {row['path']} of block {b + 1}, cell {c + 1}.")
        means[b][c][path] = _number(line, "rating", row["rating"])
        errors[b][c][path] = _number(line, "stderr", row["stderr"]) if row.get("stderr") else math.nan
        if errors[b][c][path] < 0:
            raise UsageError(f"line {line}: stderr must be at least 0, got {row['stderr']!r}.")
    for b, block in enumerate(means):
        for c, mean in enumerate(block):
            _check_complete(b, c, mean)
    body = (
        tuple(CellRatings(mean=m, stderr=e, batches=np.empty((0, *m.shape))) for m, e in zip(*parts, strict=True))
        for parts in zip(means, errors, strict=True)
    )
    return (*body, unrated((family.shape for family in space.blocks[-1].families), 0))


def _from_zero(rows: list[tuple[int, _Row]], column: str) -> list[int]:
    """Indices from 0 of a column that counts from 1, or from 0 when it has a 0."""
    numbers = []
    for line, row in rows:
        if not row[column].isdecimal():
            raise UsageError(f"line {line}: {column} must be a whole number from 1, got {row[column]!r}.")
        numbers.append(int(row[column]))
    first = min(1, min(numbers, default=1))
    return [number - first for number in numbers]


def _path(line: int, text: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    parts = text.split("-") if shape or text else []
    if not all(part.isdecimal() for part in parts) or len(parts) != len(shape):
        raise UsageError(f"line {line}: path must be {len(shape)} op indices such as {_example(shape)}, got {text!r}.")
    path = tuple(map(int, parts))
    if any(op >= size for op, size in zip(path, shape, strict=True)):
        raise UsageError(f"line {line}: op indices go from 0 to at most {_example(shape)}, got {text!r}.")
    return path


def _example(shape: tuple[int, ...]) -> str:
    return "-".join(str(size - 1) for size in shape)


def _number(line: int, column: str, text: str) -> float:
    try:
        number = math.nan if "_" in text else float(text)  # Python's 1_000
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"line {line}: {column} must be a finite number, got {text!r}.")
    return number


def _check_complete(b: int, c: int, mean: np.ndarray) -> None:
    missing = np.argwhere(np.isnan(mean))
    if len(missing):
        shown = ", ".join("-".join(map(str, path)) for path in missing[:_SHOWN].tolist())
        raise UsageError(
            f"all candidates must be rated, {len(missing)} of {mean.size} paths of block {b + 1}, cell {c + 1} are "
            f"missing: {shown}{', ...' if len(missing) > _SHOWN else ''}."
        )
