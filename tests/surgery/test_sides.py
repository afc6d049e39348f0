"""Students that see smaller images: shapes, exact costs, sums, and a classifier that makes up for part of it."""

import numpy as np
import pytest
import timm
import torch
from small import chain, images, teacher
from torch.nn import functional

from distilnas.costing.counters import count, count_params
from distilnas.errors import InfeasibleError
from distilnas.solve import Limit
from distilnas.solve.problem import Position
from distilnas.surgery.alternatives import alternatives, on_paper
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.chain import run
from distilnas.surgery.choose import best_choices, best_of_kinds, measure, with_sides
from distilnas.surgery.library import choice_in
from distilnas.surgery.sides import at_side, possible_sides, resized, smaller_sides
from distilnas.surgery.stored import load_library, save_library

NAME, SIDE = "mobilenetv2_035", 32
CALIBRATION = [images(24, seed=seed) for seed in (1, 2)]
HELD_OUT = [images(8, seed=seed) for seed in (5, 6)]


@pytest.fixture(scope="module")
def library():
    full = build_library(chain(teacher(NAME)), CALIBRATION, HELD_OUT, ratios=(1.0, 0.5))
    return with_sides(full, [SIDE], CALIBRATION, HELD_OUT)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(48, (40, 32)), (64, (56, 40)), (224, (192, 160)), (28, (24, 16)), (16, ()), (160, (128, 96))],
)
def test_sides_are_multiples_of_8_of_small_images_and_of_32_of_large_ones(side, expected):
    """By hand: 0.83 and 0.67 of the side, to the nearest multiple, at least two multiples."""
    assert smaller_sides(side, (0.83, 0.67)) == expected


def test_shapes_at_a_side_are_those_of_a_run(library):
    x = images(1, size=SIDE)
    with torch.no_grad():
        for unit in at_side(library.units, SIDE):
            assert tuple(x.shape[1:]) == unit.in_shape
            x = unit.module(x)
            assert tuple(x.shape[1:]) == unit.out_shape
            if unit.border:
                assert (unit.border.channels, unit.border.height, unit.border.width) == tuple(x.shape[1:])


def test_a_network_made_for_one_side_has_no_other():
    """A vision transformer adds one embedding a place."""
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=24, num_heads=2, num_classes=3)
    assert possible_sides(chain(model.eval(), 64), [48, 32]) == ()


@pytest.mark.parametrize("seed", [0, 1])
def test_costs_and_ratings_of_smaller_images_are_sums_that_the_student_confirms(library, seed):
    """Costs against the counter on the assembled student; ratings against those of its parts."""
    rng = np.random.default_rng(seed)
    found = [trunk for trunk in library.trunks() if trunk.side == SIDE]
    assert {trunk.last for trunk in found} == {None, *library.exits}
    for trunk in found:
        cells = [int(rng.integers(len(block.cells))) for block in trunk.problem.blocks]
        sizes = [len(block.cells[cell]) for block, cell in zip(trunk.problem.blocks, cells, strict=True)]
        positions = [Position(cell, int(rng.integers(size))) for cell, size in zip(cells, sizes, strict=True)]
        choice = choice_in(trunk, positions)
        assert choice.side == SIDE
        rating, costs = trunk.problem.evaluate(positions)
        network = torch.nn.Sequential(*assemble(library, choice, CALIBRATION))
        assert costs["macs"] == count(network, (3, SIDE, SIDE)).macs
        assert costs["params"] == count_params(network)
        assert rating == pytest.approx(library.rating_of(choice).mean)


def test_only_the_head_of_the_whole_teacher_changes_and_it_helps(library):
    """Against the teacher's own classifier on the same smaller images."""
    modules = assemble(library, library.whole(SIDE), CALIBRATION)
    raw = [unit.module for unit in library.units]
    for mine, theirs in zip(modules[:-1], raw[:-1], strict=True):
        assert all(map(torch.equal, mine.state_dict().values(), theirs.state_dict().values()))
    refitted, kept = (measure(library, some, CALIBRATION, side=SIDE).divergence for some in (modules, raw))
    assert refitted < kept


def test_the_rating_of_a_side_is_the_divergence_of_the_refitted_teacher(library):
    """Against PyTorch's own divergence on the same images."""
    modules = assemble(library, library.whole(SIDE), CALIBRATION)
    x = torch.cat(HELD_OUT)
    with torch.no_grad():
        wanted = run([unit.module for unit in library.units], x).log_softmax(1)
        given = run(modules, resized(x, SIDE)).log_softmax(1)
    expected = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
    assert library.sides[SIDE].mean == pytest.approx(float(expected), rel=1e-5)


def test_the_best_of_each_kind_is_the_best_of_its_searches(library):
    """Against the best of all searches of that kind, one by one."""
    trunks = library.trunks()
    whole = on_paper(trunks[0], library.whole())
    assert whole is not None
    limits = [Limit(cost="macs", max=int(0.4 * whole.solution.costs["macs"]))]
    found = best_of_kinds(trunks, limits)
    assert [one.solution.rating for one in found] == sorted(one.solution.rating for one in found)
    kinds = {}
    for trunk in trunks:
        try:
            (best,) = best_choices([trunk], limits)
        except InfeasibleError:
            continue
        kinds.setdefault((trunk.last is None, trunk.side), []).append(best.solution.rating)
    expected = {*map(min, kinds.values()), best_choices([trunks[0].of_parent()], limits)[0].solution.rating}
    assert [one.solution.rating for one in found] == pytest.approx(sorted(expected))


def test_smaller_images_are_among_the_alternatives_and_are_stored(library, tmp_path):
    found = [one for one in alternatives(library, library.trunks()) if one.kind == "lower resolution"]
    assert [one.chosen.choice for one in found] == [library.whole(SIDE)]
    save_library(tmp_path / "library.npz", library)
    back = load_library(tmp_path / "library.npz", library.units)
    assert {side: rating.mean for side, rating in back.sides.items()} == {SIDE: library.sides[SIDE].mean}
