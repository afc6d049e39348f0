"""The images and the teacher of a run, loaded only when a step needs them."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from timm.models import get_pretrained_cfg
from torch import nn

from distilnas.costing import count, profile
from distilnas.data import (
    DataSplits,
    ImageSet,
    Preprocessing,
    Splits,
    digits,
    make_splits,
    read_cifar,
    read_hf,
    read_image_data,
    read_tar,
    read_wds,
    synthetic,
)
from distilnas.errors import UsageError
from distilnas.files import write_bytes
from distilnas.networks import DartsNet, StudentNet, build_network, load_student
from distilnas.recipes.settings import DataSettings, TeacherSettings
from distilnas.teachers import Partition, TeacherBlocks, create_teacher

WEIGHTS = "teacher.safetensors"


def load_splits(data: DataSettings, seed: int, rating_images: int) -> DataSplits:
    """Read the images and split them; all randomness comes from the run's seed."""
    train, test = _read(data, seed)
    splits = make_splits(
        train,
        test,
        test_fraction=data.test_fraction,
        validation=data.validation,
        rating_images=rating_images,
        seed=seed,
        train_images=data.train_images,
    )
    share = data.cache_mb / 4
    return DataSplits(
        **{part: getattr(splits, part).decoded(share) for part in ("train", "validation", "rating", "test")}
    )


def _read(data: DataSettings, seed: int) -> tuple[ImageSet, ImageSet | None]:
    if data.source == "digits":
        return digits(data.resolution or 32), None
    if data.source == "synthetic":
        given = {"images": data.images, "classes": data.classes, "resolution": data.resolution}
        return synthetic(seed=seed, **{key: value for key, value in given.items() if value is not None}), None
    found = _read_path(data, data.path or "")
    return found.train, found.test


def _read_path(data: DataSettings, path: str) -> Splits:
    bad: dict[str, Any] = {"check": data.check, "max_bad_share": data.max_bad_share}
    match data.source:
        case "cifar10" | "cifar100":
            return read_cifar(path, data.source, label=data.label_key or "fine")
        case "tar":
            return read_tar(path, test_path=data.test_path, **bad)
        case "wds":
            return read_wds(path, test_path=data.test_path, label_key=data.label_key, **bad)
        case "hf":
            return read_hf(
                path,
                image_key=data.image_key,
                label_key=data.label_key,
                train_split=data.train_split or "train",
                test_split=data.test_split,
                **bad,
            )
        case _:
            return read_image_data(path, **bad)


def describe_splits(splits: DataSplits, data: DataSettings) -> dict[str, Any]:
    """What a run records of its images, as JSON values."""
    parts = {part: getattr(splits, part) for part in ("train", "validation", "rating", "test")}
    fingerprint = hashlib.sha256("".join(part.fingerprint() for part in parts.values()).encode()).hexdigest()[:16]
    return {
        "source": data.source,
        "path": data.path,
        "fingerprint": fingerprint,
        "classes": list(splits.train.classes),
        "counts": {name: len(part) for name, part in parts.items()},
        "skipped": sorted({name for part in parts.values() for name in part.skipped}),
    }


def teacher_preprocessing(teacher: TeacherSettings, data: DataSettings) -> Preprocessing:
    """The teacher's own normalisation; its own resolution and crop too, unless ``data.resolution`` says otherwise.

    At a resolution of the user's choice the whole image is used (crop_pct 1).
    """
    if teacher.student:
        preprocessing = Preprocessing.from_dict(load_student(teacher.student).student_config["preprocessing"])
    else:
        config = get_pretrained_cfg(teacher.model, allow_unregistered=True)
        preprocessing = Preprocessing.from_timm(
            config.to_dict() if config else {"input_size": (3, 224, 224)}, data.resolution
        )
    if data.resolution is None:
        return preprocessing
    return replace(preprocessing, resolution=data.resolution, crop_pct=1.0)


def new_teacher(teacher: TeacherSettings, num_classes: int) -> nn.Module:
    """The teacher with the weights that the settings name (its head freshly initialised if it is to be fitted)."""
    if teacher.student:
        student: StudentNet | DartsNet = load_student(teacher.student)
        if student.num_classes != num_classes and teacher.fit is not None:
            student.reset_classifier(num_classes)
        return student
    return create_teacher(
        teacher.model,
        num_classes=num_classes,
        pretrained=teacher.pretrained,
        weights=Path(teacher.weights) if teacher.weights else None,
        model_kwargs=teacher.model_kwargs,
        allow_new_head=teacher.fit is not None,
        by_order=teacher.weights_by_order,
    )


def empty_teacher(teacher: TeacherSettings, num_classes: int) -> nn.Module:
    """A network of the teacher's kind, to load a run's weights into."""
    if teacher.student:
        return build_network(load_student(teacher.student).architecture, num_classes=num_classes)
    return create_teacher(teacher.model, num_classes=num_classes, model_kwargs=teacher.model_kwargs)


def save_teacher(model: nn.Module, folder: Path) -> None:
    """Keep the teacher's weights in the run."""
    # cloned, as weights may be shared between layers
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(tensors))


def load_teacher(model: nn.Module, folder: Path, partition: dict[str, Any]) -> TeacherBlocks:
    """The frozen teacher of a run; ``model`` is a fresh network of the same kind."""
    model.load_state_dict(load_file(folder / WEIGHTS))
    return TeacherBlocks(model, Partition.from_dict(partition))


def describe_teacher(model: nn.Module, partition: Partition, name: str, preprocessing: Preprocessing) -> dict[str, Any]:
    """Counts and proposed partition of the teacher, as JSON values."""
    counts = profile(model, preprocessing.resolution)
    blocks = TeacherBlocks(model, partition).describe(lambda part, shape: count(part, shape).macs)
    return {
        "name": name,
        "params": counts.params,
        "macs": counts.macs,
        "paper_flops": counts.paper_flops,
        "preprocessing": preprocessing.to_dict(),
        "partition": partition.to_dict(),
        "blocks": blocks,
    }


def check_classes(model: nn.Module, num_classes: int, resolution: int) -> None:
    """Raise ``UsageError`` when a teacher does not give one output for each class."""
    outputs = count(model, (3, resolution, resolution)).shape
    if outputs != (num_classes,):
        raise UsageError(
            f"a teacher gives one output for each class: the images have {num_classes} classes, {type(model).__name__} "
            f"gives {' x '.join(map(str, outputs))} outputs; give it a classifier of {num_classes}."
        )
