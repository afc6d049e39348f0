"""Made-up images for dry runs: as many, as large and of as many classes as wanted, and nothing stored."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from distilnas.data.imageset import ImageSet
from distilnas.errors import UsageError

_GRID = 8
_NOISE = 40


def synthetic(*, seed: int, images: int = 1000, classes: int = 10, resolution: int = 224) -> ImageSet:
    """``images`` random images of ``resolution`` pixels a side; image i is of class i modulo ``classes``.

    An image is its class's pattern of 8 x 8 colours plus noise of its own, enlarged (bicubic), so that a network can
    learn the classes. It is made when it is asked for, from (seed, class, i) alone: a set of a million takes as much
    memory as its labels.

    Raises ``UsageError`` unless there are two classes, two images for each, and a pixel.
    """
    if classes < 2 or images < 2 * classes or resolution < 1:
        raise UsageError(
            "Synthetic images need at least 2 classes, 2 images a class and 1 pixel a side, got "
            f"{classes} classes, {images} images and {resolution} pixels."
        )
    numbers = np.arange(images, dtype=np.int64)
    return ImageSet(
        name="synthetic",
        classes=tuple(f"class {label}" for label in range(classes)),
        labels=numbers % classes,
        images=SyntheticReader(numbers=numbers, classes=classes, resolution=resolution, seed=seed),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticReader:
    """Images made on access. numbers: (n,) int64, which images of the endless sequence that ``seed`` stands for."""

    numbers: np.ndarray
    classes: int
    resolution: int
    seed: int

    @property
    def place(self) -> str:
        return "synthetic"

    def __len__(self) -> int:
        return len(self.numbers)

    def name_of(self, i: int) -> str:
        return f"seed {self.seed}, {self.resolution} pixels, {self.classes} classes, number {self.numbers[i]}"

    def open(self, i: int) -> Image.Image:
        number = int(self.numbers[i])
        pattern = _noise([self.seed, 0, number % self.classes], 256 - 2 * _NOISE) + _NOISE
        pixels = pattern + _noise([self.seed, 1, number], 2 * _NOISE) - _NOISE
        side = self.resolution
        return Image.fromarray(pixels.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)

    def sizes(self) -> np.ndarray:
        return np.full(len(self), 3 * self.resolution**2, dtype=np.int64)

    def subset(self, indices: np.ndarray) -> "SyntheticReader":
        return replace(self, numbers=self.numbers[indices])


def _noise(seed: list[int], below: int) -> np.ndarray:
    """(8, 8, 3) int64, uniform in 0..below-1."""
    return np.random.default_rng(seed).integers(below, size=(_GRID, _GRID, 3))
