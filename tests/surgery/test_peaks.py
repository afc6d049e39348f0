"""Peak memory of students: that of the student as a whole, and a search within a limit against all students."""

import itertools
import math
import re

import numpy as np
import pytest
from small import SIZE, SMALL, chain, images, teacher
from torch import nn

from distilnas.costing.memory import peak_bytes
from distilnas.errors import InfeasibleError, UsageError
from distilnas.solve import Limit
from distilnas.solve.problem import Position
from distilnas.surgery.assemble import assemble
from distilnas.surgery.build import build_library
from distilnas.surgery.choose import best_choices, with_sides
from distilnas.surgery.library import choice_in
from distilnas.surgery.peaks import PEAK, Peaks, peak_limit, without_peak

CALIBRATION = [images(16, seed=seed) for seed in (1, 2)]
HELD_OUT = [images(8, seed=seed) for seed in (5, 6)]
MOBILE, RESNET, VIT = "mobilenetv2_035", "resnet10t", "vit_tiny_patch16_224"
THIN = {RESNET: {"channels": (16, 24, 32, 40), "stem_width": 16}} | SMALL


@pytest.fixture(scope="module")
def libraries():
    found = {
        name: build_library(
            chain(teacher(name, **THIN.get(name, {}))), CALIBRATION, HELD_OUT, ratios=(1.0, 0.5), linear=name != VIT
        )
        for name in (MOBILE, RESNET, VIT)
    }
    return found | {MOBILE: with_sides(found[MOBILE], [32], CALIBRATION, HELD_OUT)}


def students(trunk):
    """All of a trunk: choice, rating and costs."""
    blocks = [
        [Position(c, i) for c, cell in enumerate(block.cells) for i in range(len(cell))]
        for block in trunk.problem.blocks
    ]
    return {choice_in(trunk, positions): trunk.problem.evaluate(positions) for positions in itertools.product(*blocks)}


@pytest.mark.parametrize(
    ("name", "some"), [(MOBILE, {"early", "smaller", "new", "left out"}), (RESNET, {"early", "new"}), (VIT, set())]
)
def test_the_peak_is_that_of_the_student_as_a_whole(libraries, name, some):
    """Against one look at the assembled student, with early ends, smaller images and new modules."""
    library, rng = libraries[name], np.random.default_rng(0)
    peaks, seen = Peaks(library), set()
    trunks = [one for one in library.trunks() if one.last is None or one.last % 3 == 0]
    for trunk in itertools.islice(itertools.cycle(trunks), max(8, len(trunks))):
        cells = [int(rng.integers(len(block.cells))) for block in trunk.problem.blocks]
        sizes = [len(block.cells[cell]) for block, cell in zip(trunk.problem.blocks, cells, strict=True)]
        choice = choice_in(trunk, [Position(c, int(rng.integers(n))) for c, n in zip(cells, sizes, strict=True)])
        side = choice.side or SIZE
        whole = nn.Sequential(*assemble(library, choice, CALIBRATION))
        assert peaks.of(choice) == peak_bytes(whole, (3, side, side)), choice
        seen |= {"early"} if choice.early else set()
        seen |= {"smaller"} if choice.side else set()
        seen |= {"new"} if library.replaced(choice) else set()
        seen |= {"left out"} if library.dropped(choice) else set()
    assert some <= seen


@pytest.mark.parametrize("share", [0.999, 0.8, 0.6])
@pytest.mark.parametrize("name", [MOBILE, RESNET, VIT])
def test_what_is_within_a_limit_is_what_all_students_say(libraries, name, share):
    """Of every trunk that can be listed: the same students, with the same ratings and costs."""
    library = libraries[name]
    peaks = Peaks(library)
    limit = Limit(cost=PEAK, max=int(share * peaks.of(library.whole())))
    few = [one for one in library.trunks() if math.prod(map(len, one.problem.blocks)) <= 3000]
    expected = {
        choice: row for trunk in few for choice, row in students(trunk).items() if peaks.of(choice) <= limit.max
    }
    if not expected:
        least = min(peaks.of(choice) for trunk in few for choice in students(trunk))
        with pytest.raises(InfeasibleError, match=f"{least:,} bytes"):
            peaks.within(few, limit)
        return
    found = {choice: row for trunk in peaks.within(few, limit) for choice, row in students(trunk).items()}
    assert found.keys() == expected.keys()
    for choice, (rating, costs) in found.items():
        assert rating == pytest.approx(expected[choice][0])
        assert costs == expected[choice][1]


def test_the_best_inside_two_limits_is_the_best_of_those_inside(libraries):
    """Against the best of all that keep both, of the early ends that can be listed."""
    library = libraries[RESNET]
    peaks = Peaks(library)
    few = [one for one in library.trunks() if math.prod(map(len, one.problem.blocks)) <= 3000]
    rows = {choice: row for trunk in few for choice, row in students(trunk).items()}
    memory = [int(share * peaks.of(library.whole())) for share in (0.5, 0.7, 0.9)]
    macs = sorted(costs["macs"] for _, costs in rows.values())
    for most, budget in itertools.product(memory, (macs[len(macs) // 3], macs[-2])):
        inside = [row[0] for one, row in rows.items() if row[1]["macs"] <= budget and peaks.of(one) <= most]
        limits = [Limit(cost="macs", max=budget), Limit(cost=PEAK, max=most)]
        if not inside:
            with pytest.raises(InfeasibleError):
                best_choices(peaks.within(few, limits[1]), without_peak(limits))
            continue
        best = best_choices(peaks.within(few, limits[1]), without_peak(limits))[0]
        assert best.solution.rating == pytest.approx(min(inside))


def test_a_limit_below_every_student_names_the_smallest_and_its_unit(libraries):
    library = libraries[MOBILE]
    with pytest.raises(InfeasibleError, match=re.escape("keeps peak_memory <= 10: the least that one reaches is")):
        Peaks(library).within(library.trunks(), Limit(cost=PEAK, max=10))


def test_limits_are_told_apart():
    macs, memory = Limit(cost="macs", max=7), Limit(cost=PEAK, max=9)
    assert peak_limit([macs, memory]) == memory
    assert peak_limit([macs]) is None
    assert without_peak([macs, memory]) == [macs]
    with pytest.raises(UsageError, match="limited from above alone"):
        peak_limit([Limit(cost=PEAK, min=3)])
