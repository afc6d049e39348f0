"""What a search in the DARTS space hands over, and which of it is taken under a budget."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distilnas.errors import InfeasibleError
from distilnas.methods.dnad import Archive
from distilnas.methods.dnad.costs import point_sides, smallest_counts
from distilnas.methods.dnad.imitation import check_teacher
from distilnas.recipes.budgets import check_known, limits_of
from distilnas.recipes.dnad.settings import DnadSettings
from distilnas.records.dnad import ChosenRecord, FoundNetwork
from distilnas.records.solution import LimitRecord
from distilnas.solve import Limit
from distilnas.space.darts.space import DartsSpace
from distilnas.teachers import Partition

_KNOWN = ("macs", "params")


def found_networks(archive: Archive) -> list[FoundNetwork]:
    """The snapshots of a shrinking search as networks, in order of steps."""
    front = {snapshot.step for snapshot in archive.front()}
    return [
        FoundNetwork(
            architecture=str(archive.architecture(snapshot)),
            params=snapshot.params,
            macs=snapshot.macs,
            step=snapshot.step,
            reason=snapshot.reason,
            accuracy=snapshot.accuracy or 0.0,
            front=snapshot.step in front,
        )
        for snapshot in archive.snapshots
    ]


def choose(networks: Sequence[FoundNetwork], limits: tuple[Limit, ...]) -> FoundNetwork:
    """The best by held-out accuracy within the limits; of equals the smallest.

    Without limits that is the largest on the front. Raises ``InfeasibleError`` where none keeps the limits, with what
    the search has.
    """
    fitting = [network for network in networks if all(limit.allows(getattr(network, limit.cost)) for limit in limits)]
    if not fitting:
        reach = " and ".join(f"{_range(networks, limit.cost)} {limit.cost}" for limit in limits)
        raise InfeasibleError(
            f"none of the {len(networks)} networks of the search keeps {', '.join(map(str, limits))}; they have "
            f"{reach}. Change the budget, or let a new run shrink further: more search.shrink.epochs, and "
            "search.shrink.max_macs in place of min_sparsity as its goal."
        )
    return max(fitting, key=lambda network: (network.accuracy, -network.macs))


def check_limits(space: DartsSpace, limits: tuple[Limit, ...], *, width: int, resolution: int, classes: int) -> None:
    """Raise ``InfeasibleError`` when no network that can be derived, however small, is within the limits,
    ``UsageError`` for a limit on what derived networks are not counted in."""
    check_known(limits, _KNOWN, remedy="networks of the DARTS space are not counted otherwise: take the budget out.")
    if all(limit.max is None for limit in limits):
        return
    smallest = smallest_counts(space, width=width, resolution=resolution, num_classes=classes)
    for limit, least in ((limit, smallest[limit.cost]) for limit in limits):
        if limit.max is not None and limit.max < least:
            raise InfeasibleError(
                f"solve.max_{limit.cost}={limit.max:,} is out of reach: the smallest network of {space.num_cells} "
                f"cells and width {width} that can be derived has {least:,} {limit.cost}. Raise the budget, or lower "
                "the evaluation_width of the search."
            )


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
    limits = limits_of(settings, teacher)
    space, width = derived_size(settings)
    check_limits(space, limits, width=width, resolution=resolution, classes=classes)
    return limits


def chosen_record(networks: Sequence[FoundNetwork], chosen: FoundNetwork, limits: tuple[Limit, ...]) -> ChosenRecord:
    """``solution.json``."""
    return ChosenRecord(
        budgets={limit.cost: LimitRecord(min=limit.min, max=limit.max) for limit in limits},
        solution=chosen,
        front=tuple(network for network in sorted(networks, key=lambda n: n.macs) if network.front),
    )


def _range(networks: Sequence[FoundNetwork], cost: str) -> str:
    values = [getattr(network, cost) for network in networks]
    return f"{min(values):,} to {max(values):,}"
