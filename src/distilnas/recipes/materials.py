"""What the steps of any run work with: device, images, loaders; everything loaded when first needed."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from distilnas.data import (
    Augmentation,
    DataSplits,
    ImageSet,
    Preprocessing,
    eval_transform,
    make_loader,
    train_transform,
)
from distilnas.files import write_json
from distilnas.recipes.images import load_splits
from distilnas.recipes.own import OwnImages
from distilnas.recipes.settings import DataSettings, RuntimeSettings, check_seeds
from distilnas.runtime import ranks
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.runtime.seeds import derive_seed
from distilnas.training import Loop, TrainingLog, accuracy, predictions, shares_right

CHECKPOINT = "checkpoint.safetensors"
Batches = Iterable[tuple[Tensor, Tensor]]


class SupernetSettings(Protocol):
    """What the trainings of supernets have in common."""

    @property
    def epochs(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def augment(self) -> Augmentation: ...


class Materials:
    """``preprocessing`` is what the networks of the run want; ``rating_images`` are held out of the training set.

    ``images``: the user's own, in place of those that ``data`` names.
    """

    def __init__(
        self,
        *,
        data: DataSettings,
        runtime: RuntimeSettings,
        seed: int,
        preprocessing: Preprocessing,
        rating_images: int = 0,
        images: OwnImages | None = None,
        progress: Progress | None = None,
    ) -> None:
        check_seeds([seed])
        self.own_images = images
        self.data, self.runtime, self.seed, self.preprocessing = data, runtime, seed, preprocessing
        self.rating_images = rating_images
        self.name_classes: Callable[[DataSplits], DataSplits] | None = None
        self.progress = progress or SilentProgress()
        if runtime.threads:
            torch.set_num_threads(runtime.threads)
        self.device = Device(runtime.accelerator, runtime.precision)

    @cached_property
    def splits(self) -> DataSplits:
        """The images as they are now, with the classes that ``name_classes`` gives them where it is there."""
        found = load_splits(self.data, self.seed, self.rating_images, self.own_images)
        return self.name_classes(found) if self.name_classes else found

    def training_inputs(self, folder: Path, splits: DataSplits) -> dict[str, Any]:
        """What ``train_classifier`` needs besides model, settings, name and seed."""
        return {
            "images": splits.train,
            "validation": splits.validation,
            "preprocessing": self.preprocessing,
            "device": self.device,
            "checkpoint": folder / CHECKPOINT,
            "progress": self.progress,
            "checkpoint_seconds": self.runtime.checkpoint_seconds,
            "workers": self.runtime.workers,
        }

    def loop(self, folder: Path, images: ImageSet, settings: SupernetSettings, *, name: str) -> Loop:
        """The loop of a supernet's training over augmented batches of ``images``."""
        transform = train_transform(self.preprocessing, settings.augment)
        size = min(settings.batch_size, len(images)) // ranks.world_size()

        def batches(epoch: int, start: int) -> Batches:
            return make_loader(
                images,
                transform,
                batch_size=size,
                rank=ranks.rank(),
                world_size=ranks.world_size(),
                seed=derive_seed(self.seed, 9),
                epoch=epoch,
                shuffle=True,
                drop_last=True,
                workers=self.runtime.workers,
                start_batch=start,
            )

        return Loop(
            name=name,
            epochs=settings.epochs,
            steps_per_epoch=len(images) // (size * ranks.world_size()),
            batches=batches,
            checkpoint=folder / CHECKPOINT,
            progress=self.progress,
            checkpoint_seconds=self.runtime.checkpoint_seconds,
        )

    def eval_batches(
        self,
        images: ImageSet,
        batch_size: int = 256,
        *,
        drop_last: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> Batches:
        """Batches in order, as a trained network wants them; ``preprocessing``: where it is not the run's."""
        return make_loader(
            images,
            eval_transform(preprocessing or self.preprocessing),
            batch_size=min(batch_size, len(images)),
            seed=0,
            epoch=0,
            shuffle=False,
            drop_last=drop_last,
            workers=self.runtime.workers,
        )

    def accuracy(self, model: nn.Module, images: ImageSet) -> float:
        """Top-1 in percent."""
        return accuracy(self.device.module(model), self.eval_batches(images), self.device)

    def test(self, model: nn.Module, images: ImageSet, *, preprocessing: Preprocessing | None = None) -> dict[str, Any]:
        """Top-1 and top-5 in percent, the number of images, and the share in percent of their most frequent class."""
        return self.answers(model, images, preprocessing=preprocessing)[1]

    def answers(
        self, model: nn.Module, images: ImageSet, *, preprocessing: Preprocessing | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The class that a network takes each image for, (n,), and what ``test`` says."""
        batches = self.eval_batches(images, preprocessing=preprocessing)
        top, labels = predictions(self.device.module(model), batches, self.device, k=5)
        top1, top5 = shares_right(top, labels, ks=(1, 5))
        tested = {"top1": top1, "top5": top5, "images": len(images), "majority": majority(images)}
        return top[:, 0].numpy(), tested


def majority(images: ImageSet) -> float:
    """The share in percent of the most frequent class: what a network reaches that always says so."""
    return 100 * int(images.class_counts.max()) / len(images)


def finish_training(folder: Path, log: TrainingLog | None) -> dict[str, float]:
    """Write the training's history, then remove its checkpoint: the last act of a step, which may fail until then.

    Returns the seconds that interrupted processes spent on it.
    """
    if log is not None:
        write_json(folder / "history.json", asdict(log))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return {} if log is None else {"seconds_before": log.seconds_before}
