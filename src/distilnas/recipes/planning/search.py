"""The steps of a DNA run, forecast."""

from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from distilnas.costing import cost_table
from distilnas.methods.dna.schedule import stages
from distilnas.recipes.dna.recipe import Known, check_known
from distilnas.recipes.dna.steps import ADDITIVITY_SAMPLES, new_supernet
from distilnas.recipes.materials import Materials
from distilnas.recipes.planning.disk import checkpoint_mb, ratings_mb, table_mb, weights_mb
from distilnas.recipes.planning.forecast import StepForecast, Work
from distilnas.recipes.planning.guess import guess_architecture
from distilnas.recipes.planning.images import PlannedImages
from distilnas.recipes.planning.search_probes import distill_steps, rating_batches
from distilnas.recipes.planning.steps import (
    Bench,
    data_step,
    report_step,
    scaled_note,
    timed,
)
from distilnas.recipes.planning.students import student_steps
from distilnas.recipes.planning.teachers import PlannedTeacher, build_teacher, teacher_steps
from distilnas.recipes.settings import Settings
from distilnas.recipes.solving import limits_of
from distilnas.recipes.spaces import resolve_space
from distilnas.recipes.teaching import Teaching
from distilnas.space import Architecture, SearchSpace
from distilnas.supernet import Supernet
from distilnas.tables import CostTable

_SHARES = {"teacher": 3, "distill": 6, "rate": 3, "retrain": 4, "evaluate": 1, "evaluate-teacher": 1}


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """What a search begins with, built in full but with random weights; ``student`` stands in for the one to be found.

    ``seconds``: of building the space, the cost table, the supernet.
    """

    teacher: PlannedTeacher
    space: SearchSpace
    costs: CostTable
    supernet: Supernet
    student: Architecture
    seconds: dict[str, float]


def build_search(
    settings: Settings, teaching: Teaching, classes: int, architecture: Architecture | None = None
) -> Search:
    """Build and check all that the run would; ``architecture``: the student, where it is known.

    Raises the run's own ``UsageError`` and ``InfeasibleError``.
    """
    teacher = build_teacher(teaching, classes)
    space, resolving = timed(partial(resolve_space, settings.space, teacher.described["partition"]))
    costs, counting = timed(partial(cost_table, space, resolution=teaching.resolution, num_classes=classes))
    check_known(settings, Known(teacher.described, space, classes), costs)
    limits = limits_of(settings.solve, teacher.described)
    channels = tuple(tap.channels for tap in teacher.blocks.partition.taps)
    build = partial(new_supernet, settings, space, channels)
    build()  # the first pays for what is imported and initialised once
    supernet, building = timed(build)
    return Search(
        teacher=teacher,
        space=space,
        costs=costs,
        supernet=supernet,
        student=architecture or guess_architecture(space, costs, limits, seed=settings.seed),
        seconds={"space": resolving, "cost": counting, "supernet": building},
    )


def search_steps(
    settings: Settings,
    materials: Materials,
    teaching: Teaching,
    images: PlannedImages,
    search: Search,
    *,
    seconds: float,
    keys: str = "",
) -> tuple[Bench, tuple[StepForecast, ...]]:
    """The steps in the run's order, and the bench with what was measured on the way; ``keys`` as for ``Bench``."""
    shares = {name: share for name, share in _SHARES.items() if name != "teacher" or settings.teacher.fit}
    bench = Bench(materials, images, seconds=seconds, shares=shares, keys=keys)
    teacher, teacher_evaluated = teacher_steps(bench, teaching, search.teacher)
    distilled = _distill(bench, settings, search)
    rated, additivity = _rate(bench, settings, search)
    helper = search.teacher.blocks.model if settings.retrain.teacher else None
    retrained, evaluated, exported = student_steps(bench, search.student, settings.retrain, teacher=helper)
    return bench, (
        data_step(bench),
        teacher,
        StepForecast(name="space", works=(Work(fixed=search.seconds["space"]),)),
        distilled,
        rated,
        StepForecast(name="cost", works=(Work(fixed=search.seconds["cost"]),), disk_mb=table_mb(search.costs)),
        StepForecast(name="solve", note="seconds to minutes, not forecast; one process"),
        additivity,
        retrained,
        evaluated,
        teacher_evaluated,
        *_random(settings, retrained, evaluated),
        exported,
        report_step(),
    )


def _distill(bench: Bench, settings: Settings, search: Search) -> StepForecast:
    distill, images = settings.distill, bench.images.count("train")
    size = min(distill.batch_size, images)
    passes = max(1, size // (distill.micro_batch or size))
    measure = distill_steps(
        search.supernet, search.teacher.blocks, distill, device=bench.device, meter=bench.meter, seed=settings.seed
    )
    probed = bench.measure("distill", measure, -(-size // passes))
    bench.advise("distill", probed, distill.batch_size)
    indices = distill.block_indices(len(search.space.body))
    epochs = len(stages(distill.order, indices)) * distill.epochs
    steps = images // size
    load, start = bench.loading(distill.augment).of(steps * size, epochs)
    compute = epochs * steps * passes * probed.seconds()
    trained = nn.ModuleList(search.supernet.blocks[i] for i in indices)
    return StepForecast(
        name="distill",
        works=(
            Work(compute=compute, load=load, fixed=start + probed.start, parallel=True),
            Work(fixed=search.seconds["supernet"]),
        ),
        memory_mb=bench.memory(probed),
        disk_mb=weights_mb(search.supernet),
        checkpoint_mb=checkpoint_mb(trained, distill.optim),
        note=scaled_note(probed),
    )


def _rate(bench: Bench, settings: Settings, search: Search) -> tuple[StepForecast, StepForecast]:
    """Rating, and the measurement of additivity on the same images.

    Rating goes through the images three times (their number, the teacher's spread, the candidates), additivity twice.
    """
    images = bench.images.count("rating")
    size = min(settings.rate.batch_size, images)
    number = images // size
    measure = rating_batches(
        search.supernet, search.teacher.blocks, settings.rate, device=bench.device, meter=bench.meter
    )
    probed = bench.measure("rate", measure, size)
    targets, rate, path = (number * probed.seconds(part) for part in ("targets", "rate", "path"))
    memory = bench.memory(probed)
    bench.advise_smaller("rate", probed, "rate.batch_size")
    load, start = bench.loading(None).of(number * size, 3)
    rated = StepForecast(
        name="rate",
        works=(
            Work(compute=2 * targets + rate, load=load, fixed=start + probed.start, parallel=True),
            Work(fixed=search.seconds["supernet"]),
        ),
        memory_mb=memory,
        disk_mb=ratings_mb(search.supernet, number),
        note=scaled_note(probed),
    )
    load, start = bench.loading(None).of(number * size, 2)
    whole = Work(compute=2 * targets + (ADDITIVITY_SAMPLES + 1) * path, load=load, fixed=start)
    return rated, StepForecast(name="additivity", works=(whole,), memory_mb=memory)


def _random(settings: Settings, retrained: StepForecast, evaluated: StepForecast) -> list[StepForecast]:
    """The random networks to compare with, together."""
    number = settings.random.number
    if not number:
        return []
    return [
        replace(
            retrained,
            name="random",
            works=number * (*retrained.works, *evaluated.works),
            disk_mb=number * retrained.disk_mb,
            note=f"{number} networks, retrained and tested",
        )
    ]
