"""Damage of every kind to bytes, JSON values and YAML, as hypothesis draws it."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

DEEP = json.loads("[" * 200 + "]" * 200)
ODD: tuple[Any, ...] = (
    None, True, "", "x", "../x", "\x00", -1, 0, 1, 0.5, 10**30, -(10**12), 10**9, 1e308, float("nan"), float("inf"),
    [], {}, [[]], {"x": 1}, [None], DEEP, "x" * 5000, [1] * 3000,
)  # fmt: skip
Bytes = st.binary(max_size=64)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Other bytes than ``data``: flipped, cut, grown, overwritten or all gone."""
    at = draw(st.integers(0, max(0, len(data) - 1)))
    kind = draw(st.sampled_from(("flip", "cut", "insert", "overwrite", "zero", "other")))
    if kind == "flip" and data:
        return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "insert":
        return data[:at] + draw(st.binary(min_size=1, max_size=64)) + data[at:]
    if kind == "overwrite":
        some = draw(Bytes)
        return data[:at] + some + data[at + len(some) :]
    return b"" if kind == "zero" else draw(Bytes)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A copy of a JSON value with one to three places changed: another value or type, a key gone, or an unknown one."""
    found = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(found))
        if not places:
            return copy.deepcopy(draw(st.sampled_from(ODD)))
        parent, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(("value", "value", "gone", "unknown", "double")))
        if kind == "gone":
            del parent[key]
        elif kind == "unknown" and isinstance(parent, dict):
            parent["unknown"] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif kind == "double" and isinstance(parent, list):
            parent.insert(0, copy.deepcopy(parent[key]))
        else:
            parent[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return found


def _places(value: Any) -> Any:
    """Every place in a JSON value: its parent and key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
