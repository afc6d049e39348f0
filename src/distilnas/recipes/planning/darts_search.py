"""The steps of a DNAD run, forecast."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from distilnas.methods.dnad import SearchNet
from distilnas.methods.dnad.alphas import Alphas
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.costs import point_sides
from distilnas.methods.dnad.imitation import Imitation
from distilnas.methods.dnad.recorder import Weighted
from distilnas.recipes.dnad.recipe import check_search, derived_size
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.dnad.steps import new_supernet
from distilnas.recipes.materials import Materials
from distilnas.recipes.planning.darts_probes import bilevel_steps, shrink_steps
from distilnas.recipes.planning.disk import checkpoint_mb, snapshots_mb
from distilnas.recipes.planning.forecast import StepForecast, Work
from distilnas.recipes.planning.guess import guess_darts
from distilnas.recipes.planning.images import PlannedImages
from distilnas.recipes.planning.steps import Bench, data_step, report_step, scaled_note, testing_work
from distilnas.recipes.planning.students import student_steps
from distilnas.recipes.planning.teachers import PlannedTeacher, build_teacher, teacher_steps
from distilnas.recipes.teaching import Teaching
from distilnas.space.darts import DartsArchitecture
from distilnas.training import OptimSettings

_SHARES = {"teacher": 3, "search": 6, "held-out": 1, "retrain": 4, "evaluate": 1, "evaluate-teacher": 1}
_ADAM, _MOMENTUM = OptimSettings(optimizer="adam"), OptimSettings(optimizer="sgd")  # of the supernet's weights

ALL_ALIVE = (
    "search: all candidates are taken to stay alive, and all epochs to be run. A supernet that shrinks gets faster and "
    "may end early, so that this is an upper bound, but for tests on held-out images at Pareto events, whose number is "
    "not known."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class DartsSearch:
    """What a search begins with, built in full but with random weights; ``student`` stands in for the one to be found.

    ``teacher`` and ``imitation``: None where no teacher is imitated.
    """

    teacher: PlannedTeacher | None
    imitation: Imitation | None
    supernet: SearchNet
    student: DartsArchitecture


def build_darts_search(
    settings: DnadSettings, teaching: Teaching, classes: int, architecture: DartsArchitecture | None = None
) -> DartsSearch:
    """Build and check all that the run would; ``architecture``: the student, where it is known.

    Raises the run's own ``UsageError`` and ``InfeasibleError``.
    """
    resolution = teaching.resolution
    teacher = build_teacher(teaching, classes) if settings.imitates else None
    limits = check_search(settings, teacher and teacher.described, resolution=resolution, classes=classes)
    space, width = derived_size(settings)
    supernet = new_supernet(settings, classes)
    return DartsSearch(
        teacher=teacher,
        imitation=teacher and _imitation(settings, teacher, supernet, resolution),
        supernet=supernet,
        student=architecture or guess_darts(space, limits, width=width, resolution=resolution, classes=classes),
    )


def darts_search_steps(
    settings: DnadSettings,
    materials: Materials,
    teaching: Teaching,
    images: PlannedImages,
    search: DartsSearch,
    *,
    seconds: float,
) -> tuple[Bench, tuple[StepForecast, ...]]:
    """The steps in the run's order, and the bench with what was measured on the way."""
    bench = Bench(materials, images, seconds=seconds, shares=_shares(settings))
    taught = teacher_steps(bench, teaching, search.teacher) if search.teacher else ()
    searched = (_shrink if settings.search.method == "shrink" else _bilevel)(bench, settings, search)
    students = student_steps(bench, search.student, settings.retrain, auxiliary_weight=settings.auxiliary_weight)
    solved = StepForecast(name="solve", note="less than a second, not forecast")
    return bench, (data_step(bench), *taught, searched, solved, *students, report_step())


def _shares(settings: DnadSettings) -> Mapping[str, float]:
    unused = set() if settings.imitates else {"teacher", "evaluate-teacher"}
    if settings.teacher is not None and settings.teacher.fit is None:
        unused.add("teacher")
    return {name: share for name, share in _SHARES.items() if name not in unused}


def _imitation(settings: DnadSettings, teacher: PlannedTeacher, supernet: SearchNet, resolution: int) -> Imitation:
    grids = [(side, side) for side in point_sides(supernet.space, resolution=resolution)]
    return Imitation(settings.search.shrink.imitation, teacher.blocks, supernet.point_widths, grids, seed=0)


def _shrink(bench: Bench, settings: DnadSettings, search: DartsSearch) -> StepForecast:
    shrink, images, space = settings.search.shrink, bench.images.count("train"), search.supernet.space
    size = min(shrink.batch_size, images)
    steps = images // size
    measure = shrink_steps(
        search.supernet, search.imitation, shrink, resolution=bench.resolution, device=bench.device, meter=bench.meter
    )
    probed = bench.measure("search", measure, size)
    bench.advise_smaller("search", probed, "search.shrink.batch_size")
    load, start = bench.loading(shrink.augment).of(steps * size, shrink.epochs)
    every = shrink.snapshot_steps
    snapshots = shrink.epochs if every is None else -(-shrink.epochs * steps // every)  # the last one at the end
    tested = bench.passes("held-out", Weighted(search.supernet, Choices(space)))
    trained = nn.ModuleList([search.supernet, *([search.imitation] if search.imitation else [])])
    scaled = scaled_note(probed)
    return StepForecast(
        name="search",
        works=(
            Work(compute=shrink.epochs * steps * probed.seconds(), load=load, fixed=start + probed.start),
            testing_work(bench, tested, "rating", snapshots),
        ),
        memory_mb=bench.memory(probed),
        disk_mb=snapshots_mb(space, snapshots, width=shrink.evaluation_width),
        checkpoint_mb=checkpoint_mb(trained, _ADAM),
        note=f"at most{'; ' if scaled else ''}{scaled}",
    )


def _bilevel(bench: Bench, settings: DnadSettings, search: DartsSearch) -> StepForecast:
    bilevel, half = settings.search.bilevel, bench.images.count("train") // 2
    size = min(bilevel.batch_size, half)
    steps = half // size
    measure = bilevel_steps(
        search.supernet, bilevel, resolution=bench.resolution, device=bench.device, meter=bench.meter
    )
    probed = bench.measure("search", measure, size)
    bench.advise_smaller("search", probed, "search.bilevel.batch_size")
    load, start = bench.loading(bilevel.augment).of(2 * steps * size, bilevel.epochs)
    alphas = Alphas(search.supernet.space, shared=bilevel.shared, seed=0)
    tested = bench.passes("held-out", Weighted(search.supernet, alphas))
    return StepForecast(
        name="search",
        works=(
            Work(
                compute=bilevel.epochs * steps * probed.seconds(),
                load=load,
                fixed=2 * start + probed.start,  # a loader for each half
            ),
            testing_work(bench, tested, "rating", 1),
        ),
        memory_mb=bench.memory(probed),
        checkpoint_mb=checkpoint_mb(search.supernet, _MOMENTUM),
        note=scaled_note(probed),
    )
