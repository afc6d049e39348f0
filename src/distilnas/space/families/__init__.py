"""The kinds of block, as data: families that may fill a block, and their fillings.

A new kind of block is a file here with its line in ``FAMILIES`` and ``FILLINGS``, and a file and a line in
``distilnas.blocks`` under the same name. Here it must provide

- a frozen dataclass that is a ``Family`` (``base.py``): the options of a search space, with JSON form;
- a frozen dataclass that is a ``Filling``: one candidate, with text, JSON form, and words for people. A family of a
  single candidate may be its own filling, as ``Head`` is.

Nothing else names a kind. Layers of cells have kinds of their own, ``distilnas.space.kinds``.
"""

from typing import Any

from distilnas.errors import UsageError, nearest
from distilnas.space.families.base import Box, Family, Filling, Path
from distilnas.space.families.cell import Cell, CellSpec, ops_text
from distilnas.space.families.head import Head
from distilnas.space.families.stem import FixedLayer, Stem

__all__ = [
    "FAMILIES",
    "FILLINGS",
    "Box",
    "Cell",
    "CellSpec",
    "Family",
    "Filling",
    "FixedLayer",
    "Head",
    "Path",
    "Stem",
    "ops_text",
    "parse_filling",
    "read_family",
    "read_filling",
]

FAMILIES: dict[str, type[Family]] = {
    CellSpec.kind: CellSpec,
    Head.kind: Head,
}
FILLINGS: dict[str, type[Filling]] = {
    Cell.kind: Cell,
    Head.kind: Head,
}


def parse_filling(text: str) -> Filling:
    """The filling that ``str(filling)`` writes; raises ``UsageError``, ``ValueError`` or ``IndexError`` otherwise."""
    word = text.split()[0] if text.strip() else ""
    kind = Cell.kind if word[:1].isdigit() or word == "stem" else word
    if kind not in FILLINGS:
        raise UsageError(f"not an architecture: unknown kind of block {kind!r}; {nearest(kind, FILLINGS)}")
    return FILLINGS[kind].parse(text)


def read_filling(data: dict[str, Any]) -> Filling:
    """The filling of a JSON form; raises ``UsageError`` for an unknown kind."""
    return _known(data["kind"], FILLINGS, "block").from_dict(data)


def read_family(data: dict[str, Any]) -> Family:
    """The family of a JSON form; raises ``UsageError`` for an unknown kind."""
    return _known(data["kind"], FAMILIES, "family").from_dict(data)


def _known(kind: str, table: dict[str, Any], what: str) -> Any:
    if kind not in table:
        raise UsageError(f"unknown kind of {what} {kind!r}; {nearest(kind, table)}")
    return table[kind]
