"""The paper's partition of its own family of teachers (section 4): six blocks, strides 2 2 2 1 2 1 after the stem.

Widths follow EfficientNet's compound scaling: B0's times the width factor, rounded to multiples of 8, never below 90 %.
"""

import pytest
import timm
import torch

from distilnas.teachers import propose

B0 = (24, 40, 80, 112, 192, 320)
FACTORS = (1.0, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0)


def scaled(width: int, factor: float) -> int:
    rounded = max(8, int(width * factor + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width * factor else rounded + 8


def empty(name: str) -> torch.nn.Module:
    """The network's shapes without weights."""
    with torch.device("meta"):
        return timm.create_model(name)


@pytest.mark.parametrize("size", range(8))
@pytest.mark.parametrize("prefix", ["", "tf_"])
def test_all_eight_have_the_six_blocks_of_the_paper(prefix: str, size: int) -> None:
    partition = propose(empty(f"{prefix}efficientnet_b{size}"), 224)
    assert partition.policy == "stage"
    assert [tap.path for tap in partition.taps] == [f"blocks.{i}" for i in range(1, 7)]
    assert [tap.channels for tap in partition.taps] == [scaled(width, FACTORS[size]) for width in B0]
    stem, *others = partition.strides
    assert (stem // 2, *others) == (2, 2, 2, 1, 2, 1)
    assert [tap.reduction for tap in partition.taps] == [4, 8, 16, 16, 32, 32]


def test_the_largest_has_the_widths_that_the_paper_gives() -> None:
    assert [scaled(width, FACTORS[7]) for width in B0] == [48, 80, 160, 224, 384, 640]


def test_the_largest_at_its_own_size_takes_no_weights() -> None:
    model = empty("tf_efficientnet_b7")
    assert propose(model, 600).taps[-1].height == 19
    assert all(value.is_meta for value in model.state_dict().values())
