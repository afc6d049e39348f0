"""Settings: YAML with overrides, nearest names for unknown keys, conversion into dataclasses."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from distilnas.config import flatten, merge, parse
from distilnas.config.load import read_text
from distilnas.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Inner:
    epochs: int = 1
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise UsageError("epochs below 0")


@dataclass(frozen=True, kw_only=True)
class Outer:
    rate: float
    ratios: tuple[float, ...] = (0.5,)
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    free: dict[str, int] = field(default_factory=dict)


def test_overrides_win_and_make_new_keys():
    text = "rate: 1\ninner: {epochs: 2, kind: a}\n"
    data = merge(text, ["inner.epochs=5", "maybe.kind=b", "ratios=[0.1, 0.2]"], origin="x")
    assert data == {"rate": 1, "inner": {"epochs": 5, "kind": "a"}, "maybe": {"kind": "b"}, "ratios": [0.1, 0.2]}
    expected = Outer(rate=1.0, ratios=(0.1, 0.2), inner=Inner(epochs=5), maybe=Inner(kind="b"))
    assert parse(data, Outer) == expected


def test_an_empty_text_and_an_empty_value():
    assert merge("", [], origin="x") == {}
    assert merge("maybe: {epochs: 1}", ["maybe=null"], origin="x") == {"maybe": None}


TEXTS = {"a": "x: 1\nin: {y: 2, z: [3]}", "b": "extends: a\nin: {y: 5}", "loop": "in: {extends: loop}"}


def test_a_configuration_extends_another():
    """At any depth; its own values win, and overrides win over both."""
    assert merge("extends: b\nin: {z: [4, 4]}", ["x=7"], origin="c", read=TEXTS.__getitem__) == {
        "x": 7,
        "in": {"y": 5, "z": [4, 4]},
    }
    nested = merge("p: {extends: b, x: 9}", [], origin="c", read=TEXTS.__getitem__)
    assert nested == {"p": {"x": 9, "in": {"y": 5, "z": [3]}}}


def test_a_configuration_cannot_extend_itself():
    with pytest.raises(UsageError, match="extends loop"):
        merge("extends: loop", [], origin="c", read=TEXTS.__getitem__)


@pytest.mark.parametrize("override", ["rate", "=5", ".=5", "a..b=1", "rate =5", ""])
def test_what_is_no_override_is_refused(override):
    with pytest.raises(UsageError, match="not an override"):
        merge("rate: 1", [override], origin="x")


@pytest.mark.parametrize(
    ("text", "overrides"),
    [("a: [1", []), ("- 1\n- 2", []), ("5", []), ("a: ${missing}", []), ("a: 1", ["a=[1"]), ("!!python/name:os.x", [])],
)
def test_what_is_no_configuration_is_refused_with_its_origin(text, overrides):
    with pytest.raises(UsageError, match=r"my\.yaml"):
        merge(text, overrides, origin="my.yaml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"rat": 1}, "unknown setting 'rat'; did you mean 'rate'"),
        ({"rate": 1, "inner": {"epoch": 1}}, r"unknown setting 'inner\.epoch'; did you mean 'epochs'"),
        ({"rate": 1, "maybe": {"knd": 1}}, r"unknown setting 'maybe\.knd'; did you mean 'kind'"),
        ({"rate": 1, "inner": {1: 1}}, r"unknown setting 'inner\.1'; valid: epochs, kind"),
        ({"rate": "fast"}, "setting rate: .* got 'fast'"),
        ({"rate": 1, "inner": {"epochs": 1.5}}, r"setting inner\.epochs: .* got 1\.5"),
        ({"rate": 1, "inner": {"kind": "c"}}, r"setting inner\.kind: .* got 'c'"),
        ({"rate": 1, "inner": {"epochs": -1}}, "epochs below 0"),
        ({}, "setting rate: Field required"),
    ],
)
def test_messages_name_the_setting(data, message):
    with pytest.raises(UsageError, match=message):
        parse(data, Outer)


def test_keys_of_free_mappings_are_free():
    assert parse({"rate": 1, "free": {"anything": 3}}, Outer).free == {"anything": 3}


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": 3}) == {"a.b": 1, "a.c.d": [2], "e": 3}


def test_read_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes("größe: 1".encode())
    assert read_text(tmp_path / "a.yaml") == "größe: 1"
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xff")
    for name in ("a.yaml", "missing.yaml"):
        with pytest.raises(UsageError, match="cannot read the configuration"):
            read_text(tmp_path / name)
