"""The best students of a library under limits, and the choice held against what they measure."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.errors import InfeasibleError
from distilnas.solve import Limit, SearchProblem, Solution, diverse, explain_infeasible, solve
from distilnas.surgery.assemble import assemble
from distilnas.surgery.chain import run
from distilnas.surgery.library import Choice, Library, Trunk, choice_in
from distilnas.surgery.rate import divergence, rating_from
from distilnas.surgery.sides import possible_sides, resized

_AT_MOST = 1e12  # as good as no limit
_ROUNDING = 1e-9  # relative, of sums of floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A student on paper: its ``choice``, its summed rating and costs, whether it is proved to be at its place."""

    choice: Choice
    solution: Solution


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A student on held-out images: mean divergence of its logits from the teacher's, and top-1 in percent.

    Each with its standard error; top-1 is None without labels.
    """

    divergence: float
    divergence_stderr: float
    top1: float | None = None
    top1_stderr: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Assembled:
    """A student with its weights: ``modules`` in a row give logits for images."""

    chosen: Chosen
    modules: list[nn.Module]
    measured: Measured


def best_choices(trunks: Sequence[Trunk], limits: Sequence[Limit], k: int = 1) -> list[Chosen]:
    """The ``k`` students with the lowest summed ratings of all ``trunks`` within ``limits``, best first.

    Raises ``InfeasibleError`` when none keeps the limits; the message has the smallest value that can be reached.
    """
    return _merged(trunks, limits, lambda problem: solve(problem, limits, k))[:k]


def best_of_kinds(trunks: Sequence[Trunk], limits: Sequence[Limit]) -> list[Chosen]:
    """The best student of each kind, best first: whole ones, with new modules and without, those that end early, and
    both for smaller images.

    A sum overrates many small cuts, which are repaired together, against an early end or smaller images, which are
    rated as one, and against new modules: between these kinds only measuring decides. Raises ``InfeasibleError`` as
    ``best_choices``.
    """
    kinds: dict[tuple[bool, ...], list[Trunk]] = {(): [trunk.of_parent() for trunk in trunks[:1]]}
    for trunk in trunks:
        kinds.setdefault((trunk.last is None, trunk.side is None), []).append(trunk)
    found = best_choices(trunks, limits)
    for some in kinds.values():
        with suppress(InfeasibleError):
            found += best_choices(some, limits)
    return sorted({one.choice: one for one in found}.values(), key=lambda one: one.solution.rating)


def least_choice(trunks: Sequence[Trunk], limits: Sequence[Limit], cost: str) -> Chosen:
    """Of the students with the least ``cost`` within the other ``limits`` the one with the lowest summed rating.

    Raises ``InfeasibleError`` when none keeps the others.
    """
    others = [limit for limit in limits if limit.cost != cost]
    reaches = [
        explain_infeasible(trunk.problem, [Limit(cost=cost, max=_AT_MOST), *others]).reaches[0] for trunk in trunks
    ]
    found = [reach.given_others for reach in reaches if reach.given_others is not None]
    least = min(found, default=None)
    if least is None:
        raise InfeasibleError(_why_not(trunks, others))
    return best_choices(trunks, [Limit(cost=cost, max=least + _ROUNDING * abs(least)), *others])[0]


def different_choices(trunks: Sequence[Trunk], limits: Sequence[Limit], k: int, min_distance: int) -> list[Chosen]:
    """Up to ``k`` students: the best of all, then the best that differ in ``min_distance`` blocks from it in kind."""

    def search(problem: SearchProblem) -> list[Solution]:
        return diverse(problem, limits, k, min(min_distance, len(problem.blocks)))

    return _merged(trunks, limits, search)[:k]


def measure(
    library: Library,
    modules: Sequence[nn.Module],
    batches: Sequence[Tensor],
    labels: Tensor | None = None,
    *,
    side: int | None = None,
) -> Measured:
    """Compare a student, which sees images of ``side`` pixels (None: the teacher's), with the teacher on ``batches`` of
    the teacher's images; ``labels`` (all images,) for top-1.
    """
    with torch.no_grad():
        teacher = torch.cat([run([unit.module for unit in library.units], images) for images in batches])
        logits = torch.cat([run(modules, resized(images, side)) for images in batches])
        values = divergence(functional.log_softmax(teacher.float(), 1), logits.float()).double()
    top1 = None if labels is None else 100 * float((logits.argmax(1) == labels).double().mean())
    error = None if top1 is None else (top1 * (100 - top1) / len(values)) ** 0.5
    return Measured(
        divergence=float(values.mean()),
        divergence_stderr=float(values.std()) / len(values) ** 0.5,
        top1=top1,
        top1_stderr=error,
    )


def choose(
    library: Library,
    candidates: Sequence[Chosen],
    calibration: Sequence[Tensor],
    held_out: Sequence[Tensor],
    labels: Tensor | None = None,
) -> list[Assembled]:
    """Assemble ``candidates`` and order them by what they measure on ``held_out`` batches, least divergence first.

    Their ratings are sums over cuts that were rated one by one: the best sum need not be the best network.
    """
    built = []
    for chosen in candidates:
        modules = assemble(library, chosen.choice, calibration)
        measured = measure(library, modules, held_out, labels, side=chosen.choice.side)
        built.append(Assembled(chosen=chosen, modules=modules, measured=measured))
    return sorted(built, key=lambda one: one.measured.divergence)


@torch.no_grad()
def with_sides(
    library: Library, sides: Sequence[int], calibration: Sequence[Tensor], rating: Sequence[Tensor]
) -> Library:
    """``library`` with students for images of fewer pixels: of ``sides`` those at which the teacher works.

    Batches of the teacher's images as in ``build_library``.
    """
    rated = {}
    teacher = [unit.module for unit in library.units]
    for side in possible_sides(library.units, sides):
        modules = assemble(library, library.whole(side), calibration)
        values = [
            divergence(functional.log_softmax(run(teacher, x).float(), 1), run(modules, resized(x, side)).float())
            for x in rating
        ]
        rated[side] = rating_from([value.double().cpu().numpy() for value in values])
    return replace(library, sides=rated)


def _merged(
    trunks: Sequence[Trunk], limits: Sequence[Limit], search: Callable[[SearchProblem], list[Solution]]
) -> list[Chosen]:
    """What ``search`` finds in every trunk, in one order."""
    found: list[Chosen] = []
    for trunk in trunks:
        try:
            solutions = search(trunk.problem)
        except InfeasibleError:
            continue
        for solution in solutions:
            choice = choice_in(trunk, solution.positions)
            found.append(Chosen(choice=choice, solution=solution))
    if not found:
        raise InfeasibleError(_why_not(trunks, limits))
    return sorted(found, key=lambda one: one.solution.rating)


def _why_not(trunks: Sequence[Trunk], limits: Sequence[Limit]) -> str:
    """The message of the trunk that comes nearest."""
    reasons = [explain_infeasible(trunk.problem, limits) for trunk in trunks]
    return min(reasons, key=lambda reason: [float(reach.alone) for reach in reason.reaches]).message()
