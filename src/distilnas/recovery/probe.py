"""Short trainings before the long one: what an update costs, and what a learning rate does."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from torch import nn

from distilnas.recovery.length import Timing
from distilnas.recovery.lesson import Lesson
from distilnas.recovery.settings import RecoverySettings
from distilnas.recovery.student import Rounds, student_training, train_student, update_stream
from distilnas.runtime import ranks
from distilnas.training.loop import Diverged

_UNTIMED, _TIMED = 2, 5  # updates
_BEARABLE = 0.25


def probe_rate(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, rate: float, *, updates: int
) -> dict[str, Any]:
    """How a learning rate does: ``lr``, and what ``Lesson.measure`` finds after so many ``updates`` from ``student``,
    which stays as it is; ``val_kl`` is None where the training diverged.

    The whole schedule, warm-up and cosine, takes place within the ``updates``, over the first views of the recovery.
    Resumes from a checkpoint beside the lesson's, and removes it.
    """
    checkpoint = lesson.checkpoint.with_name(f"probe-{lesson.checkpoint.name}")
    try:
        trained = train_student(
            copy.deepcopy(student),
            lesson,
            settings.at(rate),
            updates=updates,
            name=f"try learning rate {rate:g}",
            checkpoint=checkpoint,
        )
        last = trained.log.epochs[-1]
    except Diverged:
        last = {}
    if ranks.rank() == 0:
        checkpoint.unlink(missing_ok=True)
    measured = {name: last[name] for name in last if name.startswith("val_")}
    return {"lr": rate, **(measured if math.isfinite(measured.get("val_kl", math.inf)) else {"val_kl": None})}


def is_bearable(tried: dict[str, Any], *, before: float, ignorant: float) -> bool:
    """Whether a student loses less than a quarter of what it knows of its teacher to the learning rate ``tried``.

    Divergences: ``before`` of the student as it came, ``ignorant`` of an answer that is the same for all images.
    """
    return tried["val_kl"] is not None and tried["val_kl"] - before <= _BEARABLE * (ignorant - before)


def least_harm(tried: Sequence[dict[str, Any]]) -> float | None:
    """The learning rate that ends nearest to the teacher; None where all diverged."""
    ended = [one for one in tried if one["val_kl"] is not None]
    return min(ended, key=lambda one: one["val_kl"])["lr"] if ended else None


def measure_timing(student: nn.Module, lesson: Lesson, settings: RecoverySettings) -> Timing:
    """Seconds of an update (the median of a few) and of a measurement, on a copy of ``student``."""
    stream = update_stream(lesson, settings)
    rounds = Rounds(number=1, updates=_UNTIMED + _TIMED)
    training = student_training(copy.deepcopy(student), lesson, settings, stream.pieces, rounds)
    lesson.measure(training.result())  # the teacher's part is needed once
    held_out = _seconds(lambda: lesson.measure(training.result()))
    batches = iter(stream.between(0, rounds.updates))
    update = [_seconds(lambda: training.step(next(batches), 0, 0).cpu()) for _ in range(rounds.updates)]
    return Timing(update=median(update[_UNTIMED:]), held_out=held_out)


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
