"""Who may see which image: disjoint, stratified and reproducible shares of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distilnas.data.imageset import ImageSet
from distilnas.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class DataSplits:
    """Four disjoint image sets of the same classes; ``validation`` and ``rating`` are empty when none were asked for.

    train: to train on.
    validation: training images held out to monitor and to choose between checkpoints.
    rating: training images held out to rate candidates, classes mixed; no supernet is trained on them.
    test: for the evaluation at the end, and for nothing before it.
    """

    train: ImageSet
    validation: ImageSet
    rating: ImageSet
    test: ImageSet


def split(labels: np.ndarray, parts: Sequence[int | float], seed: int) -> list[np.ndarray]:
    """Disjoint, stratified index arrays: one of exactly the asked size for each of ``parts``, and last the rest.

    labels: (n,) class numbers. parts: an int is a number of images, a float below 1 a share of n (rounded).
    Each part takes of each class in proportion to what is left of it, to within one image (largest remainder), where
    one image of every class is set aside for the rest. Indices are sorted. Equal arguments give equal splits, and a
    part does not depend on the parts behind it.

    Raises ``UsageError`` when the parts leave fewer images than there are classes.
    """
    sizes = [_count(part, len(labels)) for part in parts]
    classes, counts = np.unique(labels, return_counts=True)
    if sum(sizes) > len(labels) - len(classes):
        raise UsageError(
            f"The parts split off must leave one image for each class: of {len(labels)} images in {len(classes)} "
            f"classes {len(labels) - len(classes)} can be split off, asked for {' + '.join(map(str, sizes))} = "
            f"{sum(sizes)}. Ask for smaller parts or add images."
        )
    rng = np.random.default_rng(seed)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    pools = [rng.permutation(of_class) for of_class in by_class]
    result = []
    for size in sizes:
        takes = _proportional(size, np.array([len(pool) - 1 for pool in pools], dtype=np.int64))
        result.append(_sorted([pool[:take] for pool, take in zip(pools, takes, strict=True)]))
        pools = [pool[take:] for pool, take in zip(pools, takes, strict=True)]
    return [*result, _sorted(pools)]


def mixed(labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
    """``indices`` in a random order in which every leading part, and every batch, holds the classes in proportion.

    labels: (n,) class numbers; indices: (k,) into them. The i-th image of a class of m images goes to a random place in
    the i-th of m equal stretches. Images come in the order of their folders otherwise: a batch would then hold few
    classes, and statistics of the batch would be theirs.
    """
    rng = np.random.default_rng(seed)
    place = np.empty(len(indices))
    for label in np.unique(labels[indices]):
        (of_class,) = np.nonzero(labels[indices] == label)
        number = len(of_class)
        place[rng.permutation(of_class)] = (np.arange(number) + rng.random(number)) / number
    return indices[np.argsort(place)]


def _count(part: int | float, total: int) -> int:
    if part < 0 or (isinstance(part, float) and part >= 1):
        raise UsageError(f"A part is a number of images (0 or more) or a share (0 <= share < 1), got {part}.")
    return round(part * total) if isinstance(part, float) else part


def _proportional(size: int, available: np.ndarray) -> np.ndarray:
    """Whole numbers near ``size * available / available.sum()`` that add up to ``size`` and exceed no ``available``."""
    if size == 0:
        return np.zeros_like(available)
    whole, remainder = np.divmod(size * available, available.sum())
    largest = np.argsort(-remainder, kind="stable")[: size - whole.sum()]
    whole[largest] += 1
    return whole


def _sorted(parts: list[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate(parts))


def make_splits(
    train: ImageSet,
    test: ImageSet | None,
    *,
    test_fraction: float,
    validation: int | float,
    rating_images: int,
    seed: int,
    train_images: int | None = None,
) -> DataSplits:
    """Split a data set for a run; see :class:`DataSplits` for what the parts are for.

    Without a ``test`` set, a share ``test_fraction`` of the images of ``train`` becomes one; else it is not used.
    ``validation`` is a number of images or a share of all images of ``train``. ``train_images`` limits the remaining
    training images to a stratified subset; it changes none of the other parts.

    Raises ``UsageError`` when there are too few images or the two sets do not have the same classes.
    """
    if test is not None and test.classes != train.classes:
        raise UsageError(f"{test.name} must have the classes of {train.name}: {train.classes}, but has {test.classes}.")
    if test is None and not 0 < test_fraction < 1:
        raise UsageError(
            f"Without a test folder test_fraction must lie between 0 and 1, got {test_fraction}. Set for example 0.2."
        )
    held_out = [0 if test is not None else float(test_fraction), validation, rating_images]
    parts = split(train.labels, [*held_out, *_surplus(train.labels, held_out, train_images)], seed)
    return DataSplits(
        train=train.subset(parts[-1]),
        validation=train.subset(parts[1]),
        rating=train.subset(mixed(train.labels, parts[2], seed)),
        test=train.subset(parts[0]) if test is None else test,
    )


def _surplus(labels: np.ndarray, held_out: list[int | float], train_images: int | None) -> list[int]:
    """The part to put aside so that ``train_images`` remain; nothing when there is no limit."""
    if train_images is None:
        return []
    left = len(labels) - sum(_count(part, len(labels)) for part in held_out)
    classes = len(np.unique(labels))
    if not classes <= train_images <= left:
        raise UsageError(
            f"train_images must lie between {classes} (one for each class) and {left} (what the other parts leave of "
            f"{len(labels)} images), got {train_images}."
        )
    return [left - train_images]
