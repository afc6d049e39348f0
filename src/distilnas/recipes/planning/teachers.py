"""The teacher's steps, forecast: described and fitted, and tested."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from distilnas.recipes import inputs as given
from distilnas.recipes.planning.disk import weights_mb
from distilnas.recipes.planning.forecast import StepForecast, Work
from distilnas.recipes.planning.probes import settle
from distilnas.recipes.planning.steps import Bench, testing_step, testing_work, timed, training_step
from distilnas.recipes.teaching import TeacherMaterials
from distilnas.teachers import Partition, TeacherBlocks
from distilnas.training import Trained, train_classifier


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedTeacher:
    """A teacher of random weights: ``described`` as in the run, which took so many ``seconds``."""

    described: dict[str, Any]
    blocks: TeacherBlocks
    seconds: float


def build_teacher(materials: TeacherMaterials, classes: int) -> PlannedTeacher:
    """Raises ``UsageError`` where the run would."""
    resolution = materials.preprocessing.resolution
    model = materials.empty_teacher(classes)
    given.check_classes(model, classes, resolution)
    described, seconds = timed(partial(materials.describe_teacher, model))
    blocks = TeacherBlocks(settle(model, resolution, materials.device), Partition.from_dict(described["partition"]))
    return PlannedTeacher(described=described, blocks=blocks, seconds=seconds)


def teacher_steps(
    bench: Bench, materials: TeacherMaterials, teacher: PlannedTeacher
) -> tuple[StepForecast, StepForecast]:
    """Describing it, fitting it where the settings ask for that, and its check on the validation images; its test."""
    model, fit = teacher.blocks.model, materials.teacher.fit
    tested = bench.passes("evaluate-teacher", model)
    step = StepForecast(name="teacher", memory_mb=bench.memory(tested), disk_mb=weights_mb(model))
    if fit is not None:

        def train(**how: Any) -> Trained:
            return train_classifier(materials.empty_teacher(bench.images.classes), **how)

        step = training_step(bench, "teacher", "teacher.fit", train, fit, tested, trained=model, kept=model)
    once = (testing_work(bench, tested, "validation", 1), Work(fixed=teacher.seconds))
    return replace(step, works=(*step.works, *once)), testing_step(bench, "evaluate-teacher", tested)
