"""Scores against naive ones, the number of op evaluations, and that scoring changes nothing."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from killing import assert_same, states
from tiny_distill import labelled
from tiny_dna import DEVICE, Pairs, tiny_space
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from distilnas.baselines.spos import OneShot, Scores, build_one_shot, score
from distilnas.baselines.spos.score import walk
from distilnas.baselines.spos.supernet import Step, steps
from distilnas.errors import UsageError
from distilnas.runtime.progress import SilentProgress
from distilnas.space import Candidate, Choice, SearchSpace, preset, separate_depths

NBM = preset("nas-bench-macro")


def _net() -> OneShot:
    """With batch norms away from their start, so that networks differ."""
    net = build_one_shot(tiny_space(), 2, seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(std=0.3, generator=generator)
    return net


def _scored(net: OneShot, pairs: Pairs, **changes: Any) -> Scores:
    return score(net, lambda: pairs, device=DEVICE, progress=SilentProgress(), **changes)


@torch.no_grad()
def _naive(net: OneShot, choice: Choice, pairs: Pairs) -> tuple[float, float, float]:
    """Mean loss, its standard error and accuracy; every network runs from the images on."""
    logits = torch.cat([net(images, choice) for images, _ in pairs])
    labels = torch.cat([labels for _, labels in pairs])
    losses = cross_entropy(logits, labels, reduction="none").double().numpy()
    hits = (logits.argmax(1) == labels).double().mean()
    return losses.mean(), losses.std(ddof=1) / np.sqrt(len(losses)), float(hits)


@pytest.mark.parametrize("how", ["all", "some"])
def test_shared_prefixes_give_the_naive_scores(how: str) -> None:
    net, pairs = _net(), labelled()
    everything = list(net.space.choices())
    some = [everything[i] for i in (70, 3, 119, 3, 71)]  # in any order, one twice
    found = _scored(net, pairs, **({} if how == "all" else {"choices": some}))
    assert found.choices == tuple(everything if how == "all" else some)
    assert found.num_images == 12
    for i, choice in enumerate(found.choices):
        expected = _naive(net, choice, pairs)
        assert (found.loss[i], found.stderr[i]) == pytest.approx(expected[:2], rel=1e-5)
        assert found.accuracy[i] == expected[2]
    assert len(set(found.loss.round(6))) > (100 if how == "all" else 3)


class _Counting:
    """Stands for a supernet; counts what is evaluated."""

    def __init__(self) -> None:
        self.layers = self.heads = self.stems = 0

    def stem(self, images: Tensor) -> Tensor:
        self.stems += 1
        return images

    def layer(self, step: Step, x: Tensor) -> Tensor:
        self.layers += 1
        return x

    def head(self, x: Tensor) -> Tensor:
        self.heads += 1
        return x


def _evaluations(space: SearchSpace, choices: list[Choice] | None = None) -> tuple[int, int, int]:
    net: Any = _Counting()
    ordered = sorted(choices or space.choices(), key=steps)
    for _ in walk(net, ordered, torch.zeros(1), DEVICE):
        pass
    return net.stems, net.layers, net.heads


def test_op_evaluations_of_nas_bench_macro() -> None:
    """Eight layers of three ops: 3 + 9 + ... + 6,561.

    With depths apart the cell is chosen before a block's first layer. In a block of two layers four cells have 6
    different first layers in all and 9 second ones; in one of three layers eight cells have 12, 18 and 27.
    """
    assert sum(3**k for k in range(1, 9)) == 9_840
    assert _evaluations(NBM) == (1, 9_840, 6_561)
    apart = 6 + 9 + (9 + 9 * 27) * (12 + 18 + 27)
    assert _evaluations(separate_depths(NBM)) == (1, apart, 6_561)


def test_a_list_walks_only_the_beginnings_it_needs() -> None:
    paths = ("00000000", "00000001", "00000010", "20000000")
    digits = [tuple(map(int, name)) for name in paths]
    choices = [tuple(Candidate(cell=0, path=part) for part in (d[:2], d[2:5], d[5:])) for d in digits]
    assert _evaluations(NBM, choices) == (1, 8 + 1 + 2 + 8, 4)


def test_one_feature_a_level_is_kept() -> None:
    """What the walk holds on to: at most the stem's and each layer's output."""
    alive: set[int] = set()
    most = 0

    class Feature:
        def __init__(self) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    net: Any = SimpleNamespace(stem=lambda _: Feature(), layer=lambda *_: Feature(), head=lambda _: Feature())
    for _ in walk(net, itertools.islice(NBM.choices(), 500), torch.zeros(1), DEVICE):
        most = max(most, len(alive))
    assert most <= 1 + 8 + 2  # stem, layers, these logits and the ones before


def test_scoring_changes_nothing_and_repeats_itself() -> None:
    net = _net().train()
    before = states(net)
    first, second = (_scored(net, labelled()) for _ in range(2))
    assert_same(states(net), before)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training
    np.testing.assert_array_equal(first.loss, second.loss)


def test_there_is_a_cap() -> None:
    net, pairs = _net(), labelled()
    with pytest.raises(UsageError, match=r"max_networks=120 networks can be scored, got 121 \(all of space 'tiny'\)"):
        _scored(net, pairs, max_networks=120)
    with pytest.raises(UsageError, match="got 0"):
        _scored(net, pairs, choices=[])


def test_wrong_input_is_refused() -> None:
    net, pairs = _net(), labelled()
    with pytest.raises(UsageError, match="not in space"):
        _scored(net, pairs, choices=[(Candidate(cell=2, path=(0,)),) * 2])
    images, labels = pairs[0]
    for batches, message in (
        ([(images, labels + 1)], "2 classes.*labels from 1 to 2"),
        ([(images, labels - 1)], "labels from -1"),
        ([(images[:1], labels[:1])], "2 images at least, got 1"),
        ([], "got none"),
    ):
        with pytest.raises(UsageError, match=message):
            _scored(net, batches)


def test_a_diverged_supernet_is_named() -> None:
    net: Any = _net()
    nn.init.constant_(net.blocks[1][1].first["8"][1].conv_pw.weight, float("nan"))
    with pytest.raises(UsageError, match="is not finite: training of the one-shot supernet diverged"):
        _scored(net, labelled())
