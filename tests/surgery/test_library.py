"""The library of a small teacher: exact sums, exact costs, repaired students that beat raw ones, the teacher itself."""

import itertools

import numpy as np
import pytest
import torch
from small import chain, images, teacher, with_twins

from distilnas.costing.counters import count, count_params
from distilnas.errors import InfeasibleError
from distilnas.networks.new_parts import LinearMap
from distilnas.networks.plan import Skip
from distilnas.solve import Limit
from distilnas.solve.problem import Position
from distilnas.surgery.assemble import affordable, assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import run
from distilnas.surgery.choose import best_choices, choose, different_choices, measure
from distilnas.surgery.cut import cut
from distilnas.surgery.library import Choice, choice_in

NAME = "mobilenetv2_035"
RATIOS = (1.0, 0.5, 0.25)
CALIBRATION = [images(24, seed=seed) for seed in (1, 2)]
HELD_OUT = [images(8, seed=seed) for seed in (5, 6)]


@pytest.fixture(scope="module")
def library():
    return build_library(chain(with_twins(teacher(NAME))), CALIBRATION, HELD_OUT, ratios=RATIOS, linear=True)


@pytest.fixture(scope="module")
def trunks(library):
    return library.trunks()


def costs_of(library, modules):
    """Counted on the modules one by one, with the shapes that they really see."""
    x, macs = images(1), 0
    for module in modules:
        macs += count(module, tuple(x.shape[1:]))[0]
        with torch.no_grad():
            x = module(x)
    return {"macs": macs, "params": sum(count_params(module) for module in modules)}


def some_choices(trunks, seed):
    """In every trunk one of each block's forms, and in it one candidate."""
    rng = np.random.default_rng(seed)
    for trunk in trunks:
        cells = [int(rng.integers(len(block.cells))) for block in trunk.problem.blocks]
        sizes = [len(block.cells[cell]) for block, cell in zip(trunk.problem.blocks, cells, strict=True)]
        positions = [Position(cell, int(rng.integers(size))) for cell, size in zip(cells, sizes, strict=True)]
        yield trunk, positions, choice_in(trunk, positions)


@pytest.mark.parametrize("seed", [0, 1])
def test_costs_and_ratings_are_sums_that_the_built_student_confirms(library, trunks, seed):
    for trunk, positions, choice in some_choices(trunks, seed):
        rating, costs = trunk.problem.evaluate(positions)
        assert {name: costs[name] for name in ("macs", "params")} == costs_of(
            library, assemble(library, choice, CALIBRATION)
        )
        assert rating == pytest.approx(library.rating_of(choice).mean)


def test_left_out_units_of_a_block_are_rated_together(library):
    for _, inside in itertools.groupby(range(len(library.units)), key=lambda i: library.units[i].block):
        free = [i for i in inside if library.units[i].droppable]
        patterns = {out for out in library.drops if set(out) & set(free)}
        assert len(patterns) == 2 ** len(free) - 1


def test_all_kept_is_the_teacher_bit_for_bit(library):
    student = assemble(library, library.whole(), CALIBRATION)
    with torch.no_grad():
        assert torch.equal(run(student, HELD_OUT[0]), run([unit.module for unit in library.units], HELD_OUT[0]))
    assert library.rating_of(library.whole()).mean == 0
    best = best_choices(library.trunks(), [])[0]
    assert best.choice == library.whole()


def with_map(library, first, last):
    kept = list(library.whole().kept)
    kept[first : last + 1] = ["linear", *[None] * (last - first)]
    return Choice(kept=tuple(kept))


def test_a_linear_map_stands_for_a_unit_and_for_all_to_the_end_of_its_block(library):
    """Every unit but the head, whose output is no map; the last of a block for itself only."""
    blocks = [unit.block for unit in library.units]
    last = {block: i for i, block in enumerate(blocks)}
    expected = {(i, i) for i in range(len(blocks) - 1)} | {(i, last[b]) for i, b in enumerate(blocks[:-1])}
    assert {(place.first, place.last) for place in library.replacements} == expected


