"""YAML, JSON and overrides from any hand: one line that names the place and the remedy, within a second."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from distilnas.config import merge, parse
from distilnas.config.load import read_text
from distilnas.errors import UsageError
from distilnas.files import parse_json, read_json
from distilnas.space.presets import read_space
from distilnas.yaml_text import load_yaml

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGES = "a0: &a0 {k0: 1, l0: 2}\n" + "".join(
    f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 20,000 entries"),
        (MERGES, "more than 20,000 entries"),
        ("a: " + "[" * 5000, "line 1 is nested deeper than 40 levels"),
        ("a: " + "{b: " * 5000, "nested deeper"),
        ("".join(f"{' ' * n}k:\n" for n in range(100)), "nested deeper"),
        ("a: &x [*x]", "contains itself"),
        ("a: *y", "not defined"),
        ("a:\n\tb: 1", "line 2, column 1: found character '\\\\t'.*indent with spaces"),
        ("a: 1\nb: \0", "line 2: the character '\\\\x00'"),
        ("a: 1\na: 2", "line 2, column 1: 'a' is given twice"),
        ("b: {c: 1, c: 2}", "'c' is given twice"),
        ("a: 1\nb: ${oc.env:HOME}", r"line 2 has an interpolation \(\$\{oc.env:HOME\}\)"),
        ("a: ${oc.${b}:HOME}\nb: env", "interpolation"),
        ("a: ['${b}', '${b}']\nb: [1]", "interpolation"),
        ("a: !!python/object/apply:os.system [ls]", "line 1"),
        ("a: 1" + "0" * 5000, "cannot read"),
        ("a: 2020-99-99", "cannot read"),
        ("a: 1\n---\nb: 2", "single document"),
        ("x" * 1_000_001, "at most 1,000,000 characters"),
        ("a: 'b", "line 1"),
    ],
    ids=range(20),
)
def test_hostile_text(text: str, message: str):
    with pytest.raises(UsageError, match=message) as refused:
        merge(text, [], origin="my.yaml")
    assert "my.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_aliases_and_merges_are_for_is_read():
    text = "base: &b {lr: 0.1, sizes: [1, 2]}\nmine:\n  <<: *b\n  lr: 0.2\nmore: [*b, *b]"
    base = {"lr": 0.1, "sizes": [1, 2]}
    assert load_yaml(text, "f") == {"base": base, "mine": base | {"lr": 0.2}, "more": [base, base]}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a=${oc.env:HOME}", "interpolation"),
        ("a=" + "[" * 5000, "nested deeper"),
        (".".join(["a"] * 5000) + "=1", "5000 parts"),
        ("a=&x [*x]", "contains itself"),
        ("a=\t", "indent with spaces"),
    ],
    ids=range(5),
)
def test_hostile_overrides(override: str, message: str):
    with pytest.raises(UsageError, match=message):
        merge("a: 1", [override], origin="my.yaml")


def test_an_empty_mapping_clears_and_the_order_counts():
    source = "teacher: {model_kwargs: {channels: [8], act: relu}, name: x}"

    def kwargs(*overrides: str) -> Any:
        return merge(source, overrides, origin="f")["teacher"]["model_kwargs"]

    assert kwargs("teacher.model_kwargs={}") == {}
    assert kwargs("teacher.model_kwargs={}", "teacher.model_kwargs.a=1") == {"a": 1}
    assert kwargs("teacher.model_kwargs={a: 1}") == {"channels": [8], "act": "relu", "a": 1}
    assert merge(source, ["teacher.model_kwargs={}"], origin="f")["teacher"]["name"] == "x"
    assert merge("a: {b: {}}", ["a.c={}"], origin="f") == {"a": {"b": {}, "c": {}}}


@dataclass(frozen=True, kw_only=True)
class Inner:
    lr: float = 0.1
    epochs: int = 3
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    resolution: int | None = None
    name: str = ""


@pytest.mark.parametrize("text", ["nan", "NaN", ".nan", "inf", "-.inf", "-Infinity", "1e999"])
def test_numbers_that_are_none(text: str):
    data = merge("inner: {lr: 1}", [f"inner.lr={text}"], origin="f")
    with pytest.raises(UsageError, match=r"setting inner\.lr: a finite number is needed"):
        parse(data, Outer)
    with pytest.raises(UsageError, match=r"setting inner\.extra\.a: a finite number"):
        parse({"inner": {"extra": {"a": math.nan}}}, Outer)


@pytest.mark.parametrize(("key", "value"), [("resolution", "100000"), ("inner.epochs", "1000000000")])
def test_absurd_amounts_are_refused_when_read(key: str, value: str):
    with pytest.raises(UsageError, match=rf"setting {key}: at most [\d,.]+ is sensible, got {value[:3]}"):
        parse(merge("{}", [f"{key}={value}"], origin="f"), Outer)


def test_a_long_value_is_shortened():
    with pytest.raises(UsageError) as refused:
        parse({"inner": {"epochs": "x" * 10_000}}, Outer)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("data", [b"\xff\xfea\x00:\x00", b"\xfe\xff\x00a\x00:"])
def test_utf_16_is_named_with_the_remedy(tmp_path: Path, data: bytes):
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(UsageError, match=r"this is UTF-16\. Save it as UTF-8"):
        read_text(tmp_path / "a.yaml")


def test_a_byte_order_mark_is_no_matter(tmp_path: Path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert merge(read_text(tmp_path / "a.yaml"), [], origin="f") == {"a": 1}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{", "", "\x00", "1" * 5000])
def test_hostile_json(text: str):
    with pytest.raises(UsageError, match=r"my\.json"):
        parse_json(text, "my.json")


def test_json_that_is_no_text(tmp_path: Path):
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"no UTF-8 \(byte 1\)"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", [LAUGHS, "[" * 5000, "\t- a", "3", "blocks: 3\nschema: 1", "{schema: 1, blocks: [3]}"])
def test_hostile_search_spaces(tmp_path: Path, text: str):
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(UsageError):
        read_space(tmp_path / "space.yaml")
