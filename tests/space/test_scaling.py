"""Scaling against EfficientNet-B0 to B7, whose published parameter counts timm reproduces."""

import pytest

from distilnas.errors import UsageError
from distilnas.space import Architecture, Layered
from distilnas.space.scaling import Scaling, scale

K3, K5 = "mb_k3_e6_se0.25_silu", "mb_k5_e6_se0.25_silu"
B0 = Architecture.parse(
    f"stem 32/2 silu mb_k3_e1_se0.25_silu:16/1 | 24/2 {K3} {K3} | 40/2 {K5} {K5} | 80/2 {K3} {K3} {K3} | "
    f"112/1 {K5} {K5} {K5} | 192/2 {K5} {K5} {K5} {K5} | 320/1 {K3} | head 1280 silu"
)


@pytest.mark.parametrize(
    ("width", "depth", "widths", "depths", "head"),
    [
        (1.0, 1.0, [16, 24, 40, 80, 112, 192, 320], [1, 2, 2, 3, 3, 4, 1], 1280),  # B0
        (1.2, 1.4, [24, 32, 48, 96, 136, 232, 384], [2, 3, 3, 5, 5, 6, 2], 1536),  # B3
        (2.0, 3.1, [32, 48, 80, 160, 224, 384, 640], [4, 7, 7, 10, 10, 13, 4], 2560),  # B7
    ],
)
def test_widths_and_depths_are_efficientnets(
    width: float, depth: float, widths: list[int], depths: list[int], head: int
) -> None:
    """EfficientNet's own tables, as in every public implementation."""
    scaled = Layered.of(scale(B0, width=width, depth=depth))
    assert [scaled.stem.out_width, *(b.width for b in scaled.cells)] == widths
    assert [len(scaled.stem.layers), *(len(b.ops) for b in scaled.cells)] == depths
    assert scaled.head.width == head


def test_mixed_ops_are_stretched_in_order() -> None:
    text = "stem 8/2 relu mb_k3_e1_relu:8/2 | 8/2 mb_k3_e3_relu mb_k5_e6_relu | head 8 relu"
    scaled = scale(Architecture.parse(text), width=1, depth=2)
    assert str(scaled) == (
        "stem 8/2 relu mb_k3_e1_relu:8/2 mb_k3_e1_relu:8/1 | "
        "8/2 mb_k3_e3_relu mb_k3_e3_relu mb_k5_e6_relu mb_k5_e6_relu | head 8 relu"
    )
    assert [len(b.ops) for b in Layered.of(scale(scaled, width=1, depth=0.01)).cells] == [1]


def test_a_path_must_lead_somewhere() -> None:
    with pytest.raises(UsageError, match="by more"):
        Scaling(depth=1, width=1, resolution=1.15)
    with pytest.raises(UsageError, match="at least 1"):
        Scaling(width=0.9)
