"""Seconds and peak memory of work on the present device, at image numbers that grow as time and memory allow."""

import contextlib
import ctypes
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from distilnas.errors import UsageError
from distilnas.recipes.planning.forecast import Line, line_through, seconds_at
from distilnas.runtime.device import Device

T = TypeVar("T")
FEWEST, MOST = 3, 60
_GROWTH = 4
_SMALLER = 0.05  # of the seconds, for each size below the wanted one
_FORCED = 2  # sizes that are measured whatever they take: two make a line
_MB = 1e6
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What ``steps`` steps of ``images`` images at a time took: seconds of one step by part, the peak memory.

    ``start``: seconds that the very first step takes more (kernels are compiled, memory is fetched).
    """

    images: int
    steps: int
    seconds: dict[str, float]
    memory_mb: float | None
    start: float = 0.0


Measure = Callable[[int, float], Sample]
"""``measure(images, until)``: a sample with so many images at a time, taken until about that moment."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """Samples of growing size; ``wanted`` is the number of images that the run takes at a time."""

    samples: tuple[Sample, ...]
    wanted: int

    @property
    def scaled(self) -> bool:
        """Whether the run's own size was beyond the probe, so that values come from a line through two sizes."""
        return self.samples[-1].images != self.wanted

    def seconds(self, part: str = "step") -> float:
        """Seconds of a part of one step at the wanted size."""
        return seconds_at([(sample.images, sample.seconds[part]) for sample in self.samples], self.wanted)

    @property
    def start(self) -> float:
        """Seconds that the first step takes more, once a run."""
        return self.samples[-1].start

    @property
    def memory(self) -> Line | None:
        """Peak memory by images at a time; None where the system does not tell."""
        points = [(sample.images, sample.memory_mb) for sample in self.samples if sample.memory_mb is not None]
        return line_through(points, origin=points[0][1]) if points else None

    @property
    def memory_mb(self) -> float | None:
        """Peak memory at the wanted size."""
        return None if self.memory is None else self.memory.at(self.wanted)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        last = self.samples[-1]
        return {
            "batch": last.images,
            "configured_batch": self.wanted,
            "scaled": self.scaled,
            "steps": last.steps,
            "steps_in_all": sum(sample.steps for sample in self.samples),
            "seconds_per_step": {part: self.seconds(part) for part in last.seconds},
        }


class Meter:
    """Times and weighs work on ``device``."""

    def __init__(self, device: Device) -> None:
        self._cuda = device.fabric.device if device.fabric.device.type == "cuda" else None
        self._cpu = device.fabric.device.type == "cpu"

    @property
    def limit_mb(self) -> float | None:
        """The memory of the device, or of the machine where that computes itself."""
        if self._cuda is not None:
            return torch.cuda.get_device_properties(self._cuda).total_memory / _MB
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MB if self._cpu else None

    def timed(self, work: Callable[[], T]) -> tuple[T, float]:
        """What ``work()`` gives, and its wall seconds until the device has finished."""
        self.wait()
        start = time.perf_counter()
        result = work()
        self.wait()
        return result, time.perf_counter() - start

    def laps(self, work: Callable[[int], Any], *, until: float, first: int = 0) -> list[float]:
        """Seconds of ``work(first)``, ``work(first + 1)``, ... up to the moment ``until``: from 3 to 60 of them."""
        laps: list[float] = []
        while len(laps) < FEWEST or (len(laps) < MOST and time.monotonic() < until):
            number = first + len(laps)
            laps.append(self.timed(partial(work, number))[1])
        return laps

    @contextlib.contextmanager
    def peak(self) -> Iterator[Callable[[], float | None]]:
        """Yields a function that tells the peak memory in MB since then, None where the system does not tell.

        Of a GPU what torch had allocated; of a CPU the resident memory of this process, which first gives back what is
        free (Linux).
        """
        if self._cuda is not None:
            torch.cuda.reset_peak_memory_stats(self._cuda)
        elif self._cpu:
            _trim()
            with contextlib.suppress(OSError):
                _CLEAR.write_text("5")  # the kernel's mark of the highest resident memory starts anew
        yield self._peak_mb

    def _peak_mb(self) -> float | None:
        if self._cuda is not None:
            return torch.cuda.max_memory_allocated(self._cuda) / _MB
        try:
            found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if self._cpu else None
        except OSError:
            return None
        return int(found[1]) * 1024 / _MB if found else None

    def wait(self) -> None:
        """Until the device has finished."""
        if self._cuda is not None:
            torch.cuda.synchronize(self._cuda)


def grow(measure: Measure, wanted: int, *, seconds: float, limit_mb: float | None = None) -> Probed:
    """``measure`` at ``sizes(wanted)``, as far as the seconds and the memory allow: a larger size is left out where it
    would take too long or too much.

    Raises ``UsageError`` where not even the smallest fits the device's memory.
    """
    end = time.monotonic() + seconds
    samples: list[Sample] = []
    spent = 0.0
    for images in sizes(wanted):
        if len(samples) >= _FORCED and not _affordable(samples, images, spent, end, limit_mb):
            break
        start = time.monotonic()
        try:
            samples.append(measure(images, end if images == wanted else start + _SMALLER * seconds))
        except torch.OutOfMemoryError as error:
            if not samples:
                raise UsageError(
                    f"not even {images} images at a time fit the device's memory: take a smaller teacher or space, or "
                    "a lower data.resolution."
                ) from error
            break
        spent = time.monotonic() - start
    return Probed(samples=tuple(samples), wanted=wanted)


def at_sizes(measure: Measure, sizes: Sequence[int], wanted: int) -> Probed:
    """``measure`` at each of ``sizes``, as shortly as it can."""
    return Probed(samples=tuple(measure(images, 0.0) for images in sizes), wanted=wanted)


def sizes(wanted: int) -> list[int]:
    """2, 4, 16, 64, ... and at last ``wanted``."""
    found, size = [], 2
    while size < wanted:
        found.append(size)
        size *= _GROWTH if size > 2 else 2
    return [*found, wanted]


def _affordable(samples: list[Sample], images: int, spent: float, end: float, limit_mb: float | None) -> bool:
    if time.monotonic() + spent * images / samples[-1].images > end:
        return False
    memory = Probed(samples=tuple(samples), wanted=images).memory_mb
    return memory is None or limit_mb is None or memory < limit_mb


def _trim() -> None:
    """Have glibc give back what is free, so that resident memory is what is in use."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
