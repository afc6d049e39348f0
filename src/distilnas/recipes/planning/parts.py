"""The runs that a configuration consists of, each probed in turn."""

import time
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from distilnas.recipes.frame import Outline, Recipe, RunSettings
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.planning.bench import Bench, Plan
from distilnas.recipes.planning.forecast import StepForecast
from distilnas.recipes.planning.images import PlannedImages, planned_images
from distilnas.recipes.planning.steps import report_step
from distilnas.runtime.progress import Progress
from distilnas.space.darts import AnyArchitecture

S = TypeVar("S", bound=RunSettings)
G = TypeVar("G")


@dataclass(frozen=True, kw_only=True, eq=False)
class Part(Generic[S, G]):
    """One run within a run: its steps, named with a ``prefix``, and what they were forecast with."""

    prefix: str
    plan: Plan[S, G]
    steps: tuple[StepForecast, ...]

    def again(self, prefix: str) -> "Part[S, G]":
        """The same once more under another name."""
        return replace(self, prefix=prefix)

    @property
    def named(self) -> tuple[StepForecast, ...]:
        """The steps with their prefix."""
        return tuple(replace(step, name=self.prefix + step.name) for step in self.steps)


class Planner:
    """Probes for ``seconds`` in all, of which those of building networks count too, up to three quarters.

    ``images``, ``classes``: stand in where the run's images are not here. ``student``: the architecture that a search
    is taken to find, ``own``: the user's module for a teacher; None where the user gave none.
    """

    def __init__(
        self,
        seconds: float,
        *,
        images: int | None = None,
        classes: int | None = None,
        student: AnyArchitecture | None = None,
        own: OwnTeacher | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds
        self._images, self.classes, self.progress = images, classes, progress
        self.student, self.own = student, own
        self.waiting = 1  # parts that are still to be probed

    def part(
        self,
        prefix: str,
        recipe: Recipe[S, G],
        settings: S,
        outline: Outline[G] | None = None,
        *,
        keys: str = "",
    ) -> Part[S, G]:
        """A run of a recipe's table, from ``outline`` or the recipe's own.

        ``keys``: what comes before a setting's name in the configuration. Raises the run's own errors.
        """
        if outline is None:
            assert recipe.outline is not None
            outline = recipe.outline(settings, self.own, self.progress)
        materials, given, usual = outline
        plan = Plan(settings, materials, given, self._images_of(settings, outline, usual), self.student)
        steps = [entry for entry in recipe.steps if entry.applies(settings)]
        for entry in steps:
            entry.prepare(plan)
        shares = {name: share for entry in steps for name, share in entry.shares(plan).items()}
        plan.bench = Bench(materials, plan.images, seconds=self._share(), shares=shares, keys=keys)
        forecasts = tuple(plan.forecast(entry) for entry in steps)
        return Part(prefix=prefix, plan=plan, steps=(*forecasts, report_step()))

    def _images_of(self, settings: Any, outline: Outline[Any], usual_classes: int) -> PlannedImages:
        return planned_images(
            settings.data,
            seed=settings.seed,
            rating_images=outline.materials.rating_images,
            resolution=outline.materials.preprocessing.resolution,
            images=self._images,
            classes=self.classes,
            usual_classes=usual_classes,
        )

    def _share(self) -> float:
        """Seconds for the next of the parts that still wait."""
        share = max(self._seconds / 4, self._end - time.monotonic()) / self.waiting
        self.waiting -= 1
        return share
