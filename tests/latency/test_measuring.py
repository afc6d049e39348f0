"""Measuring latency: with a clock of the test's own, intervals against tables, pieces by what they do."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from distilnas.errors import UsageError
from distilnas.latency import LatencySettings, make_piece, measure, stopwatch, timing
from distilnas.latency.measuring import measurement

SETTINGS = LatencySettings()


def test_the_interval_is_that_of_a_binomial_count() -> None:
    """Of 30 the 10th and the 21st: P(10 <= number below the median <= 20) is 0.957 (Conover, table of n = 30)."""
    found = timing([float(n) for n in range(30, 0, -1)])
    assert (found.low, found.median, found.high) == (10, 15.5, 21)


def test_six_processes_are_the_fewest_for_95_percent() -> None:
    """All six on one side of the median: 2 / 2**6 = 3.1 %; of five: 6.3 %."""
    assert (timing([3, 1, 2, 6, 5, 4]).low, timing([3, 1, 2, 6, 5, 4]).high) == (1, 6)


def test_rows_take_turns_and_the_second_pass_counts() -> None:
    now, calls = [0.0], []

    def piece(name: str, first: float, second: float):
        passes = [0]

        def run() -> None:
            calls.append(name)
            passes[0] += 1
            now[0] += second if passes[0] % 2 == 0 else first

        return run

    rows = [[piece("a", 9, 1), piece("b", 9, 2)], [piece("c", 9, 3)]]
    times, _, counted = stopwatch.take_turns(rows, lambda: now[0], 0.0, 7)  # no seconds: the fewest turns, no warm-up
    assert times == [[[1000.0] * 5, [2000.0] * 5], [[3000.0] * 5]]
    assert counted == 5 * (1 + 2 + 3)
    turns = ["".join(calls[i : i + 6]) for i in range(0, len(calls), 6)]
    assert set(turns) <= {"ababcc", "ccabab"}
    assert len(turns) == 5


def test_ratios_are_taken_turn_by_turn_and_counted_in_processes() -> None:
    """A machine that gets slower turn by turn changes both; each process has one say."""
    one = {"version": "1", "processor": "p", "waited": 0.0, "calibration_ms": [1.0, 1.0], "clock": "processor"}
    slower = [2.0, 4.0, 16.0, 32.0]
    found = measurement([one | {"rows": [[slower], [[ms * r for ms in slower]]]} for r in (0.5, 0.6, 0.4)])
    ratio = found.ratio(1, 0)
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((0.4, 0.5, 0.6))
    assert found.ms(0).median == 10
    assert found.doubt is None
    busy = measurement([one | {"waited": 2.5, "calibration_ms": [1.0, 1.3], "rows": [[slower]]}])
    assert "250%" in str(busy.doubt)
    assert "30%" in str(busy.doubt)


def test_pieces_are_equal_by_what_they_do() -> None:
    def key(*layers: nn.Module) -> str:
        return make_piece("x", nn.Sequential(*layers).eval(), (8, 6, 6), SETTINGS).key

    plain = key(nn.Conv2d(8, 16, 3), nn.ReLU())
    named = nn.Sequential()
    named.add_module("other", nn.Conv2d(8, 16, 3))
    named.add_module("act", nn.ReLU())
    assert make_piece("y", named.eval(), (8, 6, 6), SETTINGS).key == plain
    assert key(nn.Conv2d(8, 15, 3), nn.ReLU()) != plain
    assert key(nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()) != plain
    assert key(nn.Conv2d(8, 16, 3), nn.Tanh()) != plain


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_a_process_of_its_own_measures(runtime: str) -> None:
    settings = LatencySettings(runtime=runtime, batch=2)  # type: ignore[arg-type]
    piece = make_piece("conv", nn.Conv2d(3, 4, 3).eval(), (3, 8, 8), settings)
    found = measure([[piece, piece], [piece]], settings, seconds=0.02, processes=1)
    assert [len(row) for row in found.times[0]] == [2, 1]
    assert all(len(piece) >= 5 and (piece > 0).all() for row in found.times[0] for piece in row)
    assert found.version.partition("+")[0] == (
        torch.__version__.partition("+")[0] if runtime == "torch" else __import__("onnxruntime").__version__
    )


def test_what_the_runtime_cannot_run_is_one_line() -> None:
    piece = make_piece("the stem", nn.Conv2d(3, 4, 3).eval(), (3, 8, 8), SETTINGS)
    with pytest.raises(UsageError, match="cannot run the stem") as caught:
        measure([[piece.__class__(**{**vars(piece), "data": b"no model"})]], SETTINGS, seconds=0.01, processes=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"runtime": "tflite"}, {"device": "tpu"}, {"threads": 0}, {"batch": 0}])
def test_settings_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}"):
        replace(SETTINGS, **wrong)


def test_more_threads_than_processors() -> None:
    with pytest.raises(UsageError, match="but this machine has"):
        measure([], replace(SETTINGS, threads=10**6))
