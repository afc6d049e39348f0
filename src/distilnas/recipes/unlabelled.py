"""Images without classes: the teacher names them, so that accuracy is agreement with the teacher."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.models import get_pretrained_cfg
from torch import nn

from distilnas.costing import count
from distilnas.data import DataSplits
from distilnas.errors import UsageError
from distilnas.networks.files import CONFIG, read_config
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.settings import TeacherSettings
from distilnas.runtime.device import Device
from distilnas.runtime.weights import read_state, stored_classes
from distilnas.teachers import create_teacher
from distilnas.training import predictions

WORDS = "the images have no classes: the teacher names them, and what is called top-1 is agreement with it"


def outputs_of(teacher: TeacherSettings | OwnTeacher, resolution: int) -> tuple[str, ...]:
    """The teacher's classes as its weights have them: a student's by name, others by number.

    Raises ``UsageError`` where neither a file of weights nor timm says how many there are.
    """
    if isinstance(teacher, OwnTeacher):
        return _numbers(count(teacher.copy(), (3, resolution, resolution)).shape[0])
    if teacher.student:
        config = read_config(Path(teacher.student) / CONFIG)
        return tuple(config.get("classes") or _numbers(config["num_classes"]))
    known: Any = get_pretrained_cfg(teacher.model, allow_unregistered=True)
    number = known.num_classes if known else 0
    if teacher.weights:
        with torch.device("meta"):
            network = create_teacher(teacher.model, num_classes=number or 1000, model_kwargs=teacher.model_kwargs)
        number = stored_classes(network, read_state(Path(teacher.weights)), default=number)
    if not number:
        raise UsageError(
            f"images without classes are named by the teacher, but how many classes {teacher.model} has is not known: "
            "give its weights as a file (teacher.weights, --weights), or sort the images into CLASS/ folders."
        )
    return _numbers(number)


def named(splits: DataSplits, names: tuple[str, ...], model: nn.Module, materials: Materials) -> DataSplits:
    """``splits`` with the classes that ``model`` takes their images for; in float32, so that they stay the same."""
    device, parts = Device(materials.runtime.accelerator), {}
    network = device.module(model)
    for part in ("train", "validation", "rating", "test"):
        images = getattr(splits, part)
        top, _ = predictions(network, materials.eval_batches(images), device, k=1)
        parts[part] = replace(images, classes=names, labels=top[:, 0].numpy())
    return DataSplits(**parts)


def _numbers(number: int) -> tuple[str, ...]:
    return tuple(map(str, range(number)))
