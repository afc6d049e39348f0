"""A network built under other block borders computes the same."""

import pytest
import torch

from distilnas.costing import profile
from distilnas.networks import StudentNet
from distilnas.space import Architecture, preset, regroup


@pytest.mark.parametrize("key", ["02012100", "22222222", "00000000", "11110200"])
def test_same_parameters_costs_and_outputs(key: str) -> None:
    """Same layers in the same order, so that weights carry over one by one; only the names of the stages differ."""
    ops = [str(op) for op in preset("nas-bench-macro").body[0].cells[0].layers[0]]
    words = [ops[int(digit)] for digit in key]
    coarse = Architecture.parse(
        f"stem 32/1 relu | 64/2 {' '.join(words[:2])} | 128/2 {' '.join(words[2:5])} | 256/2 {' '.join(words[5:])} "
        "| head 1280 relu"
    )
    nets = []
    for architecture in (coarse, regroup(coarse, (1, 1, 1, 2, 1, 2))):
        nets.append(StudentNet(architecture, num_classes=10).eval())
    one, other = nets
    assert [v.shape for v in one.state_dict().values()] == [v.shape for v in other.state_dict().values()]
    other.load_state_dict(dict(zip(other.state_dict(), one.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(one(images), other(images), rtol=0, atol=0)
    counts = [profile(net, 32) for net in nets]
    assert (counts[0].macs, counts[0].params) == (counts[1].macs, counts[1].params)
