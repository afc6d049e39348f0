"""Two classifiers side by side, against formulas and other implementations."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

from distilnas.report.compared import Answers, difference, read_answers, write_answers

LABELS = np.random.default_rng(0).integers(0, 4, 300)
FOUND = np.where(np.random.default_rng(1).random(300) < 0.7, LABELS, 3)


def of(found: np.ndarray) -> Answers:
    return Answers(labels=LABELS, found=found, classes=4)


def test_as_scikit_learn_counts() -> None:
    answers = of(FOUND)
    assert np.array_equal(answers.confusion, confusion_matrix(LABELS, FOUND))
    np.testing.assert_allclose(answers.recall, recall_score(LABELS, FOUND, average=None))
    assert answers.balanced == pytest.approx(100 * balanced_accuracy_score(LABELS, FOUND))


def test_a_class_without_images_has_no_recall() -> None:
    answers = Answers(labels=np.array([0, 0]), found=np.array([0, 1]), classes=3)
    assert np.isnan(answers.recall[1:]).all()
    assert answers.balanced == 50


def test_a_paired_difference() -> None:
    """8 gained, 2 lost of 300: points, McNemar's exact p from the binomial distribution, Agresti and Min's interval."""
    wrong = (LABELS + 1) % 4
    teacher, student = np.where(np.arange(300) < 8, wrong, LABELS), np.where(np.arange(300) >= 298, wrong, LABELS)
    found = difference(of(student), of(teacher))
    assert (found.gained, found.lost) == (8, 2)
    assert found.points == pytest.approx(2.0)
    assert found.p_value == pytest.approx(2 * binom.cdf(2, 10, 0.5))
    width = 1.959964 * np.sqrt(11 - 36 / 302) / 302
    assert (found.low, found.high) == pytest.approx((100 * (6 / 302 - width), 100 * (6 / 302 + width)), abs=1e-5)


def test_its_interval_covers_as_often_as_it_says() -> None:
    """400 draws of 200 images, the student right 5 points less often: within three standard errors of 95 %."""
    rng, inside = np.random.default_rng(2), 0
    for _ in range(400):
        labels = np.zeros(200, dtype=int)
        cell = rng.choice(4, 200, p=[0.70, 0.12, 0.07, 0.11])  # both right, teacher alone, student alone, none
        student, teacher = np.isin(cell, (0, 2)), np.isin(cell, (0, 1))
        one, other = (Answers(labels=labels, found=1 - right.astype(int), classes=2) for right in (student, teacher))
        found = difference(one, other)
        inside += found.low <= -5 <= found.high
    assert abs(inside / 400 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 400)


def test_equal_answers() -> None:
    found = difference(of(FOUND), of(FOUND))
    assert (found.points, found.p_value) == (0, 1)
    assert found.low < 0 < found.high


def test_answers_are_kept(tmp_path) -> None:
    write_answers(tmp_path, of(FOUND))
    again = read_answers(tmp_path)
    assert np.array_equal(again.found, FOUND)
    assert again.classes == 4
