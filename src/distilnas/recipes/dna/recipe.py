"""The recipe ``dna``: what is checked before its steps and what they come to; the steps are in ``steps``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from distilnas.costing import cost_table
from distilnas.data import Preprocessing
from distilnas.recipes import doubts
from distilnas.recipes.dna.steps import DATA, SPACE, STEPS, TEACHER, DnaJob, check_settings
from distilnas.recipes.frame import Outline, Recipe, conclude, drive
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher, check_own, own_teacher
from distilnas.recipes.settings import Settings
from distilnas.recipes.spaces import resolve_space
from distilnas.recipes.students import student_summary
from distilnas.recipes.teaching import Teaching, taught, usual_classes
from distilnas.runtime.progress import Progress
from distilnas.runtime.store import StepRecord
from distilnas.space import Architecture, SearchSpace
from distilnas.tables.measures import costs_in


class Known(NamedTuple):
    """What a run begins with: the teacher as its step describes it, the search space, the number of classes."""

    teacher: dict[str, Any]
    space: SearchSpace
    classes: int


def known(job: DnaJob) -> Known:
    """Without doing a step where none is finished."""
    if job.finished(SPACE):
        return Known(job.result(TEACHER), job.get(SPACE), len(job.result(DATA)["classes"]))
    teacher = job.given.describe(job.given.new())
    space = resolve_space(job.settings.space, teacher["partition"])
    return Known(teacher, space, len(job.materials.splits.train.classes))


def open_dna(
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
    teacher: nn.Module | None = None,
    preprocessing: Preprocessing | None = None,
) -> tuple[Materials, Teaching]:
    """Images and teacher of a run in ``folder``, which remembers the user's own module; see ``run_dna``."""
    return with_teacher(settings, own_teacher(settings.teacher, teacher, preprocessing, folder), progress)


def with_teacher(
    settings: Settings, own: OwnTeacher | None = None, progress: Progress | None = None
) -> tuple[Materials, Teaching]:
    """Images and teacher."""
    return taught(settings, settings.teacher, rating_images=settings.rate.images, own=own, progress=progress)


def outline(settings: Settings, own: OwnTeacher | None, progress: Progress | None) -> Outline[Teaching]:
    """Images and teacher for a forecast."""
    check_own(settings.teacher, own)
    return Outline(*with_teacher(settings, own, progress), classes=usual_classes(settings.teacher))


def check(job: DnaJob) -> Known:
    """What the run begins with; raises what is wrong with it before anything is written or trained."""
    found = known(job)
    costs = cost_table(found.space, resolution=job.preprocessing.resolution, num_classes=found.classes)
    check_settings(job.settings, found.space, costs, found.teacher)
    return found


def finish(job: DnaJob, records: Mapping[str, StepRecord]) -> dict[str, Any]:
    """``summary.json``; all paths are relative to the run."""
    results = {name: record.result for name, record in records.items()}
    teacher, solution = results["teacher"], results["solve"]
    found = {
        "teacher": {
            "name": teacher["name"],
            "top1": results["evaluate-teacher"]["top1"],
            **costs_in(teacher),
        },
        "space": {"name": results["space"]["name"], "num_architectures": int(results["space"]["num_architectures"])},
        "rating": results["rate"],
        "solution": {
            "rating": solution["rating"],
            **solution["costs"],
            "optimal": solution["optimal"],
            "contradicted": doubts.contradicted(results["additivity"]),
            "budgets": solution["budgets"],
        },
        "random": _random_rows(results.get("random", {})),
        "additivity": results["additivity"],
        "warnings": [
            *doubts.of_teacher(teacher),
            *doubts.of_features(teacher),
            *doubts.of_space(int(results["space"]["num_architectures"])),
            *doubts.of_choice(solution, results["additivity"]),
            *doubts.of_student(results["evaluate"]),
        ],
        **student_summary(
            records, job.run.folder, architecture="solve/architecture.json", fingerprint=solution["hash"]
        ),
    }
    return conclude(job, DNA, records, found)


def _random_rows(results: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each network's training and test, by their folders, as one row."""
    rows = {}
    for place, result in results.items():
        _, fingerprint, step = place.split("/")
        trained = step == "retrain"
        wanted = {"architecture": result["architecture"]} if trained else {"top1": result["top1"]}
        rows.setdefault(fingerprint, {}).update(costs_in(result) | wanted)
    return [row | {"hash": fingerprint} for fingerprint, row in rows.items()]


DNA = Recipe(
    name="dna",
    settings=Settings,
    steps=STEPS,
    open=open_dna,
    check=check,
    finish=finish,
    outline=outline,
    finds=Architecture,
)


def run_dna(
    settings: Settings,
    folder: Path,
    *,
    progress: Progress | None = None,
    teacher: nn.Module | None = None,
    preprocessing: Preprocessing | None = None,
    until: str | None = None,
) -> dict[str, Any]:
    """Run everything, or up to the step ``until`` (a verb), continuing where ``folder`` stands.

    ``teacher``: your own trained module, one output per class, where ``settings.teacher.model`` is ``own``, with the
    ``preprocessing`` it wants; it is copied, never changed. Data, teacher, partition, space and budget are checked
    before anything is written or trained.
    Returns the content of ``summary.json``, or the step's result with ``until``.
    """
    opened = open_dna(settings, folder, progress, teacher, preprocessing)
    return drive(DNA, settings, folder, *opened, until=until)
