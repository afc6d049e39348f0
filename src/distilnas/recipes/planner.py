"""``plan``: from settings to a forecast; nothing of the run is run, and nothing is written into its folder."""

from collections.abc import Sequence
from typing import Any

from distilnas.errors import UsageError
from distilnas.recipes.catalogue import RECIPES, AnyRecipe
from distilnas.recipes.own import OwnTeacher
from distilnas.recipes.planning.forecast import EFFICIENCY, Forecast
from distilnas.recipes.planning.images import PARTS, PlannedImages
from distilnas.recipes.planning.parts import Part, Planner
from distilnas.runtime.progress import Progress
from distilnas.space.darts import AnyArchitecture


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
    recipe = RECIPES[settings.recipe]
    _check_student(recipe, architecture)
    if recipe.parts is None:
        *most, last = (name for name, known in RECIPES.items() if known.parts)
        raise UsageError(f"the recipe {recipe.name!r} cannot be forecast yet; {', '.join(most)} and {last} can.")
    planner = Planner(seconds, images=images, classes=classes, student=architecture, own=own, progress=progress)
    return _joined(recipe.name, recipe.parts(planner, settings), devices)


def _check_student(recipe: AnyRecipe, architecture: AnyArchitecture | None) -> None:
    """Raise ``UsageError`` for an architecture that a run of the recipe would not find."""
    if architecture is None or (recipe.finds and isinstance(architecture, recipe.finds)):
        return
    if recipe.finds is None:
        raise UsageError(
            f"an architecture stands in for the student of a search; the recipe is {recipe.name!r}: leave it out."
        )
    raise UsageError(
        f"this architecture is of another kind than those that the recipe {recipe.name!r} finds: give one of its "
        "own kind, or forecast a retraining (recipe retrain, network.file)."
    )


def _joined(recipe: str, parts: Sequence[Part[Any, Any]], devices: int) -> Forecast:
    bench = parts[0].plan.bench
    workers = bench.materials.runtime.workers
    assumptions = [part.prefix + text for part in parts for text in part.plan.assumptions]
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
            f"{devices} devices are a projection from one: the computing of {shared} divided by {devices} at "
            f"{EFFICIENCY:.0%} efficiency; nothing else is divided."
        )
    return Forecast(
        recipe=recipe,
        device=bench.device.name,
        devices=devices,
        workers=workers,
        images=bench.images.to_dict(),
        steps=tuple(step for part in parts for step in part.named),
        limit_mb=bench.meter.limit_mb,
        probe={part.prefix + name: found for part in parts for name, found in part.plan.bench.probe.items()},
        assumptions=tuple(assumptions),
        advice=tuple(dict.fromkeys(part.prefix + text for part in parts for text in part.plan.bench.advice)),
    )


def _about_images(images: PlannedImages) -> list[str]:
    if images.real:
        return []
    return [
        f"The images are not here: {sum(images.count(part) for part in PARTS):,} of them ({images.source}) in "
        f"{images.classes:,} classes; loading was measured on made-up pictures."
    ]
