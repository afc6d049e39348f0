"""What a DNA run works with besides images and device: its teacher, and the loop of block-wise distillation."""

from pathlib import Path
from typing import Any

from torch import nn

from distilnas.data import DataSplits, ImageSet
from distilnas.recipes import inputs as given
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.settings import Settings
from distilnas.runtime.progress import Progress
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.training import Loop, TrainingLog, train_classifier


class DnaMaterials(Materials):
    """``own``: the user's trained module, in place of a timm model."""

    def __init__(self, settings: Settings, *, own: OwnTeacher | None = None, progress: Progress | None = None) -> None:
        super().__init__(
            data=settings.data,
            runtime=settings.runtime,
            seed=settings.seed,
            preprocessing=own.preprocessing if own else given.teacher_preprocessing(settings.teacher, settings.data),
            rating_images=settings.rate.images,
            progress=progress,
        )
        self.settings, self.own = settings, own

    def new_teacher(self) -> nn.Module:
        """The teacher on the device with the weights that the settings or the user give, before any fitting."""
        number = len(self.splits.train.classes)
        with torch_seed(derive_seed(self.settings.seed, 7)):
            model = self.own.copy() if self.own else given.new_teacher(self.settings.teacher, number)
        given.check_classes(model, number, self.preprocessing.resolution)
        return self.device.module(model)

    def empty_teacher(self, num_classes: int) -> nn.Module:
        """A network of the teacher's kind on the device, to load the run's weights into."""
        return self.device.module(
            self.own.copy() if self.own else given.empty_teacher(self.settings.teacher, num_classes)
        )

    def fit_teacher(self, folder: Path, splits: DataSplits) -> tuple[nn.Module, TrainingLog | None]:
        """The teacher ready to teach, and the log of its training where the settings ask for one."""
        model, settings = self.new_teacher(), self.settings.teacher.fit
        if settings is None:
            return model.eval(), None
        fitted = train_classifier(
            model,
            settings=settings,
            name="fit teacher",
            seed=self.settings.seed,
            **self.training_inputs(folder, splits),
        )
        return fitted.model, fitted.log

    def describe_teacher(self, model: nn.Module) -> dict[str, Any]:
        """Counts and proposed partition, as JSON values."""
        teacher = self.settings.teacher
        name = type(model).__name__ if self.own else teacher.student or teacher.model
        return given.describe_teacher(model, teacher, name, self.preprocessing)

    def distill_loop(self, folder: Path, images: ImageSet) -> Loop:
        """The loop of block-wise distillation."""
        return self.loop(folder, images, self.settings.distill, name="distill")
