"""Settings from what a command line or a call says: a teacher, images, budgets; all else is found out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from timm.models import get_pretrained_cfg

from distilnas.config import merge, overrides_from, parse
from distilnas.data import ImageSet, has_classes, read_image_data, read_unlabelled
from distilnas.errors import UsageError
from distilnas.networks.files import CONFIG, read_config
from distilnas.recipes.own import OwnImages
from distilnas.recipes.settings import OWN, UNLABELLED
from distilnas.recipes.shrink.presets import BALANCED, preset_of
from distilnas.recipes.shrink.settings import LibrarySettings, ShrinkSettings
from distilnas.runtime.weights import read_state, stored_classes
from distilnas.teachers import create_teacher

FIT_EPOCHS = 8
_MOST_RATED = 0.3  # of the training images


def budgets_of(given: Mapping[str, str | None]) -> tuple[dict[str, str], ...]:
    """One budget a column: ``{macs: "75%,50%", params: "2M"}`` are two, both with the second limit.

    Raises ``UsageError`` where two measures name different numbers of limits.
    """
    lists = {name: [part.strip() for part in text.split(",")] for name, text in given.items() if text is not None}
    if not lists:
        return ({"macs": "50%"},)
    number = max(map(len, lists.values()))
    if any(len(values) not in (1, number) for values in lists.values()):
        told = ", ".join(f"{name}={','.join(values)}" for name, values in lists.items())
        raise UsageError(f"measures that are limited together name as many limits each, or one for all; got {told}.")
    return tuple({name: values[i % len(values)] for name, values in lists.items()} for i in range(number))


def run_folder(model: str, images: str, preset: str = BALANCED) -> Path:
    """Where a run lies that was given no folder; presets with other libraries need folders of their own."""
    return Path("runs") / "-".join(["shrink", model, images, *([preset] if preset != BALANCED else [])])


def shrink_settings(
    model: str,
    images: str | OwnImages,
    *,
    weights: str | None = None,
    by_order: bool = False,
    budgets: Sequence[Mapping[str, str]] = ({"macs": "50%"},),
    resolution: int | None = None,
    fit_epochs: int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    preset: str = BALANCED,
    seed: int = 0,
    more: Mapping[str, Any] | None = None,
) -> ShrinkSettings:
    """Settings for timm's ``model`` (or a student's folder, or ``own``) and ``images``, a folder or the user's own.

    A teacher whose classes are not the images' is fine-tuned first, for ``fit_epochs`` (default 8); with ``fit_epochs``
    any is. Images that lie in no folders of classes are named by it. ``minutes`` or ``epochs``: of the recovery of each
    student, in place of the ``preset``'s. ``more``: other settings, in place of what is found out. On processors that
    multiply bfloat16 matrices the run uses these.

    Raises ``UsageError`` for a preset that is none.
    """
    given = preset_of(preset)
    source, is_folder = _source(images), (Path(model) / CONFIG).is_file()
    train = images.train if isinstance(images, OwnImages) else _listed(source)
    teacher: dict[str, Any] = {"student": model} if is_folder else {"model": model}
    teacher |= {"weights": weights, "weights_by_order": by_order} if weights else {}
    teacher |= {} if is_folder or weights or model == OWN else {"pretrained": True}
    if fit_epochs or (fit_epochs is None and _classes_differ(model, source, len(train.classes), weights, is_folder)):
        teacher["fit"] = _fit(fit_epochs or FIT_EPOCHS)
    if given.fits and minutes is None and epochs is None:
        epochs = given.fits * teacher.get("fit", {}).get("epochs", FIT_EPOCHS)
    recovery = {"minutes": minutes, "epochs": epochs}
    data = {
        "recipe": "shrink",
        "seed": seed,
        "data": source | ({"resolution": resolution} if resolution else {}),
        "teacher": teacher,
        **given.settings,
        "library": _library(given.settings.get("library", {}), train),
        "budgets": [dict(budget) for budget in budgets],
        "recovery": {name: value for name, value in recovery.items() if value is not None},
        "runtime": {"precision": "bf16-mixed" if _multiplies_bf16() else "32-true"},
    }
    return parse(merge(yaml.safe_dump(data), overrides_from(more or {}), origin="the settings"), ShrinkSettings)


def _source(images: str | OwnImages) -> dict[str, Any]:
    if isinstance(images, OwnImages):
        return {"source": OWN, "path": images.key}
    return {"source": "folder" if has_classes(images) else UNLABELLED, "path": images}


def _fit(epochs: int) -> dict[str, Any]:
    optim = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 0.1}
    return {"epochs": epochs, "batch_size": 64, "optim": optim}


def _listed(source: Mapping[str, Any]) -> ImageSet:
    """The training images of a folder, not looked into."""
    read = read_unlabelled if source["source"] == UNLABELLED else read_image_data
    return read(source["path"], check="none").train


def _library(asked: Mapping[str, Any], train: ImageSet) -> dict[str, Any]:
    """What is ``asked``; where images are few, so many of them for ratings that most are left to train on."""
    most = max(len(train.classes), int(_MOST_RATED * len(train)))
    few = most < asked.get("rating_images", LibrarySettings.rating_images)
    return {**asked, **({"rating_images": most} if few else {})}


def _classes_differ(model: str, source: Mapping[str, Any], number: int, weights: str | None, is_folder: bool) -> bool:
    if model == OWN or source["source"] == UNLABELLED:
        return False
    if is_folder:
        return read_config(Path(model) / CONFIG)["num_classes"] != number
    if weights:
        with torch.device("meta"):
            network = create_teacher(model, num_classes=number)
        return stored_classes(network, read_state(Path(weights)), default=number) != number
    config = get_pretrained_cfg(model, allow_unregistered=True)
    return config is None or config.num_classes != number


def _multiplies_bf16() -> bool:
    """Whether this processor has units for bfloat16 matrices (AMX)."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())
