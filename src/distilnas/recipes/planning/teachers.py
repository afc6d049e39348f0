"""The teacher's steps, forecast: described and fitted, and tested."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from distilnas.recipes.planning.disk import weights_mb
from distilnas.recipes.planning.forecast import StepForecast, Work
from distilnas.recipes.planning.probes import settle
from distilnas.recipes.planning.steps import Bench, testing_step, testing_work, timed, training_step
from distilnas.recipes.teaching import Teaching, check_classes
from distilnas.teachers import Partition, TeacherBlocks
from distilnas.training import Trained, train_classifier


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedTeacher:
    """A teacher of random weights: ``described`` as in the run, which took so many ``seconds``."""

    described: dict[str, Any]
    blocks: TeacherBlocks
    seconds: float


def build_teacher(teaching: Teaching, classes: int) -> PlannedTeacher:
    """Raises ``UsageError`` where the run would."""
    model = teaching.empty(classes)
    check_classes(model, classes, teaching.resolution)
    described, seconds = timed(partial(teaching.describe, model))
    partition = Partition.from_dict(described["partition"])
    blocks = TeacherBlocks(settle(model, teaching.resolution, teaching.device), partition)
    return PlannedTeacher(described=described, blocks=blocks, seconds=seconds)


def teacher_steps(bench: Bench, teaching: Teaching, teacher: PlannedTeacher) -> tuple[StepForecast, StepForecast]:
    """Describing it, fitting it where the settings ask for that, and its check on the validation images; its test."""
    model, fit = teacher.blocks.model, teaching.settings.fit
    tested = bench.passes("evaluate-teacher", model)
    step = StepForecast(name="teacher", memory_mb=bench.memory(tested), disk_mb=weights_mb(model))
    if fit is not None:

        def train(**how: Any) -> Trained:
            return train_classifier(teaching.empty(bench.images.classes), **how)

        step = training_step(bench, "teacher", "teacher.fit", train, fit, tested, trained=model, kept=model)
    once = (testing_work(bench, tested, "validation", 1), Work(fixed=teacher.seconds))
    return replace(step, works=(*step.works, *once)), testing_step(bench, "evaluate-teacher", tested)
