"""What a run with a teacher works with besides images and device: the teacher; and the loop of distillation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from distilnas.data import DataSplits, ImageSet, Preprocessing
from distilnas.errors import UsageError
from distilnas.recipes import inputs as given
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.settings import DataSettings, RuntimeSettings, Settings, TeacherSettings
from distilnas.runtime.progress import Progress
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.teachers import Partition, propose
from distilnas.training import Loop, TrainingLog, train_classifier


class TeacherMaterials(Materials):
    """``own``: the user's trained module, in place of a timm model. Without a ``teacher``, ``preprocessing`` is needed.

    ``partition(model, resolution, policy)`` says where the teacher's features are taken.
    Whatever is asked of a teacher raises ``UsageError`` where there is none.
    """

    def __init__(
        self,
        *,
        teacher: TeacherSettings | None,
        data: DataSettings,
        runtime: RuntimeSettings,
        seed: int,
        rating_images: int,
        preprocessing: Preprocessing | None = None,
        partition: Callable[[nn.Module, int, str | Sequence[str]], Partition] = propose,
        own: OwnTeacher | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._teacher, self._partition, self.own = teacher, partition, own
        preprocessing = own.preprocessing if own else preprocessing
        super().__init__(
            data=data,
            runtime=runtime,
            seed=seed,
            preprocessing=preprocessing or given.teacher_preprocessing(self.teacher, data),
            rating_images=rating_images,
            progress=progress,
        )

    @property
    def teacher(self) -> TeacherSettings:
        """Which teacher."""
        if self._teacher is None:
            raise UsageError("this run has no teacher; name one in its settings.")
        return self._teacher

    def new_teacher(self) -> nn.Module:
        """The teacher on the device with the weights that the settings or the user give, before any fitting."""
        number = len(self.splits.train.classes)
        with torch_seed(derive_seed(self.seed, 7)):
            model = self.own.copy() if self.own else given.new_teacher(self.teacher, number)
        given.check_classes(model, number, self.preprocessing.resolution)
        return self.device.module(model)

    def empty_teacher(self, num_classes: int) -> nn.Module:
        """A network of the teacher's kind on the device, to load the run's weights into."""
        return self.device.module(self.own.copy() if self.own else given.empty_teacher(self.teacher, num_classes))

    def fit_teacher(self, folder: Path, splits: DataSplits) -> tuple[nn.Module, TrainingLog | None]:
        """The teacher ready to teach, and the log of its training where the settings ask for one."""
        model, settings = self.new_teacher(), self.teacher.fit
        if settings is None:
            return model.eval(), None
        fitted = train_classifier(
            model,
            settings=settings,
            name="fit teacher",
            seed=self.seed,
            **self.training_inputs(folder, splits),
        )
        return fitted.model, fitted.log

    def describe_teacher(self, model: nn.Module) -> dict[str, Any]:
        """Counts and proposed partition, as JSON values."""
        name = type(model).__name__ if self.own else self.teacher.student or self.teacher.model
        partition = self._partition(model, self.preprocessing.resolution, self.teacher.partition)
        return given.describe_teacher(model, partition, name, self.preprocessing)


class DnaMaterials(TeacherMaterials):
    """What a DNA run works with."""

    def __init__(self, settings: Settings, *, own: OwnTeacher | None = None, progress: Progress | None = None) -> None:
        super().__init__(
            teacher=settings.teacher,
            data=settings.data,
            runtime=settings.runtime,
            seed=settings.seed,
            rating_images=settings.rate.images,
            own=own,
            progress=progress,
        )
        self.settings = settings

    def distill_loop(self, folder: Path, images: ImageSet) -> Loop:
        """The loop of block-wise distillation."""
        return self.loop(folder, images, self.settings.distill, name="distill")
