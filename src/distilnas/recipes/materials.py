"""What the steps of a run work with: device, images, loaders, a fresh teacher; everything loaded when first needed."""

from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distilnas.data import DataSplits, ImageSet, eval_transform, make_loader, train_transform
from distilnas.files import write_json
from distilnas.recipes import inputs as given
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.settings import Settings
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.training import Loop, TrainingLog, accuracy, train_classifier

CHECKPOINT = "checkpoint.safetensors"
Batches = Iterable[tuple[Tensor, Tensor]]


class Materials:
    """``own``: the user's trained module, in place of a timm model."""

    def __init__(self, settings: Settings, *, own: OwnTeacher | None = None, progress: Progress | None = None) -> None:
        self.settings, self.own = settings, own
        self.progress = progress or SilentProgress()
        if settings.runtime.threads:
            torch.set_num_threads(settings.runtime.threads)
        self.device = Device(settings.runtime.accelerator, settings.runtime.precision)
        self.preprocessing = own.preprocessing if own else given.teacher_preprocessing(settings.teacher, settings.data)

    @cached_property
    def splits(self) -> DataSplits:
        """The images as they are now."""
        return given.load_splits(self.settings)

    def new_teacher(self) -> nn.Module:
        """The teacher on the device with the weights that the settings or the user give, before any fitting."""
        number = len(self.splits.train.classes)
        with torch_seed(derive_seed(self.settings.seed, 7)):
            model = self.own.copy() if self.own else given.new_teacher(self.settings.teacher, number)
        given.check_classes(model, number, self.preprocessing.resolution)
        return self.device.module(model)

    def empty_teacher(self, num_classes: int) -> nn.Module:
        """A network of the teacher's kind on the device, to load the run's weights into."""
        if self.own:
            return self.device.module(self.own.copy())
        teacher = self.settings.teacher
        return self.device.module(
            given.create_teacher(teacher.model, num_classes=num_classes, model_kwargs=teacher.model_kwargs)
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
        name = type(model).__name__ if self.own else self.settings.teacher.model
        return given.describe_teacher(model, self.settings.teacher, name, self.preprocessing)

    def training_inputs(self, folder: Path, splits: DataSplits) -> dict[str, Any]:
        """What ``train_classifier`` needs besides model, settings, name and seed."""
        return {
            "images": splits.train,
            "validation": splits.validation,
            "preprocessing": self.preprocessing,
            "device": self.device,
            "checkpoint": folder / CHECKPOINT,
            "progress": self.progress,
            "checkpoint_seconds": self.settings.runtime.checkpoint_seconds,
            "workers": self.settings.runtime.workers,
        }

    def distill_loop(self, folder: Path, images: ImageSet) -> Loop:
        """The loop of block-wise distillation over augmented batches of ``images``."""
        settings = self.settings.distill
        transform = train_transform(self.preprocessing, settings.augment)
        size = min(settings.batch_size, len(images))

        def batches(epoch: int, start: int) -> Batches:
            return make_loader(
                images,
                transform,
                batch_size=size,
                seed=derive_seed(self.settings.seed, 9),
                epoch=epoch,
                shuffle=True,
                drop_last=True,
                workers=self.settings.runtime.workers,
                start_batch=start,
            )

        return Loop(
            name="distill",
            epochs=settings.epochs,
            steps_per_epoch=len(images) // size,
            batches=batches,
            checkpoint=folder / CHECKPOINT,
            progress=self.progress,
            checkpoint_seconds=self.settings.runtime.checkpoint_seconds,
        )

    def eval_batches(self, images: ImageSet, batch_size: int = 256, *, drop_last: bool = False) -> Batches:
        """Batches in order, as a trained network wants them."""
        return make_loader(
            images,
            eval_transform(self.preprocessing),
            batch_size=min(batch_size, len(images)),
            seed=0,
            epoch=0,
            shuffle=False,
            drop_last=drop_last,
            workers=self.settings.runtime.workers,
        )

    def accuracy(self, model: nn.Module, images: ImageSet, k: int = 1) -> float:
        """Top-k in percent."""
        return accuracy(self.device.module(model), self.eval_batches(images), self.device, k=k)

    def test(self, model: nn.Module, images: ImageSet) -> dict[str, Any]:
        """Top-1 and top-5 in percent, and the number of images."""
        return {"top1": self.accuracy(model, images), "top5": self.accuracy(model, images, k=5), "images": len(images)}


def finish_training(folder: Path, log: TrainingLog | None) -> dict[str, float]:
    """Write the training's history and remove its checkpoint; the seconds that interrupted processes spent on it."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    if log is None:
        return {}
    write_json(folder / "history.json", asdict(log))
    return {"seconds_before": log.seconds_before}
