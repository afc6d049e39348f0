"""The record of a shrinking run: teacher, students, and the curve of accuracy against budget before any training."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from distilnas.records.files import read_part, read_text
from distilnas.records.steps import Data, Number, Preprocessing, Summary, Teacher
from distilnas.report.compared import Answers, Difference, has_answers, read_answers, read_photos
from distilnas.report.read import read_seconds


@dataclass(frozen=True, kw_only=True)
class TriedLatency:
    """A student that was measured while one inside the limit was looked for."""

    estimate_ms: float
    measured_ms: float
    interval_ms: tuple[float, ...]
    inside: bool
    macs: int


@dataclass(frozen=True, kw_only=True)
class StudentLatency:
    """How a student came to be inside its limit; ``ratio`` to the teacher with its interval."""

    limit_ms: float
    estimate_ms: float
    measured_ms: float
    interval_ms: tuple[float, ...]
    ratio: tuple[float, ...]
    rounds: int
    tried: tuple[TriedLatency, ...]


@dataclass(frozen=True, kw_only=True)
class FittedNetwork:
    """A network that the sum of parts was fitted to; its estimate is that of a fit without it."""

    measured_ms: float
    estimate_ms: float


@dataclass(frozen=True, kw_only=True)
class UnitShares:
    """``shares``: MACs and latency that forms of a unit in block ``block`` keep of its own."""

    block: int
    name: str
    shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Where latencies were measured, and how well parts add up."""

    runtime: str
    version: str
    processor: str
    threads: int
    batch: int
    measured_here: bool
    error: float
    doubt: str | None = None
    wholes: tuple[FittedNetwork, ...] = ()
    candidates: tuple[UnitShares, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A student of one ``kind`` recovered briefly: its divergence from the teacher (nats) on held-out images then, None
    where it diverged."""

    kind: str
    macs: int
    params: int
    val_kl: float | None
    val_top1: float | None = None


@dataclass(frozen=True, kw_only=True)
class ShrunkNetwork:
    """A teacher or student; accuracies are top-1 in percent on the test images."""

    name: str = ""
    top1: float
    macs: int
    params: int
    bytes: int
    peak_memory: int | None = None
    latency_ms: float | None = None
    latency: StudentLatency | None = None
    top1_before_training: float | None = None
    budget: dict[str, str | int] = field(default_factory=dict)
    as_rated: bool = True
    trials: tuple[Trial, ...] = ()
    difference: Difference | None = None
    artefacts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A student before any training; ``top1`` on held-out training images, ``stderr`` its standard error."""

    macs: int
    params: int
    bytes: int
    top1: float | None
    stderr: float | None
    kind: str = "searched"


@dataclass(frozen=True, kw_only=True)
class HeldOutTeacher:
    """The teacher on the held-out images of the curve."""

    macs: int
    top1: float | None


@dataclass(frozen=True, kw_only=True)
class ShrunkSummary:
    """``summary.json`` of a shrinking run."""

    run: str
    teacher: ShrunkNetwork
    students: tuple[ShrunkNetwork, ...]
    curve: tuple[CurvePoint, ...]
    alternatives: tuple[CurvePoint, ...]
    held_out_teacher: HeldOutTeacher | None
    rating: dict[str, Number]
    space: dict[str, Any]
    latency: Latency | None = None
    labels: Literal["images", "teacher"] = "images"


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A test image that one of both alone gets right; classes by number."""

    name: str
    label: int
    teacher: int
    student: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """A student's ``answers`` and its ``photos`` with their ``pixels`` (n, side, side, 3) uint8."""

    answers: Answers
    photos: tuple[Photo, ...]
    pixels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Explored:
    """The content of ``explore.json``: budgets by measure and share, and every answer; see the step ``explore``."""

    teacher: dict[str, Number]
    grid: dict[str, dict[str, Number]]
    units: tuple[str, ...]
    students: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class ShrunkRecord:
    """All that the page shows; None where a step has not finished.

    ``answers``: the teacher's. ``compared``: students' by their folder. ``sizes``: bytes of files, by their path in the
    run.
    """

    folder: Path
    config: str | None
    data: Data | None
    teacher: Teacher | None
    found: ShrunkSummary | None
    summary: Summary | None
    seconds: dict[str, float]
    answers: Answers | None = None
    compared: dict[str, Compared] = field(default_factory=dict)
    explored: Explored | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    search: bool = True

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What images need before the networks."""
        return self.teacher.preprocessing if self.teacher else None


_COMPARED = "students/*/compare/step.json"


def read_shrunk(folder: Path) -> ShrunkRecord:
    """Read a shrinking run's folder, whatever of it is there."""
    summary, tested = folder / "summary.json", folder / "evaluate-teacher"
    files = [*folder.glob("students/*/export/*"), *folder.glob("teacher/*.safetensors")]
    return ShrunkRecord(
        folder=folder,
        config=read_text(folder / "config.yaml"),
        data=read_part(folder / "data" / "step.json", Data, "result"),
        teacher=read_part(folder / "teacher" / "step.json", Teacher, "result"),
        found=read_part(summary, ShrunkSummary),
        summary=read_part(summary, Summary),
        seconds=read_part(summary, dict[str, float], "seconds") or read_seconds(folder),
        answers=read_answers(tested) if has_answers(tested) else None,
        compared={path.parent.parent.name: _compared(path.parent.parent) for path in folder.glob(_COMPARED)},
        explored=read_part(folder / "explore" / "explore.json", Explored),
        sizes={path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
    )


def _compared(student: Path) -> Compared:
    photos = read_part(student / "compare" / "step.json", tuple[Photo, ...], "result", "photos") or ()
    return Compared(answers=read_answers(student / "evaluate"), photos=photos, pixels=read_photos(student / "compare"))
