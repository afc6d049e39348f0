"""Students side by side: each recovered briefly, so that the long recovery is spent on the right one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from distilnas.recovery.length import trial_updates
from distilnas.recovery.lesson import Lesson
from distilnas.recovery.probe import probe_rate
from distilnas.recovery.recover import bearable_rate, length_of, notes_of
from distilnas.recovery.settings import RecoverySettings


@dataclass(frozen=True, kw_only=True)
class Trials:
    """``ended``: what ``probe_rate`` found of each student after so many ``updates`` with the learning rate ``lr``.

    Empty where they are too few to tell anything.
    """

    updates: int
    lr: float | None = None
    ended: tuple[dict[str, Any], ...] = ()

    @property
    def best(self) -> int:
        """The number of the student that ended nearest to the teacher; without trials the first."""
        ended = [(row["val_kl"], i) for i, row in enumerate(self.ended) if row["val_kl"] is not None]
        return min(ended, default=(0.0, 0))[1]


def hold_trials(
    students: Sequence[tuple[nn.Module, Lesson]], settings: RecoverySettings, *, fit_epochs: float | None = None
) -> Trials:
    """Train a copy of each student for a tenth of its recovery, all with the highest of the learning rates that the
    first one bears.

    Lessons have different folders, in which an interrupted call finds what is done. Before training a student that
    ends early, or sees smaller images, looks worse than it becomes.
    """
    first, lesson = students[0]
    updates = trial_updates(length_of(first, lesson, settings, fit_epochs=fit_epochs))
    if not updates:
        return Trials(updates=0)
    rate, tried = bearable_rate(first, lesson, settings, updates=updates)
    ended = [next(row for row in tried if row["lr"] == rate)]
    for student, lesson in students[1:]:
        find = partial(probe_rate, student, lesson, settings, rate, updates=updates)
        ended.append(notes_of(lesson).keep(f"lr {rate:g}", find))
    return Trials(updates=updates, lr=rate, ended=tuple(ended))
