"""Scaling to a target: parameter counts of timm's EfficientNets, targets kept and nearly filled."""

import pytest
import timm
import torch

from distilnas.costing import count_params, profile, scale_to
from distilnas.errors import InfeasibleError
from distilnas.networks import StudentNet
from distilnas.space import Architecture, Scaling, scale

SMALL = Architecture.parse("stem 32/2 relu | 64/2 mb_k3_e3_relu mb_k5_e3_relu | 96/2 mb_k3_e3_relu | head 128 relu")
SIZES = {"resolution": 64, "num_classes": 10}
B0 = (
    "stem 32/2 silu mb_k3_e1_se0.25_silu:16/1 | 24/2 {0} {0} | 40/2 {1} {1} | 80/2 {0} {0} {0} | 112/1 {1} {1} {1} | "
    "192/2 {1} {1} {1} {1} | 320/1 {0} | head 1280 silu"
).format("mb_k3_e6_se0.25_silu", "mb_k5_e6_se0.25_silu")


@pytest.mark.parametrize(("name", "width", "depth"), [("b0", 1.0, 1.0), ("b4", 1.4, 1.8), ("b7", 2.0, 3.1)])
def test_parameters_are_timms(name: str, width: float, depth: float) -> None:
    scaled = scale(Architecture.parse(B0), width=width, depth=depth)
    with torch.device("meta"):
        expected = timm.create_model(f"efficientnet_{name}")
        network = StudentNet(scaled)
    assert count_params(network) == count_params(expected)


@pytest.mark.parametrize("cost", ["params", "macs"])
@pytest.mark.parametrize("factor", [0.5, 1, 4])
def test_target_is_kept_and_nearly_filled(cost: str, factor: float) -> None:
    """Widths of 32 to 96 move in steps of 8, hence the fifth."""
    own = getattr(profile(StudentNet(SMALL, num_classes=10), 64), cost)
    found = scale_to(SMALL, cost=cost, target=int(own * factor), scaling=Scaling(), **SIZES)
    assert found.counts == profile(StudentNet(found.architecture, num_classes=10), 64)
    assert 0.8 * factor * own <= getattr(found.counts, cost) <= factor * own


def test_target_of_its_own_size_changes_nothing() -> None:
    own = profile(StudentNet(SMALL, num_classes=10), 64)
    assert scale_to(SMALL, cost="params", target=own.params, scaling=Scaling(width=1.0), **SIZES).architecture == SMALL


def test_resolution_grows_where_asked() -> None:
    found = scale_to(SMALL, cost="macs", target=200_000_000, scaling=Scaling(resolution=1.15), **SIZES)
    assert found.counts.resolution > 64
    assert found.counts.resolution % 32 == 0
    assert found.counts.macs <= 200_000_000


def test_impossible_target_says_what_is_possible() -> None:
    with pytest.raises(InfeasibleError, match="smallest on this path"):
        scale_to(SMALL, cost="params", target=10, scaling=Scaling(), **SIZES)
