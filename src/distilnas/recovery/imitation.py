"""The objective of a recovery: to give out what the teacher gives out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from distilnas.errors import UsageError
from distilnas.recovery.heldout import has_labels
from distilnas.recovery.lesson import Lesson
from distilnas.recovery.losses import logit_divergence, relative_error
from distilnas.recovery.outputs import check_paths, with_outputs
from distilnas.recovery.settings import RecoverySettings


class Imitation:
    """The ``Objective`` of a student; gradients flow to it alone.

    Losses: ``loss`` in all, its part ``logits``, and ``blocks`` and ``labels`` where these have a weight.
    """

    def __init__(
        self, student: nn.Module, lesson: Lesson, settings: RecoverySettings, *, steps_per_epoch: int, frozen: int
    ) -> None:
        """``frozen``: the number of updates before which batch norm learns no statistics."""
        self._lesson, self._settings = lesson, settings
        self._steps, self._frozen = steps_per_epoch, frozen
        self._pairs = lesson.pairs if settings.blocks else ()
        check_paths(student, [path for path, _ in self._pairs])
        used = {"loss": True, "logits": True, "blocks": bool(self._pairs), "labels": settings.labels > 0}
        self.loss_names = tuple(name for name, is_used in used.items() if is_used)

    def prepare(self, model: nn.Module, epoch: int, step: int) -> None:
        learns = epoch * self._steps + step >= self._frozen
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.train(learns)

    def losses(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        views = self._lesson.views
        with torch.no_grad():
            wanted, targets = with_outputs(
                self._lesson.teacher, [path for _, path in self._pairs], views.for_teacher(images)
            )
        logits, outputs = with_outputs(model, [path for path, _ in self._pairs], views.for_student(images))
        _check_classes(logits, wanted)
        parts = [logit_divergence(logits, wanted)]
        total = parts[0]
        if self._pairs:
            parts.append(self._errors(outputs, targets))
            total = total + self._settings.blocks * parts[-1]
        if self._settings.labels:
            parts.append(F.cross_entropy(logits, self._checked(labels, logits)))
            total = total + self._settings.labels * parts[-1]
        return total, *parts

    def metrics(self, model: nn.Module) -> dict[str, float]:
        return self._lesson.measure(model)

    def _errors(self, outputs: list[Tensor], targets: list[Tensor]) -> Tensor:
        """The mean of the blocks' relative errors."""
        for (path, of_teacher), output, target in zip(self._pairs, outputs, targets, strict=True):
            if output.shape != target.shape:
                raise UsageError(
                    f"outputs that are compared must have one shape, but {path} of the student gives out "
                    f"{tuple(output.shape[1:])} and {of_teacher} of the teacher {tuple(target.shape[1:])}: leave the "
                    "pair out."
                )
        errors = [relative_error(output, target) for output, target in zip(outputs, targets, strict=True)]
        return torch.stack(errors).mean()

    def _checked(self, labels: Tensor, logits: Tensor) -> Tensor:
        images = self._lesson.images
        if not has_labels(images, logits):
            raise UsageError(
                f"labels={self._settings.labels} needs images with the labels of the student's {logits.shape[1]} "
                f"classes, but {images.name} has {len(images.classes)}: set labels=0."
            )
        return labels


def _check_classes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise UsageError(
            f"a student is taught by a teacher of as many classes, got {student.shape[1]} and {teacher.shape[1]}."
        )