@pytest.mark.parametrize("stem", ["kept", "linear"])
def test_a_linear_map_is_the_least_squares_of_what_the_units_do(library, stem):
    """Against numpy's, on all places of all images, up to a ridge of some thousandths.

    Alone in the teacher, and fitted anew to what comes from a stem that is a map too.
    """
    first, last = max(((p.first, p.last) for p in library.replacements), key=lambda span: span[1] - span[0])
    choice = with_map(library, first, last)
    if stem == "linear":
        choice = Choice(kept=("linear", *choice.kept[1:]))
    student = assemble(library, choice, CALIBRATION)
    assert isinstance(student[first], LinearMap)
    assert all(isinstance(part, Skip) for part in student[first + 1 : last + 1])
    with torch.no_grad():
        x = run(student[:first], torch.cat(CALIBRATION))
        y = run([unit.module for unit in library.units[: last + 1]], torch.cat(CALIBRATION))
        pooled = torch.nn.functional.avg_pool2d(x, student[first].stride, ceil_mode=True, count_include_pad=False)
        found = student[first](x)
    columns, targets = (map_.permute(0, 2, 3, 1).flatten(0, 2).double().numpy() for map_ in (pooled, y))
    columns = np.column_stack([columns, np.ones(len(columns))])
    solution, *_ = np.linalg.lstsq(columns, targets, rcond=None)
    least = np.square(targets - columns @ solution).mean()
    assert least <= np.square(y.numpy() - found.numpy()).mean() <= 1.05 * least


def raw(library, choice):
    """Cut as chosen, nothing repaired."""
    modules = []
    for unit, parts, numbers in zip(library.units, library.parts, choice.kept, strict=True):
        module = unit.copy()
        for part, number in zip(parts, numbers, strict=True):
            graft = part.graft(number)
            if graft:
                cut(module, part.group, graft.kept)
        modules.append(module)
    return modules


def test_without_the_twins_of_its_channels_the_repaired_student_is_the_teacher(library):
    """The elimination leaves one of each pair, the refit lets it speak for both."""
    enough = [[2 * part.options[1] >= part.group.elements for part in parts] for parts in library.parts]
    half = Choice(
        kept=tuple(
            tuple(part.options[int(is_enough)] for part, is_enough in zip(*pair, strict=True))
            for pair in zip(library.parts, enough, strict=True)
        )
    )
    assert sum(map(sum, enough)) >= 10
    for parts, these in zip(library.parts, enough, strict=True):
        assert all(part.grafts[0].error < 0.01 for part, is_enough in zip(parts, these, strict=True) if is_enough)
    repaired = measure(library, assemble(library, half, CALIBRATION), HELD_OUT)
    assert repaired.divergence < 0.2 * measure(library, raw(library, half), HELD_OUT).divergence


def test_the_choice_is_the_best_of_all_trunks_and_measured(library, trunks):
    total = costs_of(library, [unit.module for unit in library.units])["macs"]
    limits = [Limit(cost="macs", max=total // 2)]
    found = best_choices(trunks, limits, k=3)
    assert [one.solution.rating for one in found] == sorted(one.solution.rating for one in found)
    assert all(one.solution.costs["macs"] <= total // 2 for one in found)
    others = different_choices(trunks, limits, 2, min_distance=2)
    assert others[0].choice == found[0].choice
    built = choose(library, [*found[:1], others[1]], CALIBRATION, HELD_OUT, torch.zeros(16, dtype=torch.int64))
    assert built[0].measured.divergence <= built[1].measured.divergence
    assert 0 <= built[0].measured.top1 <= 100


def test_early_ends_reach_budgets_that_cuts_do_not(library, trunks):
    smallest = min(trunk.problem.blocks and best_choices([trunk], [])[0].solution.costs["macs"] for trunk in trunks)
    assert smallest < best_choices(trunks[:1], [])[0].solution.costs["macs"]
    with pytest.raises(InfeasibleError, match="smallest reachable macs"):
        best_choices(trunks, [Limit(cost="macs", max=1000)])


def test_the_same_images_give_the_same_bits(library):
    again = build_library(chain(with_twins(teacher(NAME))), CALIBRATION, HELD_OUT, ratios=RATIOS, linear=True)
    half = Choice(kept=tuple(tuple(part.options[-1] for part in parts) for parts in library.parts))
    assert library.rating_of(half).batches.tobytes() == again.rating_of(half).batches.tobytes()
    for a, b in zip(*(assemble(one, half, CALIBRATION) for one in (library, again)), strict=True):
        assert all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


def test_no_more_images_are_held_than_memory_allows(library):
    """The largest map, before or after a unit, is that of 24 x 24 places: five of them are held for an image."""
    places = max(np.prod(shape) for unit in library.units for shape in (unit.in_shape, unit.out_shape))
    batches = [images(4, seed=seed) for seed in range(5)]
    assert len(affordable(library, batches, 10**9)) == 5
    held = affordable(library, batches, int(5 * 4 * places * 13))
    assert sum(map(len, held)) == 12
    assert [len(part) for part in affordable(library, batches, int(5 * 4 * places * 6))] == [3, 3]
    assert [len(part) for part in affordable(library, batches[:1], 10**9)] == [2, 2]
