"""Parameters and MACs of DARTS networks: published genotypes to the last digit, per-cell networks against formulas.

The numbers of the tables were measured on the released code of DARTS and of its followers and by an analytic count
independent of it; both agreed. MACs are those of convolutions and linear layers.
"""

from typing import Any

import pytest
import timm
from darts_formula import counts, op_macs, op_params
from darts_samples import cellwise, repeated
from hypothesis import given, settings
from hypothesis import strategies as st

from distilnas.costing import Profile, count, count_params, profile
from distilnas.networks.darts import AuxiliaryHead, DartsNet, genotype_names, make_op, published_architecture
from distilnas.networks.darts.published import variant_of
from distilnas.space.darts import OPS, CellwiseGenotype, DartsArchitecture

PUBLISHED = {  # CIFAR-10 (C=36, L=20, 32 px): params, MACs; ImageNet (C=48, L=14, 224 px): params, MACs
    "darts_v1": (3_169_414, 500_987_520, 4_510_432, 505_864_704),
    "darts_v2": (3_349_342, 528_359_040, 4_718_752, 529_911_552),
    "p_darts": (3_433_798, 532_174_464, 4_944_352, 542_819_328),
    "pc_darts_cifar": (3_634_678, 556_670_592, 5_270_560, 571_137_408),
    "pc_darts_imagenet": (3_721_510, 570_466_944, 5_342_464, 581_627_328),
    "ista_nas": (3_316_726, 515_226_240, 4_820_608, 528_208_704),
}
FULL = " | ".join(" ".join(f"{op}-{i}" for i in range(s) for op in ("s3", "sk", "d5")) for s in range(2, 6))
ONE_SKIP, ONE_SEP, TWO_SEP = (" | ".join([node] * 4) for node in ("sk-1", "s3-1", "s3-1 s3-0"))


def measured(architecture: DartsArchitecture, side: int, classes: int) -> Profile:
    return profile(DartsNet(architecture, num_classes=classes), side)


def test_the_table_has_all_published_genotypes():
    assert set(PUBLISHED) == set(genotype_names())


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("variant", ["cifar10", "imagenet"])
def test_published_genotypes(name, variant):
    size = variant_of(variant)
    model: Any = timm.create_model(name, variant=variant)
    found = profile(model, size.resolution)
    expected = PUBLISHED[name][:2] if variant == "cifar10" else PUBLISHED[name][2:]
    assert (found.params, found.macs) == expected
    assert model.num_classes == size.num_classes


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_per_cell_form_has_the_same_counts(name):
    for variant, expected in (("cifar10", PUBLISHED[name][:2]), ("imagenet", PUBLISHED[name][2:])):
        size = variant_of(variant)
        genotype = published_architecture(name, variant).genotype.expand(size.num_cells)
        assert counts(genotype, size.stem, size.width, size.resolution, size.num_classes) == expected
    architecture = DartsArchitecture(genotype=genotype, stem=size.stem, width=size.width, num_cells=size.num_cells)
    assert isinstance(architecture.genotype, CellwiseGenotype)
    found = measured(architecture, size.resolution, size.num_classes)
    assert (found.params, found.macs) == PUBLISHED[name][2:]


def test_ninety_more_classes():
    """CIFAR-100: 90 more outputs of 4 x 144 features, whatever the cells."""
    architecture = published_architecture("darts_v2", "cifar10", num_cells=3)
    ten, hundred = (measured(architecture, 32, classes) for classes in (10, 100))
    assert (hundred.params - ten.params, hundred.macs - ten.macs) == (51_930, 51_840)


def test_auxiliary_heads():
    for kind, width, classes, expected in (("cifar", 576, 10, 476_426), ("imagenet", 768, 1000, 1_260_776)):
        assert count_params(AuxiliaryHead(kind, width, classes)) == expected
    for variant, expected in (("cifar10", 476_426), ("imagenet", 1_260_776)):
        plain, with_head = (timm.create_model("darts_v1", variant=variant, auxiliary=a) for a in (False, True))
        assert count_params(with_head) - count_params(plain) == expected


@pytest.mark.parametrize(
    ("cell", "num_cells", "expected"),
    [
        (ONE_SKIP, 8, (600_598, 110_487_168)),
        (TWO_SEP, 8, (1_907_542, 292_300_416)),
        (FULL, 8, (4_574_710, 661_327_488)),
        (ONE_SKIP, 14, (1_038_070, 174_188_160)),
        (TWO_SEP, 14, (3_304_630, 501_982_848)),
        (FULL, 14, (7_644_070, 1_137_131_136)),
    ],
)
def test_extremes_of_the_per_cell_space_on_cifar(cell, num_cells, expected):
    """A skip (or two separable convolutions) per node, and every candidate of the three-op space."""
    architecture = DartsArchitecture(
        genotype=repeated(cell, num_cells), stem="cifar", width=36, num_cells=num_cells
    )  # fmt: skip
    found = measured(architecture, 32, 10)
    assert (found.params, found.macs) == expected


@pytest.mark.parametrize(
    ("cell", "params", "millions"),
    [
        (ONE_SKIP, 2_613_856, 279.8),
        (ONE_SEP, 4_487_776, 488.7),
        (TWO_SEP, 6_548_320, 712.0),
        (FULL, 13_983_904, 1532.0),
    ],
)
def test_extremes_of_the_per_cell_space_on_imagenet(cell, params, millions):
    architecture = DartsArchitecture(genotype=repeated(cell, 14), stem="imagenet", width=48, num_cells=14)
    found = measured(architecture, 224, 1000)
    assert (found.params, round(found.macs / 1e6, 1)) == (params, millions)


@pytest.mark.parametrize(
    ("width", "side", "sep", "dil"),
    [
        (36, 32, (3_384, 3_317_760), (2_268, 2_248_704)),
        (72, 16, (11_952, 2_985_984), (7_128, 1_787_904)),
        (144, 8, (44_640, 2_820_096), (24_624, 1_557_504)),
        (48, 28, (5_664, 4_290_048), (3_600, 2_747_136)),
        (96, 14, (20_544, 3_951_360), (11_808, 2_276_736)),
        (192, 7, (77_952, 3_782_016), (42_048, 2_041_536)),
    ],
)
def test_unit_costs_of_ops(width, side, sep, dil):
    for name, expected in (("sep_conv_3x3", sep), ("dil_conv_5x5", dil)):
        op = make_op(name, width, 1)
        assert (count_params(op), count(op, (width, side, side)).macs) == expected


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPS)
def test_ops_against_formulas(name, stride):
    op = make_op(name, 12, stride)
    assert count_params(op) == op_params(name, 12, stride)
    for side in (8, 7):
        found = count(op, (12, side, side))
        assert (found.macs, found.shape) == (
            op_macs(name, 12, stride, side),
            (12, -(-side // stride), -(-side // stride)),
        )


@given(cellwise(most=7), st.sampled_from(("cifar", "imagenet")), st.booleans(), st.sampled_from((32, 45)))
@settings(max_examples=15, deadline=None)
def test_random_per_cell_networks_against_formulas(genotype, stem, drop_unused, side):
    architecture = DartsArchitecture(
        genotype=genotype, stem=stem, width=4, num_cells=len(genotype.cells), drop_unused=drop_unused
    )
    found = measured(architecture, side, 3)
    assert (found.params, found.macs) == counts(genotype, stem, 4, side, 3, drop_unused=drop_unused)
