"""Cost tables of whole spaces: every sum equals the count of the built network; NAS-Bench-Macro as published."""

import json
import random
from pathlib import Path

import pytest
import torch

from distilnas.costing import ADDITIVE, cost_table, profile
from distilnas.networks import StudentNet
from distilnas.space import Candidate, FittedSpace, SearchSpace, preset

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "nas-bench-macro_cifar10.json"
SMALL = SearchSpace.from_dict(
    {
        "schema": 1,
        "name": "small",
        "stem": {"width": 8, "act": "relu", "layers": [{"op": "mb_k3_e1_relu", "width": 12, "stride": 2}]},
        "ops": ["id", "mb_k3_e3_relu", "mb_k5_e1_se0.5_gelu"],
        "blocks": [
            {"stride": 2, "cells": [{"width": 12, "depth": 1}, {"width": 20, "depth": 2}]},
            {"stride": 1, "cells": [{"width": 20, "depth": 1}, {"width": 32, "depth": 1}]},
            {"stride": 3, "cells": [{"width": 16, "depth": 2}, {"width": 24, "depth": 1}]},
        ],
        "head": {"width": 40, "act": "silu"},
    }
)
B0_AT_32 = FittedSpace(width_ratios=(0.5, 1.0), depths=(1, 2)).fit((24, 40, 80, 112, 192, 320), (2, 4, 8, 8, 16, 16))


def random_choice(space: SearchSpace, rng: random.Random) -> tuple[Candidate, ...]:
    cells = [rng.randrange(len(block.families)) for block in space.blocks]
    return tuple(
        Candidate(cell=c, path=tuple(rng.randrange(n) for n in block.families[c].shape))
        for block, c in zip(space.blocks, cells, strict=True)
    )


def check_random_architectures(
    space: SearchSpace, number: int, resolution: int, num_classes: int, in_chans: int
) -> None:
    """Networks built on the meta device by the builder of students, and counted as a whole."""
    table = cost_table(space, resolution=resolution, num_classes=num_classes, in_chans=in_chans)
    assert table.settings == {"resolution": resolution, "num_classes": num_classes, "in_chans": in_chans}
    rng = random.Random(number)
    for _ in range(number):
        choice = random_choice(space, rng)
        with torch.device("meta"):
            model = StudentNet(space.architecture(choice), num_classes=num_classes, in_chans=in_chans)
        counts = profile(model, resolution, in_chans=in_chans)
        assert table.total(space, choice) == {name: counts.costs[name] for name in ADDITIVE}, choice


CASES = {
    "dna": (preset("dna"), 224, 1000, 3),
    "fitted": (B0_AT_32, 32, 10, 3),
    "small-odd-size": (SMALL, 37, 7, 1),
}


@pytest.mark.parametrize(("case", "number"), [("dna", 4), ("fitted", 10), ("small-odd-size", 50)])
def test_the_table_equals_the_count_of_the_built_network(case, number):
    space, *setting = CASES[case]
    check_random_architectures(space, number, *setting)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "number"), [("dna", 200), ("fitted", 300), ("small-odd-size", 500)])
def test_the_table_equals_the_count_of_a_thousand_built_networks(case, number):
    space, *setting = CASES[case]
    check_random_architectures(space, number, *setting)


def test_all_nas_bench_macro_networks_cost_what_the_benchmark_says():
    """Su et al., CVPR 2021: parameters and multiply-adds of all 6,561 networks for 32 px and 10 classes."""
    if not PUBLISHED.exists():
        pytest.skip(f"the published table is not beside the checkout ({PUBLISHED.parent.name}/{PUBLISHED.name})")
    published = json.loads(PUBLISHED.read_text())
    space = preset("nas-bench-macro")
    table = cost_table(space, resolution=32, num_classes=10)
    costs = {}
    for choice in space.choices():
        digits = "".join(str(op) for candidate in choice for op in candidate.path)
        total = table.total(space, choice)
        costs[digits] = {"macs": total["macs"], "params": total["params"]}
    assert len(costs) == 6561
    assert costs == {key: {"macs": entry["flops"], "params": entry["params"]} for key, entry in published.items()}
