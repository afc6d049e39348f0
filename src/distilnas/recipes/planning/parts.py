"""The runs that a configuration consists of, each probed: a search, a retraining, or rounds of both."""

import time
from dataclasses import dataclass, replace
from typing import Any

from timm.models import get_pretrained_cfg

from distilnas.costing import profile
from distilnas.data import Preprocessing
from distilnas.errors import UsageError
from distilnas.networks import StudentNet, build_network
from distilnas.recipes.dna.recipe import with_teacher
from distilnas.recipes.dnad.recipe import open_dnad
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.materials import Materials
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.planning.darts_search import ALL_ALIVE, build_darts_search, darts_search_steps
from distilnas.recipes.planning.disk import weights_mb
from distilnas.recipes.planning.forecast import StepForecast
from distilnas.recipes.planning.images import PlannedImages, planned_images
from distilnas.recipes.planning.search import Search, build_search, search_steps
from distilnas.recipes.planning.steps import Bench, data_step, report_step
from distilnas.recipes.planning.students import student_steps
from distilnas.recipes.progressive.steps import ProgressiveSettings
from distilnas.recipes.retrain.network import GivenNetwork, NetworkSettings
from distilnas.recipes.retrain.settings import RetrainSettings
from distilnas.recipes.settings import OWN, Settings, TeacherSettings
from distilnas.runtime.progress import Progress
from distilnas.space import Architecture
from distilnas.space.darts import AnyArchitecture, DartsArchitecture

_SHARES = {"retrain": 4, "evaluate": 1}
_USUAL_CLASSES = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One run within a run: its steps, named with a ``prefix``, and where they come from."""

    prefix: str
    bench: Bench
    steps: tuple[StepForecast, ...]
    assumptions: tuple[str, ...] = ()

    def again(self, prefix: str) -> "Part":
        """The same once more under another name."""
        return replace(self, prefix=prefix)

    @property
    def named(self) -> tuple[StepForecast, ...]:
        """The steps with their prefix."""
        return tuple(replace(step, name=self.prefix + step.name) for step in self.steps)


class Planner:
    """Probes for ``seconds`` in all, of which those of building networks count too, up to three quarters."""

    def __init__(self, seconds: float, images: int | None, classes: int | None, progress: Progress | None) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds
        self._images, self._classes, self._progress = images, classes, progress
        self._waiting = 1

    def rounds(self, settings: ProgressiveSettings) -> list[Part]:
        """The first round, the first scaled winner and the round that it teaches; later ones repeat these."""
        self._waiting = 3 if settings.rounds > 1 else 1
        first, found = self.search("round-1/", settings.dna, None, None)
        if settings.rounds == 1:
            return [first]
        data, images = settings.dna.data, first.bench.images
        if not images.real:
            self._classes = images.classes
        resolution = data.resolution or found.teacher.blocks.partition.image_shape[-1]
        grown, pixels = settings.scale.absolute(found.teacher.described).apply(found.student, resolution)
        network = GivenNetwork(architecture=grown, preprocessing=Preprocessing(resolution=pixels), trained=None)
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
    ) -> tuple[Part, Search]:
        """A DNA run."""
        if settings.teacher.model == OWN and own is None:
            raise UsageError(
                f"teacher.model={OWN} is a module of your own: forecast from Python, plan(..., own=OwnTeacher(...))."
            )
        materials, teaching = with_teacher(settings, own, self._progress)
        images = self._images_of(settings, materials, _teacher_classes(settings.teacher))
        search = build_search(settings, teaching, images.classes, architecture)
        bench, steps = search_steps(
            settings, materials, teaching, images, search, seconds=self._share(), keys="dna." if prefix else ""
        )
        guess = None if architecture else "the largest in MACs of 1,000 random ones in the budget"
        student = f"{prefix}{_about_student(bench, search.student, guess)}"
        return Part(prefix=prefix, bench=bench, steps=steps, assumptions=(student,)), search

    def darts_search(self, settings: DnadSettings, architecture: DartsArchitecture | None) -> Part:
        """A DNAD run."""
        materials, teaching = open_dnad(settings, progress=self._progress)
        classes = _teacher_classes(settings.teacher) if settings.teacher else _USUAL_CLASSES
        images = self._images_of(settings, materials, classes)
        search = build_darts_search(settings, teaching, images.classes, architecture)
        bench, steps = darts_search_steps(settings, materials, teaching, images, search, seconds=self._share())
        guess = None if architecture else "one of two candidates at every node, or of one if the budget asks for it"
        assumptions = [_about_student(bench, search.student, guess)]
        if settings.search.method == "shrink":
            assumptions.append(ALL_ALIVE)
        return Part(prefix="", bench=bench, steps=steps, assumptions=tuple(assumptions))

    def retraining(self, prefix: str, settings: RetrainSettings, network: GivenNetwork) -> Part:
        """A training of one network."""
        materials = Materials(
            data=settings.data,
            runtime=settings.runtime,
            seed=settings.seed,
            preprocessing=network.preprocessing,
            progress=self._progress,
        )
        images = self._images_of(settings, materials, _USUAL_CLASSES)
        bench = Bench(materials, images, seconds=self._share(), shares=_SHARES)
        begun = build_network(network.architecture, num_classes=images.classes) if network.trained is not None else None
        steps = (
            data_step(bench),
            StepForecast(name="network", disk_mb=weights_mb(begun) if begun is not None else 0.0),
            *student_steps(bench, network.architecture, settings.retrain, auxiliary_weight=settings.auxiliary_weight),
            report_step(),
        )
        return Part(prefix=prefix, bench=bench, steps=steps)

    def _images_of(self, settings: Any, materials: Materials, usual_classes: int) -> PlannedImages:
        return planned_images(
            settings.data,
            seed=settings.seed,
            rating_images=materials.rating_images,
            resolution=materials.preprocessing.resolution,
            images=self._images,
            classes=self._classes,
            usual_classes=usual_classes,
        )

    def _share(self) -> float:
        """Seconds for the next of the probes that still wait."""
        share = max(self._seconds / 4, self._end - time.monotonic()) / self._waiting
        self._waiting -= 1
        return share


def _teacher_classes(teacher: TeacherSettings) -> int:
    """Classes to assume where the images do not say: those of a teacher that is used as it is."""
    if teacher.fit is not None or teacher.student is not None:
        return _USUAL_CLASSES
    config = get_pretrained_cfg(teacher.model, allow_unregistered=True)
    return config.num_classes if config else _USUAL_CLASSES


def _about_student(bench: Bench, student: AnyArchitecture, guess: str | None) -> str:
    """``guess``: how it was made up; None where it was given."""
    counts = profile(build_network(student, num_classes=bench.images.classes), bench.resolution)
    return (
        "retrain and evaluate: the student is not known before the search; taken is "
        f"{guess or 'the architecture given'}, {counts.macs:,} MACs and {counts.params:,} parameters."
    )
