"""What a run takes, from what its pieces took: records and arithmetic; nothing is measured here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

A = TypeVar("A", covariant=True)
EFFICIENCY = 0.9
"""Assumed share of N devices' speed that data-parallel work reaches for N > 1."""

USUAL_CLASSES = 1000
"""To assume where nothing says how many classes there are."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A quantity of a step as a function of the images that it takes at a time: ``start + slope * images``."""

    start: float
    slope: float

    def at(self, images: float) -> float:
        """The value for so many images."""
        return self.start + self.slope * images


def line_through(points: Sequence[tuple[int, float]], *, origin: float = 0.0) -> Line:
    """The line through the last two (images, value), level where it would fall.

    Of one point alone: through ``origin`` at no images.
    """
    (x, y), (before, value) = points[-1], points[-2] if len(points) > 1 else (0, origin)
    slope = max(0.0, (y - value) / (x - before))
    return Line(start=y - slope * x, slope=slope)


def seconds_at(points: Sequence[tuple[int, float]], images: int) -> float:
    """The seconds of a step at so many images, of (images, seconds) up to those at most.

    Along the line through the last two points, where the part that does not grow with the images is taken to be from
    nothing to half of the last: with few images noise could tell anything.
    """
    size, seconds = points[-1]
    each = seconds / size
    slope = min(max(line_through(points).slope, each / 2), each)
    return seconds + slope * (images - size)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Seconds of computing and of loading images, ``fixed`` ones beside them; ``parallel``: several devices share the
    computing."""

    compute: float = 0.0
    load: float = 0.0
    fixed: float = 0.0
    parallel: bool = False

    def seconds(self, *, workers: int, devices: int) -> float:
        """Loader processes load while the device computes, so that the longer counts; without them it is the sum.

        Devices share the computing with ``EFFICIENCY``, but not the cores that load.
        """
        shared = self.parallel and devices > 1
        compute = self.compute / (devices * EFFICIENCY) if shared else self.compute
        return self.fixed + (max(compute, self.load) if workers else compute + self.load)


@dataclass(frozen=True, kw_only=True)
class StandIn(Generic[A]):
    """What takes the place of a step's ``artefact`` and ``result`` in a forecast, and how long it took to make."""

    artefact: A
    result: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StepForecast:
    """One step of the run, named as in ``summary.json``.

    ``works``: all that it does; empty where no time is forecast. ``memory_mb``: peak on the device, on a CPU of the
    whole process; None where it was not measured. ``disk_mb``: what the step leaves, ``checkpoint_mb``: what lies there
    besides while it trains.
    """

    name: str
    works: tuple[Work, ...] = ()
    memory_mb: float | None = None
    disk_mb: float = 0.0
    checkpoint_mb: float = 0.0
    note: str = ""

    def seconds(self, *, workers: int, devices: int) -> float | None:
        """Seconds of the step; None where no time is forecast."""
        if not self.works:
            return None
        return sum(work.seconds(workers=workers, devices=devices) for work in self.works)

    @property
    def parallel(self) -> bool:
        """Whether several devices would help."""
        return any(work.parallel for work in self.works)


def joined(name: str, steps: Sequence[StepForecast]) -> StepForecast:
    """Steps that are done one after the other, as one."""
    memory = [step.memory_mb for step in steps if step.memory_mb is not None]
    return StepForecast(
        name=name,
        works=tuple(work for step in steps for work in step.works),
        memory_mb=max(memory, default=None),
        disk_mb=sum(step.disk_mb for step in steps),
        checkpoint_mb=max((step.checkpoint_mb for step in steps), default=0.0),
        note="; ".join(dict.fromkeys(step.note for step in steps if step.note)),
    )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The steps of a run and what they were taken from.

    ``images``: counts by part, classes, and where the numbers come from. ``probe``: how each measurement was made.
    ``assumptions`` and ``advice`` are sentences for the user. ``limit_mb``: the memory there is.
    """

    recipe: str
    device: str
    devices: int
    workers: int
    images: dict[str, Any]
    steps: tuple[StepForecast, ...]
    limit_mb: float | None = None
    probe: dict[str, Any] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    def seconds(self, step: StepForecast) -> float | None:
        """Seconds of one of the steps on the forecast's devices."""
        return step.seconds(workers=self.workers, devices=self.devices)

    @property
    def total_seconds(self) -> float:
        """Of all steps whose time is forecast."""
        return sum(self.seconds(step) or 0.0 for step in self.steps)

    @property
    def disk_mb(self) -> float:
        """What the run leaves."""
        return sum(step.disk_mb for step in self.steps)

    @property
    def disk_peak_mb(self) -> float:
        """What it leaves and the largest checkpoint, an upper limit of what lies there at any time."""
        return self.disk_mb + max((step.checkpoint_mb for step in self.steps), default=0.0)

    @property
    def memory_mb(self) -> float | None:
        """The peak over all steps."""
        return max((step.memory_mb for step in self.steps if step.memory_mb is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "recipe": self.recipe,
            "device": self.device,
            "devices": self.devices,
            "efficiency": EFFICIENCY if self.devices > 1 else 1.0,
            "workers": self.workers,
            "images": self.images,
            "steps": {step.name: self._row(step) for step in self.steps},
            "total_seconds": round(self.total_seconds, 1),
            "total_hours": round(self.total_seconds / 3600, 4),
            "memory_mb": _rounded(self.memory_mb),
            "memory_limit_mb": _rounded(self.limit_mb),
            "disk_mb": _rounded(self.disk_mb),
            "disk_peak_mb": _rounded(self.disk_peak_mb),
            "probe": self.probe,
            "assumptions": list(self.assumptions),
            "advice": list(self.advice),
        }

    def _row(self, step: StepForecast) -> dict[str, Any]:
        return {
            "seconds": _rounded(self.seconds(step)),
            "memory_mb": _rounded(step.memory_mb),
            "disk_mb": _rounded(step.disk_mb),
            "checkpoint_mb": _rounded(step.checkpoint_mb),
            "parallel": step.parallel,
            "note": step.note,
        }


def largest_piece(batch: int, memory: Line, limit_mb: float, *, even: bool = False) -> int | None:
    """The largest part of a batch, from 2 images, that divides it and keeps the limit; None where none does."""
    parts = (n for n in range(batch, 1, -1) if batch % n == 0 and not (even and n % 2))
    return next((n for n in parts if memory.at(n) <= limit_mb), None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
