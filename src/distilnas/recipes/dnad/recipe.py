"""The recipe ``dnad``: what is checked before its steps and what they come to; the steps are in ``steps``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from distilnas.data import Preprocessing
from distilnas.networks import DartsNet
from distilnas.recipes import doubts
from distilnas.recipes.dnad.choice import check_search
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.dnad.steps import DATA, STEPS, TEACHER, DnadJob, known_teacher
from distilnas.recipes.frame import Outline, Recipe, conclude
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.students import student_summary
from distilnas.recipes.teaching import Teaching, taught, usual_classes
from distilnas.runtime.progress import Progress
from distilnas.runtime.store import StepRecord
from distilnas.space.darts import DartsArchitecture
from distilnas.tables.measures import costs_in
from distilnas.teachers import Partition, Tap, propose

_USUAL_RESOLUTION = {"cifar": 32, "imagenet": 224}  # by stem, where neither data nor teacher says


def open_dnad(
    settings: DnadSettings, folder: Path | None = None, progress: Progress | None = None
) -> tuple[Materials, Teaching]:
    """Images and teacher, which may be a DARTS network; without a teacher, images are normalised as ImageNet's."""
    resolution = settings.data.resolution or _USUAL_RESOLUTION[settings.space.stem]
    return taught(
        settings,
        settings.teacher,
        rating_images=settings.search.held_out,
        preprocessing=None if settings.teacher else Preprocessing(resolution=resolution),
        cut=feature_taps,
        progress=progress,
    )


def feature_taps(model: nn.Module, resolution: int, policy: str | Sequence[str]) -> Partition:
    """Where a teacher's features are taken: at the end of its blocks as ``policy`` says.

    Of a DARTS network, with ``auto``, at the last cells of its three resolutions. Those are no cut vertices, since a
    cell reads the two before it; comparing features does not ask for that, while cutting a network into blocks does.
    """
    if not isinstance(model, DartsNet) or policy != "auto":
        return propose(model, resolution, policy)
    sides = {info["reduction"]: math.ceil(resolution / info["reduction"]) for info in model.feature_info}
    taps = tuple(
        Tap(
            path=info["module"],
            channels=info["num_chs"],
            height=sides[info["reduction"]],
            width=sides[info["reduction"]],
            reduction=info["reduction"],
        )
        for info in model.feature_info
        if info["module"].startswith("cells.")
    )
    return Partition(taps=taps, policy="resolution", image_shape=(model.in_chans, resolution, resolution))


def outline(settings: DnadSettings, own: OwnTeacher | None, progress: Progress | None) -> Outline[Teaching]:
    """Images and teacher for a forecast."""
    return Outline(*open_dnad(settings, progress=progress), classes=usual_classes(settings.teacher))


def check(job: DnadJob) -> None:
    """Raise what is known to be wrong before the run writes or trains anything; cheap for a run that was begun."""
    teacher = known_teacher(job)
    recorded = job.finished(TEACHER if job.settings.imitates else DATA)
    classes = len(job.result(DATA)["classes"]) if recorded else len(job.materials.splits.train.classes)
    check_search(job.settings, teacher, resolution=job.preprocessing.resolution, classes=classes)


def finish(job: DnadJob, records: Mapping[str, StepRecord]) -> dict[str, Any]:
    """``summary.json``; all paths are relative to the run. Ratings are held-out errors in percent."""
    results = {name: record.result for name, record in records.items()}
    search, solution = results["search"], results["solve"]
    found = {
        "teacher": _teacher(results),
        "space": {"num_architectures": int(search["num_genotypes"])},
        "rating": {
            "num_candidates": search["num_networks"],
            "num_rated": search["num_networks"],
            "num_images": search["num_images"],
            "metric": "held_out_error",
        },
        "search": {key: search[key] for key in ("method", "num_networks", "num_front", "num_events", "ended")},
        "solution": {
            "rating": 100 - solution["accuracy"],
            **costs_in(solution),
            "optimal": True,
            "budgets": solution["budgets"],
            "step": solution["step"],
            "reason": solution["reason"],
        },
        "warnings": [
            *(doubts.of_teacher(results["teacher"]) if "teacher" in results else ()),
            *(doubts.of_features(results["teacher"]) if "teacher" in results else ()),
            *doubts.of_space(int(search["num_genotypes"])),
            *doubts.of_student(results["evaluate"]),
        ],
        **student_summary(
            records, job.run.folder, architecture="solve/architecture.json", fingerprint=solution["hash"]
        ),
    }
    return conclude(job, DNAD, records, found)


def _teacher(results: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    if "teacher" not in results:
        return None
    named = {"name": results["teacher"]["name"], **costs_in(results["teacher"])}
    return named | {"top1": results["evaluate-teacher"]["top1"]}


DNAD = Recipe(
    name="dnad",
    settings=DnadSettings,
    steps=STEPS,
    open=open_dnad,
    check=check,
    finish=finish,
    outline=outline,
    finds=DartsArchitecture,
)
