"""Numbers and sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilnas.records.solution import Tie
from distilnas.records.steps import DistillInputs, DistillLoss, Measured
from distilnas.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (950, "950"),
        (999.4, "999"),
        (12_345, "12.3 k"),
        (999_600, "1.0 M"),
        (4_243_318, "4.2 M"),
        (335_141_728, "335 M"),
        (1_843_000_000, "1.8 G"),
        (2.5e12, "2.5 T"),
    ],
)
def test_amount(value: float | None, text: str) -> None:
    assert wording.amount(value) == text


@given(st.integers(1, 10**14))
def test_amount_is_within_five_percent(value: int) -> None:
    number, _, unit = wording.amount(value).partition(" ")
    read = float(number.replace(",", "")) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[unit]
    assert read == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (23_226, "23,226"), (123_456_789, "1.2 × 10⁸"), (2 * 10**17, "2.0 × 10¹⁷")]
)
def test_count(value: int, text: str) -> None:
    assert wording.count(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.84, "0.8 s"),
        (42, "42 s"),
        (59.7, "1 min 0 s"),
        (185, "3 min 5 s"),
        (8040, "2 h 14 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_percent_of_no_value() -> None:
    assert wording.percent(77.14) == "77.1 %"
    assert wording.percent(float("nan")) == wording.percent(None) == "–"


def test_comparisons_with_the_teacher() -> None:
    assert wording.times_fewer(100, 420) == "4.2× fewer"
    assert wording.times_fewer(130, 100) == "1.3× more"
    assert wording.times_fewer(None, 100) is None
    better, worse = Measured(top1=78.9), Measured(top1=77.9)
    assert wording.points(better, worse) == "1.0 points above the teacher"
    assert wording.points(worse, better) == "1.0 points below the teacher"
    assert wording.points(worse, worse) == "level with the teacher"


def test_tie_says_what_to_do() -> None:
    tied = Tie(tied=True, difference=0.002, stderr=0.003, p_value=0.5, rival="")
    clear = Tie(tied=False, difference=0.02, stderr=0.003, p_value=1e-5, rival="")
    assert "Retrain both" in wording.tie_text(tied)
    assert "beyond the noise" in wording.tie_text(clear)


def test_loss_is_named_as_in_the_settings() -> None:
    plain, guided = (DistillInputs(distill=DistillLoss(loss="mse", label_loss=weight)) for weight in (0.0, 0.5))
    assert wording.loss_label(plain) == "loss: mse"
    assert wording.loss_label(guided) == "loss: mse + 0.5 × cross entropy"
    assert wording.loss_label(DistillInputs()) == wording.loss_label(None) == "loss"
