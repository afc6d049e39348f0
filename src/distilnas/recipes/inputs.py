"""The images and the teacher of a run, loaded only when a step needs them."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from timm.models import get_pretrained_cfg
from torch import nn

from distilnas.costing import count, profile
from distilnas.data import DataSplits, ImageSet, Preprocessing, digits, make_splits, read_image_data
from distilnas.errors import UsageError
from distilnas.files import write_bytes
from distilnas.recipes.settings import DataSettings, Settings, TeacherSettings
from distilnas.teachers import Partition, TeacherBlocks, create_teacher, propose

WEIGHTS = "teacher.safetensors"


def load_splits(settings: Settings) -> DataSplits:
    """Read the images and split them; all randomness comes from the run's seed."""
    data = settings.data
    train, test = _read(data)
    splits = make_splits(
        train,
        test,
        test_fraction=data.test_fraction,
        validation=data.validation,
        rating_images=settings.rate.images,
        seed=settings.seed,
        train_images=data.train_images,
    )
    share = data.cache_mb / 4
    return DataSplits(
        **{part: getattr(splits, part).decoded(share) for part in ("train", "validation", "rating", "test")}
    )


def _read(data: DataSettings) -> tuple[ImageSet, ImageSet | None]:
    if data.source == "digits":
        return digits(data.resolution or 32), None
    assert data.path is not None
    found = read_image_data(Path(data.path), max_bad_share=data.max_bad_share)
    return found.train, found.test


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
    config = get_pretrained_cfg(teacher.model, allow_unregistered=True)
    preprocessing = Preprocessing.from_timm(
        config.to_dict() if config else {"input_size": (3, 224, 224)}, data.resolution
    )
    return preprocessing if data.resolution is None else replace(preprocessing, crop_pct=1.0)


def new_teacher(teacher: TeacherSettings, num_classes: int) -> nn.Module:
    """The teacher with the weights that the settings name (its head freshly initialised if it is to be fitted)."""
    return create_teacher(
        teacher.model,
        num_classes=num_classes,
        pretrained=teacher.pretrained,
        weights=Path(teacher.weights) if teacher.weights else None,
        model_kwargs=teacher.model_kwargs,
        allow_new_head=teacher.fit is not None,
        by_order=teacher.weights_by_order,
    )


def save_teacher(model: nn.Module, folder: Path) -> None:
    """Keep the teacher's weights in the run."""
    # cloned, as weights may be shared between layers
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(tensors))


def load_teacher(model: nn.Module, folder: Path, partition: dict[str, Any]) -> TeacherBlocks:
    """The frozen teacher of a run; ``model`` is a fresh network of the same kind."""
    model.load_state_dict(load_file(folder / WEIGHTS))
    return TeacherBlocks(model, Partition.from_dict(partition))


def describe_teacher(
    model: nn.Module, teacher: TeacherSettings, name: str, preprocessing: Preprocessing
) -> dict[str, Any]:
    """Counts and proposed partition of the teacher, as JSON values."""
    resolution = preprocessing.resolution
    counts = profile(model, resolution)
    partition = propose(model, resolution, teacher.partition)
    blocks = TeacherBlocks(model, partition).describe(lambda part, shape: count(part, shape)[0])
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
    _, _, outputs = count(model, (3, resolution, resolution))
    if outputs != (num_classes,):
        raise UsageError(
            f"a teacher gives one output for each class: the images have {num_classes} classes, {type(model).__name__} "
            f"gives {' x '.join(map(str, outputs))} outputs; give it a classifier of {num_classes}."
        )
