"""The recipe ``shrink``: what is checked before its steps and what they come to; the steps are in ``steps``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from distilnas.config import flatten
from distilnas.data import Preprocessing
from distilnas.latency.keep import LATENCY
from distilnas.recipes.frame import Job, Outline, Recipe, conclude, drive
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnImages, OwnTeacher, check_own, own_teacher
from distilnas.recipes.settings import UNLABELLED
from distilnas.recipes.shrink.budgets import check_each
from distilnas.recipes.shrink.settings import ShrinkSettings
from distilnas.recipes.shrink.steps import LIBRARY, STEPS, BudgetSteps, budget_steps
from distilnas.recipes.shrink.students import ShrinkJob
from distilnas.recipes.shrink.telling import paired
from distilnas.recipes.shrink.timed import latency_summary
from distilnas.recipes.students import check_images
from distilnas.recipes.teaching import TEACHER, Teaching, taught, usual_classes
from distilnas.runtime.progress import Progress
from distilnas.runtime.store import Run, StepRecord
from distilnas.surgery.library import Library
from distilnas.tables.measures import ADDITIVE, costs_in
from distilnas.teachers import Partition
from distilnas.teachers.units import propose_units


def cut(model: nn.Module, resolution: int, _policy: str | Sequence[str]) -> Partition:
    """The fine partition that a network is shrunk by."""
    return propose_units(model, resolution).partition


def open_shrink(
    settings: ShrinkSettings,
    folder: Path,
    progress: Progress | None = None,
    teacher: nn.Module | None = None,
    preprocessing: Preprocessing | None = None,
    images: OwnImages | None = None,
) -> tuple[Materials, Teaching]:
    """Images and teacher of a run in ``folder``, which remembers the user's own module; see ``run_shrink``."""
    own = own_teacher(settings.teacher, teacher, preprocessing, folder)
    return with_teacher(settings, own, progress, preprocessing, images)


def with_teacher(
    settings: ShrinkSettings,
    own: OwnTeacher | None = None,
    progress: Progress | None = None,
    preprocessing: Preprocessing | None = None,
    images: OwnImages | None = None,
) -> tuple[Materials, Teaching]:
    """Images and teacher."""
    return taught(
        settings,
        settings.teacher,
        rating_images=settings.library.rating_images,
        preprocessing=preprocessing,
        cut=cut,
        own=own,
        images=images,
        progress=progress,
    )


def outline(settings: ShrinkSettings, own: OwnTeacher | None, progress: Progress | None) -> Outline[Teaching]:
    """Images and teacher for a forecast."""
    check_each(settings.budgets)
    check_own(settings.teacher, own)
    return Outline(*with_teacher(settings, own, progress), classes=usual_classes(settings.teacher))


def check(job: ShrinkJob) -> None:
    """Raise what is wrong with budgets, images and teacher before anything is written or trained."""
    check_each(job.settings.budgets)
    check_images(job)
    if not job.finished(TEACHER):
        job.given.describe(job.given.new())


def library_of(settings: ShrinkSettings, folder: Path, progress: Progress | None = None) -> Library:
    """The library of the run in ``folder``, made now if it is not there."""
    materials, given = open_shrink(settings, folder, progress)
    with Run(folder) as run:
        job = Job(run, settings, materials, given)
        run.claim(flatten(settings.identity()))
        return job.get(LIBRARY).library


def finish(job: ShrinkJob, records: Mapping[str, StepRecord]) -> dict[str, Any]:
    """``summary.json``; all paths are relative to the run."""
    library, teacher = records["library"].result, records["teacher"].result
    students = [_student(job, steps) for steps in budget_steps(job.settings)]
    first = job.result(budget_steps(job.settings)[0].trial)
    timed = records["latency"].result if "latency" in records else None
    curve = records["curve"].result if "curve" in records else {"rows": [], "teacher": None}
    found = {
        "teacher": {
            "name": teacher["name"],
            "top1": records["evaluate-teacher"].result["top1"],
            **costs_in(library["teacher"]),
            **({LATENCY: timed["teacher_ms"][0]} if timed else {}),
        },
        "space": {"num_architectures": int(library["num_architectures"])},
        "rating": {name: library[name] for name in ("num_candidates", "num_rated", "num_images")},
        "solution": {
            "rating": first["rating"],
            "macs": first["macs"],
            "params": first["params"],
            "optimal": first["optimal"],
            "as_rated": first["as_rated"],
            "budgets": {name: {"min": low, "max": most} for name, (low, most) in first["limits"].items()},
        },
        "student": students[0],
        "students": students,
        "curve": [_point(row) for row in curve["rows"] if row["kind"] == "searched"],
        "alternatives": [{"kind": row["kind"], **_point(row)} for row in curve["rows"] if row["kind"] != "searched"],
        "held_out_teacher": curve["teacher"],
        "artefacts": students[0]["artefacts"],
    }
    if job.settings.data.source == UNLABELLED:
        found["labels"] = "teacher"
    if timed:
        found["latency"] = latency_summary(
            timed, next(row["latency"]["limit_ms"] for row in students if "latency" in row)
        )
    return conclude(job, SHRINK, records, found)


def _student(job: ShrinkJob, steps: BudgetSteps) -> dict[str, Any]:
    chosen, tested, exported = (job.do(step) for step in (steps.trial, steps.evaluate, steps.export))
    place = exported.folder.relative_to(job.run.folder)
    return {
        "budget": chosen.result["budget"],
        "top1": tested.result["top1"],
        "top5": tested.result["top5"],
        "top1_before_training": tested.result["top1_before_training"],
        "difference": paired(job, steps.compare),
        **costs_in(chosen.result),
        "resolution": chosen.result["side"] or job.preprocessing.resolution,
        **_latency(chosen.result),
        "as_rated": chosen.result["as_rated"],
        "alternatives": chosen.result["alternatives"],
        "trials": chosen.result["trials"],
        "onnx": exported.result,
        "artefacts": {
            "architecture": f"{place}/student.json",
            "weights": f"{place}/model.safetensors",
            "onnx": f"{place}/model.onnx",
            "report": "report.html",
        },
    }


def _latency(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Of a student under a limit on it: what it was measured with, and how it came about."""
    timed = chosen.get("latency")
    return {LATENCY: timed["measured_ms"], "latency": timed} if timed else {}


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: row[name] for name in ADDITIVE}, "top1": row["top1"], "stderr": row["top1_stderr"]}


SHRINK = Recipe(
    name="shrink",
    settings=ShrinkSettings,
    steps=STEPS,
    open=open_shrink,
    check=check,
    finish=finish,
    outline=outline,
)


def run_shrink(
    settings: ShrinkSettings,
    folder: Path,
    *,
    progress: Progress | None = None,
    teacher: nn.Module | None = None,
    preprocessing: Preprocessing | None = None,
    images: OwnImages | None = None,
) -> dict[str, Any]:
    """Run everything, continuing where ``folder`` stands; returns the content of ``summary.json``.

    ``teacher``: your own trained module, one output per class, where ``settings.teacher.model`` is ``own``, with the
    ``preprocessing`` it wants; it is copied, never changed. ``images``: your own, where ``settings.data.source`` is.
    """
    opened = open_shrink(settings, folder, progress, teacher, preprocessing, images)
    return drive(SHRINK, settings, folder, *opened)
