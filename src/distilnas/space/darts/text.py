"""Genotypes as text: a short form of ours and the Python literal that DARTS and its relatives publish.

Short form: an edge is ``op-input`` (short or full op names), nodes are divided by ``|``, cells by ``;``. A cell that
does not concatenate all its nodes ends in ``> states``. The DARTS form labels its two cells, the per-cell form lists
its cells in order::

    N: s3-0 s3-1 | s3-0 s3-1 | s3-1 sk-0 | sk-0 d3-2 ; R: mp-0 mp-1 | sk-2 mp-1 | mp-0 sk-2 | sk-2 mp-1
    s3-0 sk-1 | s3-2 ; sk-0 s3-0 s3-1 | sk-1 > 2 3 ; ...

Python literal (only literals and ``range`` are read; nothing is executed)::

    Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))
"""

import ast
import json
import re
from typing import Any, cast

from distilnas.errors import UsageError
from distilnas.space.darts.genotype import (
    AnyGenotype,
    CellwiseGenotype,
    DartsCell,
    Edge,
    Genotype,
    StateOrder,
    all_states,
    genotype_from_dict,
    in_order,
)
from distilnas.space.darts.ops import op_of

_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_LONGEST = 64  # items of a range that are looked at: more states than any cell has


def parse_genotype(text: str, *, state_order: StateOrder = "darts") -> AnyGenotype:
    """Read the short form, the Python literal or JSON.

    Args:
        state_order: the numbering of the two inputs in ``text``; JSON says it itself.

    Raises ``UsageError`` for unknown ops (with the nearest names), inputs out of range, empty nodes and other text.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            return genotype_from_dict(json.loads(text))
        except (json.JSONDecodeError, RecursionError) as error:
            raise UsageError(f"not a genotype: broken JSON ({error}).") from error
    return _parse_python(text, state_order) if "(" in text else _parse_short(text, state_order)


def short_text(genotype: AnyGenotype, *, state_order: StateOrder = "darts") -> str:
    """The short form; ``str(genotype)`` is the same in the order of DARTS."""
    if isinstance(genotype, CellwiseGenotype):
        return " ; ".join(str(in_order(cell, state_order)) for cell in genotype.cells)
    return f"N: {in_order(genotype.normal, state_order)} ; R: {in_order(genotype.reduce, state_order)}"


def python_text(genotype: Genotype, *, state_order: StateOrder = "darts") -> str:
    """The Python literal of the DARTS form, as other projects read it."""
    parts: list[str] = []
    for kind, cell in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        edges = [(e.op, e.input) for node in in_order(cell, state_order).nodes for e in node]
        parts += [f"{kind}={edges}", f"{kind}_concat={list(cell.concat)}"]
    return f"Genotype({', '.join(parts)})"


def _parse_short(text: str, order: StateOrder) -> AnyGenotype:
    parts = [part.strip() for part in text.split(";")]
    if not any(part.startswith(("N:", "R:")) for part in parts):
        return CellwiseGenotype(cells=tuple(_parse_cell(part, order) for part in parts))
    if len(parts) != 2 or not parts[1].startswith("R:") or parts[0].startswith("R:"):
        raise UsageError(f"not a genotype: {text[:60]!r}; the DARTS form is 'N: ... ; R: ...', one cell of each kind.")
    normal, reduce = (_parse_cell(part.removeprefix("N:").removeprefix("R:"), order) for part in parts)
    return Genotype(normal=normal, reduce=reduce)


def _parse_cell(text: str, order: StateOrder) -> DartsCell:
    graph, arrow, concat = text.partition(">")
    nodes = tuple(tuple(_parse_edge(word) for word in node.split()) for node in graph.split("|"))
    if arrow and not re.fullmatch(r"(\s*\b\d{1,9})+\s*", concat, re.ASCII):
        raise UsageError(f"not a list of states: {concat[:60]!r}; valid: '> 2 3 4 5'.")
    states = tuple(int(word) for word in concat.split()) if arrow else all_states(len(nodes))
    return in_order(DartsCell(nodes=nodes, concat=states), order)


def _parse_edge(word: str) -> Edge:
    op, dash, state = word.rpartition("-")
    if not dash or not re.fullmatch(r"\d{1,9}", state, re.ASCII):
        raise UsageError(f"not an edge: {word[:60]!r}; valid: op-input, such as s3-1 or sep_conv_3x3-1.")
    return Edge(op=op_of(op), input=int(state))


def _parse_python(text: str, order: StateOrder) -> Genotype:
    fields = _call_arguments(text)
    cells = (
        DartsCell(nodes=_pair_up(fields[kind], kind), concat=_states(fields[f"{kind}_concat"]))
        for kind in ("normal", "reduce")
    )
    normal, reduce = (in_order(cell, order) for cell in cells)
    return Genotype(normal=normal, reduce=reduce)


def _call_arguments(text: str) -> dict[str, Any]:
    """The four arguments of ``Genotype(...)``, by name or position; ``NAME =`` in front is allowed."""
    try:
        (statement,) = ast.parse(text).body
        call = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
        if not isinstance(call, ast.Call) or ast.unparse(call.func).split(".")[-1] != "Genotype":
            raise ValueError("no call of Genotype")
        fields = dict(zip(_FIELDS, map(_literal, call.args), strict=False))
        fields |= {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
        if len(call.args) + len(call.keywords) != 4 or set(fields) != set(_FIELDS):
            raise ValueError("the arguments are " + ", ".join(_FIELDS))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UsageError(
            f"not a genotype: {text[:60]!r} ({error}); valid: 'N: ... ; R: ...', cells divided by ';', or "
            "Genotype(normal=[(op, input), ...], normal_concat=[...], reduce=[...], reduce_concat=[...])."
        ) from error
    return fields


def _literal(node: ast.expr) -> Any:
    """The value of a literal, or the start of a ``range`` of literals as a list."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords:
        return list(range(*map(ast.literal_eval, node.args))[:_LONGEST])
    return ast.literal_eval(node)


def _pair_up(pairs: Any, kind: str) -> tuple[tuple[Edge, Edge], ...]:
    """Two consecutive (op, input) pairs are one node."""
    try:
        edges = [Edge(op=op, input=state) for op, state in _items(pairs)]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{kind} must be a list of (op, input) pairs, got {str(pairs)[:60]}.") from error
    if len(edges) % 2:
        raise UsageError(f"{kind} must hold two (op, input) pairs per node, got {len(edges)} pairs.")
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def _states(value: Any) -> tuple[int, ...]:
    try:
        return tuple(_items(value))
    except TypeError as error:
        raise UsageError(f"a concat must be a range or a list of states, got {str(value)[:60]}.") from error


def _items(value: Any) -> list[Any]:
    """The items of a list or tuple literal; other literals have no order or none at all."""
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    return list(cast("list[Any]", value))
