"""``plan``: from settings to a forecast; nothing of the run is run, and nothing is written into its folder."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from timm.models import get_pretrained_cfg

from distilnas.costing import profile
from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.networks import StudentNet, build_network
from distilnas.recipes.materials import Materials
from distilnas.recipes.network import Network, NetworkSettings, read_network
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.planning.disk import weights_mb
from distilnas.recipes.planning.forecast import EFFICIENCY, Forecast, StepForecast
from distilnas.recipes.planning.images import PARTS, PlannedImages, planned_images
from distilnas.recipes.planning.search import Search, build_search, search_steps
from distilnas.recipes.planning.steps import Bench, data_step, export_step, report_step, testing_step, training_step
from distilnas.recipes.progressive import ProgressiveSettings
from distilnas.recipes.retraining import RetrainSettings
from distilnas.recipes.settings import OWN, Settings, TeacherSettings
from distilnas.recipes.teaching import DnaMaterials
from distilnas.runtime.progress import Progress
from distilnas.space import Architecture
from distilnas.space.darts import AnyArchitecture, DartsArchitecture

_SHARES = {"retrain": 4, "evaluate": 1}


def plan(
    settings: Any,
    *,
    seconds: float = 60.0,
    devices: int = 1,
    images: int | None = None,
    classes: int | None = None,
    architecture: AnyArchitecture | None = None,
    own: OwnTeacher | None = None,
    progress: Progress | None = None,
) -> Forecast:
    """Forecast the run of ``settings`` (of any recipe) on ``devices`` like the present one, from a probe of about so
    many ``seconds``.

    The real networks are built with random weights: nothing is fetched, and files of weights need not exist. Where
    ``data.path`` does not exist either, ``images`` (of the training set) in ``classes`` stand in, or the numbers known
    of a data set; see ``planned_images``. ``architecture``: the student of a search, where one has an idea of it.
    ``own``: the teacher where ``teacher.model`` is ``own``.

    Raises what the run would raise before it begins (``UsageError``, ``InfeasibleError``), and ``UsageError`` where the
    number of images is not known.
    """
    if devices < 1 or seconds <= 0:
        raise UsageError(f"devices must be at least 1 and seconds above 0, got {devices} and {seconds}.")
    if architecture is not None and not isinstance(settings, Settings):
        raise UsageError(
            f"an architecture stands in for the student of a search; the recipe is {settings.recipe!r}: leave it out."
        )
    if isinstance(architecture, DartsArchitecture):
        raise UsageError("an architecture of the DARTS kind is no student of a DNA search: forecast its retraining.")
    planner = _Planner(seconds, images, classes, progress)
    if isinstance(settings, Settings):
        parts, runtime = [planner.search("", settings, architecture, own)[0]], settings.runtime
    elif isinstance(settings, RetrainSettings):
        parts, runtime = [planner.retraining("", settings, _network(settings))], settings.runtime
    elif isinstance(settings, ProgressiveSettings):
        parts, runtime = planner.rounds(settings), settings.dna.runtime
    else:
        raise UsageError(f"the recipe {settings.recipe!r} cannot be forecast yet; dna, retrain and progressive can.")
    return _joined(settings.recipe, parts, devices, runtime.workers)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """One run within a run: its steps, named with a ``prefix``, and where they come from."""

    prefix: str
    bench: Bench
    steps: tuple[StepForecast, ...]
    assumptions: tuple[str, ...] = ()

    def again(self, prefix: str) -> "_Part":
        """The same once more under another name."""
        return replace(self, prefix=prefix)

    @property
    def named(self) -> tuple[StepForecast, ...]:
        """The steps with their prefix."""
        return tuple(replace(step, name=self.prefix + step.name) for step in self.steps)


class _Planner:
    """Probes for ``seconds`` in all, of which those of building networks count too, up to three quarters."""

    def __init__(self, seconds: float, images: int | None, classes: int | None, progress: Progress | None) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds
        self._images, self._classes, self._progress = images, classes, progress
        self._waiting = 1

    def rounds(self, settings: ProgressiveSettings) -> list[_Part]:
        """The first round, the first scaled winner and the round that it teaches; later ones repeat these."""
        self._waiting = 3 if settings.rounds > 1 else 1
        first, found = self.search("round-1/", settings.dna, None, None)
        if settings.rounds == 1:
            return [first]
        data, images = settings.dna.data, first.bench.images
        if not images.real:
            self._classes = images.classes
        resolution = data.resolution or found.blocks.partition.image_shape[-1]
        grown, pixels = settings.scale.absolute(found.teacher).apply(found.student, resolution)
        network = Network(architecture=grown, preprocessing=Preprocessing(resolution=pixels), trained=None)
        training = RetrainSettings(
            seed=settings.dna.seed,
            data=data,
            network=NetworkSettings(file="scaled"),
            retrain=settings.retrain,
            runtime=settings.dna.runtime,
        )
        scaled = self.retraining("scaled-1/", training, network)
        teacher = OwnTeacher(
            key="scaled",
            preprocessing=Preprocessing(resolution=data.resolution or pixels),
            module=StudentNet(grown, num_classes=images.classes),
        )
        taught = TeacherSettings(student="scaled", partition=settings.dna.teacher.partition)
        second, _ = self.search("round-2/", replace(settings.dna, teacher=taught), None, teacher)
        parts = [first, scaled, second]
        for number in range(3, settings.rounds + 1):
            parts += [scaled.again(f"scaled-{number - 1}/"), second.again(f"round-{number}/")]
        return parts

    def search(
        self, prefix: str, settings: Settings, architecture: Architecture | None, own: OwnTeacher | None
    ) -> tuple[_Part, Search]:
        """A DNA run."""
        if settings.teacher.model == OWN and own is None:
            raise UsageError(
                f"teacher.model={OWN} is a module of your own: forecast from Python, plan(..., own=OwnTeacher(...))."
            )
        materials = DnaMaterials(settings, own=own, progress=self._progress)
        images = planned_images(
            settings.data,
            seed=settings.seed,
            rating_images=settings.rate.images,
            resolution=materials.preprocessing.resolution,
            images=self._images,
            classes=self._classes,
            usual_classes=_teacher_classes(settings.teacher),
        )
        search = build_search(settings, materials, images.classes, architecture)
        bench, steps = search_steps(
            settings, materials, images, search, seconds=self._share(), keys="dna." if prefix else ""
        )
        counts = profile(StudentNet(search.student, num_classes=images.classes), materials.preprocessing.resolution)
        which = "the architecture given" if architecture else "the largest in MACs of 1,000 random ones in the budget"
        student = (
            f"{prefix}retrain and evaluate: the student is not known before the search; taken is {which}, "
            f"{counts.macs:,} MACs and {counts.params:,} parameters."
        )
        return _Part(prefix=prefix, bench=bench, steps=steps, assumptions=(student,)), search

    def retraining(self, prefix: str, settings: RetrainSettings, network: Network) -> _Part:
        """A training of one network."""
        materials = Materials(
            data=settings.data,
            runtime=settings.runtime,
            seed=settings.seed,
            preprocessing=network.preprocessing,
            progress=self._progress,
        )
        images = planned_images(
            settings.data,
            seed=settings.seed,
            rating_images=0,
            resolution=network.preprocessing.resolution,
            images=self._images,
            classes=self._classes,
        )
        bench = Bench(materials, images, seconds=self._share(), shares=_SHARES)
        rates = {"drop_rate": settings.retrain.drop_rate, "drop_path_rate": settings.retrain.drop_path_rate}
        build = partial(build_network, network.architecture, num_classes=images.classes, **rates)
        tested = bench.passes("evaluate", build())
        trained = training_step(bench, "retrain", "retrain", build, settings.retrain, tested)
        steps = (
            data_step(bench),
            StepForecast(name="network", disk_mb=weights_mb(build()) if network.trained is not None else 0.0),
            trained,
            testing_step(bench, "evaluate", tested),
            export_step(build()),
            report_step(),
        )
        return _Part(prefix=prefix, bench=bench, steps=steps)

    def _share(self) -> float:
        """Seconds for the next of the probes that still wait."""
        share = max(self._seconds / 4, self._end - time.monotonic()) / self._waiting
        self._waiting -= 1
        return share


def _network(settings: RetrainSettings) -> Network:
    """The network of the settings; a checkpoint of weights is not read."""
    return read_network(replace(settings.network, weights=None), settings.data.resolution)


def _teacher_classes(teacher: TeacherSettings) -> int:
    """Classes to assume where the images do not say: those of a teacher that is used as it is."""
    if teacher.fit is not None or teacher.student is not None:
        return 1000
    config = get_pretrained_cfg(teacher.model, allow_unregistered=True)
    return config.num_classes if config else 1000


def _joined(recipe: str, parts: list[_Part], devices: int, workers: int) -> Forecast:
    bench = parts[0].bench
    assumptions = [text for part in parts for text in part.assumptions]
    assumptions += _about_images(bench.images)
    if len(parts) > 1:
        assumptions.append(
            "Every round's winner is taken to be as large as the first guess, scaled as configured; from round 3 on, "
            "rounds are taken to be like round 2."
        )
    if workers and bench.device.name == "cpu":
        assumptions.append(
            "Loading is taken to go on beside the computing; on a CPU both want the same cores, so it may take longer."
        )
    if devices > 1:
        shared = ", ".join(step.name for part in parts for step in part.named if step.parallel)
        assumptions.append(
            f"A run uses one device today. {devices} devices are a projection: the computing of {shared} divided by "
            f"{devices} at {EFFICIENCY:.0%} efficiency; loading, tests and solving are not divided."
        )
    return Forecast(
        recipe=recipe,
        device=bench.device.name,
        devices=devices,
        workers=workers,
        images=bench.images.to_dict(),
        steps=tuple(step for part in parts for step in part.named),
        limit_mb=bench.meter.limit_mb,
        probe={part.prefix + name: found for part in parts for name, found in part.bench.probe.items()},
        assumptions=tuple(assumptions),
        advice=tuple(dict.fromkeys(part.prefix + text for part in parts for text in part.bench.advice)),
    )


def _about_images(images: PlannedImages) -> list[str]:
    if images.real:
        return []
    return [
        f"The images are not here: {sum(images.count(part) for part in PARTS):,} of them ({images.source}) in "
        f"{images.classes:,} classes; loading was measured on made-up pictures."
    ]
