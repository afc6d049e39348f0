"""Budgets to limits, and the check that needs no ratings."""

import itertools

import numpy as np
import pytest

from distilnas.costing import cost_table
from distilnas.errors import InfeasibleError, UsageError
from distilnas.recipes.settings import RandomSettings
from distilnas.recipes.solving import check_budget, random_choices, random_in_budget, solve_run
from distilnas.records.solution import LimitRecord, SolvedNetwork
from distilnas.solve import Limit
from distilnas.space import Candidate, FittedSpace, preset
from distilnas.tables import CellRatings, RatingTable, indifferent, unrated

SPACE = FittedSpace(depths=(1, 2), kernels=(3,), expansions=(2, 3), stem_width=8, head_width=16).fit([16, 32], [4, 8])
COSTS = cost_table(SPACE, resolution=32, num_classes=3)
EVERY = [COSTS.total(SPACE, choice)["macs"] for choice in random_choices(SPACE, 10_000, 0)]


def test_random_choices_cover_a_small_space():
    assert len(EVERY) == SPACE.num_architectures


def test_check_agrees_with_enumeration():
    check_budget(SPACE, COSTS, ())
    check_budget(SPACE, COSTS, (Limit(cost="macs", max=min(EVERY)),))
    with pytest.raises(InfeasibleError, match=f"smallest reachable macs is {min(EVERY):,}"):
        check_budget(SPACE, COSTS, (Limit(cost="macs", max=min(EVERY) - 1),))
    with pytest.raises(InfeasibleError, match=f"largest reachable macs is {max(EVERY):,}"):
        check_budget(SPACE, COSTS, (Limit(cost="macs", min=max(EVERY) + 1),))


def macro_ratings() -> tuple[RatingTable, dict[tuple[int, ...], tuple[str, float]]]:
    """Ratings of NAS-Bench-Macro, and by digits the network (layers left out behind a width's first are nothing) and
    its rating: that of the ops, whatever their place in a width, but for some noise, so names of a network are alike.
    """
    space, rng = preset("nas-bench-macro"), np.random.default_rng(0)
    means = []
    for depth in (2, 3, 3):
        first, others = rng.uniform(size=(2, 3))
        noise = rng.uniform(0, 0.01, (3,) * depth)
        means.append(noise + sum(np.meshgrid(first, *[others] * (depth - 1), indexing="ij")))
    cells = tuple((CellRatings(mean=x, stderr=0 * x, batches=np.stack([x, x + 0.1])),) for x in means)
    networks = {}
    for digits in itertools.product(range(3), repeat=8):
        stages = [digits[:2], digits[2:5], digits[5:]]
        network = str([(first, [op for op in rest if op]) for first, *rest in stages])
        networks[digits] = network, sum(x[path] for x, path in zip(means, stages, strict=True))
    return RatingTable(
        space=space.fingerprint, metric="relative_l1", num_images=2, cells=(*cells, unrated([()], 2))
    ), networks


def digits_of(found: SolvedNetwork) -> tuple[int, ...]:
    return tuple(op for candidate in found.choice for op in candidate.path)


def test_a_network_of_several_names_is_listed_once():
    """Against all names of NAS-Bench-Macro summed."""
    ratings, networks = macro_ratings()
    best: dict[str, float] = {}
    for network, rating in networks.values():
        best[network] = min(rating, best.get(network, np.inf))
    assert len(best) == 3969
    space = preset("nas-bench-macro")
    costs = cost_table(space, resolution=32, num_classes=10)
    record, _ = solve_run(space, ratings, costs, (), alternatives=20)
    by_kind = {
        kind: [record.solution, *(found for found in record.alternatives if found.kind == kind)]
        for kind in ("runner-up", "diverse")
    }
    assert [found.rating for found in by_kind["runner-up"]] == pytest.approx(sorted(best.values())[:21])
    assert record.tie.rival == by_kind["runner-up"][1].architecture
    diverse = [networks[digits_of(found)][0] for found in by_kind["diverse"]]
    assert len(set(diverse)) == len(diverse) > 10


def test_names_of_one_network_are_no_alternatives():
    """Four names alone keep this budget, and are one network: it is without runner-up, and nothing ties."""
    ratings, networks = macro_ratings()
    space = preset("nas-bench-macro")
    costs = cost_table(space, resolution=32, num_classes=10)
    of_cost: dict[int, list[tuple[int, ...]]] = {}
    for digits in networks:
        cells = (digits[:2], digits[2:5], digits[5:], ())
        macs = costs.total(space, tuple(Candidate(cell=0, path=path) for path in cells))["macs"]
        of_cost.setdefault(macs, []).append(digits)
    macs = next(macs for macs, names in of_cost.items() if (0, 0, 0, 0, 1, 0, 0, 1) in names)
    assert len(of_cost[macs]) == 4
    record, _ = solve_run(space, ratings, costs, (Limit(cost="macs", min=macs, max=macs),), alternatives=20)
    assert digits_of(record.solution) == min(of_cost[macs], key=lambda digits: networks[digits][1])
    assert (record.alternatives, record.tie) == ((), None)


def test_only_so_many_names_are_looked_at(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("distilnas.recipes.solving._MOST_NAMES", 21)
    space = preset("nas-bench-macro")
    costs = cost_table(space, resolution=32, num_classes=10)
    record, _ = solve_run(space, macro_ratings()[0], costs, (), alternatives=20)
    assert 0 < sum(found.kind == "runner-up" for found in record.alternatives) < 20


def test_random_in_budget_says_when_there_are_too_few(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("distilnas.recipes.solving._DRAWS", 500)
    exactly = (Limit(cost="macs", min=min(EVERY), max=min(EVERY)),)
    with pytest.raises(UsageError, match=r"lower random\.min_share or random\.number"):
        random_in_budget(SPACE, COSTS, exactly, RandomSettings(number=2), min(EVERY), 0)


def test_a_budget_on_a_measure_that_an_older_table_has_not():
    older = cost_table(SPACE, resolution=32, num_classes=3, measures=("macs", "params"))
    ratings = indifferent(SPACE)
    with pytest.raises(UsageError, match=r"bytes, but this run knows macs and params only; .* delete the run's"):
        solve_run(SPACE, ratings, older, (Limit(cost="bytes", max=10**6),), 0)
    record, fronts = solve_run(SPACE, ratings, older, (), 0)
    assert list(record.solution.costs) == list(fronts) == ["macs", "params"]
    record, fronts = solve_run(SPACE, ratings, COSTS, (Limit(cost="bytes", max=10**7),), 0)
    assert list(record.solution.costs) == list(fronts) == ["macs", "params", "bytes"]
    assert record.budgets == {"bytes": LimitRecord(max=10**7)}
