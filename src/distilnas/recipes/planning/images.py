"""The images of a planned run: its own where they lie here, else as many stand-ins as it will have."""

import io
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from distilnas.data import DataSplits, ImageSet, make_splits
from distilnas.errors import UsageError
from distilnas.recipes.images import load_splits
from distilnas.recipes.settings import UNLABELLED, DataSettings

_IMAGENET = (1_281_167, 50_000, 1000)
KNOWN = {
    "imagenet": _IMAGENET,
    "imagenet1k": _IMAGENET,
    "ilsvrc2012": _IMAGENET,
    "cifar10": (50_000, 10_000, 10),
    "cifar100": (50_000, 10_000, 100),
}
"""Training images, test images and classes of data sets that ``data.source``, or a folder in ``data.path``, names."""

_PHOTO = (500, 400)  # at 224 pixels; about the mean size of ImageNet's photographs
_USUAL_RESOLUTION = 224
_CIFAR_SIDE = 32
_PATTERN = re.compile(r"[*?\[{]")
_PICTURES = 16
_GRAIN, _QUALITY = 20, 90
PARTS = ("train", "validation", "rating", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedImages:
    """``source``: where the numbers come from. ``real``: whether the images are the run's own. ``seconds`` to list."""

    splits: DataSplits
    source: str
    real: bool
    seconds: float

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.splits.train.classes)

    def count(self, part: str) -> int:
        """Number of images of train, validation, rating or test."""
        return len(getattr(self.splits, part))

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {part: self.count(part) for part in PARTS} | {"classes": self.classes, "from": self.source}


def planned_images(
    data: DataSettings,
    *,
    seed: int,
    rating_images: int,
    resolution: int,
    images: int | None = None,
    classes: int | None = None,
    usual_classes: int = 1000,
) -> PlannedImages:
    """The run's splits, from ``data.path`` where it exists, else of stand-ins: ``images`` of the training set (before
    parts are held out) or the number known of the data set that source or path names, in ``classes`` (else the
    known number, else ``usual_classes``).

    Nothing is decoded or checked. Raises ``UsageError`` where the number is not known or too small for the split, and
    for data that is there but not as its source says.
    """
    start = time.monotonic()
    if _is_here(data):
        if images is not None or classes is not None:
            raise UsageError(
                f"--images and --classes stand in for images that are not here, but data.source={data.source} is here "
                "and counted: leave them out, or limit the number with data.train_images."
            )
        splits = load_splits(replace(data, cache_mb=0.0, check="none"), seed, rating_images)
        if data.source == UNLABELLED:
            splits = _of_classes(splits, usual_classes)
        return PlannedImages(splits=splits, source="data", real=True, seconds=time.monotonic() - start)
    name, known = _known(data)
    if images is None and known is None:
        raise UsageError(
            f"the number of images is not known: data.path={data.path} is not here. Give it with --images N (training "
            "images, before the parts for validation and rating are taken)."
        )
    number, tests, usual = known or (images or 0, 0, usual_classes)
    train, test = (
        stand_ins(n, classes or usual, resolution, cifar=name.startswith("cifar")) for n in (images or number, tests)
    )
    splits = make_splits(
        train,
        test if tests else None,
        test_fraction=data.test_fraction,
        validation=data.validation,
        rating_images=rating_images,
        seed=seed,
        train_images=data.train_images,
    )
    source = "--images" if images is not None else f"known of {name}"
    return PlannedImages(splits=splits, source=source, real=False, seconds=time.monotonic() - start)


def _of_classes(splits: DataSplits, number: int) -> DataSplits:
    """The images as if there were so many classes."""
    names = tuple(map(str, range(number)))
    return DataSplits(**{part: replace(getattr(splits, part), classes=names) for part in PARTS})


def stand_ins(number: int, classes: int, resolution: int, *, cifar: bool = False) -> ImageSet:
    """``number`` pictures as a run may meet them: JPEG files of 500 x 400 pixels at a resolution of 224, smaller or
    larger in proportion, upright and lengthwise; or CIFAR's of 32 x 32."""
    if cifar:
        files = tuple(_encoded(i, (_CIFAR_SIDE, _CIFAR_SIDE), "png") for i in range(_PICTURES))
    else:
        long, short = (round(side * resolution / _USUAL_RESOLUTION) for side in _PHOTO)
        files = tuple(_encoded(i, (long, short) if i % 2 else (short, long), "jpeg") for i in range(_PICTURES))
    numbers = np.arange(number, dtype=np.int64)
    return ImageSet(
        name="stand-ins",
        classes=tuple(f"class {label}" for label in range(classes)),
        labels=numbers % classes,
        images=_Pictures(numbers=numbers, files=files),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pictures:
    """A few encoded pictures over and over; see ``distilnas.data.ImageReader``."""

    numbers: np.ndarray
    files: tuple[bytes, ...]

    @property
    def place(self) -> str:
        return "stand-ins"

    def __len__(self) -> int:
        return len(self.numbers)

    def name_of(self, i: int) -> str:
        return f"number {self.numbers[i]}"

    def open(self, i: int) -> Image.Image:
        return Image.open(io.BytesIO(self.files[int(self.numbers[i]) % len(self.files)]))

    def sizes(self) -> np.ndarray:
        return np.array([len(file) for file in self.files], dtype=np.int64)[self.numbers % len(self.files)]

    def subset(self, indices: np.ndarray) -> "_Pictures":
        return replace(self, numbers=self.numbers[indices])


def _encoded(number: int, size: tuple[int, int], kind: str) -> bytes:
    """A picture of smooth colours with some grain, which compresses about as photographs do."""
    rng = np.random.default_rng(number)
    smooth = Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.integers(-_GRAIN, _GRAIN + 1, size=(size[1], size[0], 3))
    pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=_QUALITY)
    return buffer.getvalue()


def _is_here(data: DataSettings) -> bool:
    """A pattern of shards counts as here where its folder is: reading it says what is wrong."""
    if data.source in ("digits", "synthetic"):
        return True
    path = Path(data.path or "").expanduser()
    patterned = [number for number, part in enumerate(path.parts) if _PATTERN.search(part)]
    return Path(*path.parts[: patterned[0]]).exists() if patterned else path.exists()


def _known(data: DataSettings) -> tuple[str, tuple[int, int, int] | None]:
    words = [data.source, *Path(data.path or "").parts]
    plain = [word.lower().replace("-", "").replace("_", "") for word in words]
    return next(((name, KNOWN[name]) for name in plain if name in KNOWN), ("", None))
