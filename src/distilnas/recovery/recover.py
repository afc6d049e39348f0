"""A recovery from beginning to end: how long, with which learning rate, and the training itself."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from distilnas.errors import UsageError
from distilnas.recovery.length import Timing, probe_updates, updates_of
from distilnas.recovery.lesson import Lesson
from distilnas.recovery.notes import Notes
from distilnas.recovery.probe import is_bearable, least_harm, measure_timing, probe_rate
from distilnas.recovery.settings import RecoverySettings
from distilnas.recovery.student import Rounds, train_student, update_stream
from distilnas.training import TrainingLog

NOTES = "recovery.json"


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """The recovered student in eval mode and the log of its training.

    ``before``: what ``Lesson.measure`` found of the student as it came. ``lr``: the learning rate; ``tried``: what
    ``probe_rate`` found, the highest rate first; nothing where there was no probe. ``updates``: of the training.
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
    before = notes_of(lesson).keep("before", lambda: lesson.measure(student))
    updates = length_of(student, lesson, settings, fit_epochs=fit_epochs)
    lr, tried = _choose(student, lesson, settings, probe_updates(settings, updates))
    trained = train_student(student, lesson, settings.at(lr), updates=updates)
    done = Rounds.of(updates, update_stream(lesson, settings).per_epoch).total
    return Recovered(model=trained.model, log=trained.log, before=before, lr=lr, tried=tried, updates=done)


def length_of(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, *, fit_epochs: float | None = None
) -> int:
    """The updates that the settings ask for; where that is by ``minutes``, a few are timed."""
    timing = None
    if settings.minutes is not None:
        found = notes_of(lesson).keep("timing", lambda: measure_timing(student, lesson, settings).to_dict())
        timing = Timing(**found)
    return updates_of(settings, update_stream(lesson, settings).per_epoch, fit_epochs=fit_epochs, timing=timing)


def bearable_rate(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, *, updates: int
) -> tuple[float, tuple[dict[str, Any], ...]]:
    """The highest of the rates that the student bears for so many ``updates``, and what was tried to find it.

    It is that which harms least where it bears none. Raises ``UsageError`` where the training diverges with all.
    """
    notes, rates = notes_of(lesson), sorted(settings.rates, reverse=True) or [_usual(lesson, settings)]
    before, ignorant = notes.keep("before", lambda: lesson.measure(student))["val_kl"], lesson.held_out.ignorant
    tried: list[dict[str, Any]] = []
    for rate in rates:
        find = partial(probe_rate, student, lesson, settings, rate, updates=updates)
        tried.append(notes.keep(f"lr {rate:g}", find))
        if is_bearable(tried[-1], before=before, ignorant=ignorant):
            return rate, tuple(tried)
    least = least_harm(tried)
    if least is None:
        raise UsageError(f"the training diverges with each of the learning rates {rates}: set lower rates.")
    return least, tuple(tried)


def notes_of(lesson: Lesson) -> Notes:
    """What was found out before the training, kept beside the lesson's checkpoint."""
    return Notes(lesson.checkpoint.with_name(NOTES))


def _choose(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, updates: int
) -> tuple[float, tuple[dict[str, Any], ...]]:
    """See ``bearable_rate``; without probes the middle one of the rates, or what the optimiser's settings say."""
    if updates:
        return bearable_rate(student, lesson, settings, updates=updates)
    rates = sorted(settings.rates)
    return (rates[(len(rates) - 1) // 2] if rates else _usual(lesson, settings)), ()


def _usual(lesson: Lesson, settings: RecoverySettings) -> float:
    return settings.optim.for_batch(update_stream(lesson, settings).pieces.update).lr
