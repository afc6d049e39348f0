"""Progress in a log file: lines with how far and how long, at most one a minute."""

import pytest

from distilnas.cli import console


def test_log_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """10 of 50 steps were there; after 61 seconds 20 more are done, so the last 20 take 61 seconds as well."""
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(console, "error_console", console.Console(stderr=True, force_terminal=False))
    with console.RichProgress().task("distill", 50, done=10) as task:
        for seconds in (30.0, 61.0, 62.0, 120.0):
            clock[0] = seconds
            task.advance(10, note="loss 0.5")
    shown = capsys.readouterr()
    assert shown.err == "  distill 30/50, 0:01:01 spent, about 0:01:01 left loss 0.5\n"
    assert not shown.out
