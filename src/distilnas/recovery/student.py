"""Training a whole student to give out what its teacher gives out."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from distilnas.data import train_transform
from distilnas.errors import UsageError
from distilnas.recovery.imitation import Imitation
from distilnas.recovery.lesson import Lesson
from distilnas.recovery.settings import RecoverySettings
from distilnas.runtime.seeds import derive_seed
from distilnas.training import Loop, Trained
from distilnas.training.batches import Pieces, UpdateStream
from distilnas.training.network import NetworkTraining, UpdateRule


def train_student(
    student: nn.Module,
    lesson: Lesson,
    settings: RecoverySettings,
    *,
    updates: int,
    name: str = "recover student",
    checkpoint: Path | None = None,
) -> Trained:
    """Train ``student`` in place, all its weights, for about so many ``updates``; resumes from ``checkpoint``, else
    from the lesson's, and leaves it for the caller to remove.

    The learning rate is ``settings.optim``'s. The log has a record per round, a round being an epoch or nearly one (see
    ``Rounds``): the mean of each loss of ``Imitation``, and what ``HeldOut.measure`` finds.
    Raises ``UsageError`` where student and teacher do not go together, and ``Diverged``.
    """
    stream = update_stream(lesson, settings)
    rounds = Rounds.of(updates, stream.per_epoch)
    length = rounds.updates
    training = student_training(student, lesson, settings, stream.pieces, rounds)
    loop = Loop(
        name=name,
        epochs=rounds.number,
        steps_per_epoch=length,
        batches=lambda epoch, start: stream.between(epoch * length + start, (epoch + 1) * length),
        checkpoint=checkpoint or lesson.checkpoint,
        progress=lesson.progress,
        checkpoint_seconds=lesson.checkpoint_seconds,
    )
    log = loop.run(training)
    return Trained(model=training.result().eval(), log=log)


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """A training's equal parts, after each of which it is measured: ``number`` of them, ``updates`` each."""

    number: int
    updates: int

    @classmethod
    def of(cls, updates: int, per_epoch: int) -> "Rounds":
        """As near to epochs as equal parts of ``updates`` come; up to a part's length may be left out at the end."""
        number = max(1, round(updates / per_epoch))
        return cls(number=number, updates=max(1, updates // number))

    @property
    def total(self) -> int:
        """Updates in all."""
        return self.number * self.updates


def student_training(
    student: nn.Module, lesson: Lesson, settings: RecoverySettings, pieces: Pieces, rounds: Rounds
) -> NetworkTraining:
    """The ``Trainable`` of a student, which it changes in place."""
    _check_apart(student, lesson.teacher)
    frozen = round(settings.frozen_norm * rounds.total)
    imitation = Imitation(student, lesson, settings, steps_per_epoch=rounds.updates, frozen=frozen)
    rule = UpdateRule(
        optim=settings.optim.for_batch(pieces.update),
        epochs=rounds.number,
        steps_per_epoch=rounds.updates,
        passes=pieces.passes,
        ema=settings.ema,
        clip_grad=settings.clip_grad,
    )
    seed = derive_seed(lesson.seed, 12)
    return NetworkTraining(student.requires_grad_(True), imitation, rule, device=lesson.device, seed=seed)


def update_stream(lesson: Lesson, settings: RecoverySettings) -> UpdateStream:
    """The updates that every student of this lesson sees: the same views in the same order."""
    return UpdateStream(
        images=lesson.images,
        transform=train_transform(lesson.views.made, settings.augment),
        pieces=settings.pieces(len(lesson.images)),
        seed=derive_seed(lesson.seed, 13),
        workers=lesson.workers,
    )


def _check_apart(student: nn.Module, teacher: nn.Module) -> None:
    """A student that holds the teacher's own tensors would change the teacher."""
    theirs = {tensor.data_ptr() for tensor in teacher.state_dict().values() if tensor.numel()}
    shared = [name for name, tensor in student.state_dict().items() if tensor.data_ptr() in theirs and tensor.numel()]
    if shared:
        raise UsageError(f"the student holds tensors of its teacher ({shared[0]}, ...): give it copies of its own.")
