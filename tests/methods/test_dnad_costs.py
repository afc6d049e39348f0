"""Counts of derived networks by sums of parts, against the profile of the network itself and published costs."""

import itertools

import pytest
import torch
from darts_samples import cellwise, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from distilnas.costing import profile
from distilnas.methods.dnad.costs import candidate_macs, derived_counts, point_sides, smallest_counts
from distilnas.networks.darts import DartsNet
from distilnas.space.darts import CellwiseGenotype, DartsArchitecture, plan_cells
from distilnas.space.darts.space import DartsSpace


@settings(max_examples=12, deadline=None)
@given(
    cellwise(most=5), st.sampled_from([("cifar", 32), ("cifar", 17), ("imagenet", 64), ("imagenet", 75)]), st.booleans()
)
def test_sums_are_the_profile(genotype: CellwiseGenotype, form: tuple[str, int], drop: bool) -> None:
    """Odd sides, cells and inputs that nothing reads, and partial outputs among them."""
    stem, side = form
    architecture = DartsArchitecture(
        genotype=genotype, stem=stem, width=4, num_cells=len(genotype.cells), drop_unused=drop
    )
    with torch.device("meta"):
        counts = profile(DartsNet(architecture, num_classes=7, in_chans=1), side, in_chans=1)
    found = derived_counts(architecture, resolution=side, num_classes=7, in_chans=1)
    assert found == (counts.params, counts.macs)


def test_a_dead_cell_keeps_the_schedule() -> None:
    """The last two cells read only c_{k-2}: the last one's predecessor is dead."""
    early, late = repeated("s3-0 mp-1 | d5-2 | s3-0 sk-1 | ap-3", 3), repeated("sk-0 | d3-0 | sk-2 | s5-0", 2)
    genotype = CellwiseGenotype(cells=(*early.cells, *late.cells))
    architecture = DartsArchitecture(genotype=genotype, stem="cifar", width=6, num_cells=5)
    assert len(plan_cells(architecture)) < 5
    counts = profile(DartsNet(architecture, num_classes=3), 18)
    assert derived_counts(architecture, resolution=18, num_classes=3) == (counts.params, counts.macs)


@pytest.mark.parametrize(
    ("space", "width", "row", "column", "macs"),
    [
        (DartsSpace(), 36, 0, 1, 3_317_760),  # sep3, first resolution
        (DartsSpace(), 36, 0, 2, 2_248_704),  # dil5
        (DartsSpace(), 36, 12, 1, 2_985_984),  # second resolution, 72 channels on 16 pixels
        (DartsSpace(), 36, 31, 14, 1_557_504),  # third, dil5
        (DartsSpace(), 36, 31, 12, 0),  # an identity
        (DartsSpace(stem="imagenet", num_cells=14), 48, 55, 1, 3_782_016),  # sep3, 192 channels on 7 pixels
    ],
)
def test_costs_of_single_ops(space: DartsSpace, width: int, row: int, column: int, macs: int) -> None:
    """Known from the released codes at their widths in evaluation."""
    wide = DartsSpace(stem=space.stem, width=width, num_cells=space.num_cells)
    resolution = 32 if space.stem == "cifar" else 224
    assert int(candidate_macs(wide, resolution=resolution)[row, column]) == macs


def test_candidates_and_the_rest_are_the_supernet() -> None:
    """154,659,328 multiply-adds; without its ops, the stem, the preprocessing and the classifier remain."""
    space = DartsSpace()
    ops = int(candidate_macs(space, resolution=32).sum())
    everything = derived_counts(space.architecture(space.everything, width=16), resolution=32, num_classes=10)[1]
    assert everything == 154_659_328
    cells = [(48, 48, 16, 32), (48, 64, 16, 32), (64, 64, 32, 32)]  # widths of inputs and nodes, side of the inputs
    cells += [(64, 128, 32, 16), (128, 128, 32, 16), (128, 128, 64, 16), (128, 256, 64, 8), (256, 256, 64, 8)]
    rest = 27 * 48 * 32**2 + 256 * 10 + sum((a + b) * c * side**2 for a, b, c, side in cells)
    assert everything == rest + ops


def test_point_sides() -> None:
    assert point_sides(DartsSpace(), resolution=32) == (32, 16, 8)
    assert point_sides(DartsSpace(stem="imagenet", num_cells=14), resolution=224) == (28, 14, 7)
    assert point_sides(DartsSpace(num_cells=3), resolution=17) == (17, 9, 5)


def test_columns_without_candidates_cost_nothing() -> None:
    macs = candidate_macs(DartsSpace(), resolution=32)
    assert torch.count_nonzero(macs[0, 6:]) == 0
    assert macs.shape == (32, 15)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_genotype_costs_less_than_the_smallest(data: st.DataObject) -> None:
    space = DartsSpace(width=4, num_cells=5, primitives=("skip_connect", "sep_conv_3x3"))
    kept = []
    for row in range(space.rows):
        number = len(space.candidates[row % 4])
        chosen = data.draw(st.sets(st.integers(0, number - 1), min_size=1, max_size=2))
        kept.append([column in chosen for column in range(space.columns)])
    sizes = {"resolution": 16, "num_classes": 3}
    params, macs = derived_counts(space.architecture(space.genotype(kept), width=6), **sizes)
    smallest = smallest_counts(space, width=6, **sizes)
    assert smallest["params"] <= params
    assert smallest["macs"] <= macs


def test_the_smallest_can_be_derived() -> None:
    """Every choice of the one input that each cell reads, all ops identities where they can be."""
    space = DartsSpace(width=4, num_cells=4)
    sizes = {"resolution": 16, "num_classes": 3}
    counts = []
    for reads in itertools.product((0, 1), repeat=4):
        text = " ; ".join(f"sk-{state} | sk-2 | sk-2 | sk-2" for state in reads)
        architecture = DartsArchitecture.parse(f"darts cifar 6x4 ; {text}")
        counts.append(profile(DartsNet(architecture, num_classes=3), 16))
    found = smallest_counts(space, width=6, **sizes)
    assert found == {"params": min(c.params for c in counts), "macs": min(c.macs for c in counts)}
