"""Students in the folders of a shrinking run: what is stored beside them, how they are read, what they learn from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from distilnas.data import Preprocessing
from distilnas.networks import load_student
from distilnas.recipes.frame import Job
from distilnas.recipes.planning.bench import Plan
from distilnas.recipes.shrink.settings import ShrinkSettings
from distilnas.recipes.students import DATA
from distilnas.recipes.teaching import TEACHER, Teaching
from distilnas.recovery import Lesson
from distilnas.surgery.choose import Chosen

ShrinkJob = Job[ShrinkSettings, Teaching]
ShrinkPlan = Plan[ShrinkSettings, Teaching]
AtWork = ShrinkJob | ShrinkPlan
_FIT_ELSEWHERE = 8.0  # epochs that a teacher is taken to have been fitted for where that was not here


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """What a forecast takes for a budget's ``candidates``, and for the ``student`` that is chosen of them."""

    candidates: tuple[Chosen, ...]
    student: nn.Module


def read_student(job: AtWork, folder: Path) -> Any:
    """The student of a folder of this run, in eval mode."""
    return load_student(folder, parent=own_parent(job))


def own_parent(job: AtWork) -> nn.Module | None:
    """The teacher where it can't be built by a name of timm's."""
    return None if timm_name(job) else job.given.bare(len(job.result(DATA)["classes"]))


def timm_name(job: AtWork) -> str | None:
    """timm's name of the teacher; None where it is none of timm's."""
    teacher = job.settings.teacher
    if job.given.own is not None:
        return job.given.own.timm_name
    return None if teacher.student else teacher.model.partition(".")[0]


def words(job: AtWork, side: int | None) -> dict[str, Any]:
    """What is stored beside the weights of a student for images of ``side`` pixels (None: the teacher's)."""
    seen = replace(job.preprocessing, resolution=side or job.preprocessing.resolution)
    classes = job.get(DATA).train.classes
    return {"classes": classes, "preprocessing": seen.to_dict(), "parent": own_parent(job)}


def wants(job: AtWork, student: Any) -> Preprocessing:
    """How a student that was read from its folder wants its images: as the teacher, but for their size."""
    return replace(job.preprocessing, resolution=student.student_config["preprocessing"]["resolution"])


def lesson_of(job: AtWork, student: Any, checkpoint: Path) -> Lesson:
    splits = job.get(DATA)
    return Lesson(
        teacher=job.get(TEACHER).model,
        images=splits.train,
        validation=splits.validation,
        preprocessing=wants(job, student),
        teacher_preprocessing=job.preprocessing,
        pairs=_pairs(job, student),
        device=job.device,
        seed=job.settings.seed,
        checkpoint=checkpoint,
        progress=job.materials.progress,
        checkpoint_seconds=job.settings.runtime.checkpoint_seconds,
        workers=job.settings.runtime.workers,
    )


def kind_of(row: Mapping[str, Any]) -> str:
    """What a row of the choice is, in words: ``early end behind unit 9, images of 40 pixels``."""
    told = f"early end behind unit {len(row['kept'])}" if row["early"] else "whole"
    return told + (f", images of {row['side']} pixels" if row["side"] else "")


def fit_epochs(settings: ShrinkSettings) -> float:
    """How long the teacher was fitted."""
    return float(settings.teacher.fit.epochs) if settings.teacher.fit else _FIT_ELSEWHERE


def _pairs(job: AtWork, student: Any) -> tuple[tuple[str, str], ...]:
    """The student's blocks beside the teacher's modules whose output they imitate, one a block of the partition; none
    where it sees other images."""
    if wants(job, student) != job.preprocessing:
        return ()
    taps = {tap["path"] for tap in job.result(TEACHER)["partition"]["taps"]}
    borders = student.parent.borders
    return tuple((f"blocks.{i}", border.path) for i, border in enumerate(borders) if border.path in taps)
