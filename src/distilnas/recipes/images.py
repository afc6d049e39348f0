"""The images of a run, read and split."""

import hashlib
from typing import Any

from distilnas.data import (
    DataSplits,
    ImageSet,
    Splits,
    digits,
    make_splits,
    read_cifar,
    read_hf,
    read_image_data,
    read_tar,
    read_unlabelled,
    read_wds,
    synthetic,
)
from distilnas.errors import UsageError
from distilnas.recipes.own import OwnImages
from distilnas.recipes.settings import OWN, DataSettings
from distilnas.records.steps import Data


def load_splits(data: DataSettings, seed: int, rating_images: int, own: OwnImages | None = None) -> DataSplits:
    """Read the images, or take the user's ``own``, and split them; all randomness comes from the run's seed."""
    train, test = _read(data, seed, own)
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


def _read(data: DataSettings, seed: int, own: OwnImages | None) -> tuple[ImageSet, ImageSet | None]:
    if data.source == OWN:
        if own is None:
            raise UsageError(
                f"data.source={OWN} are images of your own: continue the run from Python, distilnas.shrink(model, "
                "images=...)."
            )
        return own.train, own.test
    if data.source == "digits":
        return digits(data.resolution or 32), None
    if data.source == "synthetic":
        given = {"images": data.images, "classes": data.classes, "resolution": data.resolution}
        return synthetic(seed=seed, **{key: value for key, value in given.items() if value is not None}), None
    found = _read_path(data, data.path or "")
    return found.train, found.test


def _read_path(data: DataSettings, path: str) -> Splits:
    bad: dict[str, Any] = {"check": data.check, "max_bad_share": data.max_bad_share, "max_pixels": data.max_pixels}
    match data.source:
        case "cifar10" | "cifar100":
            return read_cifar(path, data.source, label=data.label_key or "fine")
        case "tar":
            return read_tar(path, test_path=data.test_path, layout=data.layout, **bad)
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
        case "unlabelled":
            return read_unlabelled(path, **bad)
        case _:
            return read_image_data(path, layout=data.layout, **bad)


def describe_splits(splits: DataSplits, data: DataSettings) -> Data:
    """What a run records of its images."""
    parts = {part: getattr(splits, part) for part in ("train", "validation", "rating", "test")}
    fingerprint = hashlib.sha256("".join(part.fingerprint() for part in parts.values()).encode()).hexdigest()[:16]
    return Data(
        source=data.source,
        path=data.path,
        fingerprint=fingerprint,
        classes=tuple(splits.train.classes),
        counts={name: len(part) for name, part in parts.items()},
        skipped=tuple(sorted({name for part in parts.values() for name in part.skipped})),
    )
