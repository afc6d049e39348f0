"""Two classifiers on the same images: what each gets right, and whether they differ. Plain numbers, no torch."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, norm

from distilnas.tables.files import read_arrays, write_arrays

_ANSWERS, _PHOTOS, _SCHEMA = "answers.npz", "photos.npz", 1
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """``labels`` and ``found``: (n,) numbers of classes; ``classes``: how many there are."""

    labels: np.ndarray
    found: np.ndarray
    classes: int

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes): images of the row's class that were taken for the column's."""
        cells = np.bincount(self.labels * self.classes + self.found, minlength=self.classes**2)
        return cells.reshape(self.classes, self.classes)

    @property
    def recall(self) -> np.ndarray:
        """(classes,): the share of each class that was found; NaN for a class without images."""
        with np.errstate(invalid="ignore"):
            return self.confusion.diagonal() / self.confusion.sum(1)

    @property
    def balanced(self) -> float:
        """The mean of the classes' recall, in percent."""
        return 100 * float(np.nanmean(self.recall))


def write_answers(folder: Path, answers: Answers) -> None:
    """Into a step's folder."""
    arrays = {"labels": answers.labels.astype(np.int32), "found": answers.found.astype(np.int32)}
    write_arrays(folder / _ANSWERS, arrays, {"kind": "answers", "schema": _SCHEMA, "classes": answers.classes})


def read_answers(folder: Path) -> Answers:
    """Out of a step's folder."""
    arrays, meta = read_arrays(folder / _ANSWERS, kind="answers", schema=_SCHEMA)
    return Answers(labels=arrays["labels"].astype(int), found=arrays["found"].astype(int), classes=meta["classes"])


def has_answers(folder: Path) -> bool:
    """Whether a step kept them."""
    return (folder / _ANSWERS).exists()


def write_photos(folder: Path, pixels: np.ndarray) -> None:
    """Thumbnails (n, side, side, 3) uint8 into a step's folder."""
    write_arrays(folder / _PHOTOS, {"pixels": pixels}, {"kind": "photos", "schema": _SCHEMA})


def read_photos(folder: Path) -> np.ndarray:
    """Out of a step's folder; none where there are none."""
    if not (folder / _PHOTOS).exists():
        return np.zeros((0, 1, 1, 3), dtype=np.uint8)
    return read_arrays(folder / _PHOTOS, kind="photos", schema=_SCHEMA)[0]["pixels"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The student's accuracy less the teacher's in ``points``, with its 95 % interval from ``low`` to ``high``.

    ``gained``: images that the student alone gets right; ``lost``: the teacher alone. ``p_value``: of the exact McNemar
    test, that both are right equally often.
    """

    points: float
    low: float
    high: float
    p_value: float
    gained: int
    lost: int


def difference(student: Answers, teacher: Answers) -> Difference:
    """Paired, since both saw the same images; the interval is Wald's with half an observation added to each of the four
    cells (Agresti and Min, Statistics in Medicine 24, 2005, section 3: its coverage holds for few images too)."""
    right, before = (one.found == one.labels for one in (student, teacher))
    gained, lost, number = int((right & ~before).sum()), int((before & ~right).sum()), len(right)
    plus, minus, total = gained + 0.5, lost + 0.5, number + 2
    middle = (plus - minus) / total
    width = float(norm.ppf((1 + _LEVEL) / 2)) * math.sqrt(plus + minus - (plus - minus) ** 2 / total) / total
    apart = gained + lost
    return Difference(
        points=100 * (gained - lost) / number,
        low=100 * (middle - width),
        high=100 * (middle + width),
        p_value=float(binomtest(gained, apart).pvalue) if apart else 1.0,
        gained=gained,
        lost=lost,
    )
