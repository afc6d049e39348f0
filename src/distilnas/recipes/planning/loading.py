"""Seconds per image of decoding and augmenting, on the present cores with the configured loader processes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilnas.data import ImageSet, make_loader
from distilnas.recipes.planning.meter import FEWEST
from distilnas.runtime.seeds import derive_rng

_BATCH, _BATCH_OF_PROCESS = 32, 8
_MOST_IMAGES = 1024
_DRAWN = 32
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Loading:
    """``seconds`` per image at full speed, ``start``: until loader processes give their first batch, once an epoch.

    ``images``: how many were loaded to measure it.
    """

    seconds: float
    start: float
    images: int

    def of(self, images: float, epochs: float = 1) -> tuple[float, float]:
        """(seconds of loading so many images in each epoch, seconds of starting processes)."""
        return epochs * images * self.seconds, epochs * self.start


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """``images`` as the run will have them: a part of the set, in memory where the run keeps the whole set there.

    ``seconds`` to decode the whole set once, and the ``memory_mb`` that it takes there: 0 for a set that stays on disk
    or was in memory already.
    """

    images: ImageSet
    seconds: float = 0.0
    memory_mb: float = 0.0

    @property
    def in_memory(self) -> bool:
        """Whether the run decodes them once only."""
        return isinstance(self.images.images, np.ndarray)


def hold(images: ImageSet, limit_mb: float, *, seed: int) -> Held:
    """What ``ImageSet.decoded(limit_mb)`` would come to, judged by some of the images."""
    rng = derive_rng(seed, 11)
    drawn = images.subset(rng.permutation(len(images))[:_MOST_IMAGES])
    if isinstance(images.images, np.ndarray):
        return Held(images=drawn)
    some = drawn.subset(np.arange(min(_DRAWN, len(drawn))))
    start = time.monotonic()
    pixels = some.decoded(float("inf")).images
    each = (time.monotonic() - start) / len(some)
    whole_mb = len(images) * pixels[0].nbytes / _MIB if isinstance(pixels, np.ndarray) else float("inf")
    if whole_mb > limit_mb:
        return Held(images=drawn)
    decoded = drawn.decoded(float("inf"))
    if not isinstance(decoded.images, np.ndarray):
        return Held(images=drawn)
    return Held(images=decoded, seconds=each * len(images), memory_mb=whole_mb * _MIB / 1e6)


def measure_loading(images: ImageSet, transform: Callable[[Any], Any], *, workers: int, seconds: float) -> Loading:
    """Load in small batches for some seconds.

    With processes the speed is that after the first batches, which all processes make at once.
    """
    size = min(_BATCH_OF_PROCESS if workers else _BATCH, len(images))
    loader = make_loader(
        images, transform, batch_size=size, seed=0, epoch=0, shuffle=True, drop_last=True, workers=workers
    )
    first = max(1, 2 * workers)  # batches that processes have in hand
    start = time.monotonic()
    times: list[float] = []
    for _ in loader:
        times.append(time.monotonic() - start)
        if len(times) >= first + FEWEST and times[-1] > seconds:
            break
    skipped = min(first, max(1, len(times) // 2))
    steady = times[skipped - 1 :]
    each = (steady[-1] - steady[0]) / (len(steady) - 1) if len(steady) > 1 else times[-1]
    return Loading(seconds=each / size, start=max(0.0, times[0] - each) if workers else 0.0, images=size * len(times))
