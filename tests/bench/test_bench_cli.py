"""``distilnas bench`` as scripts use it."""

import json
import sys
from pathlib import Path

import pytest

from distilnas.cli.main import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["distilnas", "bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_record_is_printed_and_written(monkeypatch, capsys, tmp_path: Path):
    out = tmp_path / "new" / "shrink.json"
    assert call(monkeypatch, "shrink", "--quick", "--accelerator", "cpu", "--json", "--out", out) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads(out.read_text())
    assert (record["benchmark"], record["provenance"]["device"]) == ("shrink", "cpu")
    assert record["macs_per_image"]["25%"] < record["macs_per_image"]["50%"] < record["macs_per_image"]["100%"]


def test_an_unknown_name_is_a_usage_error(monkeypatch, capsys):
    assert call(monkeypatch, "solv", "--json") == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == 2
    assert "did you mean 'solve'" in captured.err
