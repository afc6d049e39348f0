"""The one-shot supernet: a path is the network of its choice, weights are shared as promised."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from killing import assert_same, states
from tiny_dna import SIZE, tiny_space
from torch import Tensor, nn

from distilnas.baselines.spos import OneShot, build_one_shot
from distilnas.baselines.spos.sampling import uniform
from distilnas.baselines.spos.supernet import steps
from distilnas.networks import StudentNet
from distilnas.space import Candidate, Choice, FixedLayer, SearchSpace, frame_of, preset, separate_depths
from distilnas.supernet.supernet import batch_norm

NBM = preset("nas-bench-macro")


def _images(number: int = 3, size: int = SIZE) -> Tensor:
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(0))


def _student(net: OneShot, choice: Choice) -> StudentNet:
    """The network that the factory builds from the choice's architecture, with the supernet's weights."""
    student: Any = StudentNet(net.space.architecture(choice), num_classes=net.num_classes, norm_layer=batch_norm)
    stem: Any = net.stem
    pairs: list[tuple[Any, Any]] = [(student.conv_stem, stem[0]), (student.bn1, stem[1])]
    ours: list[Any] = list(stem[2:])
    width = frame_of(net.space, "this")[0].out_width
    for step in steps(choice):
        b, c, index, op = step
        cell: Any = net.blocks[b][c]  # type: ignore[index]
        ours.append(cell.first[str(width)][op] if index == 0 else cell.rest[index - 1][op])
        width = net.space.body[b].cells[c].width
    pairs += list(zip((layer for stage in student.blocks for layer in stage), ours, strict=True))
    head: Any = net.heads[str(width)]
    pairs += [(student.conv_head, head[0]), (student.bn2, head[1]), (student.classifier, net.classifier)]
    for mine, theirs in pairs:
        mine.load_state_dict(theirs.state_dict())
    return student


@given(number=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
@pytest.mark.parametrize("fixed", [False, True])
def test_a_path_computes_what_its_network_computes(fixed: bool, number: int) -> None:
    """Also behind a block of several widths, and with fixed layers in the stem."""
    data = tiny_space(blocks=2).to_dict()
    if fixed:
        layer = FixedLayer(op=tiny_space().body[0].cells[0].layers[0][0], width=6, stride=2)
        data["stem"]["layers"] = [{"op": str(layer.op), "width": layer.width, "stride": layer.stride}]
    net = build_one_shot(SearchSpace.from_dict(data), 5, seed=1)
    choice = uniform(net.space, 0, number)
    logits = net(_images(), choice)
    assert logits.shape == (3, 5)
    torch.testing.assert_close(logits, _student(net, choice)(_images()))


@pytest.mark.parametrize("space", [NBM, separate_depths(NBM)], ids=["shared", "separate"])
def test_both_forms_of_nas_bench_macro(space: SearchSpace) -> None:
    net = build_one_shot(space, 10, seed=0)
    choice = space.choice_of(NBM.architecture(_digits("02012100")))
    torch.testing.assert_close(net(_images(2, 32), choice), _student(net, choice)(_images(2, 32)))


def _digits(name: str) -> Choice:
    path = tuple(map(int, name))
    return tuple(Candidate(cell=0, path=part) for part in (path[:2], path[2:5], path[5:], ()))


def test_weights_are_shared_by_cell_layer_and_op_alone() -> None:
    """Op counts by hand: a set of first ops for each width that may enter, one set for every later layer."""
    net: Any = build_one_shot(tiny_space(), 2, seed=0)
    assert [[list(cell.first) for cell in block] for block in net.blocks] == [[["4"], ["4"]], [["4", "8"], ["4", "8"]]]
    assert [[[len(ops) for ops in cell.rest] for cell in block] for block in net.blocks] == [[[3], []], [[3], []]]
    assert list(net.heads) == ["4", "8"]
    shared: Any = build_one_shot(NBM, 2, seed=0)
    apart: Any = build_one_shot(separate_depths(NBM), 2, seed=0)
    assert [len(block) for block in shared.blocks] == [1, 1, 1]
    assert [len(block) for block in apart.blocks] == [4, 8, 8]


def test_steps_name_the_way() -> None:
    choice = (Candidate(cell=1, path=(2,)), Candidate(cell=0, path=(1, 0)))
    assert steps(choice) == ((0, 1, 0, 2), (1, 0, 0, 1), (1, 0, 1, 0))


def test_seeds_and_the_global_generator() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    nets = [build_one_shot(tiny_space(), 2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(states(nets[0]), states(nets[1]))
    for a, b in zip(nets[0].parameters(), nets[2].parameters(), strict=True):
        assert a.ndim == 1 or not torch.equal(a, b)


def test_running_leaves_no_trace() -> None:
    net = build_one_shot(tiny_space(), 2, seed=0)
    assert not list(net.buffers())
    choice = uniform(net.space, 0, 0)
    trained = net.train()(_images(), choice)
    torch.testing.assert_close(net.eval()(_images(), choice), trained)
    assert any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
