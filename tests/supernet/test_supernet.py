"""The supernet: shapes with all kinds of adapters, initial weights, no memory between batches."""

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from distilnas.space import SearchSpace
from distilnas.supernet import build_supernet

CHANNELS = (24, 16, 40)
KINDS = ("project", "linear", "absorb")


def space(first_cells: int = 2, **stem: object) -> SearchSpace:
    cells = [{"width": 8, "depth": 2}, {"width": 16, "depth": 1}]
    return SearchSpace.from_dict(
        {
            "schema": 1,
            "name": "small",
            "stem": {"width": 4, "act": "relu", **stem},
            "ops": ["id", "mb_k3_e3_se0.25_relu", "mb_k5_e1_relu"],
            "blocks": [
                {"stride": 2, "cells": cells[:first_cells]},
                {"stride": 1, "cells": cells},
                {"stride": 2, "cells": [*cells, {"width": 40, "depth": 1}]},
            ],
            "head": {"width": 32, "act": "relu"},
        }
    )


@pytest.mark.parametrize("adapters", KINDS)
def test_every_candidate_gives_the_teachers_shape(adapters):
    net = build_supernet(space(), CHANNELS, adapters=adapters, seed=0)
    inputs = [torch.rand(2, 3, 16, 16), torch.rand(2, 24, 4, 4), torch.rand(2, 16, 4, 4)]
    outputs = [(2, 24, 4, 4), (2, 16, 4, 4), (2, 40, 2, 2)]
    for block, spec, x, shape in zip(net.blocks, net.space.body, inputs, outputs, strict=True):
        entered = block.entry(x)  # type: ignore[operator,union-attr]
        for cell, cell_spec in zip(block.cells, spec.cells, strict=True):  # type: ignore[arg-type]
            for path in itertools.product(*map(range, cell_spec.shape)):
                assert cell(entered, path).shape == shape


def test_adapters_are_recorded():
    """Entries take the widest width that the block before may emit (16), exits give the teacher's channels."""
    net = build_supernet(space(), CHANNELS, adapters="project", seed=0)
    assert net.adapters == [
        {"block": 0, "entry": [3, 4], "exits": [[8, 24], [16, 24]], "kind": "project"},
        {"block": 1, "entry": [24, 16], "exits": [[8, 16], [16, 16]], "kind": "project"},
        {"block": 2, "entry": [16, 16], "exits": [[8, 40], [16, 40], [40, 40]], "kind": "project"},
    ]
    entries = [type(block.entry) for block in net.blocks]
    assert entries == [nn.Sequential, nn.Conv2d, nn.Identity]
    exits = [[type(cell.exit) for cell in block.cells] for block in net.blocks]  # type: ignore[union-attr]
    assert exits == [[nn.Conv2d] * 2, [nn.Conv2d, nn.Identity], [nn.Conv2d, nn.Conv2d, nn.Identity]]


def test_linear_exits_are_identities_between_equal_widths():
    """A path of a lone ``id`` between equal widths is then the teacher's own map at the start, with or without exit."""
    net = build_supernet(space(), CHANNELS, adapters="linear", seed=0)
    assert [record["kind"] for record in net.adapters] == ["linear"] * 3
    exits = [cell.exit for block in net.blocks for cell in block.cells]  # type: ignore[union-attr]
    assert all(isinstance(exit, nn.Conv2d) for exit in exits)
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(net.blocks[1].cells[1].exit(x), x)  # type: ignore[union-attr,index,operator]
    assert torch.count_nonzero(net.blocks[1].cells[0].exit(x[:, :8])) == 0  # type: ignore[union-attr,index,operator]


def test_absorbing_blocks_have_no_adapters():
    net = build_supernet(space(), CHANNELS, adapters="absorb", seed=0)
    assert [record["kind"] for record in net.adapters] == ["absorb"] * 3
    assert [record["entry"] for record in net.adapters] == [[3, 4], [24, 24], [16, 16]]
    assert all(isinstance(block.entry, nn.Identity) for block in list(net.blocks)[1:])
    assert all(isinstance(cell.exit, nn.Identity) for block in net.blocks for cell in block.cells)  # type: ignore[union-attr]


def test_exits_start_at_zero():
    net = build_supernet(space(), CHANNELS, adapters="project", seed=0)
    for feature in net.imitate(torch.rand(2, 3, 16, 16), [(0, (1, 2)), (0, (2, 1)), (1, (1,))]):
        assert torch.count_nonzero(feature) == 0


@pytest.mark.parametrize("adapters", KINDS)
def test_a_block_starts_the_same_whatever_stands_beside_it(adapters):
    full = build_supernet(space(2), CHANNELS, adapters=adapters, seed=5)
    other = build_supernet(space(2, layers=[{"op": "mb_k3_e1_relu", "width": 6}]), CHANNELS, adapters=adapters, seed=5)
    for index in (1, 2):
        theirs = other.blocks[index].state_dict()
        for key, value in full.blocks[index].state_dict().items():
            assert torch.equal(value, theirs[key]), key
    assert other.blocks[0].state_dict().keys() != full.blocks[0].state_dict().keys()


def test_seeds_and_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    nets = [build_supernet(space(), CHANNELS, adapters="absorb", seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    first, same, other = ([p for p in net.parameters() if p.ndim == 4] for net in nets)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("adapters", KINDS)
def test_running_leaves_no_trace(adapters):
    net = build_supernet(space(), CHANNELS, adapters=adapters, seed=0)
    assert not list(net.buffers())
    x, candidates = torch.rand(4, 3, 16, 16), [(0, (1, 2)), (0, (2, 1)), (1, (1,))]
    for cell in (cell for block in net.blocks for cell in block.cells):  # type: ignore[union-attr]
        if isinstance(cell.exit, nn.Conv2d):
            nn.init.normal_(cell.exit.weight)
    trained = net.train().imitate(x, candidates)
    for a, b in zip(trained, net.eval().imitate(x, candidates), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("adapters", KINDS)
def test_imitate_is_the_blocks_one_after_the_other(adapters):
    net = build_supernet(space(), CHANNELS, adapters=adapters, seed=0)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    x = images = torch.rand(2, 3, 16, 16)
    candidates = [(1, (1,)), (0, (2, 0)), (2, (1,))]
    for feature, block, (cell, path) in zip(net.imitate(images, candidates), net.blocks, candidates, strict=True):
        chosen: Any = block.cells[cell]  # type: ignore[index,union-attr]
        x = block.entry(x)  # type: ignore[operator,union-attr]
        for index, op in enumerate(path):
            x = chosen.layers[index][op](x)
        x = chosen.exit(x)
        assert x.abs().sum() > 0
        torch.testing.assert_close(feature, x)
