"""A recovery from beginning to end: how long, with which learning rate, and the training itself."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from distilnas.errors import UsageError
from distilnas.recovery.length import Timing, probe_updates, updates_of
from distilnas.recovery.lesson import Lesson
from distilnas.recovery.notes import Notes
from distilnas.recovery.probe import best_rate, measure_timing, probe_rate
from distilnas.recovery.settings import RecoverySettings
from distilnas.recovery.student import Rounds, train_student, update_stream
from distilnas.training import TrainingLog

NOTES = "recovery.json"


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """The recovered student in eval mode and the log of its training.

    ``before``: what ``Lesson.measure`` found of the student as it came. ``lr``: the learning rate; ``tried``: what
    ``probe_rate`` found of each, nothing where there was no probe. ``updates``: of the training.
    """

    model: nn.Module
    log: TrainingLog
    before: dict[str, float]
    lr: float
    tried: tuple[dict[str, Any], ...]
    updates: int


def recover(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, *, fit_epochs: float | None = None
) -> Recovered:
    """Train ``student`` in place, see ``train_student``, after timing and probes where the settings ask for them.

    ``fit_epochs``: how long the teacher was fitted. What is found before the training is kept in ``NOTES`` beside the
    lesson's checkpoint: an interrupted recovery goes on with it, also where ``minutes`` set the length.
    """
    notes = Notes(lesson.checkpoint.with_name(NOTES))
    before = notes.keep("before", lambda: lesson.measure(student))
    timing = None
    if settings.minutes is not None:
        timing = Timing(**notes.keep("timing", lambda: measure_timing(student, lesson, settings).to_dict()))
    stream = update_stream(lesson, settings)
    updates = updates_of(settings, stream.per_epoch, fit_epochs=fit_epochs, timing=timing)
    tried = _probed(student, lesson, settings, notes, probe_updates(settings, updates))
    lr = _chosen(settings, tried, before["val_kl"]) or settings.optim.for_batch(stream.pieces.update).lr
    trained = train_student(student, lesson, settings.at(lr), updates=updates)
    done = Rounds.of(updates, stream.per_epoch).total
    return Recovered(model=trained.model, log=trained.log, before=before, lr=lr, tried=tried, updates=done)


def _probed(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, notes: Notes, updates: int
) -> tuple[dict[str, Any], ...]:
    """What each rate does in so many ``updates``; nothing where there are none."""
    if not updates:
        return ()
    return tuple(
        notes.keep(f"lr {rate:g}", lambda rate=rate: probe_rate(student, lesson, settings, rate, updates=updates))
        for rate in settings.rates
    )


def _chosen(settings: RecoverySettings, tried: tuple[dict[str, Any], ...], before: float) -> float | None:
    """The best of the rates tried; where none was tried the middle one; None where the settings have none."""
    if not tried:
        return sorted(settings.rates)[len(settings.rates) // 2] if settings.rates else None
    best = best_rate(tried, before)
    if best is None:
        raise UsageError(
            f"the training diverges with each of the learning rates {[one['lr'] for one in tried]}: set lower rates."
        )
    return best
