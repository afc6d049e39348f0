"""What a DNAD run is held to before it begins, and the size of what its search derives."""

from dataclasses import replace
from typing import Any

from distilnas.methods.dnad.costs import point_sides
from distilnas.methods.dnad.imitation import check_teacher
from distilnas.recipes.dnad.choice import check_limits
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.recipes.solving import limits_of
from distilnas.solve import Limit
from distilnas.space.darts.space import DartsSpace
from distilnas.teachers import Partition


def derived_size(settings: DnadSettings) -> tuple[DartsSpace, int]:
    """The space with as many cells as the derived networks have, and their width."""
    space, search = settings.space.resolve(), settings.search
    if search.method == "shrink":
        return space, search.shrink.evaluation_width
    return replace(space, num_cells=search.bilevel.derived_cells(space.num_cells)), search.bilevel.evaluation_width


def check_search(
    settings: DnadSettings, teacher: dict[str, Any] | None, *, resolution: int, classes: int
) -> tuple[Limit, ...]:
    """The budgets. ``teacher``: as ``describe_teacher`` has it, None where none is imitated.

    Raises ``UsageError`` for a teacher that cannot be imitated, ``InfeasibleError`` for a budget out of reach.
    """
    if teacher is not None:
        sides = point_sides(settings.space.resolve(), resolution=resolution)
        check_teacher(settings.search.shrink.imitation, Partition.from_dict(teacher["partition"]), sides)
    limits = limits_of(settings.solve, teacher)
    space, width = derived_size(settings)
    check_limits(space, limits, width=width, resolution=resolution, classes=classes)
    return limits
