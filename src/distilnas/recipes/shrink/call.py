"""``distilnas.shrink``: from the objects that a call is given to a run of the recipe."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from distilnas.data import (
    ImageSet,
    Preprocessing,
    as_given,
    given_images,
    is_given,
    is_prepared,
    preprocessing_of,
    read_image_data,
)
from distilnas.data.loaders import global_generators_kept
from distilnas.errors import UsageError
from distilnas.recipes.own import OwnImages, weights_key
from distilnas.recipes.settings import OWN
from distilnas.recipes.shrink.easy import budgets_of, run_folder, shrink_settings
from distilnas.recipes.shrink.recipe import run_shrink
from distilnas.runtime.progress import Progress

_KEY_DIGITS = 6


def shrink_call(
    model: Any,
    images: Any,
    *,
    limits: Mapping[str, Any],
    transform: Callable[[Any], Any] | Mapping[str, Any] | None,
    test: Any,
    classes: Sequence[str] | None,
    run: Path | None,
    progress: Progress,
    resolution: int | None,
    preset: str,
    **given: Any,
) -> tuple[Path, dict[str, Any]]:
    """Folder and summary, see ``distilnas.shrink``; ``given`` goes to ``shrink_settings`` as it is."""
    module = model if isinstance(model, nn.Module) else None
    if module is None and not isinstance(model, str | PathLike):
        raise UsageError(
            f"the model is a timm name, a student's folder or a torch module, got {type(model).__name__}; a class is "
            "called first, e.g. shrink(Net(), ...)."
        )
    with _process_kept():
        source = _images(images, test, classes, transform)
        preprocessing = _preprocessing(module, source, transform, resolution)
        settings = shrink_settings(
            OWN if module is not None else str(model),
            source,
            budgets=budgets_of({name: _limit(limit) for name, limit in limits.items()}),
            resolution=preprocessing.resolution if preprocessing else resolution,
            preset=preset,
            **given,
        )
        folder = run or run_folder(_model_name(model), _images_name(images, source), preset)
        own = source if isinstance(source, OwnImages) else None
        return folder, run_shrink(
            settings, folder, progress=progress, teacher=module, preprocessing=preprocessing, images=own
        )


@contextmanager
def _process_kept() -> Iterator[None]:
    """Leave random generators and the number of threads as they were."""
    threads = torch.get_num_threads()
    try:
        with global_generators_kept():
            yield
    finally:
        torch.set_num_threads(threads)


def _images(images: Any, test: Any, classes: Sequence[str] | None, transform: Any) -> str | OwnImages:
    if isinstance(images, str | PathLike):
        if test is not None or classes is not None:
            raise UsageError(
                "a folder of images brings its test images (its folder test/) and the names of its classes: leave out "
                "test and classes."
            )
        return str(images)
    sets = [_given(one, classes, transform) for one in (images, test) if one is not None]
    return OwnImages(train=sets[0], test=replace(sets[1], classes=sets[0].classes) if len(sets) > 1 else None)


def _given(data: Any, classes: Sequence[str] | None, transform: Any) -> ImageSet:
    if not is_given(data):
        raise UsageError(
            f"images are a folder, or a Dataset or DataLoader of (image, label), got {type(data).__name__}."
        )
    return given_images(
        data, name=type(data).__name__, classes=classes, transform=transform if callable(transform) else None
    )


def _preprocessing(
    module: nn.Module | None, source: str | OwnImages, transform: Any, resolution: int | None
) -> Preprocessing | None:
    """How images become the model's input; None: as timm says of the model by that name."""
    found = _told(module, source, transform, resolution)
    if found is not None and resolution not in (None, found.resolution):
        raise UsageError(
            f"the transform gives images of {found.resolution} pixels, but resolution={resolution}: leave it out."
        )
    return found


def _told(
    module: nn.Module | None, source: str | OwnImages, transform: Any, resolution: int | None
) -> Preprocessing | None:
    if isinstance(source, OwnImages) and is_prepared(source.train):
        return as_given(source.train)
    if isinstance(transform, Mapping):
        return Preprocessing.from_dict(transform)
    if callable(transform):
        train = source.train if isinstance(source, OwnImages) else read_image_data(source, check="none").train
        return preprocessing_of(transform, train)
    if transform is not None:
        raise UsageError(f"a transform is a callable or a mapping of settings, got {type(transform).__name__}.")
    if module is None:
        return None
    if getattr(module, "pretrained_cfg", None):
        told = Preprocessing.from_timm(module, resolution)
        return told if resolution is None else replace(told, crop_pct=1.0)
    if resolution is None:
        raise UsageError(
            f"{type(module).__name__} does not say how it wants its images: give transform=... (what you prepared them "
            "with), or resolution=N for whole images normalised with ImageNet's mean and deviation."
        )
    return Preprocessing(resolution=resolution)


def _limit(limit: Any) -> str | None:
    """As the command line has it: ``40%`` for 0.4, and several joined."""
    if limit is None:
        return None
    if isinstance(limit, Sequence) and not isinstance(limit, str):
        return ",".join(str(_limit(one)) for one in limit)
    if isinstance(limit, float):
        return f"{100 * limit:.12g}%" if 0 < limit <= 1 else f"{limit:.12g}"
    return str(limit)


def _model_name(model: Any) -> str:
    if isinstance(model, nn.Module):
        return f"{type(model).__name__}-{weights_key(model)[:_KEY_DIGITS]}"
    return Path(model).name


def _images_name(images: Any, source: str | OwnImages) -> str:
    if isinstance(source, OwnImages):
        return f"{type(images).__name__}-{source.key[:_KEY_DIGITS]}"
    return Path(source).resolve().name
