"""What every source of images must give before anything is trained on it: images that decode, classes that agree."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distilnas.data.decoding import MAX_PIXELS, in_threads, problem
from distilnas.data.imageset import ImageSet
from distilnas.data.readers import unpacked
from distilnas.errors import UsageError, nearest

logger = logging.getLogger(__name__)

CHECKS = ("auto", "all", "sample", "none")
ALL_UP_TO = 50_000
SAMPLE = 2_000
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What a source holds: training images and, when it has a part for them, test images of the same classes."""

    train: ImageSet
    test: ImageSet | None


def checked_splits(train: ImageSet, test: ImageSet | None) -> Splits:
    """Both sets with the training set's classes; the rules of a training set are checked.

    Training needs two classes and, in each, two images: one to train on and one to hold out. Test labels are numbered
    as the training classes are; a class without test images is only warned about, a test class that training lacks
    raises ``UsageError``.
    """
    _check_training(train)
    return Splits(train=train, test=None if test is None else _renumbered(test, train.classes))


def readable(images: ImageSet, check: str, max_bad_share: float, max_pixels: int = MAX_PIXELS) -> ImageSet:
    """The set without the images that fail to decode; they are listed in ``skipped`` and warned about.

    check: ``all`` decodes every image, ``sample`` 2,000 of them drawn evenly at random (always the same), ``none``
    nothing; ``auto`` is ``all`` up to 50,000 images and ``sample`` above. A damaged image that was not looked at stops
    the training that meets it, with its name.

    Raises ``UsageError`` when more than the share ``max_bad_share`` of the images looked at cannot be decoded.
    """
    if check not in CHECKS:
        raise UsageError(f"check must be one of {', '.join(CHECKS)}, got {check!r}; {nearest(check, CHECKS)}")
    images = images if images.max_pixels == max_pixels else replace(images, max_pixels=max_pixels)
    reader = images.origin
    looked_at = _looked_at(len(images), check)
    if reader is None or not len(looked_at):
        return images
    problems = in_threads(lambda i: problem(lambda: reader.open(i), max_pixels), looked_at)
    bad = {i: why.replace(f"{reader.place}/", "") for i, why in zip(looked_at, problems, strict=True) if why}
    if not bad:
        return images
    _report_bad(images, bad, len(looked_at), max_bad_share)
    good = np.delete(np.arange(len(images)), list(bad))
    return replace(images.subset(good), skipped=tuple(images.name_of(i) for i in bad))


def _looked_at(n: int, check: str) -> list[int]:
    if check == "none":
        return []
    if check == "all" or n <= (ALL_UP_TO if check == "auto" else SAMPLE):
        return list(range(n))
    return np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False)).tolist()


def _report_bad(images: ImageSet, bad: dict[int, str], looked_at: int, max_bad_share: float) -> None:
    assert images.origin is not None
    sampled = looked_at < len(images)
    found = (
        f"{len(bad)} of {looked_at} images {'drawn from' if sampled else 'in'} {images.origin.place} cannot be decoded:"
        f" {some([f'{images.name_of(i)} ({why})' for i, why in bad.items()])}"
    )
    if len(bad) > max_bad_share * looked_at:
        raise UsageError(
            f"At most {max_bad_share:.0%} of the images may be unreadable, but {found}. Repair or remove them; for "
            "large ones raise data.max_pixels."
        )
    advice = f"; of {len(images)} images others may be damaged too, check=all finds them" if sampled else ""
    logger.warning("%s; they are left out%s", found, advice)


def _check_training(train: ImageSet) -> None:
    if len(train.classes) < 2:
        raise UsageError(
            f"Training needs at least two classes; {where(train)} has only {some(train.classes)}. "
            "Name the place that holds all classes."
        )
    few = [f"{name} ({n})" for name, n in zip(train.classes, train.class_counts, strict=True) if n < 2]
    if few:
        raise UsageError(
            f"Each class needs at least 2 readable training images; too few in {where(train)}: {some(few)}. "
            "Add images to these classes or remove them."
        )


def _renumbered(test: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """The test set with labels that index the training ``classes``."""
    if test.classes != classes:
        present = {test.classes[label] for label in np.unique(test.labels)}
        unknown = sorted(present - set(classes))
        if unknown:
            raise UsageError(
                f"Test classes must be training classes; {where(test)} has {len(unknown)} that are not: "
                f"{some(unknown)}. Training classes: {some(classes)}. Rename or remove these test classes."
            )
        # the class of an empty folder may be unknown: its number is never used
        index = {name: number for number, name in enumerate(classes)}
        labels = np.array([index.get(name, -1) for name in test.classes], dtype=np.int64)[test.labels]
        test = replace(test, classes=classes, labels=labels)
    absent = [name for name, n in zip(classes, test.class_counts, strict=True) if not n]
    if absent:
        logger.warning("%s has no images of %d training classes: %s", where(test), len(absent), some(absent))
    return test


def where(images: ImageSet) -> str:
    """What messages call a set: the place of its images, or its name."""
    return images.name if images.origin is None else images.origin.place


def numbered(found: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes and labels (n,) int64 of n images whose class names are ``found``, packed.

    Classes are in alphabetical order, or in numerical order if all of them are whole numbers.
    """
    unique, which = np.unique(found, return_inverse=True)
    names = [unpacked(name) for name in unique]
    order = (
        sorted(range(len(names)), key=lambda i: int(names[i])) if all(map(str.isdecimal, names)) else range(len(names))
    )
    number = np.argsort(np.array(order, dtype=np.int64))
    return tuple(names[i] for i in order), number[which]


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a message."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
