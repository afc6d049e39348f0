"""Students with the supernet's weights: what they compute, that weights fit, running statistics, files."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distilnas.errors import UsageError
from distilnas.export import export_onnx
from distilnas.networks import load_student, save_student
from distilnas.space import Architecture, Candidate, Choice, SearchSpace, parse_op, preset
from distilnas.space.families import Cell
from distilnas.supernet import Supernet, assemble, build_supernet
from distilnas.supernet.student import settle

CHANNELS = (12, 12, 20)
OPS = ["id", "mb_k3_e1_relu", "mb_k3_e3_se0.25_relu", "res_neck_k3_relu", "convnext_k3_e2_gelu"]


def space(widths: tuple[int, ...] = (8,)) -> SearchSpace:
    """Three blocks; the second keeps the resolution, so that its first layer may have a shortcut."""
    cells = [{"width": width, "depth": 2} for width in widths]
    blocks = [{"stride": stride, "cells": cells} for stride in (1, 1, 2)]
    stem = {"width": 4, "act": "relu", "layers": [{"op": "mb_k3_e1_relu", "width": 8, "stride": 1}]}
    head = {"width": 16, "act": "relu"}
    return SearchSpace.from_dict({"schema": 1, "name": "s", "stem": stem, "ops": OPS, "blocks": blocks, "head": head})


def trained(of: SearchSpace, adapters: Any = "linear", channels: tuple[int, ...] = CHANNELS) -> Supernet:
    """With random exits and batch norms in place of those at the start."""
    supernet = build_supernet(of, channels, adapters=adapters, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, value in supernet.named_parameters():
        if ".exit." in name or (value.ndim == 1 and name.endswith("weight")):
            value.data.normal_(1.0 if value.ndim == 1 else 0.0, 0.3, generator=generator)
    return supernet


def batches(number: int = 1, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(size) % 3
    return [(torch.randn(size, 3, 16, 16, generator=generator) + i, labels) for i in range(number)]


def body(supernet: Supernet, choice: Choice, images: Tensor) -> Tensor:
    """What the assembled path gives out before the last exit."""
    x = images
    for b, candidate in enumerate(choice[:-1]):
        block: Any = supernet.blocks[b]
        cell, x = block.cells[candidate.cell], block.entry(x)
        for level, op in enumerate(candidate.path):
            x = cell.layer(level, op, x)
        last, x = x, cell.exit(x)
    return last


@pytest.mark.parametrize("adapters", ["linear", "project"])
@pytest.mark.parametrize("first", range(len(OPS)))
def test_it_computes_what_the_assembled_path_does(first: int, adapters: str):
    """On the batch that its statistics are of, with every kind of op behind an exit; maps are folded in or kept."""
    supernet, pairs = trained(space(), adapters), batches()
    paths = [(2, 3), (first, 4), (first, 1), ()]
    choice = tuple(Candidate(cell=0, path=path) for path in paths)
    made = assemble(supernet, choice, lambda: pairs, num_classes=3, seed=0)
    with torch.no_grad():
        model = made.model
        found = model.blocks(model.bn1(model.conv_stem(pairs[0][0])))
        torch.testing.assert_close(found, body(supernet, choice, pairs[0][0]), rtol=1e-3, atol=1e-4)
    assert made.folded + made.kept == 2
    assert made.dropped == 0
    text = str(model.architecture)
    assert (text.count(" in8 ") == made.kept) == (made.kept > 0 or " in" not in text)
    assert Architecture.parse(text) == model.architecture == Architecture.from_dict(model.architecture.to_dict())


def test_weights_fit_in_40_random_blocks_of_the_dna_space():
    """Each block's first layer behind each of its neighbours: what does not fold would have to be kept."""
    dna, rng = preset("dna"), random.Random(0)
    ops = (parse_op("mb_k3_e3_se0.25_silu"), parse_op("mb_k3_e6_se0.25_silu"))
    thin = [tuple(dict.fromkeys(replace(c, layers=(ops, ops[:1])) for c in block.cells)) for block in dna.body]
    blocks = [replace(block, families=cells) for block, cells in zip(dna.body, thin, strict=True)]
    of = replace(dna, blocks=(*blocks, dna.blocks[-1]))
    supernet = trained(of, channels=(24, 40, 80, 112, 192, 320))
    pair = (torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    for _ in range(8):
        cells = [rng.randrange(len(block.families)) for block in of.body]
        choice = (*(Candidate(cell=c, path=(rng.randrange(2), 0)) for c in cells), Candidate(cell=0, path=()))
        made = assemble(supernet, choice, lambda: [pair], num_classes=2, seed=0)
        assert (made.folded, made.kept, made.dropped) == (5, 0, 0)
        assert made.model.architecture == of.architecture(choice)


def test_dropped_maps_leave_the_architecture_as_it_was():
    of = space()
    choice = tuple(Candidate(cell=0, path=path) for path in [(2, 3), (1, 1), (2, 1), ()])
    made = assemble(trained(of), choice, batches, num_classes=3, seed=0, adapters="drop")
    assert made.model.architecture == of.architecture(choice)
    assert (made.folded, made.kept, made.dropped) == (1, 0, 1)


def test_statistics_are_those_of_all_images_in_order():
    """Two batches of other means: mean of variances and variance of means, layer by layer, against plain NumPy sums."""
    choice = tuple(Candidate(cell=0, path=path) for path in [(2, 3), (2, 2), (2, 2), ()])
    pairs = batches(2)
    model = assemble(trained(space()), choice, lambda: pairs, num_classes=3, seed=0).model
    images = torch.cat([x for x, _ in pairs])
    with torch.no_grad():
        entering = model.conv_stem(images)
        torch.testing.assert_close(model.bn1.running_mean, entering.mean((0, 2, 3)))
        torch.testing.assert_close(model.bn1.running_var, entering.var((0, 2, 3), correction=0))
        entering = model.conv_head(model.blocks(model.bn1(entering)))
        torch.testing.assert_close(model.bn2.running_var, entering.var((0, 2, 3), correction=0), rtol=1e-4, atol=1e-6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settle(model, lambda: pairs)
    assert all(torch.allclose(value, before[name], atol=1e-5) for name, value in model.state_dict().items())


def test_it_is_saved_loaded_and_exported_like_any_student(tmp_path: Path):
    choice = tuple(Candidate(cell=0, path=path) for path in [(2, 3), (4, 1), (2, 1), ()])
    made = assemble(trained(space()), choice, batches, num_classes=3, seed=0)
    assert made.kept == 1
    assert isinstance(made.model.architecture.blocks[1], Cell)
    save_student(tmp_path, made.model, classes=("a", "b", "c"), preprocessing={})
    again, images = load_student(tmp_path), batches()[0][0]
    torch.testing.assert_close(again(images), made.model(images))
    assert export_onnx(again, tmp_path / "model.onnx", images).relative_difference < 1e-4


def test_cells_of_the_teachers_widths_are_refused():
    choice = next(space().choices())
    with pytest.raises(UsageError, match=r"distill\.adapters=linear or project"):
        assemble(trained(space(), "absorb"), choice, batches, num_classes=3, seed=0)


def test_the_supernet_stays_as_it_was():
    supernet = trained(space())
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    assemble(supernet, next(space().choices()), batches, num_classes=3, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
    assert isinstance(supernet, nn.Module)
