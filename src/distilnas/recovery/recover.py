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


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A recovery before its training: as in ``Recovered``, and the ``updates`` that the settings ask for."""

    before: dict[str, float]
    lr: float
    tried: tuple[dict[str, Any], ...]
    updates: int


def recover(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, *, fit_epochs: float | None = None
) -> Recovered:
    """Train ``student`` in place, see ``train_student``, as ``prepare`` finds."""
    found = prepare(student, lesson, settings, fit_epochs=fit_epochs)
    trained = train_student(student, lesson, settings.at(found.lr), updates=found.updates)
    done = Rounds.of(found.updates, update_stream(lesson, settings).per_epoch).total
    return Recovered(
        model=trained.model, log=trained.log, before=found.before, lr=found.lr, tried=found.tried, updates=done
    )


def prepare(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, *, fit_epochs: float | None = None
) -> Prepared:
    """Length and learning rate of a recovery, by timing and probes where the settings ask for them.

    ``student`` stays as it is. ``fit_epochs``: how long the teacher was fitted. What is found is kept in ``NOTES``
    beside the lesson's checkpoint: an interrupted recovery goes on with it, also where ``minutes`` set the length.
    """
    notes = Notes(lesson.checkpoint.with_name(NOTES))
    before = notes.keep("before", lambda: lesson.measure(student))
    timing = None
    if settings.minutes is not None:
        timing = Timing(**notes.keep("timing", lambda: measure_timing(student, lesson, settings).to_dict()))
    stream = update_stream(lesson, settings)
    updates = updates_of(settings, stream.per_epoch, fit_epochs=fit_epochs, timing=timing)
    lr, tried = _choose(student, lesson, settings, notes, probe_updates(settings, updates))
    lr = lr or settings.optim.for_batch(stream.pieces.update).lr
    return Prepared(before=before, lr=lr, tried=tried, updates=updates)


def _choose(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, notes: Notes, updates: int
) -> tuple[float | None, tuple[dict[str, Any], ...]]:
    """The highest of the rates that the student bears for so many ``updates``, and what was tried to find it.

    Without probes the middle one of the rates; None where the settings have none.
    """
    rates = sorted(settings.rates, reverse=True)
    if not updates:
        return (rates[len(rates) // 2] if rates else None), ()
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
